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

use super::early::Early;
use super::fire::Firing;
use super::middleware::{Execution, TaskService, TaskValue, run, unwrap_error};
use super::panics;
use super::slots::Seat;
use super::suspects::Suspects;
use super::voice::Speaker;
use super::wishes::Wishes;
use super::{Limits, WorkerStats};
use crate::broker::{Delivery, History, Leases, Mode, Receipt, Rules, SettingKind, Settler};
use crate::client::Client;
use crate::failure::{Failure, FailureKind};
use crate::message::{
    CancelRequest, Journal, KeptArguments, Label, Labels, RunningTask, TaskMessage, TaskSettings,
    labels,
};
use crate::policy::{Admission, Facts, Policy, admit, may_have_a_past};
use crate::pool::{Note, Recorder};
use crate::schedule::FireLabels;
use crate::task::{
    Attempt, Invocation, Job, Registration, Registry, Sensitivity, States, TaskError, Voice,
};
use crate::telemetry::{Beginning, Running};
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
    pub(super) rules: Arc<Rules>,
    pub(super) speaker: Arc<Speaker>,
    /// Who does not want which task to go on.
    pub(super) wishes: Wishes,
    /// The messages that run here and may have killed a worker.
    pub(super) suspects: Suspects,
    /// What came before its time.
    pub(super) early: Early,
    /// What runs now, by lease.
    pub(super) active: Mutex<HashMap<u64, Active>>,
    /// Where that is noted for the pool, if one has this worker.
    pub(super) recorder: Option<Recorder>,
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
    /// That it runs, for the pool.
    _note: Option<Note>,
}

/// An attempt that has started.
pub(super) struct Started {
    pub(super) attempt: Arc<Attempt>,
    pub(super) policy: Policy,
    pub(super) delivery: Delivery,
    pub(super) since: Instant,
    /// How long its function took; nothing before it is over.
    pub(super) ran: Duration,
    pub(super) retry_if: Option<fn(&TaskError) -> bool>,
    /// What is told of it to who traces.
    pub(super) span: Option<Running>,
}

/// What an error is called in traces. Its text is not told there.
fn error_type(failure: &Failure) -> String {
    match failure.type_name.as_str() {
        "" => format!("{:?}", failure.kind),
        name => name.to_owned(),
    }
}

impl Started {
    /// Tells how it ended to who traces.
    fn trace(&mut self, failure: Option<&str>) {
        if let Some(span) = self.span.take() {
            span.end(self.ran, failure);
        }
    }
}

/// A delivery whose task was looked up.
pub(super) struct Incoming {
    pub(super) delivery: Delivery,
    pub(super) message: TaskMessage,
    pub(super) task: Option<&'static Registration>,
    /// The place of the task among those of the worker.
    pub(super) place: usize,
    pub(super) policy: Policy,
    pub(super) journal: Journal,
    /// The arguments, for the outcome.
    pub(super) kept: KeptArguments,
}

impl Incoming {
    /// The number of the attempt that this delivery is.
    pub(super) fn attempt(&self) -> u32 {
        self.journal.attempt(self.delivery.receipt.deliveries)
    }

