//! From a delivery to its settlement.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{AbortHandle, AbortRegistration, Abortable};
use serde_json::value::RawValue;
use tower::ServiceExt as _;

use super::middleware::{Execution, TaskService, TaskValue, run, unwrap_error};
use super::panics;
use super::suspects::Suspects;
use super::voice::Speaker;
use super::wishes::Wishes;
use super::{Limits, WorkerStats};
use crate::broker::{Delivery, History, Leases, Receipt, Settler};
use crate::client::Client;
use crate::failure::FailureKind;
use crate::message::{CancelRequest, Journal, Label, Labels, TaskMessage, labels};
use crate::policy::{Admission, Facts, Policy, admit, may_have_a_past};
use crate::task::{Attempt, Invocation, Job, Registration, Registry, States, TaskError, Voice};
use crate::time::Timestamp;

/// A suspect that has to wait for another comes back after so long.
const SUSPECT_PAUSE: Duration = Duration::from_secs(1);

/// Runs what the slots give it.
pub(super) struct Executor {
    pub(super) client: Client,
    pub(super) worker: Arc<str>,
    pub(super) registry: Arc<Registry>,
    pub(super) states: Arc<States>,
    pub(super) service: Option<TaskService>,
    pub(super) settler: Arc<dyn Settler>,
    pub(super) leases: Arc<Leases>,
    pub(super) stats: WorkerStats,
    pub(super) limits: Limits,
    pub(super) speaker: Arc<Speaker>,
    /// Who does not want which task to go on.
    pub(super) wishes: Wishes,
    /// The messages that run here and may have killed a worker.
    pub(super) suspects: Suspects,
    /// What runs now, by lease.
    pub(super) active: Mutex<HashMap<u64, Active>>,
}

/// A running attempt.
pub(super) struct Active {
    pub(super) attempt: Arc<Attempt>,
    pub(super) receipt: Receipt,
    pub(super) journal: Journal,
    pub(super) since: Instant,
    pub(super) blocking: bool,
    /// Who does not want it to go on.
    pub(super) wish: Option<CancelRequest>,
    pub(super) abort: AbortHandle,
}

/// An attempt that has started.
pub(super) struct Started {
    pub(super) attempt: Arc<Attempt>,
    pub(super) policy: Policy,
    pub(super) delivery: Delivery,
    pub(super) since: Instant,
    pub(super) retry_if: Option<fn(&TaskError) -> bool>,
}

/// A delivery whose task was looked up.
pub(super) struct Incoming {
    pub(super) delivery: Delivery,
    pub(super) message: TaskMessage,
    pub(super) task: Option<&'static Registration>,
    pub(super) policy: Policy,
    pub(super) journal: Journal,
}

impl Incoming {
    /// The number of the attempt that this delivery is.
    pub(super) fn attempt(&self) -> u32 {
        self.journal.attempt(self.delivery.receipt.deliveries)
    }

    fn may_have_a_past(&self) -> bool {
        let delivery = &self.delivery;
        may_have_a_past(delivery.receipt.deliveries, delivery.doubtful, &self.policy)
    }
}

impl Executor {
    pub(super) fn active(&self) -> MutexGuard<'_, HashMap<u64, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a delivery is still this worker's.
    pub(super) fn holds(&self, receipt: &Receipt) -> bool {
        self.leases.is_held(receipt.lease, Instant::now())
    }

    /// Runs one delivery to its settlement.
    pub(super) async fn execute(&self, delivery: Delivery) {
        let message = match TaskMessage::decode(&delivery.body) {
            Ok(message) => message,
            Err(error) => return self.bury_undecodable(delivery, &error.to_string()),
        };
        let task = self.registry.get(&message.task);
        let incoming = Incoming::new(delivery, message, task);
        // What is seldom taken is boxed: thousands of these futures live at
        // once, and all are as large as their largest part.
        if self.is_plain(&incoming)
            && let Some(task) = task
        {
            return self.run(task, incoming).await;
        }
        Box::pin(self.execute_with_care(incoming)).await;
    }

    /// Whether there is nothing to look up: the first delivery of a first
    /// attempt, in time, that nobody minds.
    fn is_plain(&self, incoming: &Incoming) -> bool {
        !incoming.may_have_a_past()
            && incoming.policy.deadline.is_none()
            && incoming.message.labels.get(labels::PAYLOAD).is_none()
            && !self.wishes.any()
            && self.holds(&incoming.delivery.receipt)
    }

