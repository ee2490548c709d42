//! Tasks that have not begun: what waits, and what is put off. No event is told
//! of them, so that sending stays fast; they are read from the queues and from
//! the plan, a page at a time.

use std::fmt;
use std::str::FromStr;

use futures::StreamExt as _;
use serde_json::{Map, Value};
use taskq::admin::{self, DelayedFilter, DelayedTask, QueueFilter, QueuedTask};
use taskq::{ErrorKind, Timestamp};

use crate::http::Shared;
use crate::http::extract::Params;
use crate::http::problem::{Answer, Problem};
use crate::http::views::{Listed, Page};
use crate::index::TaskSummary;

/// How many messages are looked at for one page; one that finds less than it
/// may is short, and the next goes on.
const MOST_LOOKED_AT: usize = 5000;
/// How many are read from a queue at once.
const TOGETHER: usize = 500;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unbegun {
    /// In a queue, and not given to a worker.
    Waiting,
    /// Not due yet.
    Scheduled,
}

impl Unbegun {
    /// The one that is asked for, if one is.
    pub(super) fn of(states: &[String]) -> Answer<Option<Self>> {
        let named = |text: &str| match text {
            "waiting" => Some(Self::Waiting),
            "scheduled" => Some(Self::Scheduled),
            _ => None,
        };
        let found = states.iter().find_map(|state| named(state));
        if found.is_some() && states.len() > 1 {
            return Err(Problem::invalid(
                "`waiting` and `scheduled` are read from the queues and the plan, and not from the \
                 index like the others; list each by itself",
            ));
        }
        Ok(found)
    }
}

/// Where a page begins.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cursor {
    sequence: u64,
    /// The queue; empty for the plan.
    queue: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{}.{}", self.sequence, self.queue)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (sequence, queue) = text.strip_prefix('u')?.split_once('.')?;
            Some(Self {
                sequence: sequence.parse().ok()?,
                queue: queue.to_owned(),
            })
        };
        read().ok_or("it is not the `next` of such a list")
    }
}

/// What is asked for.
struct Query {
    task: Option<String>,
    queue: Option<String>,
    labels: Vec<(String, String)>,
    limit: usize,
    after: Option<Cursor>,
}

impl Query {
    fn has(&self, labels: &Map<String, Value>) -> bool {
        let mut wanted = self.labels.iter();
        wanted.all(|(name, wanted)| has_label(labels, name, wanted))
    }
}

/// Whether there is a label of this name and value.
pub(crate) fn has_label(labels: &Map<String, Value>, name: &str, wanted: &str) -> bool {
    labels.get(name).is_some_and(|label| match label {
        Value::String(text) => text == wanted,
        // A number or a truth is asked for as it is written.
        other => format!("{other}") == wanted,
    })
}

pub(super) async fn list(
    shared: &Shared,
    which: Unbegun,
    mut params: Params,
) -> Answer<Page<Listed>> {
    params.all("state");
    let query = Query {
        task: params.one("task")?,
        queue: params.one("queue")?,
        labels: params.pairs("label")?,
        limit: params.limit()?,
        after: params.read("cursor")?,
    };
    if params.one("order")?.is_some_and(|order| order != "oldest") {
        return Err(Problem::invalid(
            "what has not begun is listed with the oldest first",
        ));
    }
    for name in ["worker", "dead", "since", "until", "key", "arg", "error"] {
        if !params.all(name).is_empty() {
            return Err(Problem::invalid(format!(
                "what has not begun is found by `task`, `queue` and `label`, and not by `{name}`"
            )));
        }
    }
    params.end()?;
    match which {
        Unbegun::Waiting => waiting(shared, query).await,
        Unbegun::Scheduled => scheduled(shared, query).await,
    }
}

