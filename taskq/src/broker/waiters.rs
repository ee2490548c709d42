//! Who waits for which outcome in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::denial::Denial;
use crate::error::Result;
use crate::message::TaskId;

/// After so long an outcome that is waited for is looked for, though nothing
/// was told of it: what tells is sent once, and a cluster that is putting
/// itself together again may lose it while every connection stands.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// The longest time between two looks for one outcome; each takes twice as
/// long as the one before.
const LOOK_SELDOM: Duration = Duration::from_secs(60);

/// The waiters of one broker.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    slots: Mutex<HashMap<TaskId, Arc<Slot>>>,
    /// Why no outcome will come, if that is so.
    refused: OnceLock<Denial>,
}

/// Where an outcome is put for those who wait for it.
#[derive(Debug, Default)]
struct Slot {
    outcome: OnceLock<Bytes>,
    filled: Notify,
    /// When to look for it next, once somebody waits for it, and how long
    /// after that again.
    look: Mutex<Option<(Instant, Duration)>>,
}

impl Slot {
    fn look(&self) -> MutexGuard<'_, Option<(Instant, Duration)>> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody waits.
    fn await_it(&self, now: Instant) {
        self.look()
            .get_or_insert((now + LOOK_AFTER, LOOK_AFTER * 2));
    }

    /// Whether it is to be looked for now.
    fn is_overdue(&self, now: Instant) -> bool {
        if self.outcome.get().is_some() {
            return false;
        }
        match &mut *self.look() {
            Some((at, again)) if *at <= now => {
                *at = now + *again;
                *again = (*again * 2).min(LOOK_SELDOM);
                true
            }
            _ => false,
        }
    }
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a waiter. `keep` is dropped with it.
    pub(super) fn expect(
        self: &Arc<Self>,
        id: &TaskId,
        keep: Option<Box<dyn Send + Sync>>,
    ) -> Expected {
        // What came to an earlier waiter may be true no longer: a dead letter
        // that is sent again has another outcome under its id.
        let mut waiters = self.lock();
        if waiters
            .get(id)
            .is_some_and(|slot| slot.outcome.get().is_some())
        {
            waiters.remove(id);
        }
        drop(waiters);
        self.share(id, keep)
    }

    /// Registers a waiter that is content with what came to an earlier one:
    /// where nothing is stored, there is nothing else to be had.
    pub(super) fn share(
        self: &Arc<Self>,
        id: &TaskId,
        keep: Option<Box<dyn Send + Sync>>,
    ) -> Expected {
        let slot = Arc::clone(self.lock().entry(id.clone()).or_default());
        Expected {
            id: id.clone(),
            slot,
            waiters: Arc::clone(self),
            _keep: keep,
        }
    }

    /// Gives an outcome to whoever waits for it. The first one counts.
    pub(super) fn deliver(&self, id: &TaskId, outcome: &[u8]) {
        if let Some(slot) = self.lock().get(id)
            && slot.outcome.set(Bytes::copy_from_slice(outcome)).is_ok()
        {
            slot.filled.notify_waiters();
        }
    }

    /// Tells all that wait that this user may not hear of outcomes.
    pub(super) fn refuse(&self, denial: Denial) {
        if self.refused.set(denial).is_ok() {
            for slot in self.lock().values() {
                slot.filled.notify_waiters();
            }
        }
    }

    /// Whether anybody waits for this outcome, and it has not come yet.
    pub(super) fn wants(&self, id: &TaskId) -> bool {
        self.lock()
            .get(id)
            .is_some_and(|slot| slot.outcome.get().is_none())
    }

    /// The ids whose outcome somebody has waited for so long that it is to be
    /// looked for; each is told once, and again after a while.
    pub(super) fn overdue(&self, now: Instant) -> Vec<TaskId> {
        self.lock()
            .iter()
            .filter(|(_, slot)| slot.is_overdue(now))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// The ids whose outcome has not come yet.
    pub(super) fn open(&self) -> Vec<TaskId> {
        self.lock()
            .iter()
            .filter(|(_, slot)| slot.outcome.get().is_none())
            .map(|(id, _)| id.clone())
            .collect()
    }
}

/// An outcome that will be seen when it is recorded, or that has been.
pub(crate) struct Expected {
    id: TaskId,
    slot: Arc<Slot>,
    waiters: Arc<Waiters>,
    /// A subscription that lasts as long as the wait.
    _keep: Option<Box<dyn Send + Sync>>,
}

impl Expected {
    /// Waits for the outcome, however long that takes, and gives the JSON of
    /// it.
    ///
    /// # Errors
    /// When this user may not hear of outcomes.
    pub(crate) async fn record(&self) -> Result<&Bytes> {
        loop {
            // Listening first and looking then leaves no gap.
            let filled = self.slot.filled.notified();
            if let Some(outcome) = self.slot.outcome.get() {
                return Ok(outcome);
            }
            if let Some(denial) = self.waiters.refused.get() {
                return Err(denial.clone().into_error("waiting for an outcome"));
            }
            self.slot.await_it(Instant::now());
            filled.await;
        }
    }

    /// Whether the outcome is here already.
    pub(crate) fn is_here(&self) -> bool {
        self.slot.outcome.get().is_some()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut waiters = self.waiters.lock();
        let own = waiters
            .get(&self.id)
            .is_some_and(|slot| Arc::ptr_eq(slot, &self.slot));
        // The map's own and this one.
        if own && Arc::strong_count(&self.slot) == 2 {
            waiters.remove(&self.id);
        }
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
        assert_eq!(one.record().await.unwrap(), &b"no outcome"[..]);
        assert_eq!(two.record().await.unwrap(), &b"no outcome"[..]);
    }

    #[tokio::test]
    async fn what_is_waited_for_is_looked_for_ever_more_seldom_and_the_rest_is_not() {
        let waiters = Arc::new(Waiters::default());
        let [one, two] = ["1", "2"].map(TaskId::from);
        let waited_for = waiters.expect(&one, None);
        let _not = waiters.expect(&two, None);
        let now = Instant::now();
        let waiting = tokio::time::timeout(Duration::ZERO, waited_for.record()).await;
        assert!(waiting.is_err());
        let mut looks = Vec::new();
        for second in 0..200 {
            let overdue = waiters.overdue(now + Duration::from_secs(second));
            looks.extend(overdue.into_iter().map(|id| (second, id)));
        }
        assert!(looks.iter().all(|(_, id)| *id == one), "{looks:?}");
        let pauses: Vec<u64> = looks.windows(2).map(|two| two[1].0 - two[0].0).collect();
        assert_eq!(pauses, [10, 20, 40, 60, 60], "{looks:?}");
        waiters.deliver(&one, b"an outcome");
        assert!(waiters.overdue(now + Duration::from_secs(900)).is_empty());
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
