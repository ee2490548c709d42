//! What this worker holds and must keep alive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::error::Result;

/// The deliveries that this worker holds, from receipt to settlement. Read
/// from the lease thread, so its lock is held for a moment only.
///
/// A lease is this worker's for as long as the broker has confirmed, less a
/// margin for what was on its way. Past that the broker may have given the
/// message to another, and nothing that this worker does with it counts: the
/// lease is lost, by this worker's own clock and without asking anybody.
#[derive(Debug)]
pub(crate) struct Leases {
    /// How long a delivery is held without being renewed.
    term: Duration,
    /// Whether a lease can be lost at all.
    can_end: bool,
    /// Whether the broker did not confirm when it was last asked.
    failing: AtomicBool,
    /// How many renewals the broker has confirmed.
    renewed: AtomicU64,
    /// The milliseconds of the oldest lease that was renewed.
    oldest: AtomicU64,
    awake: Mutex<Awake>,
    held: Mutex<HashMap<u64, Held>>,
}

/// After a stall, what comes for so long may have been under way for as long
/// as that took.
const SETTLING: Duration = Duration::from_millis(500);
/// A turn may be late by so much on a busy machine, however short the lease.
const JITTER: Duration = Duration::from_millis(200);

/// Whether this process, and its connection, have been awake.
#[derive(Debug, Default)]
struct Awake {
    /// When the lease thread last turned; none before its first turn.
    ticked: Option<Instant>,
    /// When the last stall began, and when it ended.
    stalled: Option<(Instant, Instant)>,
}

/// Keys are unique in the process: workers may share a broker.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[derive(Debug)]
struct Held {
    address: Arc<str>,
    /// When the broker was last asked to renew it.
    asked: Instant,
    /// From when on the broker is known to count its term.
    sure: Instant,
    /// Given up by this worker: lost, and not told yet.
    given_up: bool,
    lost: bool,
}

