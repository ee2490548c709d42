//! Up to where all messages that waited have been released, so that they are
//! removed by one request: a request each is most of what a turn costs.

use std::collections::VecDeque;

/// What is at each place, from a first one on.
#[derive(Debug)]
pub(super) struct Places {
    /// Nothing waits before it.
    floor: u64,
    /// Whether a message waits at each place from there on.
    waits: VecDeque<bool>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            floor: 1,
            waits: VecDeque::new(),
        }
    }

    /// A message waits there. Places come in order.
    pub(super) fn enter(&mut self, place: u64) {
        if let Some(at) = self.at(place) {
            self.waits.resize(self.waits.len().max(at + 1), false);
            self.waits[at] = true;
        }
    }

    /// The message there is released, and to be removed.
    pub(super) fn leave(&mut self, place: u64) {
        if let Some(at) = self.at(place)
            && let Some(waits) = self.waits.get_mut(at)
        {
            *waits = false;
        }
    }

    /// The first place at which a message waits, of those before `end`, which
    /// are all known; `end` if none does.
    pub(super) fn floor(&mut self, end: u64) -> u64 {
        while self.floor < end && self.waits.front() != Some(&true) {
            self.waits.pop_front();
            self.floor += 1;
        }
        self.floor
    }

    fn at(&self, place: u64) -> Option<usize> {
        usize::try_from(place.checked_sub(self.floor)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nothing that waits is ever before the floor, and the floor stands
        /// at the first that does.
        #[test]
        fn the_floor_is_the_first_that_waits(
            gaps in prop::collection::vec(1..4u64, 1..200),
            leaves in prop::collection::vec(0..200usize, 0..200),
        ) {
            let mut places = Places::new();
            let mut waiting = BTreeSet::new();
            let mut next = 0;
            let mut leaves = leaves.into_iter();
            for gap in gaps {
                next += gap;
                places.enter(next);
                waiting.insert(next);
                if let Some(n) = leaves.next()
                    && let Some(place) = waiting.iter().nth(n % waiting.len().max(1)).copied()
                {
                    waiting.remove(&place);
                    places.leave(place);
                }
                let floor = places.floor(next + 1);
                prop_assert_eq!(floor, waiting.first().copied().unwrap_or(next + 1));
            }
        }
    }
}
