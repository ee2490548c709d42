//! Times and lengths of time. Both are ours or std's, so that no other
//! crate's type is part of the public API.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, to the millisecond; RFC 3339 on the wire.
///
/// ```
/// use taskq::Timestamp;
/// let t = Timestamp::from_millis(1_700_000_000_123);
/// assert_eq!(t.to_string(), "2023-11-14T22:13:20.123Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment this is called, by this machine's clock.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// From milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment and `later`, at most the end of time.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        let millis = i64::try_from(later.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was at this moment; zero if it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Self(millis)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        let time: jiff::Timestamp = text.parse()?;
        Ok(Self(time.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Lengths of time that read aloud: `10.minutes()`, `1.hour()`.
///
/// ```
/// use std::time::Duration;
/// use taskq::prelude::*;
/// assert_eq!(10.minutes(), Duration::from_secs(600));
/// assert_eq!(1.hour(), 60.minutes());
/// ```
///
/// A negative number is a length of zero.
pub trait Lengths: Sized {
    /// This many milliseconds.
    fn millis(self) -> Duration;
    /// This many seconds.
    fn seconds(self) -> Duration;
    /// This many minutes.
    fn minutes(self) -> Duration;
    /// This many hours.
    fn hours(self) -> Duration;
    /// This many days of 24 hours.
    fn days(self) -> Duration;
    /// One second reads better in the singular.
    fn second(self) -> Duration {
        self.seconds()
    }
    /// One minute reads better in the singular.
    fn minute(self) -> Duration {
        self.minutes()
    }
    /// One hour reads better in the singular.
    fn hour(self) -> Duration {
        self.hours()
    }
    /// One day reads better in the singular.
    fn day(self) -> Duration {
        self.days()
    }
}

macro_rules! lengths {
    ($($int:ty),*) => {$(
        impl Lengths for $int {
            fn millis(self) -> Duration {
                Duration::from_millis(u64::try_from(self).unwrap_or(0))
            }
            fn seconds(self) -> Duration {
                Duration::from_secs(u64::try_from(self).unwrap_or(0))
            }
            fn minutes(self) -> Duration {
                Duration::from_secs(u64::try_from(self).unwrap_or(0).saturating_mul(60))
            }
            fn hours(self) -> Duration {
                Duration::from_secs(u64::try_from(self).unwrap_or(0).saturating_mul(3600))
            }
            fn days(self) -> Duration {
                Duration::from_secs(u64::try_from(self).unwrap_or(0).saturating_mul(86400))
            }
        }
    )*};
}

lengths!(i32, i64, u32, u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_rfc_3339_and_comes_back() {
        for millis in [0, 1, 999, 1_700_000_000_000, 4_102_444_800_123] {
            let time = Timestamp::from_millis(millis);
            let text = time.to_string();
            assert!(text.ends_with('Z'), "{text}");
            assert_eq!(text.parse::<Timestamp>().unwrap(), time);
        }
    }

    #[test]
    fn an_earlier_moment_is_zero_ago() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(9));
        assert_eq!(late.since(early), Duration::from_millis(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
