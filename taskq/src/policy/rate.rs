//! When something may begin that may begin so often only: the generic cell
//! rate algorithm, which is a token bucket in one number.

use taskq_syntax::Rate;

use crate::time::Timestamp;

/// A rate, and how many may begin at once when none has for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// From one to the next, in nanoseconds.
    interval: i64,
    /// How far the number may run ahead of the time.
    ahead: i64,
}

/// What was taken from a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// When each may begin, the earliest first: nanoseconds since 1970.
    pub(crate) starts: Vec<i64>,
    /// The bucket's number from now on.
    pub(crate) number: i64,
    /// When the next will be there.
    pub(crate) next: i64,
}

impl Bucket {
    /// A burst of less than one allows nothing, so it counts as one.
    pub(crate) fn new(rate: Rate, burst: u32) -> Self {
        let interval = i64::try_from(rate.interval().as_nanos())
            .unwrap_or(i64::MAX)
            .max(1);
        Self {
            interval,
            ahead: interval.saturating_mul(i64::from(burst.max(1)) - 1),
        }
    }

    /// Takes up to `most` starts that may be made until `horizon`, which is
    /// now or a little later. `number` is what was left of the last time; 0
    /// at first.
    ///
    /// Of all that is ever taken so, whoever takes it, no stretch of time has
    /// more starts than the burst and what the rate allows in it, as long as
    /// none begins before its time, or long after.
    pub(crate) fn take(self, number: i64, now: i64, horizon: i64, most: usize) -> Taken {
        let mut number = number.max(now);
        let mut starts = Vec::new();
        let start_of = |number: i64| (number - self.ahead).max(now);
        while starts.len() < most && start_of(number) <= horizon {
            starts.push(start_of(number));
            number = number.saturating_add(self.interval);
        }
        Taken {
            starts,
            number,
            next: start_of(number),
        }
    }

    /// When the next start may be made; none if that is now.
    pub(crate) fn until(self, number: i64, now: i64) -> Option<Timestamp> {
        let next = self.take(number, now, now, 0).next;
        (next > now).then(|| Timestamp::from_millis((next + 999_999) / 1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: i64 = 1_000_000_000;

    fn bucket(count: u32, burst: u32) -> Bucket {
        Bucket::new(Rate::new(count, Duration::from_secs(1)).unwrap(), burst)
    }

    #[test]
    fn a_full_bucket_gives_its_burst_at_once_and_then_the_rate() {
        let bucket = bucket(10, 3);
        let taken = bucket.take(0, SECOND, SECOND, 100);
        assert_eq!(taken.starts, [SECOND; 3]);
        assert_eq!(taken.next, SECOND + SECOND / 10);
        assert!(
            bucket
                .take(taken.number, SECOND, SECOND, 1)
                .starts
                .is_empty()
        );
        let until = bucket.until(taken.number, SECOND);
        assert_eq!(until, Some(Timestamp::from_millis(1100)));
        assert_eq!(bucket.until(taken.number, 2 * SECOND), None);
        // Ahead of its time, each with its own.
        let ahead = bucket.take(taken.number, SECOND, SECOND + SECOND / 2, 2);
        assert_eq!(ahead.starts, [11 * SECOND / 10, 12 * SECOND / 10]);
        // After a rest it is full, and no more than full.
        let rested = bucket.take(taken.number, 60 * SECOND, 60 * SECOND, 100);
        assert_eq!(rested.starts.len(), 3);
    }

    proptest! {
        /// Whoever takes, whenever, and however many at a time.
        #[test]
        fn no_stretch_of_time_has_more_starts_than_burst_and_rate(
            count in 1u32..200, burst in 0u32..20,
            takes in prop::collection::vec((0i64..300, 0i64..100, 1usize..30), 1..80),
        ) {
            let bucket = bucket(count, burst);
            let (mut now, mut number) = (SECOND, 0);
            let mut starts = Vec::new();
            for (pause, horizon, most) in takes {
                now += pause * 1_000_000;
                let until = now + horizon * 1_000_000;
                let taken = bucket.take(number, now, until, most);
                prop_assert!(taken.starts.iter().all(|at| (now..=until).contains(at)));
                // What is refused is refused for a reason.
                prop_assert!(taken.starts.len() == most || taken.next > until);
                number = taken.number;
                starts.extend(taken.starts);
            }
            starts.sort_unstable();
            let interval = SECOND / i64::from(count);
            for (place, first) in starts.iter().enumerate() {
                for (more, last) in starts[place..].iter().enumerate() {
                    let allowed = i64::from(burst.max(1)) + (last - first) / interval;
                    prop_assert!((more as i64) < allowed, "{} in {} ns", more + 1, last - first);
                }
            }
        }
    }
}
