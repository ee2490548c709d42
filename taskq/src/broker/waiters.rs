//! Who waits for which outcome in this process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::message::{Outcome, TaskId};

type Slot = watch::Sender<Option<Bytes>>;

/// The waiters of one broker.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<TaskId, Slot>>);

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a waiter. `keep` is dropped with it.
    pub(super) fn expect(
        self: &Arc<Self>,
        id: &TaskId,
        keep: Option<Box<dyn Send + Sync>>,
    ) -> Expected {
        let seen = match self.lock().entry(id.clone()) {
            Entry::Occupied(entry) => entry.get().subscribe(),
            Entry::Vacant(entry) => {
                let (slot, seen) = watch::channel(None);
                entry.insert(slot);
                seen
            }
        };
        Expected {
            id: id.clone(),
            seen: Some(seen),
            waiters: Arc::clone(self),
            keep,
        }
    }

    /// Gives an outcome to whoever waits for it. The first one counts.
    pub(super) fn deliver(&self, id: &TaskId, outcome: &[u8]) {
        if let Some(slot) = self.lock().get(id) {
            slot.send_if_modified(|seen| {
                let first = seen.is_none();
                if first {
                    *seen = Some(Bytes::copy_from_slice(outcome));
                }
                first
            });
        }
    }

    /// The ids whose outcome has not come yet.
    pub(super) fn open(&self) -> Vec<TaskId> {
        self.lock()
            .iter()
            .filter(|(_, slot)| slot.borrow().is_none())
            .map(|(id, _)| id.clone())
            .collect()
    }
}

/// An outcome that will be seen when it is recorded, or that has been.
pub(crate) struct Expected {
    id: TaskId,
    seen: Option<watch::Receiver<Option<Bytes>>>,
    waiters: Arc<Waiters>,
    /// A subscription that lasts as long as the wait.
    keep: Option<Box<dyn Send + Sync>>,
}

impl Expected {
    /// Waits for the outcome, however long that takes.
    pub(crate) async fn outcome(&self) -> Result<Outcome> {
        let closed = || {
            Error::new(
                ErrorKind::Closed,
                format!("the client was closed while it waited for task {}", self.id),
            )
        };
        let mut seen = self.seen.clone().ok_or_else(closed)?;
        let outcome = seen
            .wait_for(Option::is_some)
            .await
            .map_err(|_| closed())?
            .clone();
        Outcome::decode(&outcome.unwrap_or_default())
    }

    /// Whether the outcome is here already.
    pub(crate) fn is_here(&self) -> bool {
        self.seen
            .as_ref()
            .is_some_and(|seen| seen.borrow().is_some())
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut waiters = self.waiters.lock();
        self.seen = None;
        if let Entry::Occupied(entry) = waiters.entry(self.id.clone())
            && entry.get().receiver_count() == 0
        {
            entry.remove();
        }
        drop(waiters);
        self.keep = None;
    }
}

impl std::fmt::Debug for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expected")
            .field("id", &self.id)
            .field("here", &self.is_here())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_outcome_reaches_every_waiter_and_a_late_one_nobody() {
        let waiters = Arc::new(Waiters::default());
        let id = TaskId::from("1");
        let one = waiters.expect(&id, None);
        let two = waiters.expect(&id, None);
        waiters.deliver(&id, b"no outcome");
        waiters.deliver(&id, b"another");
        assert!(one.is_here() && two.is_here());
        let error = one.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable);
        assert_eq!(
            error.to_string(),
            two.outcome().await.unwrap_err().to_string()
        );
    }

    #[test]
    fn a_waiter_that_is_gone_leaves_nothing_behind() {
        let waiters = Arc::new(Waiters::default());
        let one = waiters.expect(&"1".into(), None);
        let two = waiters.expect(&"1".into(), None);
        drop(one);
        assert_eq!(waiters.open().len(), 1);
        drop(two);
        assert_eq!(waiters.lock().len(), 0);
    }
}
