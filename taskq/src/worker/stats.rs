//! A worker's numbers.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
}

/// The numbers of one worker, counted since it was built.
#[derive(Clone, Debug, Default)]
pub struct WorkerStats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    state: AtomicU8,
    started: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    released: AtomicU64,
    cancelled: AtomicU64,
    expired: AtomicU64,
    lost: AtomicU64,
    lost_unstarted: AtomicU64,
    refused: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl WorkerStats {
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
            _ => WorkerState::Stopped,
        }
    }

    /// Attempts started.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.0.started.load(Ordering::Relaxed)
    }

    /// Tasks that ended with a value.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        self.0.succeeded.load(Ordering::Relaxed)
    }

    /// Tasks that ended without one.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Attempts that failed and are followed by another.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.0.retried.load(Ordering::Relaxed)
    }

    /// Attempts that were handed back.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.0.released.load(Ordering::Relaxed)
    }

    /// Tasks that were cancelled, before or while they ran here.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// Tasks whose deadline passed before they could start.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.0.expired.load(Ordering::Relaxed)
    }

    /// Messages whose lease was lost, running or not: this worker was frozen
    /// or cut off from NATS for longer than a lease.
    #[must_use]
    pub fn leases_lost(&self) -> u64 {
        self.lost() + self.0.lost_unstarted.load(Ordering::Relaxed)
    }

    /// Outcomes that the server refused because there was one: this worker
    /// was the second finisher.
    #[must_use]
    pub fn outcomes_refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Why the worker cannot make progress, in a sentence; none if it can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.0.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Attempts that ended, one way or another.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.succeeded()
            + self.failed()
            + self.retried()
            + self.released()
            + self.cancelled()
            + self.expired()
            + self.lost()
    }

    /// Attempts that run now.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.started().saturating_sub(self.finished())
    }

    pub(super) fn count_start(&self) {
        self.0.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_success(&self) {
        self.0.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_retry(&self) {
        self.0.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_release(&self) {
        self.0.released.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_cancel(&self) {
        self.0.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_expiry(&self) {
        self.0.expired.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_loss(&self) {
        self.0.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_loss_unstarted(&self) {
        self.0.lost_unstarted.fetch_add(1, Ordering::Relaxed);
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
