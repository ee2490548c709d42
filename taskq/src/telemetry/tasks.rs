//! What a worker counts, by task type.

use std::time::Duration;

use super::OTHER;
use super::cells::{Cells, add};
use super::histogram::{CLASSES, Histogram, class};
use crate::message::{DeadReason, State};

/// So many task types are told apart; those that are one too many are one.
const MOST_TYPES: usize = 500;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed,
    Cancelled,
    Expired,
    /// Another attempt follows.
    Retried,
    /// It was handed back.
    Released,
    /// Its lease was lost.
    Lost,
}

impl End {
    const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::Retried,
        Self::Released,
        Self::Lost,
    ];
}

// The cells of all types together,
const STARTED: usize = 0;
const ENDS: usize = 1;
const TOTALS: usize = ENDS + End::ALL.len();
// and of each.
const DEAD: usize = End::ALL.len();
const WAITS: usize = DEAD + DeadReason::ALL.len();
const WAITED: usize = WAITS + CLASSES;
const RUNS: usize = WAITED + 1;
const RAN: usize = RUNS + CLASSES;
const WIDTH: usize = RAN + 1;

/// The numbers of a worker, by the places of its task types.
#[derive(Debug)]
pub(crate) struct TaskNumbers {
    names: Vec<&'static str>,
    cells: Cells,
}

impl Default for TaskNumbers {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// The numbers of one task type.
#[derive(Clone, Debug)]
pub(crate) struct OfTask {
    pub(crate) name: &'static str,
    pub(crate) wait: Histogram,
    pub(crate) run: Histogram,
    ends: [u64; End::ALL.len()],
    pub(crate) dead: Vec<(DeadReason, u64)>,
}

impl OfTask {
    pub(crate) fn ended(&self, how: End) -> u64 {
        self.ends[how as usize]
    }

    /// How many tasks ended for good, by state.
    pub(crate) fn outcomes(&self) -> [(State, u64); 4] {
        [
            (State::Succeeded, self.ended(End::Succeeded)),
            (State::Failed, self.ended(End::Failed)),
            (State::Cancelled, self.ended(End::Cancelled)),
            (State::Expired, self.ended(End::Expired)),
        ]
    }
}

impl TaskNumbers {
    /// For the types of these names, by their place, and one of all others.
    pub(crate) fn new(mut names: Vec<&'static str>) -> Self {
        names.truncate(MOST_TYPES);
        names.push(OTHER);
        let cells = Cells::new(TOTALS + names.len() * WIDTH);
        Self { names, cells }
    }

    /// Where the cells of a type begin.
    #[inline]
    fn base(&self, place: usize) -> usize {
        TOTALS + place.min(self.names.len() - 1) * WIDTH
    }

    /// Something began: an attempt, or to end a task without one.
    #[inline]
    pub(crate) fn begin(&self) {
        add(self.cells.row(), STARTED, 1);
    }

    /// An attempt began, so long after it could have.
    #[inline]
    pub(crate) fn start(&self, place: usize, waited: Duration) {
        let (row, base) = (self.cells.row(), self.base(place));
        add(row, STARTED, 1);
        add(row, base + WAITS + class(waited), 1);
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        add(row, base + WAITED, millis);
    }

    /// An attempt's function was over after so long.
    #[inline]
    pub(crate) fn run(&self, place: usize, ran: Duration) {
        let (row, base) = (self.cells.row(), self.base(place));
        add(row, base + RUNS + class(ran), 1);
        let micros = u64::try_from(ran.as_micros()).unwrap_or(u64::MAX);
        add(row, base + RAN, micros);
    }

    #[inline]
    pub(crate) fn end(&self, place: usize, how: End) {
        let (row, base) = (self.cells.row(), self.base(place));
        add(row, ENDS + how as usize, 1);
        add(row, base + how as usize, 1);
    }

    /// A task became a dead letter.
    pub(crate) fn dead(&self, place: usize, reason: DeadReason) {
        let place_of = DeadReason::ALL.iter().position(|other| *other == reason);
        if let Some(reason) = place_of {
            add(self.cells.row(), self.base(place) + DEAD + reason, 1);
        }
    }

    /// How much began.
    pub(crate) fn started(&self) -> u64 {
        self.cells.sum(STARTED)
    }

    /// How much ended this way.
    pub(crate) fn ended(&self, how: End) -> u64 {
        self.cells.sum(ENDS + how as usize)
    }

    /// How much ended, one way or another.
    pub(crate) fn finished(&self) -> u64 {
        End::ALL.iter().map(|how| self.ended(*how)).sum()
    }

    /// The numbers of each type; the last are those of all others.
    pub(crate) fn by_task(&self) -> Vec<OfTask> {
        let places = self.names.iter().enumerate();
        places
            .map(|(place, name)| {
                let at = |cell| self.cells.sum(self.base(place) + cell);
                let reasons = DeadReason::ALL.iter().copied();
                OfTask {
                    name,
                    wait: Histogram::of((WAITS..WAITED).map(at), Duration::from_millis(at(WAITED))),
                    run: Histogram::of((RUNS..RAN).map(at), Duration::from_micros(at(RAN))),
                    ends: End::ALL.map(|how| at(how as usize)),
                    dead: (DEAD..)
                        .zip(reasons)
                        .map(|(cell, why)| (why, at(cell)))
                        .collect(),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_numbers_of_its_own_and_the_unknown_are_one() {
        let numbers = TaskNumbers::new(vec!["a", "b"]);
        numbers.start(1, Duration::from_millis(30));
        numbers.run(1, Duration::from_micros(1500));
        numbers.end(1, End::Succeeded);
        for unknown in [2, 3, 700] {
            numbers.begin();
            numbers.end(unknown, End::Failed);
            numbers.dead(unknown, DeadReason::UnknownTask);
        }
        let [a, b, other] = numbers.by_task().try_into().unwrap();
        assert_eq!((a.name, a.wait.count, a.ended(End::Succeeded)), ("a", 0, 0));
        assert_eq!((b.name, b.wait.count, b.run.count), ("b", 1, 1));
        assert_eq!(b.wait.sum, Duration::from_millis(30));
        assert_eq!(b.run.sum, Duration::from_micros(1500));
        assert_eq!(b.outcomes()[0], (State::Succeeded, 1));
        assert_eq!((other.name, other.ended(End::Failed)), (OTHER, 3));
        assert!(other.dead.contains(&(DeadReason::UnknownTask, 3)));
        assert_eq!((numbers.started(), numbers.finished()), (4, 4));
    }
}
