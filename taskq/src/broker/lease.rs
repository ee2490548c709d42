//! What this worker holds and must keep alive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::error::Result;

/// The deliveries that this worker holds, from receipt to settlement. Read
/// from the lease thread, so its lock is held for a moment only.
#[derive(Debug)]
pub(crate) struct Leases {
    /// How long a delivery is held without being renewed.
    term: Duration,
    held: Mutex<HashMap<u64, Held>>,
}

/// Keys are unique in the process: workers may share a broker.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[derive(Debug)]
struct Held {
    address: Arc<str>,
    renewed: Instant,
}

impl Leases {
    pub(super) fn new(term: Duration) -> Self {
        Self {
            term,
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a delivery is held without being renewed.
    pub(crate) fn term(&self) -> Duration {
        self.term
    }

    /// Starts to hold a delivery.
    pub(super) fn hold(&self, address: Arc<str>, now: Instant) -> u64 {
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        let renewed = now;
        self.held().insert(key, Held { address, renewed });
        key
    }

    /// Holds it no longer.
    pub(super) fn release(&self, key: u64) {
        self.held().remove(&key);
    }

    /// The deliveries that were last renewed a third of the term ago or
    /// more; they count as renewed from now on.
    pub(crate) fn take_due(&self, now: Instant) -> Vec<Arc<str>> {
        let third = self.term / 3;
        self.held()
            .values_mut()
            .filter(|held| now.duration_since(held.renewed) >= third)
            .map(|held| {
                held.renewed = now;
                Arc::clone(&held.address)
            })
            .collect()
    }
}

/// Tells the broker that deliveries are still being worked on. It has a
/// connection of its own, so that it owes nothing to the runtime that the
/// tasks share.
pub(crate) trait LeaseKeeper: Send {
    fn connect(&mut self) -> BoxFuture<'_, Result<()>>;

    fn renew(&mut self, addresses: Vec<Arc<str>>) -> BoxFuture<'_, Result<()>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_due_after_a_third_of_its_term_and_not_after_its_release() {
        let leases = Leases::new(Duration::from_secs(6));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let key = leases.hold("a".into(), start);
        leases.hold("b".into(), at(1));
        assert!(leases.take_due(at(1)).is_empty());
        assert_eq!(leases.take_due(at(2)), vec![Arc::from("a")]);
        assert!(leases.take_due(at(2)).is_empty());
        leases.release(key);
        assert_eq!(leases.take_due(at(9)), vec![Arc::from("b")]);
        assert_eq!(leases.held().len(), 1);
    }
}
