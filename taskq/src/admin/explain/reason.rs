//! The reasons, and the sentence of each.

use std::fmt;

use serde::{Serialize, Serializer};
use taskq_syntax::Priority;

use crate::message::State;
use crate::time::Timestamp;

/// Why a task is not running now, or where it runs, or how it ended. In JSON
/// `reason` names it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It has ended.
    Ended {
        /// How.
        state: State,
        /// When.
        at: Timestamp,
        /// The worker of its last attempt; empty if it never started.
        worker: String,
        /// Why it did not succeed.
        error: Option<String>,
        /// Who cancelled it.
        by: Option<String>,
    },
    /// It runs.
    Running {
        /// Where.
        worker: String,
        /// Since when, by the server's clock.
        since: Timestamp,
        /// The number of the attempt, from 1.
        attempt: u32,
        /// Whether it is being stopped.
        stopping: bool,
    },
    /// A worker has it and has not begun it.
    Held {
        /// Which.
        worker: String,
        /// What it waits for there.
        waits_for: String,
    },
    /// A worker was given it, and none says that it has it.
    WorkerSilent {
        /// After so many seconds without a sign of life, at the most, it is
        /// given to another.
        lease_s: f64,
    },
    /// It is not due yet.
    Scheduled {
        /// When it is.
        due: Option<Timestamp>,
    },
    /// It failed, and is tried again.
    Retry {
        /// When.
        due: Option<Timestamp>,
        /// The number of the attempt that failed last.
        failed: u32,
        /// What that failed of.
        error: String,
    },
    /// No living worker serves its queue.
    NoWorker {
        /// The queues that living workers serve.
        served: Vec<String>,
    },
    /// Living workers serve its queue, and none knows the task.
    UnknownTask {
        /// Those workers.
        workers: Vec<String>,
    },
    /// Its queue is paused.
    QueuePaused {
        /// By whom, if that is known.
        by: Option<String>,
        /// Since when.
        since: Option<Timestamp>,
        /// Why.
        because: Option<String>,
    },
    /// Its task type is paused.
    TaskPaused {
        /// By whom, if that is known.
        by: Option<String>,
        /// Since when.
        since: Option<Timestamp>,
        /// Why.
        because: Option<String>,
    },
    /// As many tasks of its queue run as may.
    QueueLimit {
        /// How many may.
        limit: u64,
    },
    /// As many tasks of its key run as may.
    KeyLimit {
        /// The key.
        key: String,
        /// How many may.
        limit: u64,
        /// The ids of those that do.
        held_by: Vec<String>,
    },
    /// As many tasks have started lately as may.
    RateLimit {
        /// Of its queue, or of this key.
        key: Option<String>,
        /// When the next may start.
        until: Option<Timestamp>,
    },
    /// Others are before it.
    Behind {
        /// How many.
        count: u64,
        /// Of which priority.
        #[serde(serialize_with = "in_a_word")]
        priority: Priority,
        /// Of its own key, where its key makes it wait.
        key: Option<String>,
    },
    /// It is the next, and all workers of its queue are busy.
    WorkersBusy {
        /// How many workers serve the queue.
        workers: u64,
        /// How many attempts those run.
        running: u64,
        /// How many they may run.
        slots: u64,
    },
    /// It is the next, and a worker is about to be given it.
    Next,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended {
                state,
                at,
                worker,
                error,
                by,
            } => {
                write!(f, "it ended: {state} at {at}")?;
                if !worker.is_empty() {
                    write!(f, " on {worker}")?;
                }
                if let Some(by) = by {
                    write!(f, ", by {by}")?;
                }
                match error {
                    Some(error) => write!(f, ": {error}"),
                    None => Ok(()),
                }
            }
            Self::Running {
                worker,
                since,
                attempt,
                stopping,
            } => {
                let stopping = if *stopping { ", being cancelled" } else { "" };
                write!(
                    f,
                    "running on {worker} since {since}, attempt {attempt}{stopping}"
                )
            }
            Self::Held { worker, waits_for } => {
                write!(f, "{worker} has it, and waits for {waits_for}")
            }
            Self::WorkerSilent { lease_s } => write!(
                f,
                "a worker was given it, and none answers that it has it; unless one does, it is \
                 given to another within {lease_s} s"
            ),
            Self::Scheduled { due } => match due {
                Some(due) => write!(f, "scheduled for {due}"),
                None => f.write_str("scheduled"),
            },
            Self::Retry { due, failed, error } => {
                f.write_str("retry")?;
                if let Some(due) = due {
                    write!(f, " at {due}")?;
                }
                write!(f, ": attempt {failed} failed: {error}")
            }
            Self::NoWorker { served } if served.is_empty() => {
                f.write_str("no worker lives; start one that serves its queue")
            }
            Self::NoWorker { served } => write!(
                f,
                "no worker serves its queue, only {}; start one that does (TASKQ_QUEUES)",
                served.join(", ")
            ),
            Self::UnknownTask { workers } => write!(
                f,
                "no worker of its queue knows the task ({} {} not); deploy one that does, or \
                 cancel it if its name is wrong",
                workers.join(", "),
                if workers.len() == 1 { "does" } else { "do" }
            ),
            Self::QueuePaused { by, since, because } => {
                f.write_str("its queue is paused")?;
                paused(f, by.as_deref(), *since, because.as_deref())
            }
            Self::TaskPaused { by, since, because } => {
                f.write_str("its task type is paused")?;
                paused(f, by.as_deref(), *since, because.as_deref())
            }
            Self::QueueLimit { limit } => {
                write!(f, "its queue may run {limit} at once, and does")
            }
            Self::KeyLimit {
                key,
                limit,
                held_by,
            } => {
                write!(f, "key {key} may run {limit} at once, and does")?;
                match held_by.as_slice() {
                    [] => Ok(()),
                    ids => write!(f, ": {}", ids.join(", ")),
                }
            }
            Self::RateLimit { key, until } => {
                match key {
                    Some(key) => write!(f, "the rate of key {key} is used up")?,
                    None => f.write_str("the rate of its queue is used up")?,
                }
                match until {
                    Some(until) => write!(f, " until {until}"),
                    None => Ok(()),
                }
            }
            Self::Behind {
                count,
                priority,
                key,
            } => {
                let others = if *count == 1 { "other" } else { "others" };
                write!(f, "behind {count} {others} of priority {priority}")?;
                match key {
                    Some(key) => write!(f, " and key {key}"),
                    None => Ok(()),
                }
            }
            Self::WorkersBusy {
                workers,
                running,
                slots,
            } => {
                let s = if *workers == 1 { "" } else { "s" };
                write!(
                    f,
                    "it is the next, and the {workers} worker{s} of its queue run {running} of \
                     {slots} at once"
                )
            }
            Self::Next => f.write_str("it is the next, and about to be given to a worker"),
        }
    }
}

fn in_a_word<S: Serializer>(priority: &Priority, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(priority.as_str())
}

fn paused(
    f: &mut fmt::Formatter<'_>,
    by: Option<&str>,
    since: Option<Timestamp>,
    because: Option<&str>,
) -> fmt::Result {
    if let Some(by) = by {
        write!(f, " by {by}")?;
    }
    if let Some(since) = since {
        write!(f, " since {since}")?;
    }
    match because {
        Some(because) => write!(f, ": {because}"),
        None => Ok(()),
    }
}
