//! What a client has sent, by task type.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::OTHER;

/// So many names are told apart.
const MOST_NAMES: usize = 512;
/// Room for twice as many, so that a name is found within a few steps.
const ROOM: usize = 2 * MOST_NAMES;

/// Counts by name, without a lock and with a bound: who sends by name only can
/// choose any, and those are one name unless the name is known.
pub(crate) struct Sent {
    names: Box<[(OnceLock<Box<str>>, AtomicU64)]>,
    /// How many places are taken.
    taken: AtomicU64,
    other: AtomicU64,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            names: (0..ROOM).map(|_| Default::default()).collect(),
            taken: AtomicU64::new(0),
            other: AtomicU64::new(0),
        }
    }
}

/// Where a name is counted; none for all that are not known.
pub(crate) type Place = Option<u16>;

impl Sent {
    /// The place of a name that is known from now on, while there is one.
    pub(crate) fn know(&self, name: &str) -> Place {
        self.find(name, true)
    }

    /// The place of a name, if it is known.
    pub(crate) fn place(&self, name: &str) -> Place {
        self.find(name, false)
    }

    fn find(&self, name: &str, add: bool) -> Place {
        // FNV-1a: short names, and nothing to gain by a collision.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let start = usize::try_from(hash % ROOM as u64).unwrap_or(0);
        for step in 0..ROOM {
            let place = (start + step) % ROOM;
            let taken = &self.names[place].0;
            if taken.get().is_none() {
                if !add || self.taken.load(Ordering::Relaxed) >= MOST_NAMES as u64 {
                    return None;
                }
                if taken.set(name.into()).is_ok() {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                }
            }
            if taken.get().is_some_and(|taken| **taken == *name) {
                return u16::try_from(place).ok();
            }
        }
        None
    }

    pub(crate) fn count(&self, place: Place) {
        let counter = place.map_or(&self.other, |place| &self.names[usize::from(place)].1);
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The names and their counts, sorted by name; the last is of all others.
    pub(crate) fn counts(&self) -> Vec<(&str, u64)> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let known = self.names.iter();
        let mut counts: Vec<(&str, u64)> = known
            .filter_map(|(name, counter)| Some((&**name.get()?, count(counter))))
            .collect();
        counts.sort_unstable();
        counts.push((OTHER, count(&self.other)));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_one_and_there_is_an_end_to_what_is() {
        let sent = Sent::default();
        let place = sent.know("a");
        assert!(place.is_some());
        assert_eq!(sent.place("a"), place);
        sent.count(place);
        sent.count(sent.know("a"));
        sent.count(sent.place("chosen by a stranger"));
        assert_eq!(sent.counts(), [("a", 2), (OTHER, 1)]);
        for n in 0..2000 {
            sent.count(sent.know(&n.to_string()));
        }
        let counts = sent.counts();
        assert_eq!(counts.len(), MOST_NAMES + 1);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 2003);
    }
}
