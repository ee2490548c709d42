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
    CancelRequest, Crash, DeadLetter, DeadReason, Event, EventKind, Hidden, Journal, Outcome,
    State, TaskDefaults, TaskId, TaskMessage, TaskSettings, labels,
};
use crate::policy::{Next, settle};
use crate::task::{Registration, TaskError};
use crate::telemetry::End;

/// A task that nobody knows is told as an event when it has waited so long.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// For how long a task whose type is paused is put aside, at least and at
/// most.
const ASIDE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

impl Executor {
    pub(super) fn settle(&self, receipt: Receipt, settlement: Settlement) {
        self.settler.settle(receipt, settlement);
    }

    pub(super) fn succeed(&self, started: Started, value: Box<RawValue>) {
        self.stats.count_end(started.attempt.place, End::Succeeded);
        tracing::info!(
            target: "taskq::task",
            task_id = %started.attempt.id,
            task = started.attempt.task,
            attempt = started.attempt.number,
            trace_id = started.attempt.trace_id(),
            ms = millis(started.ran),
            "succeeded"
        );
        let record = self.record(&started, Ending::value(value));
        self.settle(started.delivery.receipt, Settlement::Finish(record));
    }

    /// Records that a running task was stopped.
    pub(super) fn cancelled(&self, started: Started, wish: &CancelRequest) {
        self.stats.count_end(started.attempt.place, End::Cancelled);
        tracing::info!(
            target: "taskq::task",
            task_id = %started.attempt.id,
            task = started.attempt.task,
            attempt = started.attempt.number,
            trace_id = started.attempt.trace_id(),
            ms = millis(started.ran),
            by = wish.by,
            "cancelled"
        );
        let mut outcome = self.outcome_of(&started, Ending::cancelled(wish));
        self.keep_message(&mut outcome, &started.delivery);
        let record = self.seal(outcome, started.policy.ttl);
        self.settle(started.delivery.receipt, Settlement::Finish(record));
    }

    /// Keeps the message of what was cancelled, where outcomes are kept.
    fn keep_message(&self, outcome: &mut Outcome, delivery: &Delivery) {
        if self.client.mode() != Mode::Core {
            outcome.keep_message(&delivery.body);
        }
    }

