//! How late tasks start that were put off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the classes that lateness is counted in; what is
/// later than the last is in the last class of all, which has no bound.
const BOUNDS: [Duration; 12] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(600),
];

/// How late the attempts of a worker started that were put off: delays, and
/// retries. By the server's clock, to the millisecond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lateness {
    /// How many attempts were put off.
    pub count: u64,
    /// How late they were together.
    pub sum: Duration,
    /// How late the latest was.
    pub max: Duration,
    /// How many were at most so late, for each bound; each counts those of
    /// the bounds before it too, as in a histogram of Prometheus.
    pub buckets: Vec<(Duration, u64)>,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// In milliseconds.
    sum: AtomicU64,
    max: AtomicU64,
    /// How many are in each class, the last without a bound.
    classes: [AtomicU64; BOUNDS.len() + 1],
}

impl Counted {
    pub(super) fn count(&self, late: Duration) {
        let class = BOUNDS.iter().position(|bound| late <= *bound);
        self.classes[class.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        self.sum.fetch_add(millis, Ordering::Relaxed);
        self.max.fetch_max(millis, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Lateness {
        let mut count = 0;
        let classes: Vec<u64> = self
            .classes
            .iter()
            .map(|class| {
                count += class.load(Ordering::Relaxed);
                count
            })
            .collect();
        Lateness {
            count,
            sum: Duration::from_millis(self.sum.load(Ordering::Relaxed)),
            max: Duration::from_millis(self.max.load(Ordering::Relaxed)),
            buckets: BOUNDS.into_iter().zip(classes).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_lateness_is_in_all_classes_from_its_own_on(
            late in prop::collection::vec(0u64..700_000, 0..50)
        ) {
            let counted = Counted::default();
            for millis in &late {
                counted.count(Duration::from_millis(*millis));
            }
            let read = counted.read();
            prop_assert_eq!(read.count, late.len() as u64);
            prop_assert_eq!(read.sum, Duration::from_millis(late.iter().sum()));
            prop_assert_eq!(read.max, Duration::from_millis(late.iter().copied().max().unwrap_or(0)));
            for (bound, count) in read.buckets {
                let within = late.iter().filter(|late| Duration::from_millis(**late) <= bound);
                prop_assert_eq!(count, within.count() as u64);
            }
        }
    }
}
