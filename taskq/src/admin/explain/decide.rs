//! From what is known to the one reason: no question is asked here.

use std::time::Duration;

use super::Reason;
use crate::admin::workers::WorkerInfo;
use crate::broker::{Holder, Standing};
use crate::message::{Hidden, KeyLimits, Paused, TaskMessage, Trail, key_of, labels};
use crate::time::Timestamp;

/// What is known of a task.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) standing: Standing,
    /// Its message, as far as it can be read.
    pub(super) message: Option<TaskMessage>,
    /// What the worker that has it says.
    pub(super) holder: Option<Holder>,
    /// Why its queue is paused, if it is.
    pub(super) queue_paused: Option<Paused>,
    /// How many of its queue run at once, if as many do.
    pub(super) queue_limit: Option<u64>,
    /// When the next of its queue may start by its rate, if that is not now.
    pub(super) queue_rate_until: Option<Timestamp>,
    /// Why its task type is paused, if it is.
    pub(super) task_paused: Option<Paused>,
    /// The living workers, and how many attempts each runs; none where they
    /// cannot be asked.
    pub(super) workers: Option<Vec<(WorkerInfo, u64)>>,
}

impl Facts {
    pub(super) fn of(standing: Standing) -> Self {
        let task = match &standing {
            Standing::Planned { task, .. }
            | Standing::Waiting { task, .. }
            | Standing::Held { task, .. }
            | Standing::Given { task, .. } => Some(task),
            _ => None,
        };
        let message = task.and_then(|task| TaskMessage::decode(&task.body).ok());
        Self {
            message,
            standing,
            holder: None,
            queue_paused: None,
            queue_limit: None,
            queue_rate_until: None,
            task_paused: None,
            workers: None,
        }
    }

    pub(super) fn task_name(&self) -> Option<&str> {
        match &self.standing {
            Standing::Ended(outcome) => Some(&outcome.task),
            _ => self.message.as_ref().map(|message| message.task.as_str()),
        }
    }

    pub(super) fn queue(&self) -> Option<&str> {
        let queue = match &self.standing {
            Standing::Ended(outcome) => &outcome.queue,
            Standing::Planned { task, .. }
            | Standing::Waiting { task, .. }
            | Standing::Held { task, .. }
            | Standing::Given { task, .. } => &task.queue,
            Standing::Unknown | Standing::Falling => return None,
        };
        (!queue.is_empty()).then_some(queue)
    }
}

/// The one reason: of several the first that would have to go.
pub(super) fn decide(facts: &Facts) -> Reason {
    match &facts.standing {
        Standing::Ended(outcome) => Reason::Ended {
            state: outcome.state,
            at: outcome.finished_at,
            worker: outcome.worker.clone(),
            error: outcome.error.as_ref().map(|error| {
                let text = outcome
                    .hidden()
                    .error(error.kind, &error.message)
                    .to_owned();
                outcome
                    .cancelled_by
                    .as_ref()
                    .map_or(text, |_| error.message.clone())
            }),
            by: outcome.cancelled_by.clone(),
        },
        Standing::Planned { due, .. } => put_aside(facts).unwrap_or_else(|| planned(facts, *due)),
        Standing::Given { task, lease } => given(facts, &task.queue, *lease),
        Standing::Waiting { .. } => paused(facts).unwrap_or_else(|| waiting(facts)),
        Standing::Held { .. } => paused(facts).unwrap_or_else(|| held(facts)),
        Standing::Unknown | Standing::Falling => Reason::Next,
    }
}

/// Whether it is planned only since its type is paused.
fn put_aside(facts: &Facts) -> Option<Reason> {
    let message = facts.message.as_ref()?;
    message.labels.get(labels::ASIDE)?;
    facts.task_paused.as_ref().map(task_paused)
}

/// Whether somebody does not want it to start.
fn paused(facts: &Facts) -> Option<Reason> {
    let queue = facts.queue_paused.as_ref().map(queue_paused);
    queue.or_else(|| facts.task_paused.as_ref().map(task_paused))
}

fn queue_paused(paused: &Paused) -> Reason {
    Reason::QueuePaused {
        by: Some(paused.by.clone()),
        since: Some(paused.at),
        because: paused.because.clone(),
    }
}

fn task_paused(paused: &Paused) -> Reason {
    Reason::TaskPaused {
        by: Some(paused.by.clone()),
        since: Some(paused.at),
        because: paused.because.clone(),
    }
}

fn planned(facts: &Facts, due: Option<Timestamp>) -> Reason {
    let labels = facts.message.as_ref().map(|message| &message.labels);
    let failures = labels
        .and_then(|message| message.get(labels::FAILURES)?.as_i64())
        .unwrap_or(0);
    let last = labels.and_then(|labels| Trail::of(labels).into_vec().pop());
    match (failures, last) {
        (0, None) => Reason::Scheduled { due },
        (_, Some(last)) => Reason::Retry {
            due,
            failed: last.attempt,
            error: labels
                .map(Hidden::of)
                .unwrap_or_default()
                .error(last.error.kind, &last.error.message)
                .to_owned(),
        },
        (failures, None) => Reason::Retry {
            due,
            failed: u32::try_from(failures).unwrap_or(u32::MAX),
            error: String::new(),
        },
    }
}