    async fn execute_with_care(&self, mut incoming: Incoming) {
        // It may have waited here for longer than its lease was kept.
        if !self.holds(&incoming.delivery.receipt) {
            return self.forget(incoming.delivery);
        }
        let delivery = incoming.delivery.receipt.deliveries;
        let mut history = History::default();
        if incoming.may_have_a_past() {
            match self.history(&incoming).await {
                Some(found) => history = found,
                None => return self.forget(incoming.delivery),
            }
        }
        incoming.journal = history.journal.for_base(incoming.policy.first_attempt);
        let wish = history
            .cancel
            .or_else(|| self.wishes.of(&incoming.message.id));
        let admission = admit(&Facts {
            delivery,
            journal: &incoming.journal,
            ended: history.outcome.is_some(),
            cancelled: wish.is_some(),
            deadline: incoming.policy.deadline,
            now: self.client.0.broker.now(),
            max_crashes: self.limits.max_crashes,
        });
        match (admission, history.outcome, wish) {
            (Admission::Ended, Some(outcome), _) => self.ended_before(incoming, &outcome),
            (Admission::Cancel, _, Some(wish)) => self.cancel_unstarted(incoming, &wish),
            (Admission::Expire, ..) => self.expire(incoming),
            (Admission::Quarantine, ..) => self.quarantine(incoming),
            (Admission::Run { suspect, .. }, ..) => self.admitted(incoming, suspect).await,
            // An outcome and a wish are there when they were told of.
            (Admission::Ended | Admission::Cancel, ..) => self.forget(incoming.delivery),
        }
    }

    async fn admitted(&self, mut incoming: Incoming, suspect: bool) {
        let Some(task) = incoming.task else {
            return self.pass_on(incoming);
        };
        // A message that may have killed a worker runs alone among its like,
        // so that the next death tells which of them it was.
        let place = match suspect {
            false => None,
            true => match self.suspects.enter(self, &incoming).await {
                Some(place) => Some(place),
                None => return self.release(incoming, SUSPECT_PAUSE),
            },
        };
        let receipt = &incoming.delivery.receipt;
        if receipt.deliveries > 1 {
            let at = self.client.0.broker.now();
            let alone = place.as_ref().is_some_and(|place| place.alone);
            incoming
                .journal
                .start(receipt.deliveries, &self.worker, at, alone);
            if !self.write_journal(&incoming).await {
                return self.forget(incoming.delivery);
            }
            if let Some(place) = &place {
                place.written(&incoming.journal);
            }
        }
        if let Some(name) = incoming.message.labels.get(labels::PAYLOAD) {
            let name = name.as_str().unwrap_or_default().to_owned();
            match self.fetch_arguments(&incoming, &name).await {
                Some(Ok(arguments)) => incoming.message.arguments = arguments,
                Some(Err(error)) => return self.fail_unstarted(incoming, &error),
                None => return self.forget(incoming.delivery),
            }
        }
        // The answers may have come too late.
        if !self.holds(&incoming.delivery.receipt) {
            return self.forget(incoming.delivery);
        }
        self.run(task, incoming).await;
    }

    /// Runs a task to the end of its attempt.
    async fn run(&self, task: &'static Registration, incoming: Incoming) {
        let (started, job, registration) = self.start(task, incoming);
        let running = async {
            let job = job?;
            let attempt = Arc::clone(&started.attempt);
            match self.time_limit(&started.policy) {
                None => self.call(attempt, job).await,
                Some((limit, kind)) => Box::pin(self.call_within(limit, kind, attempt, job)).await,
            }
        };
        let running = AssertUnwindSafe(running).catch_unwind();
        let result = Abortable::new(running, registration).await;
        let lease = started.delivery.receipt.lease;
        let Some(active) = self.active().remove(&lease) else {
            // Handed back or lost while it ran; what it gives comes too late.
            return;
        };
        if !self.holds(&started.delivery.receipt) {
            return self.lost(active);
        }
        if started.attempt.said.get().is_some() {
            self.speaker.tell_kept(&started.attempt, Instant::now());
        }
        started.attempt.over.store(true, Ordering::Release);
        let result = match result {
            Ok(Ok(returned)) => returned,
            Ok(Err(panic)) => Err(panics::caught(panic.as_ref())),
            Err(_aborted) => Err(TaskError::of_kind(
                FailureKind::Cancelled,
                "the attempt was stopped".to_owned(),
            )),
        };
        match (result, active.wish) {
            (Ok(value), _) => self.succeed(*started, value),
            // Asked to stop, and stopped: that is no failure.
            (Err(_), Some(wish)) => self.cancelled(*started, &wish),
            (Err(error), None) => self.fail(*started, &error),
        }
    }

