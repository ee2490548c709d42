//! The places that attempts run in, and what waits for one.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::broker::Delivery;

/// At most so many runners, each of which takes one delivery after the other
/// for as long as there are any.
pub(super) struct Slots {
    most: usize,
    state: Mutex<State>,
    freed: Notify,
}

struct State {
    /// The most urgent first.
    ready: [VecDeque<Delivery>; 4],
    running: usize,
    closed: bool,
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::new(State {
                ready: Default::default(),
                running: 0,
                closed: false,
            }),
            freed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds deliveries, and tells how many runners to start for them.
    pub(super) fn offer(&self, deliveries: Vec<Delivery>) -> usize {
        let mut state = self.state();
        for delivery in deliveries {
            let place = 3 - delivery.priority as usize;
            state.ready[place].push_back(delivery);
        }
        let waiting: usize = state.ready.iter().map(VecDeque::len).sum();
        let start = waiting.min(self.most - state.running);
        state.running += start;
        start
    }

    /// The next delivery of a runner. A runner that gets none has ended.
    pub(super) fn next(&self) -> Option<Delivery> {
        let mut state = self.state();
        let next = if state.closed {
            None
        } else {
            state.ready.iter_mut().find_map(VecDeque::pop_front)
        };
        if next.is_none() {
            state.running -= 1;
        }
        drop(state);
        self.freed.notify_one();
        next
    }

    /// How many deliveries are held: running and waiting.
    pub(super) fn held(&self) -> usize {
        let state = self.state();
        state.running + state.ready.iter().map(VecDeque::len).sum::<usize>()
    }

    pub(super) fn running(&self) -> usize {
        self.state().running
    }

    /// Waits until a delivery has left.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Starts nothing more, and gives what has not been started.
    pub(super) fn close(&self) -> Vec<Delivery> {
        let mut state = self.state();
        state.closed = true;
        state.ready.iter_mut().flat_map(std::mem::take).collect()
    }

    /// Waits until nothing runs.
    pub(super) async fn idle(&self) {
        loop {
            let freed = self.freed.notified();
            if self.running() == 0 {
                return;
            }
            freed.await;
        }
    }
}