fn given(facts: &Facts, queue: &str, lease: Duration) -> Reason {
    match &facts.holder {
        // Workers that do not know a task hand it back for a while, and so
        // they do with what comes to them after a pause.
        None => paused(facts)
            .or_else(|| capable_workers(facts, queue))
            .unwrap_or(Reason::WorkerSilent {
                lease_s: lease.as_secs_f64(),
            }),
        Some(holder) => match holder.since {
            Some(since) => Reason::Running {
                worker: holder.worker.clone(),
                since,
                attempt: holder.attempt,
                stopping: holder.stopping,
            },
            None => Reason::Held {
                worker: holder.worker.clone(),
                waits_for: holder.waits.clone().unwrap_or_default(),
            },
        },
    }
}

fn waiting(facts: &Facts) -> Reason {
    let Standing::Waiting {
        task,
        priority,
        ahead,
        urgent,
    } = &facts.standing
    else {
        return Reason::Next;
    };
    if let Some(reason) = capable_workers(facts, &task.queue) {
        return reason;
    }
    if *ahead > 0 {
        return Reason::Behind {
            count: *ahead,
            priority: *priority,
            key: None,
        };
    }
    if let Some((priority, count)) = urgent.first() {
        return Reason::Behind {
            count: *count,
            priority: *priority,
            key: None,
        };
    }
    busy(facts, &task.queue)
}

/// Why the turn of its key has not come.
fn held(facts: &Facts) -> Reason {
    let Standing::Held {
        task,
        priority,
        held_by,
        ahead,
        rate_until,
    } = &facts.standing
    else {
        return Reason::Next;
    };
    if let Some(reason) = capable_workers(facts, &task.queue) {
        return reason;
    }
    let labels = facts.message.as_ref().map(|message| &message.labels);
    let key = labels.and_then(key_of).unwrap_or_default().to_owned();
    let limits = labels.map(KeyLimits::of).unwrap_or_default();
    if let Some(limit) = limits.concurrency
        && held_by.len() >= limit as usize
    {
        return Reason::KeyLimit {
            key,
            limit: limit.into(),
            held_by: held_by.iter().map(ToString::to_string).collect(),
        };
    }
    if limits.rate.is_some() && rate_until.is_some() {
        return Reason::RateLimit {
            key: Some(key),
            until: *rate_until,
        };
    }
    if *ahead > 0 {
        return Reason::Behind {
            count: *ahead,
            priority: *priority,
            key: Some(key),
        };
    }
    busy(facts, &task.queue)
}

/// Why no living worker could run it; none if one could, or nobody knows.
fn capable_workers(facts: &Facts, queue: &str) -> Option<Reason> {
    let workers = facts.workers.as_ref()?;
    let serve = |worker: &WorkerInfo| worker.queues.iter().any(|it| it == queue);
    let serving: Vec<&WorkerInfo> = workers
        .iter()
        .map(|(worker, _)| worker)
        .filter(|worker| serve(worker))
        .collect();
    if serving.is_empty() {
        let mut served: Vec<String> = workers
            .iter()
            .flat_map(|(worker, _)| worker.queues.iter().cloned())
            .collect();
        served.sort();
        served.dedup();
        return Some(Reason::NoWorker { served });
    }
    let name = facts.task_name()?;
    let knows = |worker: &&WorkerInfo| worker.tasks.iter().any(|task| task.name == name);
    if serving.iter().any(knows) {
        return None;
    }
    let workers = serving.iter().map(|worker| worker.worker.clone()).collect();
    Some(Reason::UnknownTask { workers })
}

/// Whether its queue, and those that could run it, have room.
fn busy(facts: &Facts, queue: &str) -> Reason {
    if let Some(limit) = facts.queue_limit {
        return Reason::QueueLimit { limit };
    }
    if facts.queue_rate_until.is_some() {
        return Reason::RateLimit {
            key: None,
            until: facts.queue_rate_until,
        };
    }
    let Some(workers) = &facts.workers else {
        return Reason::Next;
    };
    let name = facts.task_name().unwrap_or_default();
    let (mut count, mut running, mut slots) = (0, 0, 0);
    for (worker, runs) in workers {
        let serves = worker.queues.iter().any(|it| it == queue);
        if serves && worker.tasks.iter().any(|task| task.name == name) {
            count += 1;
            running += runs;
            slots += worker.concurrency as u64;
        }
    }
    if slots > 0 && running >= slots {
        Reason::WorkersBusy {
            workers: count,
            running,
            slots,
        }
    } else {
        Reason::Next
    }
}