    /// Makes an attempt of a delivery. What it needs until its end is boxed,
    /// so that the futures that wait for the task stay small.
    fn start(
        &self,
        task: &'static Registration,
        incoming: Incoming,
    ) -> (Box<Started>, Result<Job, TaskError>, AbortRegistration) {
        let number = incoming.attempt();
        let Incoming {
            delivery,
            message,
            policy,
            journal,
            ..
        } = incoming;
        let voice: Arc<dyn Voice> = Arc::<Speaker>::clone(&self.speaker);
        let attempt = Arc::new(Attempt {
            lease: delivery.receipt.lease,
            voice: Some(voice),
            ..Attempt::new(
                message.id,
                task.name,
                Arc::clone(&delivery.queue),
                Arc::clone(&self.worker),
                number,
                enqueued_at(&message.labels, delivery.stored_at),
                message.labels,
            )
        });
        if number > 1 {
            self.speaker.tell_start(&attempt);
        }
        let (abort, registration) = AbortHandle::new_pair();
        let since = Instant::now();
        self.active().insert(
            delivery.receipt.lease,
            Active {
                attempt: Arc::clone(&attempt),
                receipt: delivery.receipt.clone(),
                journal,
                since,
                blocking: task.blocking,
                wish: None,
                abort,
            },
        );
        self.stats.count_start();
        // A wish that came between the look and now.
        if self.wishes.any()
            && let Some(wish) = self.wishes.of(&attempt.id)
        {
            self.act_upon(&wish);
        }
        let invocation = Invocation {
            attempt: Arc::clone(&attempt),
            arguments: message.arguments,
            states: Arc::clone(&self.states),
        };
        // The user's code may decode, and so panic, here too.
        let job = std::panic::catch_unwind(AssertUnwindSafe(|| (task.run)(invocation)))
            .unwrap_or_else(|panic| Err(panics::caught(panic.as_ref())));
        let started = Started {
            attempt,
            policy,
            delivery,
            since,
            retry_if: task.retry_if,
        };
        (Box::new(started), job, registration)
    }

    /// How long the attempt may take, and what it is when it takes longer.
    fn time_limit(&self, policy: &Policy) -> Option<(Duration, FailureKind)> {
        let timeout = policy.timeout.map(|limit| (limit, FailureKind::Timeout));
        let left = policy.deadline.map(|deadline| {
            let left = deadline.since(self.client.0.broker.now());
            (left, FailureKind::Deadline)
        });
        match (timeout, left) {
            (Some(timeout), Some(left)) => Some(if left.0 < timeout.0 { left } else { timeout }),
            (timeout, left) => timeout.or(left),
        }
    }

    async fn call_within(
        &self,
        limit: Duration,
        kind: FailureKind,
        attempt: Arc<Attempt>,
        job: Job,
    ) -> Result<Box<RawValue>, TaskError> {
        let running = self.call(Arc::clone(&attempt), job);
        match tokio::time::timeout(limit, running).await {
            Ok(returned) => returned,
            Err(_) => {
                // A blocking task cannot be stopped, only be told.
                attempt.cancelled().cancel();
                let limit = taskq_syntax::format_duration(limit);
                let text = match kind {
                    FailureKind::Deadline => {
                        format!("the task's deadline passed, {limit} after the attempt started")
                    }
                    _ => format!("the attempt took longer than its timeout of {limit}"),
                };
                Err(TaskError::of_kind(kind, text))
            }
        }
    }

    async fn call(&self, attempt: Arc<Attempt>, job: Job) -> Result<Box<RawValue>, TaskError> {
        match &self.service {
            None => run(job).await,
            Some(service) => service
                .clone()
                .oneshot(Execution { attempt, job })
                .await
                .map(|TaskValue(value)| value)
                .map_err(unwrap_error),
        }
    }
}

pub(super) fn enqueued_at(labels: &Labels, stored_at: Timestamp) -> Timestamp {
    labels
        .get(labels::ENQUEUED_AT)
        .and_then(Label::as_i64)
        .map_or(stored_at, Timestamp::from_millis)
}
