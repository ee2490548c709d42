//! Which delayed tasks.

use anyhow::bail;
use futures::{StreamExt as _, TryStreamExt as _};
use taskq::admin::{self, DelayedFilter, DelayedTask};
use taskq::{Client, TaskId};

use crate::moment::Ahead;
use crate::output;

/// Those for which all that is set holds.
#[derive(clap::Args)]
#[command(next_help_heading = "Which")]
pub(super) struct Filters {
    /// Of this queue
    #[arg(long, env = "TASKQ_QUEUE", value_name = "NAME")]
    queue: Option<String>,

    /// Of this task
    #[arg(long, env = "TASKQ_TASK", value_name = "NAME")]
    task: Option<String>,

    /// Due then or later: so far from now, such as 2h, or a time, such as 2026-11-22T04:32:01Z
    #[arg(long, env = "TASKQ_DUE_AFTER", value_name = "WHEN")]
    due_after: Option<Ahead>,

    /// Due before then
    #[arg(long, env = "TASKQ_DUE_BEFORE", value_name = "WHEN")]
    due_before: Option<Ahead>,

    /// Only what its sender put off, or only what waits for a retry
    #[arg(long, env = "TASKQ_WHY", value_name = "WHY", value_enum)]
    why: Option<Why>,

    /// At most so many, the first to start
    #[arg(long, env = "TASKQ_LIMIT", value_name = "COUNT")]
    limit: Option<usize>,
}

/// Why a task is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Why {
    Delay,
    Retry,
}

/// Some by their ids, or all that fit the filters.
#[derive(clap::Args)]
pub(super) struct Select {
    /// Ids of the tasks
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// All of them, where neither ids nor filters say which
    #[arg(long, env = "TASKQ_ALL")]
    all: bool,

    #[command(flatten)]
    filters: Filters,
}

/// What was found, the first to start first; or in the order of their ids.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tasks: Vec<DelayedTask>,
    /// How many more there are, above the limit.
    more: usize,
    /// The ids that are not put off.
    missing: Vec<String>,
}

impl Filters {
    async fn read(&self, client: &Client, id: Option<&str>) -> taskq::Result<Vec<DelayedTask>> {
        let now = client.server_time().await;
        let filter = DelayedFilter {
            id: id.map(TaskId::from),
            queue: self.queue.clone(),
            task: self.task.clone(),
            due_after: self.due_after.map(|ahead| ahead.from(now)),
            due_before: self.due_before.map(|ahead| ahead.from(now)),
            retries: self.why.map(|why| why == Why::Retry),
            ..DelayedFilter::default()
        };
        let tasks = admin::delayed(client, filter).await?.boxed();
        let mut tasks: Vec<DelayedTask> = tasks.try_collect().await?;
        tasks.sort_by(|one, other| (one.due, &one.id).cmp(&(other.due, &other.id)));
        Ok(tasks)
    }

    pub(super) async fn find(&self, client: &Client) -> taskq::Result<Found> {
        let mut found = Found {
            tasks: self.read(client, None).await?,
            ..Found::default()
        };
        found.cut(self.limit);
        Ok(found)
    }

    fn are_none(&self) -> bool {
        self.queue.is_none()
            && self.task.is_none()
            && self.due_after.is_none()
            && self.due_before.is_none()
            && self.why.is_none()
            && self.limit.is_none()
    }
}

impl Select {
    /// An empty variable must not mean everything.
    pub(super) async fn find(&self, client: &Client) -> anyhow::Result<Found> {
        if self.ids.is_empty() {
            if self.filters.are_none() && !self.all {
                bail!("name some tasks by their ids, set a filter, or say `--all`");
            }
            return Ok(self.filters.find(client).await?);
        }
        let mut found = Found::default();
        for id in &self.ids {
            let tasks = self.filters.read(client, Some(id)).await?;
            if tasks.is_empty() {
                found.missing.push(id.clone());
            }
            found.tasks.extend(tasks);
        }
        found.cut(self.filters.limit);
        Ok(found)
    }
}

impl Found {
    fn cut(&mut self, limit: Option<usize>) {
        let most = limit.unwrap_or(usize::MAX);
        self.more = self.tasks.len().saturating_sub(most);
        self.tasks.truncate(most);
    }

    /// Tells a person what is not there, and what is not shown; whether all
    /// that was named is there.
    pub(super) fn tell_rest(&self) -> bool {
        if self.more > 0 {
            eprintln!(
                "{} more fit; `--limit` leaves them out",
                output::count(self.more, "delayed task")
            );
        }
        for id in &self.missing {
            eprintln!(
                "task {id} is not put off, or not as the filters say; `taskq status {id}` tells \
                 where it is"
            );
        }
        self.missing.is_empty()
    }

    /// `3 delayed tasks: 2 delays, 1 retry`
    pub(super) fn sentence(&self) -> String {
        let retries = self.tasks.iter().filter(|task| task.attempt > 1).count();
        let delays = self.tasks.len() - retries;
        let mut text = output::count(self.tasks.len(), "delayed task");
        let mut parts = Vec::new();
        if delays > 0 {
            parts.push(output::count(delays, "delay"));
        }
        if retries > 0 {
            let word = if retries == 1 { "retry" } else { "retries" };
            parts.push(format!("{retries} {word}"));
        }
        if !parts.is_empty() {
            text.push_str(": ");
            text.push_str(&parts.join(", "));
        }
        text
    }
}

/// The arguments in a line: `1, "a", times: 3`.
pub(super) fn arguments(task: &DelayedTask) -> String {
    let by_position = task.args.iter().map(ToString::to_string);
    let by_name = task
        .kwargs
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    by_position.chain(by_name).collect::<Vec<_>>().join(", ")
}
