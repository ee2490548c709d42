//! The places that attempts run in, and what waits for one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::execute::Executor;
use crate::broker::{Delivery, Room};

/// At most so many runners, each of which takes one delivery after the other
/// for as long as there are any.
///
/// Of the tasks that compute only so many run at once as there are seats for
/// them. Whose turn it is not steps aside, and takes no slot meanwhile: others,
/// which need no processor to speak of, start before it.
pub(super) struct Slots {
    most: usize,
    /// How many may compute at once.
    seats: usize,
    state: Mutex<State>,
    freed: Notify,
}

struct State {
    /// The most urgent first.
    ready: Lanes,
    /// Those that wait for a seat, likewise.
    aside: Lanes,
    /// Those that have one included.
    running: usize,
    computing: usize,
    closed: bool,
}

/// Deliveries by their urgency.
type Lanes = [VecDeque<Delivery>; 4];

/// What a delivery runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// A slot: it may wait there, and not compute.
    Slot,
    /// A slot, and a seat among those that compute.
    Computing,
}

fn place(delivery: &Delivery) -> usize {
    3 - delivery.priority as usize
}

fn count(lanes: &Lanes) -> usize {
    lanes.iter().map(VecDeque::len).sum()
}

fn take_all(lanes: &mut Lanes) -> impl Iterator<Item = Delivery> {
    lanes.iter_mut().flat_map(std::mem::take)
}

