//! How deliveries end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::value::RawValue;

use super::execute::{Active, Executor, Incoming, Started, enqueued_at};
use super::record::Ending;
use crate::broker::{Delivery, Mode, Receipt, Record, Settlement};
use crate::failure::{Failure, FailureKind};
use crate::message::{
    CancelRequest, Crash, DeadLetter, DeadReason, Event, EventKind, Journal, Outcome, State,
    TaskId, TaskMessage,
};
use crate::policy::{Next, settle};
use crate::task::TaskError;

/// A task that nobody knows is told as an event when it has waited so long.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

impl Executor {
    fn settle(&self, receipt: Receipt, settlement: Settlement) {
        self.settler.settle(receipt, settlement);
    }

    pub(super) fn succeed(&self, started: Started, value: Box<RawValue>) {
        self.stats.count_success();
        tracing::info!(
            target: "taskq::task",
            task_id = %started.attempt.id,
            task = started.attempt.task,
            attempt = started.attempt.number,
            ms = millis(started.since.elapsed()),
            "succeeded"
        );
        let record = self.record(&started, Ending::value(value));
        self.settle(started.delivery.receipt, Settlement::Finish(record));
    }

    /// Records that a running task was stopped.
    pub(super) fn cancelled(&self, started: Started, wish: &CancelRequest) {
        self.stats.count_cancel();
        tracing::info!(
            target: "taskq::task",
            task_id = %started.attempt.id,
            task = started.attempt.task,
            attempt = started.attempt.number,
            ms = millis(started.since.elapsed()),
            by = wish.by,
            "cancelled"
        );
        let record = self.record(&started, Ending::cancelled(wish));
        self.settle(started.delivery.receipt, Settlement::Finish(record));
    }

