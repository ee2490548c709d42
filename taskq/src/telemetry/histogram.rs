//! How long things took, by classes.

use std::time::Duration;

/// The classes of waits and runs: those of OpenTelemetry's messaging
/// conventions, and some more at both ends. What is longer than the last is in
/// a class of its own.
pub(super) const BOUNDS: [Duration; 16] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1800),
];

/// How many classes there are.
pub(super) const CLASSES: usize = BOUNDS.len() + 1;

/// The class of a duration.
#[inline]
pub(super) fn class(duration: Duration) -> usize {
    // Most are short: no search is faster than to look from the start.
    let class = BOUNDS.iter().position(|bound| duration <= *bound);
    class.unwrap_or(BOUNDS.len())
}

/// A histogram as it was at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    /// How many were at most so long, for each bound; each counts those of the
    /// bounds before it too.
    pub(crate) buckets: Vec<(Duration, u64)>,
    pub(crate) count: u64,
    pub(crate) sum: Duration,
}

impl Histogram {
    /// Of classes that each count their own, the last without a bound.
    pub(super) fn of(classes: impl IntoIterator<Item = u64>, sum: Duration) -> Self {
        let mut count = 0;
        let counts: Vec<u64> = classes
            .into_iter()
            .map(|class| {
                count += class;
                count
            })
            .collect();
        Self {
            buckets: BOUNDS.into_iter().zip(counts).collect(),
            count,
            sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_duration_is_in_all_buckets_from_its_own_on(
            all in prop::collection::vec(0u64..4_000_000, 0..50)
        ) {
            let mut classes = [0; CLASSES];
            for millis in &all {
                classes[class(Duration::from_millis(*millis))] += 1;
            }
            let histogram = Histogram::of(classes, Duration::ZERO);
            prop_assert_eq!(histogram.count, all.len() as u64);
            for (bound, count) in histogram.buckets {
                let within = all.iter().filter(|one| Duration::from_millis(**one) <= bound);
                prop_assert_eq!(count, within.count() as u64);
            }
        }
    }
}
