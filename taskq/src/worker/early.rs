//! Deliveries that came a moment before their time: a short delay, or a
//! short wait before a retry. They take no slot, and are this worker's under
//! their leases like any other that it holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::execute::{Executor, Incoming};
use super::slots::{self, Slots};
use crate::broker::Delivery;
use crate::message::{TaskDefaults, TaskMessage};
use crate::policy::early;
use crate::time::Timestamp;

/// The most deliveries that a worker keeps so. What is more goes back to the
/// queue until its time.
const MOST: usize = 10_000;

/// What comes so late is looked up before it runs.
const LATE: Duration = Duration::from_secs(1);

/// What waits for its time.
#[derive(Default)]
pub(super) struct Early {
    state: Mutex<State>,
    changed: Notify,
    /// How many deliveries the slots may hold, running and waiting.
    room: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// By due time, and by a number that keeps the order of equals.
    held: BTreeMap<(Timestamp, u64), Delivery>,
    count: u64,
    closed: bool,
}

impl Early {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many deliveries the slots may hold from now on.
    pub(super) fn set_room(&self, room: usize) {
        self.room.store(room, Ordering::Relaxed);
    }

    /// Keeps a delivery until it is due, or gives it back where it cannot.
    fn keep(&self, due: Timestamp, delivery: Delivery) -> Option<Delivery> {
        let mut state = self.state();
        if state.closed || state.held.len() >= MOST {
            return Some(delivery);
        }
        state.count += 1;
        let number = state.count;
        state.held.insert((due, number), delivery);
        drop(state);
        self.changed.notify_one();
        None
    }

    /// What is due, and when the next will be.
    fn take_due(&self, now: Timestamp) -> (Vec<Delivery>, Option<Timestamp>) {
        let mut state = self.state();
        let mut due = Vec::new();
        while let Some(entry) = state.held.first_entry() {
            if now < entry.key().0 {
                return (due, Some(entry.key().0));
            }
            due.push(entry.remove());
        }
        (due, None)
    }

    /// Gives what was kept.
    pub(super) fn take_all(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.state().held)
            .into_values()
            .collect()
    }

    /// Keeps nothing more, and gives what was kept.
    pub(super) fn close(&self) -> Vec<Delivery> {
        let mut state = self.state();
        state.closed = true;
        std::mem::take(&mut state.held).into_values().collect()
    }
}

impl Executor {
    /// Keeps a delivery that came before its time; gives back what is to run
    /// now.
    pub(super) fn keep_early(
        &self,
        message: TaskMessage,
        mut delivery: Delivery,
    ) -> Option<(TaskMessage, Delivery)> {
        let now = self.client.0.broker.now();
        let wait = message
            .labels
            .due()
            .and_then(|due| Some((due, early(due, delivery.stored_at, now)?)));
        let Some((due, wait)) = wait else {
            // A server that was killed gives its queues once more what fell
            // due shortly before, as if for the first time.
            let is_late = |due| now.since(due) >= LATE;
            delivery.doubtful |= message.labels.due().is_some_and(is_late);
            return Some((message, delivery));
        };
        // By this machine's clock at most so long, whatever the label says.
        let due = due.min(now.plus(wait));
        if let Some(delivery) = self.early.keep(due, delivery) {
            let defaults = TaskDefaults::default();
            let incoming = Incoming::new(delivery, message, &self.registry, &defaults);
            self.release(incoming, wait);
        }
        None
    }
}

/// Starts what is kept when it is due; goes on until it is dropped.
pub(super) struct Starting(JoinHandle<()>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn start(executor: Arc<Executor>, slots: Arc<Slots>) -> Starting {
    Starting(tokio::spawn(async move {
        let early = &executor.early;
        loop {
            let changed = early.changed.notified();
            let now = executor.client.0.broker.now();
            let (due, next) = early.take_due(now);
            for delivery in due {
                // What would wait behind a long task here may run elsewhere.
                if slots.held() < early.room.load(Ordering::Relaxed) {
                    slots::offer(&executor, &slots, vec![delivery]);
                } else {
                    executor.hand_back(delivery).await;
                }
            }
            let wait = next.map_or(Duration::MAX, |next| next.since(now));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }))
}