async fn waiting(shared: &Shared, mut query: Query) -> Answer<Page<Listed>> {
    let depths = shared.client.queues().await?;
    let mut queues: Vec<String> = depths.into_iter().map(|depth| depth.queue).collect();
    queues.sort_unstable();
    if let Some(wanted) = &query.queue {
        queues.retain(|queue| queue == wanted);
    }
    let after = query.after.take().unwrap_or_default();
    queues.retain(|queue| *queue >= after.queue);
    let mut items = Vec::new();
    let mut looked_at = 0;
    for queue in queues {
        let mut filter = QueueFilter::of(&queue);
        filter.task.clone_from(&query.task);
        filter.most = TOGETHER;
        if queue == after.queue {
            filter.after = after.sequence;
        }
        loop {
            let page = match admin::queued(&shared.client, filter.clone()).await {
                Ok(page) => page,
                // It was removed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error.into()),
            };
            for task in page.tasks {
                looked_at += 1;
                let sequence = task.sequence;
                if !task.given && query.has(&task.labels) {
                    items.push(Listed::from(task));
                }
                if items.len() == query.limit || looked_at == MOST_LOOKED_AT {
                    let next = Some(Cursor { sequence, queue }.to_string());
                    return Ok(Page { items, next });
                }
            }
            match page.next {
                Some(next) => filter.after = next,
                None => break,
            }
        }
    }
    Ok(Page { items, next: None })
}

async fn scheduled(shared: &Shared, query: Query) -> Answer<Page<Listed>> {
    let filter = DelayedFilter {
        task: query.task.clone(),
        queue: query.queue.clone(),
        after: query.after.as_ref().map_or(0, |after| after.sequence),
        ..DelayedFilter::default()
    };
    let mut delayed = admin::delayed(&shared.client, filter).await?.boxed();
    let mut items = Vec::new();
    let mut looked_at = 0;
    while let Some(task) = delayed.next().await {
        let task = task?;
        looked_at += 1;
        let sequence = task.sequence;
        if query.has(&task.labels) {
            items.push(Listed::from(task));
        }
        if items.len() == query.limit || looked_at == MOST_LOOKED_AT {
            let queue = String::new();
            let next = Some(Cursor { sequence, queue }.to_string());
            return Ok(Page { items, next });
        }
    }
    Ok(Page { items, next: None })
}

impl From<QueuedTask> for Listed {
    fn from(task: QueuedTask) -> Self {
        let attempt = task.attempt.saturating_sub(1);
        Self {
            due: None,
            task: summary(
                ("waiting", attempt),
                (task.id.to_string(), task.task, task.queue),
                task.enqueued_at,
                &task.labels,
            ),
        }
    }
}

impl From<DelayedTask> for Listed {
    fn from(task: DelayedTask) -> Self {
        let attempt = task.attempt.saturating_sub(1);
        Self {
            due: Some(task.due),
            task: summary(
                ("scheduled", attempt),
                (task.id.to_string(), task.task, task.queue),
                task.enqueued_at,
                &task.labels,
            ),
        }
    }
}

fn summary(
    (state, attempt): (&str, u32),
    (id, task, queue): (String, String, String),
    enqueued_at: Timestamp,
    labels: &Map<String, Value>,
) -> TaskSummary {
    let own = |name: &str| name.starts_with("taskq_") || ["timeout", "max_retries"].contains(&name);
    let labels = labels.iter().filter(|(name, _)| !own(name));
    TaskSummary {
        id,
        task,
        queue,
        state: state.to_owned(),
        worker: None,
        attempt,
        enqueued_at: Some(enqueued_at),
        started_at: None,
        finished_at: None,
        heard_at: None,
        seconds: None,
        error: None,
        dead: None,
        cancelled_by: None,
        key: None,
        limit_key: None,
        labels: labels
            .map(|(name, label)| (name.clone(), label.clone()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text_and_others_are_refused() {
        for (sequence, queue) in [(12, "a.b"), (0, ""), (u64::MAX, "email")] {
            let queue = queue.to_owned();
            let cursor = Cursor { sequence, queue };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", "12", "u12", "ux.a", "e12.a"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