impl Slots {
    pub(super) fn new(most: usize, seats: usize) -> Self {
        Self {
            most,
            seats,
            state: Mutex::new(State {
                ready: Default::default(),
                aside: Default::default(),
                computing: 0,
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
            state.ready[place(&delivery)].push_back(delivery);
        }
        let waiting = count(&state.ready);
        let start = waiting.min(self.most - state.running);
        state.running += start;
        Ok(start)
    }

    /// The next delivery of a runner. A runner that gets none has ended.
    pub(super) fn next(&self) -> Option<(Delivery, Seat)> {
        let mut state = self.state();
        let next = if state.closed {
            None
        } else {
            state.next(self.seats)
        };
        if next.is_none() {
            state.running -= 1;
        }
        drop(state);
        self.freed.notify_one();
        next
    }

    /// The delivery of a runner computes, and the runner goes on with another
    /// until there is a seat for it. Given back where nothing is started any
    /// more.
    fn step_aside(&self, delivery: Delivery) -> Option<Delivery> {
        let mut state = self.state();
        if state.closed {
            return Some(delivery);
        }
        state.aside[place(&delivery)].push_back(delivery);
        None
    }

    /// A runner's delivery has ended that had a seat.
    fn leave_seat(&self) {
        self.state().computing -= 1;
    }

    /// What a delivery waits for whose message this finds; none if it is not
    /// here.
    pub(super) fn waits_for(&self, is_it: impl Fn(&Delivery) -> bool) -> Option<&'static str> {
        let state = self.state();
        if state.ready.iter().flatten().any(&is_it) {
            return Some("a free slot");
        }
        let aside = state.aside.iter().flatten().any(is_it);
        aside.then_some("others that compute")
    }

    /// Takes out a delivery that waits here, whose message this finds.
    pub(super) fn take(&self, is_it: impl Fn(&Delivery) -> bool) -> Option<Delivery> {
        let mut state = self.state();
        let State { ready, aside, .. } = &mut *state;
        let taken = ready.iter_mut().chain(aside).find_map(|lane| {
            let place = lane.iter().position(&is_it)?;
            lane.remove(place)
        });
        drop(state);
        if taken.is_some() {
            // There is room for another.
            self.freed.notify_one();
        }
        taken
    }

    /// How many deliveries are held: running and waiting.
    pub(super) fn held(&self) -> usize {
        let state = self.state();
        state.running + count(&state.ready) + count(&state.aside)
    }

    /// What there is room for where so many may be held, besides those that
    /// wait for a seat; and nothing of the queues that these come from, as long
    /// as there is one of them for each seat.
    pub(super) fn room(&self, most: usize) -> Room {
        let state = self.state();
        let mut aside: HashMap<&Arc<str>, usize> = HashMap::new();
        for delivery in state.aside.iter().flatten() {
            *aside.entry(&delivery.queue).or_default() += 1;
        }
        let full = aside.into_iter().filter(|queue| queue.1 >= self.seats);
        Room {
            free: most.saturating_sub(state.running + count(&state.ready)),
            full: full.map(|queue| Arc::clone(queue.0)).collect(),
        }
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
        state.take_waiting()
    }

    /// Gives what has not been started.
    pub(super) fn take_waiting(&self) -> Vec<Delivery> {
        self.state().take_waiting()
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

impl State {
    fn next(&mut self, seats: usize) -> Option<(Delivery, Seat)> {
        for place in 0..self.ready.len() {
            // Who has stepped aside has waited for longer.
            if self.computing < seats
                && let Some(delivery) = self.aside[place].pop_front()
            {
                self.computing += 1;
                return Some((delivery, Seat::Computing));
            }
            if let Some(delivery) = self.ready[place].pop_front() {
                return Some((delivery, Seat::Slot));
            }
        }
        None
    }

    fn take_waiting(&mut self) -> Vec<Delivery> {
        let waiting = take_all(&mut self.ready).chain(take_all(&mut self.aside));
        waiting.collect()
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
            while let Some((delivery, seat)) = slots.next() {
                let aside = executor.execute(delivery, seat).await;
                if seat == Seat::Computing {
                    slots.leave_seat();
                }
                if let Some(delivery) = aside.and_then(|delivery| slots.step_aside(delivery)) {
                    executor.hand_back(delivery).await;
                }
                // Short tasks must not keep others from the thread.
                tokio::task::consume_budget().await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Receipt;
    use crate::time::Timestamp;
    use taskq_syntax::Priority;

    fn delivery(lease: u64, queue: &Arc<str>, priority: Priority) -> Delivery {
        Delivery {
            body: bytes::Bytes::new(),
            queue: Arc::clone(queue),
            priority,
            stored_at: Timestamp::from_millis(0),
            doubtful: false,
            permit: None,
            unwanted: false,
            receipt: Receipt {
                lease,
                deliveries: 1,
                address: "".into(),
                turn: None,
            },
        }
    }

    fn lease(next: Option<(Delivery, Seat)>) -> Option<(u64, Seat)> {
        next.map(|(delivery, seat)| (delivery.receipt.lease, seat))
    }

    #[test]
    fn what_waits_for_a_seat_takes_no_slot_and_gets_one_by_its_urgency() {
        let (deep, plain): (Arc<str>, Arc<str>) = ("deep".into(), "plain".into());
        let slots = Slots::new(4, 1);
        let computing = (1..=3).map(|lease| delivery(lease, &deep, Priority::Normal));
        assert_eq!(slots.add(computing.collect()).unwrap(), 3);
        let steps_aside = |lease| {
            let (delivery, seat) = slots.next().unwrap();
            assert_eq!((delivery.receipt.lease, seat), (lease, Seat::Slot));
            assert!(slots.step_aside(delivery).is_none());
        };
        // Of three runners the first finds a seat, and the others none.
        steps_aside(1);
        assert_eq!(lease(slots.next()), Some((1, Seat::Computing)));
        steps_aside(2);
        steps_aside(3);
        assert_eq!(lease(slots.next()), None);
        assert_eq!(lease(slots.next()), None);
        assert_eq!((slots.running(), slots.held()), (1, 3));
        assert_eq!(
            slots.waits_for(|it| it.receipt.lease == 2),
            Some("others that compute")
        );
        assert_eq!(slots.waits_for(|it| it.receipt.lease == 1), None);
        // As much room as if they were not there, but not for more of them.
        let room = slots.room(4);
        assert_eq!(room.free, 3);
        assert!(room.is_full("deep") && !room.is_full("plain"));

        let others = vec![
            delivery(4, &plain, Priority::High),
            delivery(5, &plain, Priority::Normal),
        ];
        assert_eq!(slots.add(others).unwrap(), 2);
        assert_eq!(lease(slots.next()), Some((4, Seat::Slot)));
        // The first has ended, and its runner goes on.
        slots.leave_seat();
        assert_eq!(lease(slots.next()), Some((2, Seat::Computing)));
        assert_eq!(lease(slots.next()), Some((5, Seat::Slot)));
        assert_eq!(slots.running(), 3);

        let third = |delivery: &Delivery| delivery.receipt.lease == 3;
        assert!(slots.take(third).is_some());
        assert!(slots.take(third).is_none());
        assert!(
            slots
                .step_aside(delivery(3, &deep, Priority::Normal))
                .is_none()
        );
        let left = slots.close();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].receipt.lease, 3);
        let late = slots.step_aside(delivery(6, &deep, Priority::Normal));
        assert!(late.is_some());
    }
}
