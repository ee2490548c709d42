//! The places that attempts run in, and what waits for one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::execute::Executor;
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

    /// Adds deliveries, and tells how many runners to start for them. Gives
    /// them back where nothing is started any more.
    fn add(&self, deliveries: Vec<Delivery>) -> Result<usize, Vec<Delivery>> {
        let mut state = self.state();
        if state.closed {
            return Err(deliveries);
        }
        for delivery in deliveries {
            let place = 3 - delivery.priority as usize;
            state.ready[place].push_back(delivery);
        }
        let waiting: usize = state.ready.iter().map(VecDeque::len).sum();
        let start = waiting.min(self.most - state.running);
        state.running += start;
        Ok(start)
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

    /// Whether a delivery waits here whose message this finds.
    pub(super) fn any_waits(&self, is_it: impl Fn(&Delivery) -> bool) -> bool {
        self.state().ready.iter().flatten().any(is_it)
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

    /// Gives what has not been started.
    pub(super) fn take_waiting(&self) -> Vec<Delivery> {
        let mut state = self.state();
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

/// Adds deliveries, and starts runners for them as far as there are slots.
pub(super) fn offer(executor: &Arc<Executor>, slots: &Arc<Slots>, deliveries: Vec<Delivery>) {
    let runners = match slots.add(deliveries) {
        Ok(runners) => runners,
        Err(deliveries) => {
            let executor = Arc::clone(executor);
            tokio::spawn(async move {
                for delivery in deliveries {
                    executor.hand_back(delivery).await;
                }
            });
            return;
        }
    };
    for _ in 0..runners {
        let (executor, slots) = (Arc::clone(executor), Arc::clone(slots));
        tokio::spawn(async move {
            while let Some(delivery) = slots.next() {
                executor.execute(delivery).await;
                // Short tasks must not keep others from the thread.
                tokio::task::consume_budget().await;
            }
        });
    }
}