impl Leases {
    /// Leases of a broker that gives a message to another when its term is
    /// over.
    pub(crate) fn new(term: Duration) -> Self {
        Self {
            term,
            can_end: true,
            failing: AtomicBool::new(false),
            renewed: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            awake: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// Leases that last as long as the worker.
    pub(super) fn endless(term: Duration) -> Self {
        Self {
            can_end: false,
            ..Self::new(term)
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a delivery is held without being renewed.
    pub(crate) fn term(&self) -> Duration {
        self.term
    }

    /// How long a lease counts without a confirmation: the term, less what
    /// the delivery or the confirmation may have been under way.
    fn safe(&self) -> Duration {
        self.term - self.term / 6
    }

    /// Whether leases cannot be renewed now. Who cannot keep what it has must
    /// not take more.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    pub(crate) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Release);
    }

    fn awake(&self) -> MutexGuard<'_, Awake> {
        self.awake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease thread turns. A turn that is late tells that this process
    /// was frozen.
    pub(crate) fn tick(&self, now: Instant) {
        let mut awake = self.awake();
        if let Some(ticked) = awake.ticked
            && self.is_late(ticked, now)
        {
            awake.stalled = Some((ticked, now));
        }
        awake.ticked = Some(now);
    }

    /// The connection was silent since then, for too long, and speaks again.
    pub(super) fn stall(&self, since: Instant, now: Instant) {
        self.awake().stalled = Some((since, now));
    }

    /// Less than that is part of every lease's margin.
    fn is_late(&self, ticked: Instant, now: Instant) -> bool {
        now.saturating_duration_since(ticked) > (self.term / 6).max(JITTER)
    }

    /// Since when what comes now may have been under way. Its lease counts
    /// from then, and may be another worker's by now, whatever it says.
    fn under_way(&self, now: Instant) -> Instant {
        let awake = self.awake();
        let settling = |ended: Instant| now.saturating_duration_since(ended) < SETTLING;
        match *awake {
            Awake {
                ticked: Some(ticked),
                ..
            } if self.is_late(ticked, now) => ticked,
            Awake {
                stalled: Some((since, ended)),
                ..
            } if settling(ended) => since,
            _ => now,
        }
    }

    /// Starts to hold a delivery.
    pub(crate) fn hold(&self, address: Arc<str>, now: Instant) -> u64 {
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        let since = self.under_way(now);
        let held = Held {
            address,
            asked: since,
            sure: since,
            given_up: false,
            lost: false,
        };
        self.held().insert(key, held);
        key
    }

    /// Holds it no longer.
    pub(crate) fn release(&self, key: u64) {
        self.held().remove(&key);
    }

    /// Whether a delivery is this worker's at this moment.
    pub(crate) fn is_held(&self, key: u64, now: Instant) -> bool {
        if !self.can_end {
            return true;
        }
        let safe = self.safe();
        self.held().get(&key).is_some_and(|held| {
            !held.lost && !held.given_up && now.saturating_duration_since(held.sure) < safe
        })
    }

    /// The deliveries for which the broker was last asked a third of the
    /// term ago or more; they count as asked for from now on.
    pub(crate) fn take_due(&self, now: Instant) -> Vec<(u64, Arc<str>)> {
        let third = self.term / 3;
        self.held()
            .iter_mut()
            .filter(|(_, held)| {
                let due = now.saturating_duration_since(held.asked) >= third;
                !held.lost && !held.given_up && due
            })
            .map(|(key, held)| {
                held.asked = now;
                (*key, Arc::clone(&held.address))
            })
            .collect()
    }

    /// The broker has renewed these when, or after, it was asked.
    pub(crate) fn confirm(&self, keys: impl IntoIterator<Item = u64>, asked: Instant) {
        let mut all = self.held();
        let mut renewed = 0;
        let mut oldest = Duration::ZERO;
        for key in keys {
            renewed += 1;
            if let Some(held) = all.get_mut(&key) {
                oldest = oldest.max(asked.saturating_duration_since(held.sure));
                held.sure = held.sure.max(asked);
            }
        }
        self.renewed.fetch_add(renewed, Ordering::Relaxed);
        let oldest = u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX);
        self.oldest.fetch_max(oldest, Ordering::Relaxed);
    }

    /// How old a lease has become at most before its renewal was asked for.
    pub(crate) fn oldest(&self) -> Duration {
        Duration::from_millis(self.oldest.load(Ordering::Relaxed))
    }

    /// How many the broker has renewed so far.
    pub(crate) fn renewed(&self) -> u64 {
        self.renewed.load(Ordering::Relaxed)
    }

    /// The broker did not answer for these: they are due again.
    pub(crate) fn ask_again(&self, keys: impl IntoIterator<Item = u64>) {
        let mut all = self.held();
        for key in keys {
            if let Some(held) = all.get_mut(&key) {
                held.asked = held.sure;
            }
        }
    }

    /// Gives a delivery up as if its lease were over: from now on nothing
    /// that is done with it counts, and the broker gives it to another when
    /// the lease ends.
    ///
    /// False if it was given up, or lost, before.
    pub(crate) fn give_up(&self, key: u64) -> bool {
        let mut all = self.held();
        match all.get_mut(&key) {
            Some(held) if !held.given_up && !held.lost => {
                held.given_up = true;
                true
            }
            _ => false,
        }
    }

    /// The deliveries that are lost since this was last asked.
    pub(crate) fn take_lost(&self, now: Instant) -> Vec<u64> {
        let safe = self.safe();
        self.held()
            .iter_mut()
            .filter(|(_, held)| {
                let over = now.saturating_duration_since(held.sure) >= safe;
                !held.lost && (held.given_up || over)
            })
            .map(|(key, held)| {
                held.lost = true;
                *key
            })
            .collect()
    }

    /// For how long the broker has not confirmed a lease that was asked for.
    pub(crate) fn unconfirmed(&self, now: Instant) -> Duration {
        self.held()
            .values()
            .map(|held| now.saturating_duration_since(held.sure))
            .max()
            .unwrap_or_default()
    }
}

/// Tells the broker that deliveries are still being worked on. It has a
/// connection of its own, so that it owes nothing to the runtime that the
/// tasks share.
pub(crate) trait LeaseKeeper: Send {
    fn connect(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Ok when the broker has answered.
    fn probe(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Ok when the broker has confirmed that it counts anew.
    fn renew(&mut self, addresses: Vec<Arc<str>>) -> BoxFuture<'_, Result<()>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_is_due_after_a_third_of_its_term_and_not_after_its_release() {
        let leases = Leases::new(Duration::from_secs(6));
        let start = Instant::now();
        let due = |seconds| -> Vec<String> {
            let due = leases.take_due(at(start, seconds));
            due.iter().map(|(_, address)| address.to_string()).collect()
        };
        let key = leases.hold("a".into(), start);
        leases.hold("b".into(), at(start, 1));
        assert!(due(1).is_empty());
        assert_eq!(due(2), ["a"]);
        assert!(due(2).is_empty());
        leases.release(key);
        assert_eq!(due(9), ["b"]);
        assert_eq!(leases.held().len(), 1);
    }

    #[test]
    fn a_lease_that_nobody_confirms_is_lost_before_its_term_is_over() {
        let leases = Leases::new(Duration::from_secs(6));
        let start = Instant::now();
        let key = leases.hold("a".into(), start);
        assert!(leases.is_held(key, at(start, 4)));
        leases.confirm([key], at(start, 2));
        assert!(leases.is_held(key, at(start, 6)));
        assert!(leases.take_lost(at(start, 6)).is_empty());
        assert!(!leases.is_held(key, at(start, 7)));
        assert_eq!(leases.take_lost(at(start, 7)), [key]);
        assert!(leases.take_lost(at(start, 8)).is_empty());
        // What is lost stays so, whatever the broker says later.
        leases.confirm([key], at(start, 8));
        assert!(!leases.is_held(key, at(start, 8)));
        assert!(leases.take_due(at(start, 9)).is_empty());
    }

    #[test]
    fn what_comes_after_a_freeze_counts_from_its_start() {
        let leases = Leases::new(Duration::from_secs(6));
        let start = Instant::now();
        leases.tick(start);
        let key = leases.hold("a".into(), at(start, 1));
        assert!(leases.is_held(key, at(start, 1)));
        // Frozen: the lease thread has not turned for 5 seconds, and then it
        // does.
        let early = leases.hold("b".into(), at(start, 5));
        assert!(!leases.is_held(early, at(start, 5)));
        leases.tick(at(start, 5));
        let late = leases.hold("c".into(), at(start, 5));
        assert!(!leases.is_held(late, at(start, 5)));
        leases.tick(at(start, 6));
        let fresh = leases.hold("d".into(), at(start, 6));
        assert!(leases.is_held(fresh, at(start, 6)));
        // A shorter one takes a part of the lease, and it is to be renewed
        // the sooner.
        leases.tick(at(start, 9));
        let shortened = leases.hold("e".into(), at(start, 9));
        assert!(leases.is_held(shortened, at(start, 10)));
        assert!(!leases.is_held(shortened, at(start, 11)));
        let due = leases.take_due(at(start, 9));
        assert!(due.iter().any(|(key, _)| *key == shortened));
    }

    #[test]
    fn a_renewal_that_failed_is_due_at_once() {
        let leases = Leases::new(Duration::from_secs(6));
        let start = Instant::now();
        let key = leases.hold("a".into(), start);
        assert_eq!(leases.take_due(at(start, 2)).len(), 1);
        assert!(leases.take_due(at(start, 3)).is_empty());
        leases.ask_again([key]);
        assert_eq!(leases.take_due(at(start, 3)).len(), 1);
    }

    #[test]
    fn what_is_given_up_counts_no_longer_and_is_told_as_lost() {
        let leases = Leases::new(Duration::from_secs(6));
        let start = Instant::now();
        let key = leases.hold("a".into(), start);
        assert!(leases.give_up(key) && !leases.give_up(key));
        assert!(!leases.is_held(key, start));
        // Nor is it renewed, whatever was asked before.
        assert!(leases.take_due(at(start, 3)).is_empty());
        leases.confirm([key], at(start, 3));
        assert!(!leases.is_held(key, at(start, 3)));
        assert_eq!(leases.take_lost(at(start, 3)), [key]);
        assert!(leases.take_lost(at(start, 4)).is_empty());
        leases.release(key);
        assert!(!leases.give_up(key));
    }

    #[derive(Clone, Debug)]
    enum Doing {
        /// Confirms what was asked for so long ago.
        Confirm(u64),
        AskAgain,
        TakeDue,
        TakeLost,
    }

    fn doing() -> impl Strategy<Value = Doing> {
        prop_oneof![
            (0u64..9000).prop_map(Doing::Confirm),
            Just(Doing::AskAgain),
            Just(Doing::TakeDue),
            Just(Doing::TakeLost),
        ]
    }

    proptest! {
        /// Whatever is asked, answered and looked at, and when: a lease
        /// counts for five sixths of its term since it was last sure, and one
        /// that was lost never counts again.
        #[test]
        fn a_lease_never_counts_for_longer_than_it_is_sure(
            steps in prop::collection::vec((0u64..3000, doing()), 0..60)
        ) {
            let leases = Leases::new(Duration::from_secs(6));
            let start = Instant::now();
            let at = |millis| start + Duration::from_millis(millis);
            let key = leases.hold("a".into(), start);
            let (mut now, mut sure, mut lost) = (0, 0, false);
            for (pause, step) in steps {
                now += pause;
                match step {
                    Doing::Confirm(ago) => {
                        let asked = now.saturating_sub(ago);
                        leases.confirm([key], at(asked));
                        sure = sure.max(asked);
                    }
                    Doing::AskAgain => leases.ask_again([key]),
                    Doing::TakeDue => {
                        let due = leases.take_due(at(now));
                        prop_assert!(due.is_empty() || !lost);
                        // Not twice in a third of the term.
                        prop_assert!(leases.take_due(at(now)).is_empty());
                    }
                    Doing::TakeLost => {
                        let gone = leases.take_lost(at(now));
                        prop_assert_eq!(!gone.is_empty(), !lost && now - sure >= 5000);
                        lost |= !gone.is_empty();
                    }
                }
                prop_assert_eq!(leases.is_held(key, at(now)), !lost && now - sure < 5000);
            }
            leases.release(key);
            prop_assert!(!leases.is_held(key, at(now)));
        }
    }
}