    pub(super) fn fail(&self, started: Started, error: &TaskError) {
        let attempt = &started.attempt;
        let ms = millis(started.ran);
        let text = error.to_string();
        let text = Hidden::of(&attempt.labels).error(error.kind(), &text);
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
                    self.stats.count_end(attempt.place, End::Retried);
                    tracing::warn!(
                        target: "taskq::task",
                        task_id = %attempt.id,
                        task = attempt.task,
                        attempt = attempt.number,
                        trace_id = attempt.trace_id(),
                        ms,
                        retry_in_ms = millis(delay),
                        "failed, to be tried again: {text}"
                    );
                    let event = self.speaker.whole(attempt, EventKind::Retrying);
                    let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    self.client
                        .0
                        .broker
                        .tell(event.with("error", text).with("retry_in_ms", delay));
                    return self.settle(started.delivery.receipt, Settlement::Retry(again));
                }
                DeadReason::Exhausted
            }
        };
        self.stats.count_end(attempt.place, End::Failed);
        tracing::warn!(
            target: "taskq::task",
            task_id = %attempt.id,
            task = attempt.task,
            attempt = attempt.number,
            trace_id = attempt.trace_id(),
            ms,
            reason = %reason,
            "failed: {text}"
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
        self.tell_dead(&letter, outcome.trace_id());
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

    fn tell_dead(&self, letter: &DeadLetter, trace_id: Option<&str>) {
        let (place, _) = self.registry.find(&letter.task);
        self.stats.count_dead(place, letter.reason);
        let now = self.client.0.broker.now();
        let mut shown = letter.clone();
        shown.hide();
        let mut event = Event::of(
            EventKind::Dead,
            now,
            &letter.id,
            &letter.task,
            &letter.queue,
        )
        .traced(trace_id)
        .with("reason", letter.reason.as_str())
        .with("error", shown.error.as_str());
        event.worker = Some(self.worker.to_string());
        self.client.0.broker.tell(event);
    }

    /// Acks what has ended. Should its worker have died between the outcome
    /// and the dead letter, the letter is written now.
    pub(super) async fn ended_before(&self, incoming: Incoming, outcome: &Outcome) {
        tracing::info!(
            task_id = %incoming.message.id,
            task = incoming.message.task,
            state = %outcome.state,
            "delivered again after it had ended; acked without a run"
        );
        match outcome.dead {
            None => self.settle(incoming.delivery.receipt, Settlement::Discard),
            Some(reason) => {
                // Should the letter be there, this takes its place, and must
                // say no less.
                let crashes = match reason {
                    DeadReason::Crashed => self.crashes(&incoming).await,
                    _ => Vec::new(),
                };
                let delivery = incoming.delivery;
                let priority = delivery.priority.as_str();
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
        self.stats
            .count_unstarted(incoming.place, how_ended(ending.state()));
        let outcome = self.unstarted(incoming, ending);
        tracing::warn!(
            target: "taskq::task",
            task_id = %outcome.id,
            task = outcome.task,
            "{} without a run: {}",
            outcome.state,
            outcome
                .error
                .as_ref()
                .map_or("", |error| outcome.hidden().error(error.kind, &error.message))
        );
        outcome
    }

    pub(super) fn cancel_unstarted(&self, incoming: Incoming, wish: &CancelRequest) {
        let mut outcome = self.end_unstarted(&incoming, Ending::cancelled(wish));
        self.keep_message(&mut outcome, &incoming.delivery);
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
        self.bury(incoming.delivery, outcome, incoming.policy.ttl, Vec::new());
    }

    pub(super) async fn quarantine(&self, incoming: Incoming) {
        let crashes = self.crashes(&incoming).await;
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
        self.bury(incoming.delivery, outcome, incoming.policy.ttl, crashes);
    }

    /// Fails a delivery that could not be started.
    pub(super) fn fail_unstarted(&self, incoming: Incoming, error: &TaskError) {
        let ending = Ending::dead(State::Failed, DeadReason::Permanent, error.failure());
        let outcome = self.end_unstarted(&incoming, ending);
        self.bury(incoming.delivery, outcome, incoming.policy.ttl, Vec::new());
    }

    /// Keeps what is no message, with the reason.
    pub(super) fn bury_undecodable(&self, delivery: Delivery, reason: &str) {
        tracing::error!(
            queue = %delivery.queue,
            bytes = delivery.body.len(),
            "a message cannot run and is kept as a dead letter: {reason}"
        );
        // A task that no worker has: it is no message.
        let (unknown, _) = self.registry.find("");
        self.stats.count_unstarted(unknown, End::Failed);
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
            sensitive: None,
        };
        self.tell_dead(&letter, None);
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
            let record = self.seal(outcome, incoming.policy.ttl);
            return self.settle(incoming.delivery.receipt, Settlement::Finish(record));
        }
        self.stats.count_passed_on();
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
        let delay = Duration::from_millis(250) * 2u32.pow(deliveries.min(6) - 1);
        // Never in step with the workers' requests, which are renewed every so
        // many seconds: else it would come to the same worker each time.
        self.release(incoming, delay.mul_f64(0.5 + fastrand::f64() / 2.0));
    }

    /// Puts a task aside whose type is paused: it comes again after a while,
    /// the longer the pause the later, or when the type is resumed. That is no
    /// attempt.
    pub(super) fn set_aside(&self, incoming: Incoming, settings: &TaskSettings) {
        let now = self.client.0.broker.now();
        let paused_for = settings.paused.as_ref().map(|paused| now.since(paused.at));
        let (least, most) = ASIDE;
        let delay = (paused_for.unwrap_or_default() / 2).clamp(least, most);
        tracing::debug!(
            task_id = %incoming.message.id,
            task = incoming.message.task,
            "put aside: its type is paused"
        );
        match self.message_aside(&incoming, now.plus(delay)) {
            Some(again) => self.settle(incoming.delivery.receipt, Settlement::Retry(again)),
            None => self.release(incoming, delay),
        }
    }

    /// Lets a call wait for the turn of the key that its task gives it. That
    /// is no attempt.
    pub(super) async fn give_key(&self, task: &'static Registration, mut incoming: Incoming) {
        let payload = incoming.message.labels.get(labels::PAYLOAD);
        let payload = payload.and_then(|name| Some(name.as_str()?.to_owned()));
        let arguments = match payload {
            None => incoming.message.arguments.clone(),
            Some(name) => match self.fetch_arguments(&incoming, &name).await {
                Some(Ok(arguments)) => arguments,
                Some(Err(error)) => return self.fail_unstarted(incoming, &error),
                None => return self.forget(incoming.delivery),
            },
        };
        let params: Vec<&str> = task.params.iter().map(|param| param.name).collect();
        let set = &mut incoming.message.labels;
        if let Some(key) = task.options.key_by().key(task.name, &arguments, &params) {
            set.set(labels::KEY, key);
            task.options.write_limits(set);
        }
        let now = self.client.0.broker.now();
        match self.message_aside(&incoming, now) {
            Some(again) => self.settle(incoming.delivery.receipt, Settlement::Retry(again)),
            None => self.release(incoming, Duration::from_secs(1)),
        }
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
        let defaults = TaskDefaults::default();
        let mut incoming = Incoming::new(delivery, message, &self.registry, &defaults);
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
        let attempt = &running.attempt;
        self.stats.count_end(attempt.place, End::Lost);
        tracing::warn!(
            target: "taskq::task",
            task_id = %attempt.id,
            task = attempt.task,
            attempt = attempt.number,
            "lost its lease: this worker was frozen or cut off from NATS for too long; stopped \
             here, and runs elsewhere"
        );
        let event = self.speaker.whole(attempt, EventKind::LeaseLost);
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
            self.stats.count_end(running.attempt.place, End::Released);
            tracing::warn!(
                target: "taskq::task",
                task_id = %running.attempt.id,
                task = running.attempt.task,
                attempt = running.attempt.number,
                "not finished within the grace; handed back, not counted as an attempt"
            );
            let event = self.speaker.whole(&running.attempt, EventKind::HandedBack);
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

/// How a task that never started is counted.
fn how_ended(state: State) -> End {
    match state {
        State::Succeeded => End::Succeeded,
        State::Failed => End::Failed,
        State::Cancelled => End::Cancelled,
        State::Expired => End::Expired,
    }
}

fn stop(running: &Active) {
    running.attempt.over.store(true, Ordering::Release);
    running.attempt.cancelled().cancel();
    running.abort.abort();
}

pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
