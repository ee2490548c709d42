//! A worker's numbers.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::execute::Started;
use super::lateness::{Counted, Lateness};
use crate::message::DeadReason;
use crate::task::Attempt;
use crate::telemetry::{End, OfTask, TaskNumbers};

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Not consuming yet.
    Starting,
    /// Consuming.
    Running,
    /// Finishing what runs; taking nothing new.
    Draining,
    /// Done.
    Stopped,
    /// Taking nothing new, since an operator wishes it; what runs goes on.
    Quiet,
}

impl WorkerState {
    /// The state in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Quiet => "quiet",
        }
    }
}

/// The numbers of one worker, counted since it was built.
#[derive(Clone, Debug, Default)]
pub struct WorkerStats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    state: AtomicU8,
    /// How many attempts may run at once.
    slots: usize,
    tasks: TaskNumbers,
    passed_on: AtomicU64,
    lost_unstarted: AtomicU64,
    renewed: AtomicU64,
    /// In milliseconds.
    oldest_lease: AtomicU64,
    refused: AtomicU64,
    lateness: Counted,
    trouble: Mutex<Option<String>>,
    /// Processors that were busy, in thousandths.
    cpu: AtomicU64,
}

impl WorkerStats {
    /// Of a worker with these tasks, by their places.
    pub(super) fn new(slots: usize, tasks: Vec<&'static str>) -> Self {
        Self(Arc::new(Counters {
            slots,
            tasks: TaskNumbers::new(tasks),
            ..Counters::default()
        }))
    }

    pub(super) fn set_state(&self, state: WorkerState) {
        self.0.state.store(state as u8, Ordering::Release);
    }

    /// What the worker is doing.
    #[must_use]
    pub fn state(&self) -> WorkerState {
        match self.0.state.load(Ordering::Acquire) {
            0 => WorkerState::Starting,
            1 => WorkerState::Running,
            2 => WorkerState::Draining,
            4 => WorkerState::Quiet,
            _ => WorkerState::Stopped,
        }
    }

    /// Attempts started.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.0.tasks.started()
    }

    /// Tasks that ended with a value.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        self.0.tasks.ended(End::Succeeded)
    }

    /// Tasks that ended without one.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.tasks.ended(End::Failed)
    }

    /// Attempts that failed and are followed by another.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.0.tasks.ended(End::Retried)
    }

    /// Attempts that were handed back.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.0.tasks.ended(End::Released)
    }

    /// Tasks that were cancelled, before or while they ran here.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.0.tasks.ended(End::Cancelled)
    }

    /// Tasks whose deadline passed before they could start.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.0.tasks.ended(End::Expired)
    }

    /// Messages whose lease was lost, running or not: this worker was frozen
    /// or cut off from NATS for longer than a lease.
    #[must_use]
    pub fn leases_lost(&self) -> u64 {
        self.0.tasks.ended(End::Lost) + self.0.lost_unstarted.load(Ordering::Relaxed)
    }

    /// Leases that the server has renewed.
    #[must_use]
    pub fn leases_renewed(&self) -> u64 {
        self.0.renewed.load(Ordering::Relaxed)
    }

    /// The age of the oldest lease yet when its renewal was asked for; zero
    /// before the first.
    ///
    /// A lease is due for it after a third of its term, and ends after five
    /// sixths: in between, renewals are late.
    #[must_use]
    pub fn oldest_lease(&self) -> Duration {
        Duration::from_millis(self.0.oldest_lease.load(Ordering::Relaxed))
    }

    /// Deliveries that were left to another worker, since this one does not
    /// know their task.
    #[must_use]
    pub fn passed_on(&self) -> u64 {
        self.0.passed_on.load(Ordering::Relaxed)
    }

    /// How many attempts may run at once.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.0.slots
    }

    /// Outcomes that the server refused because there was one: this worker
    /// was the second finisher.
    #[must_use]
    pub fn outcomes_refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// How late attempts started that were put off.
    #[must_use]
    pub fn lateness(&self) -> Lateness {
        self.0.lateness.read()
    }

    /// Why the worker cannot make progress, in a sentence; none if it can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.0.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many processors this process kept busy in the last second or so;
    /// none where the system does not tell.
    pub(super) fn cpu(&self) -> Option<f64> {
        let millis = self.0.cpu.load(Ordering::Relaxed);
        let millis = u32::try_from(millis.checked_sub(1)?).ok()?;
        Some(f64::from(millis) / 1000.0)
    }

    pub(super) fn set_cpu(&self, busy: Duration, of: Duration) {
        let millis = busy.as_micros() * 1000 / of.as_micros().max(1);
        let millis = u64::try_from(millis).unwrap_or(0);
        self.0
            .cpu
            .store(millis.saturating_add(1), Ordering::Relaxed);
    }

    /// Attempts that ended, one way or another.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.0.tasks.finished()
    }

    /// Attempts that run now.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.started().saturating_sub(self.finished())
    }

    /// The numbers of each task type.
    pub(crate) fn by_task(&self) -> Vec<OfTask> {
        self.0.tasks.by_task()
    }

    pub(super) fn count_attempt(&self, attempt: &Attempt) {
        let since = attempt.due.unwrap_or(attempt.enqueued_at);
        let waited = attempt.started_at.since(since);
        self.0.tasks.start(attempt.place, waited);
        if attempt.due.is_some() {
            self.0.lateness.count(waited);
        }
    }

    pub(super) fn count_run(&self, started: &Started) {
        self.0.tasks.run(started.attempt.place, started.ran);
    }

    pub(super) fn count_end(&self, place: usize, how: End) {
        self.0.tasks.end(place, how);
    }

    /// A task ended that never started.
    pub(super) fn count_unstarted(&self, place: usize, how: End) {
        self.0.tasks.begin();
        self.0.tasks.end(place, how);
    }

    pub(super) fn count_dead(&self, place: usize, reason: DeadReason) {
        self.0.tasks.dead(place, reason);
    }

    pub(super) fn count_passed_on(&self) {
        self.0.passed_on.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_loss_unstarted(&self) {
        self.0.lost_unstarted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_renewed(&self, count: u64, oldest: Duration) {
        self.0.renewed.store(count, Ordering::Relaxed);
        let oldest = u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX);
        self.0.oldest_lease.store(oldest, Ordering::Relaxed);
    }

    pub(super) fn set_refused(&self, count: u64) {
        self.0.refused.store(count, Ordering::Relaxed);
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self
            .0
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}