    pub(super) fn fail(&self, started: Started, error: &TaskError) {
        let attempt = &started.attempt;
        let ms = millis(started.since.elapsed());
        let worth = started.retry_if.is_none_or(|worth| {
            // The user's code; what it does in a panic is no answer.
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worth(error))).unwrap_or(true)
        });
        let now = self.client.0.broker.now();
        let next = settle(&started.policy, error, worth, now, fastrand::f64());
        let reason = match next {
            Next::Fail(reason) => reason,
            Next::Retry(delay) => {
                if let Some(again) = self.next_attempt(&started, error, now.plus(delay)) {
                    self.stats.count_retry();
                    tracing::warn!(
                        target: "taskq::task",
                        task_id = %attempt.id,
                        task = attempt.task,
                        attempt = attempt.number,
                        ms,
                        retry_in_ms = millis(delay),
                        "failed, to be tried again: {error}"
                    );
                    let event = self.speaker.event(attempt, EventKind::Retrying);
                    let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    self.client.0.broker.tell(
                        event
                            .with("error", error.to_string())
                            .with("retry_in_ms", delay),
                    );
                    return self.settle(started.delivery.receipt, Settlement::Retry(again));
                }
                DeadReason::Exhausted
            }
        };
        self.stats.count_failure();
        tracing::warn!(
            target: "taskq::task",
            task_id = %attempt.id,
            task = attempt.task,
            attempt = attempt.number,
            ms,
            reason = %reason,
            "failed: {error}"
        );
        let ending = Ending::dead(State::Failed, reason, error.failure());
        let outcome = self.outcome_of(&started, ending);
        let ttl = started.policy.ttl;
        self.bury(started.delivery, outcome, ttl, Vec::new());
    }

    /// Keeps a message that ended badly, with its outcome.
    fn bury(
        &self,
        delivery: Delivery,
        outcome: Outcome,
        ttl: Option<Duration>,
        crashes: Vec<Crash>,
    ) {
        let reason = outcome.dead.unwrap_or(DeadReason::Exhausted);
        let letter = DeadLetter {
            crashes,
            ..DeadLetter::of(&outcome, reason, delivery.priority.as_str(), &delivery.body)
        };
        self.tell_dead(&letter);
        let record = self.seal(outcome, ttl);
        self.settle_letter(delivery, letter, Some(record));
    }

    /// Hands over a letter, its message apart if the two are too large
    /// together.
    fn settle_letter(&self, delivery: Delivery, mut letter: DeadLetter, record: Option<Record>) {
        let mut payload = None;
        if letter.encode().len() > self.client.0.broker.max_message() {
            letter.message = None;
            letter.body = None;
            let name = format!("call.{}", letter.id);
            letter.payload = Some(name.clone());
            payload = Some((name, delivery.body));
        }
        let settlement = Settlement::Bury {
            letter: Box::new(letter),
            record,
            payload,
        };
        self.settle(delivery.receipt, settlement);
    }

    fn tell_dead(&self, letter: &DeadLetter) {
        let now = self.client.0.broker.now();
        let mut event = Event::of(
            EventKind::Dead,
            now,
            &letter.id,
            &letter.task,
            &letter.queue,
        )
        .with("reason", letter.reason.as_str())
        .with("error", letter.error.as_str());
        event.worker = Some(self.worker.to_string());
        self.client.0.broker.tell(event);
    }

    /// Acks what has ended. Should its worker have died between the outcome
    /// and the dead letter, the letter is written now.
    pub(super) fn ended_before(&self, incoming: Incoming, outcome: &Outcome) {
        tracing::info!(
            task_id = %incoming.message.id,
            task = incoming.message.task,
            state = %outcome.state,
            "delivered again after it had ended; acked without a run"
        );
        let delivery = incoming.delivery;
        match outcome.dead {
            None => self.settle(delivery.receipt, Settlement::Discard),
            Some(reason) => {
                let priority = delivery.priority.as_str();
                // Should the letter be there, this takes its place, and must
                // say no less.
                let crashes = match reason {
                    DeadReason::Crashed => crashes(&incoming.journal),
                    _ => Vec::new(),
                };
                let letter = DeadLetter {
                    crashes,
                    ..DeadLetter::of(outcome, reason, priority, &delivery.body)
                };
                self.settle_letter(delivery, letter, None);
            }
        }
    }

    /// Ends a delivery without a run.
    fn end_unstarted(&self, incoming: &Incoming, ending: Ending) -> Outcome {
        self.stats.count_start();
        let outcome = self.unstarted(incoming, ending);
        tracing::warn!(
            target: "taskq::task",
            task_id = %outcome.id,
            task = outcome.task,
            "{} without a run: {}",
            outcome.state,
            outcome.error.as_ref().map_or("", |error| &error.message)
        );
        outcome
    }

    pub(super) fn cancel_unstarted(&self, incoming: Incoming, wish: &CancelRequest) {
        let outcome = self.end_unstarted(&incoming, Ending::cancelled(wish));
        self.stats.count_cancel();
        let record = self.seal(outcome, incoming.policy.ttl);
        self.settle(incoming.delivery.receipt, Settlement::Finish(record));
    }

    pub(super) fn expire(&self, incoming: Incoming) {
        let (reason, why) = match incoming.task {
            Some(_) => (DeadReason::Expired, String::new()),
            None => (
                DeadReason::UnknownTask,
                format!(": no worker knew the task `{}`", incoming.message.task),
            ),
        };
        let text = format!("its deadline passed before it could start{why}");
        let failure = Failure::new(FailureKind::Expired, text);
        let ending = Ending::dead(State::Expired, reason, failure);
        let outcome = self.end_unstarted(&incoming, ending);
        self.stats.count_expiry();
        self.bury(incoming.delivery, outcome, incoming.policy.ttl, Vec::new());
    }

    pub(super) fn quarantine(&self, incoming: Incoming) {
        let crashes = crashes(&incoming.journal);
        let workers: Vec<&str> = crashes.iter().map(|crash| crash.worker.as_str()).collect();
        let text = format!(
            "{} workers in a row died, or lost touch, while they ran it (the last: {}); it is put \
             in quarantine so that it takes no more of them",
            incoming.attempt() - incoming.journal.base,
            workers.join(", ")
        );
        let failure = Failure::new(FailureKind::Crashed, text);
        let ending = Ending::dead(State::Failed, DeadReason::Crashed, failure);
        let outcome = self.end_unstarted(&incoming, ending);
        self.stats.count_failure();
        self.bury(incoming.delivery, outcome, incoming.policy.ttl, crashes);
    }

    /// Fails a delivery that could not be started.
    pub(super) fn fail_unstarted(&self, incoming: Incoming, error: &TaskError) {
        let ending = Ending::dead(State::Failed, DeadReason::Permanent, error.failure());
        let outcome = self.end_unstarted(&incoming, ending);
        self.stats.count_failure();
        self.bury(incoming.delivery, outcome, incoming.policy.ttl, Vec::new());
    }

    /// Keeps what is no message, with the reason.
    pub(super) fn bury_undecodable(&self, delivery: Delivery, reason: &str) {
        tracing::error!(
            queue = %delivery.queue,
            bytes = delivery.body.len(),
            "a message cannot run and is kept as a dead letter: {reason}"
        );
        self.stats.count_start();
        self.stats.count_failure();
        let letter = DeadLetter {
            id: self.client.new_id(),
            task: "undecodable".to_owned(),
            queue: delivery.queue.to_string(),
            priority: delivery.priority.as_str().to_owned(),
            reason: DeadReason::Undecodable,
            error: reason.to_owned(),
            attempts: Vec::new(),
            crashes: Vec::new(),
            worker: self.worker.to_string(),
            enqueued_at: delivery.stored_at,
            dead_at: self.client.0.broker.now(),
            replays: 0,
            sequence: 0,
            message: None,
            body: Some(base64::engine::general_purpose::STANDARD.encode(&delivery.body)),
            payload: None,
        };
        self.tell_dead(&letter);
        self.settle_letter(delivery, letter, None);
    }

    /// Leaves a task that this worker does not know to one that does.
    pub(super) fn pass_on(&self, incoming: Incoming) {
        let deliveries = incoming.delivery.receipt.deliveries;
        if self.client.mode() == Mode::Core {
            // Nothing stays anywhere: the sender must be told.
            let reason = format!(
                "no task `{}` is registered in the worker",
                incoming.message.task
            );
            let failure = Failure::new(FailureKind::UnknownTask, reason);
            let ending = Ending::dead(State::Failed, DeadReason::UnknownTask, failure);
            let outcome = self.end_unstarted(&incoming, ending);
            self.stats.count_failure();
            let record = self.seal(outcome, incoming.policy.ttl);
            return self.settle(incoming.delivery.receipt, Settlement::Finish(record));
        }
        // Told when it is new and then ever more seldom.
        if deliveries.is_power_of_two() {
            let task = &incoming.message.task;
            tracing::warn!(
                task_id = %incoming.message.id,
                task,
                deliveries,
                "no task `{task}` is registered in this worker; it stays in the queue for a \
                 worker that knows it (deploy one, or fix the name)"
            );
        }
        let (id, task) = (&incoming.message.id, &incoming.message.task);
        let now = self.client.0.broker.now();
        let waited = now.since(enqueued_at(
            &incoming.message.labels,
            incoming.delivery.stored_at,
        ));
        if waited >= UNKNOWN_FOR {
            let queue = &incoming.delivery.queue;
            let mut event = Event::of(EventKind::UnknownTask, now, id, task, queue)
                .with("waiting_s", waited.as_secs());
            event.worker = Some(self.worker.to_string());
            self.client.0.broker.tell(event);
        }
        let delay = Duration::from_millis(250) * 2u32.pow(deliveries.min(7) - 1);
        self.release(incoming, delay);
    }

    /// Gives a delivery back, not counted as an attempt.
    pub(super) fn release(&self, mut incoming: Incoming, delay: Duration) {
        let receipt = incoming.delivery.receipt;
        incoming.journal.refund(receipt.deliveries);
        let journal = Some((incoming.message.id, incoming.journal));
        self.settle(receipt, Settlement::Release { delay, journal });
    }

    /// Gives back a message that has not been started.
    pub(super) async fn hand_back(&self, delivery: Delivery) {
        let Ok(message) = TaskMessage::decode(&delivery.body) else {
            let settlement = Settlement::Release {
                delay: Duration::ZERO,
                journal: None,
            };
            return self.settle(delivery.receipt, settlement);
        };
        let task = self.registry.get(&message.task);
        let mut incoming = Incoming::new(delivery, message, task);
        if incoming.delivery.receipt.deliveries > 1 {
            match self.history(&incoming).await {
                Some(history) => {
                    incoming.journal = history.journal.for_base(incoming.policy.first_attempt);
                }
                None => return self.forget(incoming.delivery),
            }
        }
        self.release(incoming, Duration::ZERO);
    }

    /// Leaves a delivery whose lease was lost before it started.
    pub(super) fn forget(&self, delivery: Delivery) {
        self.stats.count_loss_unstarted();
        tracing::warn!(
            queue = %delivery.queue,
            "a message's lease was lost before it started; it is another worker's now"
        );
        self.settle(delivery.receipt, Settlement::Forget);
    }

    /// Stops what runs without a lease: it runs elsewhere by now.
    pub(super) fn lose(&self, leases: &[u64]) {
        for lease in leases {
            let running = self.active().remove(lease);
            if let Some(running) = running {
                self.lost(running);
            }
        }
    }

    /// Ends an attempt whose lease was lost: nothing it does counts.
    pub(super) fn lost(&self, running: Active) {
        self.stats.count_loss();
        let attempt = &running.attempt;
        tracing::warn!(
            target: "taskq::task",
            task_id = %attempt.id,
            task = attempt.task,
            attempt = attempt.number,
            "lost its lease: this worker was frozen or cut off from NATS for too long; stopped \
             here, and runs elsewhere"
        );
        let event = self.speaker.event(attempt, EventKind::LeaseLost);
        self.client.0.broker.tell(event);
        stop(&running);
        if !running.journal.starts.is_empty() {
            self.exonerate(&running);
        }
        self.settle(running.receipt, Settlement::Forget);
    }

    /// Takes back that a start ended in a crash: this worker lives. Too late,
    /// or without a connection, it stays, and counts as one.
    fn exonerate(&self, running: &Active) {
        let broker = std::sync::Arc::clone(&self.client.0.broker);
        let (id, delivery) = (running.attempt.id.clone(), running.receipt.deliveries);
        let base = running.journal.base;
        tokio::spawn(async move {
            let Ok(history) = broker.history(&id).await else {
                return;
            };
            let mut journal = history.journal.for_base(base);
            if journal.take_back(delivery)
                && let Err(error) = broker.write_journal(&id, &journal).await
            {
                tracing::debug!(task_id = %id, "{error}");
            }
        });
    }

    /// Stops everything that still runs, and settles none of it: as a crash
    /// would.
    pub(super) fn drop_running(&self) {
        let active: Vec<Active> = self.active().drain().map(|(_, active)| active).collect();
        active.iter().for_each(stop);
    }

    /// Hands back everything that still runs, and tells how much that was.
    pub(super) fn abort_running(&self) -> usize {
        let active: Vec<Active> = self.active().drain().map(|(_, active)| active).collect();
        let count = active.len();
        for mut running in active {
            self.stats.count_release();
            tracing::warn!(
                target: "taskq::task",
                task_id = %running.attempt.id,
                task = running.attempt.task,
                attempt = running.attempt.number,
                "not finished within the grace; handed back, not counted as an attempt"
            );
            let event = self.speaker.event(&running.attempt, EventKind::HandedBack);
            self.client.0.broker.tell(event);
            stop(&running);
            running.journal.refund(running.receipt.deliveries);
            let journal: Option<(TaskId, Journal)> =
                Some((running.attempt.id.clone(), running.journal));
            let settlement = Settlement::Release {
                delay: Duration::ZERO,
                journal,
            };
            self.settle(running.receipt, settlement);
        }
        count
    }

    /// Tells what has been running for a while, and how far it is.
    pub(super) fn speak(&self, told_after: Duration) {
        let now = Instant::now();
        let running: Vec<_> = {
            let active = self.active();
            let due = active.values().filter(|it| {
                now.saturating_duration_since(it.since) >= told_after
                    || it.attempt.said.get().is_some()
            });
            due.map(|it| std::sync::Arc::clone(&it.attempt)).collect()
        };
        for attempt in running {
            if !attempt.over.load(Ordering::Acquire) {
                self.speaker.tell_start(&attempt);
                self.speaker.tell_kept(&attempt, now);
            }
        }
    }
}

/// The starts that neither ended nor were handed back.
fn crashes(journal: &Journal) -> Vec<Crash> {
    let starts = journal.starts.iter();
    starts
        .map(|start| Crash {
            worker: start.worker.clone(),
            started_at: start.at,
        })
        .collect()
}

fn stop(running: &Active) {
    running.attempt.over.store(true, Ordering::Release);
    running.attempt.cancelled().cancel();
    running.abort.abort();
}

pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
