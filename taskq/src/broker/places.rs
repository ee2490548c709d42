//! What runs on the places of a limited queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The deliveries of this worker that have a place in a limited queue, in the
/// order in which they took it.
#[derive(Debug)]
pub(crate) struct Places {
    leases: Mutex<Vec<u64>>,
    /// Told when one is left.
    left: Arc<Notify>,
}

/// A delivery's place; left when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    places: Arc<Places>,
    lease: u64,
}

impl Places {
    pub(super) fn new(left: Arc<Notify>) -> Self {
        Self {
            leases: Mutex::default(),
            left,
        }
    }

    fn leases(&self) -> MutexGuard<'_, Vec<u64>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for the delivery of this lease.
    pub(super) fn enter(places: &Arc<Self>, lease: u64) -> Permit {
        places.leases().push(lease);
        Permit {
            places: Arc::clone(places),
            lease,
        }
    }

    /// How many have one.
    pub(super) fn taken(&self) -> usize {
        self.leases().len()
    }

    /// Those that were the last to take one, beyond so many.
    pub(super) fn beyond(&self, most: usize) -> Vec<u64> {
        let leases = self.leases();
        leases.get(most..).unwrap_or_default().to_vec()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut leases = self.places.leases();
        if let Some(place) = leases.iter().position(|lease| *lease == self.lease) {
            leases.remove(place);
        }
        drop(leases);
        self.places.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_left_with_its_permit_and_the_last_are_beyond() {
        let places = Arc::new(Places::new(Arc::default()));
        let first = Places::enter(&places, 1);
        let _second = Places::enter(&places, 2);
        let _third = Places::enter(&places, 3);
        assert_eq!((places.taken(), places.beyond(1)), (3, vec![2, 3]));
        drop(first);
        assert_eq!((places.taken(), places.beyond(1)), (2, vec![3]));
        assert!(places.beyond(2).is_empty() && places.beyond(9).is_empty());
    }
}