    fn may_have_a_past(&self) -> bool {
        let delivery = &self.delivery;
        // A fire may have been planned twice.
        may_have_a_past(delivery.receipt.deliveries, delivery.doubtful, &self.policy)
            || self.message.labels.get(labels::FIRE).is_some()
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

    /// Runs one delivery to its settlement. It is given back where its task
    /// computes, and has no seat.
    pub(super) async fn execute(&self, delivery: Delivery, seat: Seat) -> Option<Delivery> {
        // It was on its way here when the queue was paused, or found no place
        // in it.
        if delivery.unwanted || self.rules.is_queue_paused(&delivery.queue) {
            Box::pin(self.hand_back(delivery)).await;
            return None;
        }
        let decoded = TaskMessage::decode_and_keep(&delivery.body, self.limits.keep_arguments);
        let (message, kept) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                self.bury_undecodable(delivery, &error.to_string());
                return None;
            }
        };
        let (message, delivery) = match message.labels.is_empty() {
            true => (message, delivery),
            false => self.keep_early(message, delivery)?,
        };
        let defaults = self.rules.defaults(&delivery.queue);
        let mut incoming = Incoming::new(delivery, message, &self.registry, &defaults);
        let computes = incoming.task.is_some_and(|task| task.blocking);
        if computes && seat == Seat::Slot {
            return Some(incoming.delivery);
        }
        incoming.kept = kept;
        // What is seldom taken is boxed: thousands of these futures live at
        // once, and all are as large as their largest part.
        if self.is_plain(&incoming)
            && let Some(task) = incoming.task
        {
            self.run(task, incoming).await;
        } else {
            Box::pin(self.execute_with_care(incoming)).await;
        }
        None
    }

    /// Whether there is nothing to look up: the first delivery of a first
    /// attempt, in time, that nobody minds.
    fn is_plain(&self, incoming: &Incoming) -> bool {
        !incoming.may_have_a_past()
            && incoming.policy.deadline.is_none()
            && !incoming.message.labels.iter().any(needs_care)
            && !self.wishes.any()
            && self.rules.paused_task(&incoming.message.task).is_none()
            && !self.lacks_key(incoming)
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
        let wish = history.cancel.or_else(|| {
            let message = &incoming.message;
            self.wishes.of(&message.id, &message.labels)
        });
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
            (Admission::Ended, Some(outcome), _) => self.ended_before(incoming, &outcome).await,
            (Admission::Cancel, _, Some(wish)) => self.cancel_unstarted(incoming, &wish),
            (Admission::Expire, ..) => self.expire(incoming),
            (Admission::Quarantine, ..) => self.quarantine(incoming).await,
            (Admission::Run { suspect, .. }, ..) => self.admitted(incoming, suspect).await,
            // An outcome and a wish are there when they were told of.
            (Admission::Ended | Admission::Cancel, ..) => self.forget(incoming.delivery),
        }
    }

    async fn admitted(&self, mut incoming: Incoming, suspect: bool) {
        if let Some(settings) = self.paused_type(&incoming.message.task).await {
            return self.set_aside(incoming, &settings);
        }
        let Some(task) = incoming.task else {
            return self.pass_on(incoming);
        };
        if self.lacks_key(&incoming) {
            return self.give_key(task, incoming).await;
        }
        if let Some(fire) = FireLabels::of(&incoming.message.labels) {
            match self.may_fire(&incoming, &fire).await {
                Firing::Run => {}
                other => return self.end_fire(incoming, other),
            }
        }
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

    /// What is set for a task type that is paused. Asked of the broker, since
    /// what is sent on by a resume may be here before the word of it.
    async fn paused_type(&self, task: &str) -> Option<TaskSettings> {
        let known = self.rules.paused_task(task)?;
        let broker = &self.client.0.broker;
        let settings = match broker.setting(SettingKind::Task, task).await {
            Ok(setting) => serde_json::from_slice(&setting.body.unwrap_or_default()).ok()?,
            Err(_) => TaskSettings::clone(&known),
        };
        settings.paused.is_some().then_some(settings)
    }

    /// Whether the task has a limit, and whoever sent the call did not know:
    /// it was sent by name.
    fn lacks_key(&self, incoming: &Incoming) -> bool {
        incoming.task.is_some_and(|task| task.options.has_limit())
            && incoming.message.labels.get(labels::KEY).is_none()
            && self.client.mode() != Mode::Core
    }

    /// Runs a task to the end of its attempt.
    async fn run(&self, task: &'static Registration, incoming: Incoming) {
        let (mut started, job, registration) = self.start(task, incoming);
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
        started.ran = started.since.elapsed();
        let lease = started.delivery.receipt.lease;
        let Some(active) = self.active().remove(&lease) else {
            // Handed back or lost while it ran; what it gives comes too late.
            return started.trace(Some("given_up"));
        };
        if !self.holds(&started.delivery.receipt) {
            started.trace(Some("lease_lost"));
            return self.lost(active);
        }
        if started.attempt.said.get().is_some() {
            self.speaker.tell_kept(&started.attempt, Instant::now());
        }
        self.stats.count_run(&started);
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
            (Ok(value), _) => {
                started.trace(None);
                self.succeed(*started, value);
            }
            // Asked to stop, and stopped: that is no failure.
            (Err(_), Some(wish)) => {
                started.trace(Some("cancelled"));
                self.cancelled(*started, &wish);
            }
            (Err(error), None) => {
                if started.span.is_some() {
                    started.trace(Some(&error_type(&error.failure())));
                }
                self.fail(*started, &error);
            }
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
            mut message,
            place,
            policy,
            journal,
            kept,
            ..
        } = incoming;
        let enqueued_at = enqueued_at(&message.labels, delivery.stored_at);
        // Who sent it by name may not have known.
        let is_sensitive = task.options.sensitivity() != Sensitivity::None;
        let kept = if is_sensitive {
            KeptArguments::default()
        } else {
            kept
        };
        let started_at = self.client.0.broker.now();
        let beginning = Beginning {
            task: task.name,
            queue: &delivery.queue,
            id: &message.id,
            number,
            worker: &self.worker,
            enqueued_at,
            started_at,
        };
        let span = Running::start(&beginning, &mut message.labels);
        let voice: Arc<dyn Voice> = Arc::<Speaker>::clone(&self.speaker);
        let attempt = Arc::new(Attempt {
            place,
            lease: delivery.receipt.lease,
            voice: Some(voice),
            enqueued_at,
            kept,
            ..Attempt::new(
                message.id,
                task.name,
                Arc::clone(&delivery.queue),
                Arc::clone(&self.worker),
                number,
                started_at,
                message.labels,
            )
        });
        if number > 1 {
            self.speaker.tell_start(&attempt);
        }
        let (abort, registration) = AbortHandle::new_pair();
        let since = Instant::now();
        let note = self.recorder.as_ref().map(|recorder| {
            let (id, queue) = (attempt.id.clone(), &attempt.queue);
            recorder.note(&RunningTask::new(id, task.name, queue, number, started_at))
        });
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
                _note: note,
            },
        );
        self.stats.count_attempt(&attempt);
        // A wish that came between the look and now.
        if self.wishes.any()
            && let Some(wish) = self.wishes.of(&attempt.id, &attempt.labels)
        {
            self.act_upon(&wish);
        }
        let invocation = Invocation {
            attempt: Arc::clone(&attempt),
            arguments: message.arguments,
            states: Arc::clone(&self.states),
        };
        // The user's code may decode, and so panic, here too.
        let bind = || std::panic::catch_unwind(AssertUnwindSafe(|| (task.run)(invocation)));
        let bound = match task.options.is_sensitive() {
            false => bind(),
            true => panics::quietly(bind).map(|job| job.map(panics::quiet)),
        };
        let job = bound.unwrap_or_else(|panic| Err(panics::caught(panic.as_ref())));
        let job = match &span {
            Some(span) => job.map(|job| span.around(job)),
            None => job,
        };
        let started = Started {
            attempt,
            policy,
            delivery,
            since,
            ran: Duration::ZERO,
            retry_if: task.retry_if,
            span,
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

/// Whether a message with this label cannot run before something is looked
/// up.
fn needs_care((name, _): (&str, &Label)) -> bool {
    [labels::PAYLOAD, labels::FIRE].contains(&name)
}

pub(super) fn enqueued_at(labels: &Labels, stored_at: Timestamp) -> Timestamp {
    labels
        .get(labels::ENQUEUED_AT)
        .and_then(Label::as_i64)
        .map_or(stored_at, Timestamp::from_millis)
}
