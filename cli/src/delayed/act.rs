//! Other times for what is put off.

use std::process::ExitCode;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde::Serialize;
use taskq::admin::{self, DelayedTask};
use taskq::{Client, ErrorKind, Rescheduled, Timestamp};

use super::select::{Found, Select};
use crate::moment::Ahead;
use crate::operator::How;
use crate::output::{self, one_line};

/// How many tasks are dealt with at once.
const AT_ONCE: usize = 64;

#[derive(clap::Args)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    select: Select,

    #[command(flatten)]
    to: To,

    #[command(flatten)]
    how: How,
}

/// The new time.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// To start then: so far from now, such as 2h, or at a time, such as 2026-11-22T04:32:01Z
    #[arg(long, env = "TASKQ_TO", value_name = "WHEN")]
    to: Option<Ahead>,

    /// To start so much later than each was to
    #[arg(long, env = "TASKQ_LATER", value_name = "TIME", value_parser = taskq::parse_duration)]
    later: Option<Duration>,
}

#[derive(clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    select: Select,

    #[command(flatten)]
    how: How,
}

/// What became of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Done {
    Moved,
    /// It started, or ended, first.
    TooLate,
    Failed,
    /// Nothing: it was a dry run.
    Nothing,
}

/// A line of the report.
#[derive(Serialize)]
struct Row {
    task_id: String,
    task_name: String,
    queue: String,
    /// When it was to start.
    was_due: Timestamp,
    /// When it is to start now; none for at once.
    due: Option<Timestamp>,
    done: Done,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Row {
    fn sentence(&self) -> String {
        let when = self.due.map_or("now".to_owned(), |due| due.to_string());
        let what = match self.done {
            Done::Moved => format!("to start {when}"),
            Done::Nothing => format!("would start {when}"),
            Done::TooLate | Done::Failed => {
                let error = self.error.as_deref().unwrap_or_default();
                format!("not done: {}", one_line(error))
            }
        };
        let (id, task) = (one_line(&self.task_id), one_line(&self.task_name));
        format!("{id}  {task}  {what}")
    }
}

/// What became of all of them.
#[derive(Debug, Default, Serialize)]
struct Summary {
    found: usize,
    moved: usize,
    too_late: usize,
    failed: usize,
    dry_run: bool,
}

#[derive(Serialize)]
struct Last<'a> {
    summary: &'a Summary,
}

impl Summary {
    fn add(&mut self, done: Done) {
        match done {
            Done::Moved => self.moved += 1,
            Done::TooLate => self.too_late += 1,
            Done::Failed => self.failed += 1,
            Done::Nothing => {}
        }
    }

    /// `2 of 3 delayed tasks moved, 1 too late`
    fn sentence(&self) -> String {
        let all = output::count(self.found, "delayed task");
        if self.dry_run {
            return format!("{all} would be moved; nothing was done");
        }
        let mut text = format!("{} of {all} moved", self.moved);
        for (count, what) in [(self.too_late, "too late"), (self.failed, "failed")] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}

pub(super) async fn move_to(args: MoveArgs) -> anyhow::Result<ExitCode> {
    let MoveArgs { select, to, how } = args;
    how.common.log.init();
    let client = how.common.connect().await?;
    let found = select.find(&client).await?;
    let now = client.server_time().await;
    how.move_all(&client, found, |task| match (to.to, to.later) {
        (Some(ahead), _) => Some(ahead.from(now)),
        (None, later) => Some(task.due.plus(later.unwrap_or_default())),
    })
    .await
}

pub(super) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let RunArgs { select, how } = args;
    how.common.log.init();
    let client = how.common.connect().await?;
    let found = select.find(&client).await?;
    how.move_all(&client, found, |_| None).await
}

impl How {
    /// Moves each task to its new time, now where there is none, and tells.
    async fn move_all(
        &self,
        client: &Client,
        found: Found,
        to: impl Fn(&DelayedTask) -> Option<Timestamp>,
    ) -> anyhow::Result<ExitCode> {
        let complete = found.tell_rest();
        let by = self.by();
        let mut summary = Summary {
            found: found.tasks.len(),
            dry_run: self.dry_run,
            ..Summary::default()
        };
        let rows = found.tasks.into_iter().map(|task| {
            let due = to(&task);
            let by = by.as_str();
            async move { self.move_one(client, task, due, by).await }
        });
        let mut rows = stream::iter(rows).buffered(AT_ONCE).boxed_local();
        while let Some(row) = rows.next().await {
            summary.add(row.done);
            if self.json {
                output::json(&row)?;
            } else {
                output::say(row.sentence())?;
            }
        }
        if self.json {
            let summary = &summary;
            output::json(&Last { summary })?;
        } else {
            output::say(summary.sentence())?;
        }
        let well = complete && summary.failed == 0 && summary.too_late == 0;
        Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    async fn move_one(
        &self,
        client: &Client,
        task: DelayedTask,
        due: Option<Timestamp>,
        by: &str,
    ) -> Row {
        let (done, error) = match self.dry_run {
            true => (Done::Nothing, None),
            false => {
                let moved = match due {
                    Some(due) => admin::reschedule(client, task.id.clone(), due, by).await,
                    None => admin::run_now(client, task.id.clone(), by).await,
                };
                match moved {
                    Ok(Rescheduled::TooLate(status)) => {
                        let why = format!("it is not put off any more, its status is {status}");
                        (Done::TooLate, Some(why))
                    }
                    Ok(_) => (Done::Moved, None),
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        (Done::TooLate, Some(error.to_string()))
                    }
                    Err(error) => (Done::Failed, Some(error.to_string())),
                }
            }
        };
        Row {
            task_id: task.id.to_string(),
            task_name: task.task,
            queue: task.queue,
            was_due: task.due,
            due,
            done,
            error,
        }
    }
}
