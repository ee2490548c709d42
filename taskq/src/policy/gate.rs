//! Whose turn it is: which of the messages that wait is released next.
//!
//! Each key has a line of its own for each priority, and a turn when it may:
//! when less of it runs than its limit, and its rate allows. Keys take turns in
//! a ring, so none waits for more than one turn of each other; in a turn as
//! many are released as the key has weight. A key that may not is in no ring,
//! and costs nothing until it may again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use taskq_syntax::Priority;

use crate::message::KeyLimits;
use crate::time::Timestamp;

/// The priorities, the most urgent first, and how many turns each has while
/// all have something to give: as the lanes of a worker.
const SHARES: [(Priority, i64); 4] = [
    (Priority::Critical, 8),
    (Priority::High, 4),
    (Priority::Normal, 2),
    (Priority::Low, 1),
];

/// Messages that wait for a turn, and what is known of those that had one.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    flows: HashMap<Arc<str>, Flow<T>>,
    /// The keys that may have a turn, by priority; each once.
    rings: [VecDeque<Arc<str>>; 4],
    /// How far each priority is behind its share.
    owed: [i64; 4],
    /// The keys that their rate holds back, by when it no longer does:
    /// microseconds since 1970.
    later: BTreeSet<(u64, Arc<str>)>,
    waiting: usize,
    released: usize,
    /// Since when what is released is known. What was released before may
    /// have used up any rate.
    since: Option<Timestamp>,
}

#[derive(Debug)]
struct Flow<T> {
    limits: KeyLimits,
    lines: [VecDeque<T>; 4],
    turns: [Turn; 4],
    /// How many were released and have not ended.
    held: u32,
    /// When the next would be due if all had been evenly spread:
    /// microseconds since 1970. None before the first.
    due: Option<u64>,
    /// Where it stands in `later`.
    later: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// Whether the key is in the ring.
    queued: bool,
    /// How many more this turn has.
    left: u32,
}

/// A message whose turn it is. It counts as released.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant<T> {
    pub(crate) key: Arc<str>,
    pub(crate) priority: Priority,
    pub(crate) item: T,
}

impl<T> Gate<T> {
    /// Nothing waits, and nothing is released.
    pub(crate) fn new() -> Self {
        Self {
            flows: HashMap::new(),
            rings: Default::default(),
            owed: [0; 4],
            later: BTreeSet::new(),
            waiting: 0,
            released: 0,
            since: None,
        }
    }

    /// Others have released until now.
    pub(crate) fn taking_over(now: Timestamp) -> Self {
        Self {
            since: Some(now),
            ..Self::new()
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many were released and have not ended.
    pub(crate) fn released(&self) -> usize {
        self.released
    }

    /// A message waits. Its limits count for its key from now on.
    pub(crate) fn enter(&mut self, key: &str, priority: Priority, limits: KeyLimits, item: T) {
        let key = self.flow(key);
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        self.waiting += 1;
        // What held it back may no longer; if it does, its turn will show.
        if (flow.limits != limits || !flow.is_waiting())
            && let Some(until) = flow.later.take()
        {
            self.later.remove(&(until, Arc::clone(&key)));
        }
        flow.limits = limits;
        flow.lines[place(priority)].push_back(item);
        self.line_up(&key);
    }

    /// A message of this key was released before, by another, and has not
    /// ended.
    pub(crate) fn occupy(&mut self, key: &str) -> Arc<str> {
        let key = self.flow(key);
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.held += 1;
            self.released += 1;
        }
        key
    }

    /// A released message of this key has ended.
    pub(crate) fn free(&mut self, key: &Arc<str>) {
        match self.flows.get_mut(key) {
            Some(flow) if flow.held > 0 => flow.held -= 1,
            _ => return,
        }
        self.released -= 1;
        self.line_up(key);
        self.tidy(key, None);
    }

    /// The message whose turn it is; none if none may be released now.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Grant<T>> {
        let now = micros(now);
        self.wake(now);
        loop {
            let class = self.class()?;
            let key = Arc::clone(self.rings[class].front()?);
            let (since, rings) = (self.since, &mut self.rings[class]);
            let Some(flow) = self.flows.get_mut(&key) else {
                rings.pop_front();
                continue;
            };
            let until = flow.held_back(now, since);
            if flow.lines[class].is_empty() || flow.is_full() || until.is_some() {
                rings.pop_front();
                flow.turns[class] = Turn::default();
                match until {
                    Some(until) if flow.later.is_none() && flow.is_waiting() => {
                        flow.later = Some(until);
                        self.later.insert((until, key));
                    }
                    _ => self.tidy(&key, None),
                }
                continue;
            }
            let Some(item) = flow.lines[class].pop_front() else {
                continue;
            };
            self.waiting -= 1;
            flow.held += 1;
            flow.spend(now, since);
            let turn = &mut flow.turns[class];
            if turn.left == 0 {
                turn.left = flow.limits.weight.max(1);
            }
            turn.left -= 1;
            if turn.left == 0 {
                rings.rotate_left(1);
            }
            self.released += 1;
            self.settle_shares(class);
            return Some(Grant {
                key,
                priority: SHARES[class].0,
                item,
            });
        }
    }

    /// What waits, in no order.
    pub(crate) fn items(&self) -> impl Iterator<Item = &T> {
        let lines = self.flows.values().flat_map(|flow| flow.lines.iter());
        lines.flatten()
    }

