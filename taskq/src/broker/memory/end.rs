//! A worker's side of the memory.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::{EndNumber, Memory, Message};
use crate::broker::{Deliveries, Delivery, Leases, Receipt, Room, Settlement, Settler};
use crate::policy::Portions;
use crate::time::Timestamp;

/// What a worker takes.
pub(super) struct Intake {
    pub(super) end: Arc<End>,
    pub(super) queues: Vec<String>,
    /// How the room is divided among the queues; none if only priorities
    /// count.
    pub(super) portions: Option<Portions>,
}

/// A worker's end. What it still holds when it is gone is delivered again.
pub(super) struct End {
    pub(super) number: EndNumber,
    pub(super) memory: Arc<Memory>,
    pub(super) leases: Arc<Leases>,
    pub(super) held: Mutex<HashSet<u64>>,
    pub(super) refused: AtomicU64,
}

impl End {
    fn held(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deliveries for Intake {
    fn next(&mut self, room: Room) -> BoxFuture<'_, Option<Vec<Delivery>>> {
        Box::pin(async move {
            loop {
                let changed = self.end.memory.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let now = Timestamp::now();
                let (taken, due) = {
                    let mut store = self.end.memory.store();
                    let due = store.promote(now, Some(self.end.number));
                    let turn = store.release(&self.queues, room.free, now);
                    let due = due.into_iter().chain(turn).min();
                    let portions = self.portions.as_mut();
                    let (taken, next) = store.take(&self.queues, portions, &room, now);
                    let deliveries: Vec<Delivery> = taken
                        .into_iter()
                        .map(|message| {
                            let lease = self.end.leases.hold("".into(), Instant::now());
                            self.end.held().insert(lease);
                            let delivery = deliver(&message, lease);
                            store.running.insert(lease, message);
                            delivery
                        })
                        .collect();
                    (deliveries, due.into_iter().chain(next).min())
                };
                if !taken.is_empty() {
                    return Some(taken);
                }
                let wait = due.map_or(Duration::from_secs(3600), |due| {
                    due.since(now).max(Duration::from_millis(1))
                });
                let _ = tokio::time::timeout(wait, changed).await;
            }
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        ready(Vec::new()).boxed()
    }
}

fn deliver(message: &Message, lease: u64) -> Delivery {
    Delivery {
        permit: None,
        unwanted: false,
        body: message.publication.body.clone(),
        queue: message.publication.queue.as_str().into(),
        priority: message.publication.priority,
        stored_at: message.stored_at,
        doubtful: false,
        receipt: Receipt {
            lease,
            deliveries: message.deliveries,
            address: "".into(),
            turn: None,
        },
    }
}

impl Settler for End {
    fn settle(&self, receipt: Receipt, settlement: Settlement) {
        self.held().remove(&receipt.lease);
        self.leases.release(receipt.lease);
        if !self.memory.end(self.number, &receipt, settlement) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn unconfirmed(&self) -> usize {
        0
    }

    fn confirmed(&self) -> u64 {
        0
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let held: Vec<u64> = self.held().drain().collect();
        if held.is_empty() {
            return;
        }
        let mut store = self.memory.store();
        for lease in held {
            if let Some(message) = store.running.remove(&lease) {
                store.give_back(message, Duration::ZERO);
            }
        }
        drop(store);
        self.memory.changed.notify_waiters();
    }
}