    /// Takes out what is not to be kept of what waits.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let lines = self.flows.values_mut().flat_map(|flow| &mut flow.lines);
        self.waiting = lines
            .map(|line| {
                line.retain(&keep);
                line.len()
            })
            .sum();
    }

    /// When a rate that holds something back no longer does.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        self.later.first().map(|(until, _)| moment(*until))
    }

    /// Until when its rate holds back a key.
    pub(crate) fn rate_until(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        let flow = self.flows.get(key)?;
        flow.held_back(micros(now), self.since).map(moment)
    }

    /// The key as it is kept, with a flow.
    fn flow(&mut self, key: &str) -> Arc<str> {
        if let Some((key, _)) = self.flows.get_key_value(key) {
            return Arc::clone(key);
        }
        let key: Arc<str> = key.into();
        let flow = Flow {
            limits: KeyLimits::default(),
            lines: Default::default(),
            turns: [Turn::default(); 4],
            held: 0,
            due: None,
            later: None,
        };
        self.flows.insert(Arc::clone(&key), flow);
        key
    }

    /// The priority whose turn it is: of those that have something, the one
    /// that is furthest behind its share.
    fn class(&self) -> Option<usize> {
        (0..SHARES.len())
            .filter(|&class| !self.rings[class].is_empty())
            .max_by_key(|&class| (self.owed[class] + SHARES[class].1, SHARES.len() - class))
    }

    /// A message of this priority had its turn.
    fn settle_shares(&mut self, class: usize) {
        let mut total = 0;
        for (other, (_, share)) in SHARES.iter().enumerate() {
            if other == class || !self.rings[other].is_empty() {
                self.owed[other] += share;
                total += share;
            } else {
                // Who has nothing to give saves nothing up.
                self.owed[other] = 0;
            }
        }
        self.owed[class] -= total;
    }

    /// Puts a key in the rings of all that it has to give, if it may.
    fn line_up(&mut self, key: &Arc<str>) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        if flow.is_full() || flow.later.is_some() {
            return;
        }
        for (class, ring) in self.rings.iter_mut().enumerate() {
            if !flow.turns[class].queued && !flow.lines[class].is_empty() {
                flow.turns[class].queued = true;
                ring.push_back(Arc::clone(key));
            }
        }
    }

    /// Lets keys have turns that their rate no longer holds back.
    fn wake(&mut self, now: u64) {
        while let Some((until, _)) = self.later.first()
            && *until <= now
        {
            let Some((_, key)) = self.later.pop_first() else {
                return;
            };
            if let Some(flow) = self.flows.get_mut(&key) {
                flow.later = None;
            }
            self.line_up(&key);
            self.tidy(&key, Some(now));
        }
    }

    /// Forgets a key of which there is nothing to know: nothing waits,
    /// nothing runs, and its rate is as if nothing ever had.
    fn tidy(&mut self, key: &Arc<str>, now: Option<u64>) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let queued = flow.turns.iter().any(|turn| turn.queued);
        if queued || flow.held > 0 || flow.later.is_some() || flow.is_waiting() {
            return;
        }
        match flow.due {
            Some(due) if flow.limits.rate.is_some() && now.is_none_or(|now| now < due) => {
                flow.later = Some(due);
                self.later.insert((due, Arc::clone(key)));
            }
            _ => {
                self.flows.remove(key);
            }
        }
    }
}

impl<T> Flow<T> {
    fn is_full(&self) -> bool {
        let most = self.limits.concurrency;
        most.is_some_and(|most| self.held >= most)
    }

    fn is_waiting(&self) -> bool {
        self.lines.iter().any(|line| !line.is_empty())
    }

    /// Until when the rate holds it back (GCRA: the next may come early by as
    /// much as a burst is long).
    fn held_back(&self, now: u64, since: Option<Timestamp>) -> Option<u64> {
        let pace = Pace::of(&self.limits)?;
        let due = self.due.unwrap_or_else(|| pace.first(since));
        (due > now.saturating_add(pace.early)).then(|| due - pace.early)
    }

    fn spend(&mut self, now: u64, since: Option<Timestamp>) {
        if let Some(pace) = Pace::of(&self.limits) {
            let due = self.due.unwrap_or_else(|| pace.first(since));
            self.due = Some(due.max(now).saturating_add(pace.interval));
        }
    }
}

/// A rate in microseconds.
struct Pace {
    /// From one to the next.
    interval: u64,
    /// How much sooner than evenly spread one may come.
    early: u64,
}

impl Pace {
    fn of(limits: &KeyLimits) -> Option<Self> {
        /// As exact as the time is known.
        const TICK: u64 = 1000;
        let (rate, burst) = limits.rate?;
        let interval = u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX);
        let interval = interval.max(1);
        let burst = u64::from(burst.max(1) - 1).saturating_mul(interval);
        let early = burst + if interval < TICK { TICK } else { 0 };
        Some(Self { interval, early })
    }

    /// When the first is due. Whoever released before may have done so a
    /// moment ago, so that nothing is left of a burst.
    fn first(&self, since: Option<Timestamp>) -> u64 {
        since.map_or(0, |since| {
            let spent = self.early.saturating_add(self.interval);
            micros(since).saturating_add(spent)
        })
    }
}

fn place(priority: Priority) -> usize {
    let at = SHARES.iter().position(|(other, _)| *other == priority);
    at.unwrap_or(2)
}

fn micros(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis())
        .unwrap_or(0)
        .saturating_mul(1000)
}

/// The first millisecond that is not before.
fn moment(micros: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(micros.div_ceil(1000)).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "gate/tests.rs"]
mod tests;
