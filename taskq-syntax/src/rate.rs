//! How often something may begin.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{SyntaxError, format_duration, parse_duration};

/// How often something may begin: so many in so long.
///
/// Written `100/s`, `600/min`, `20/h`, `1000/d`, or over any length of time,
/// `5/10s`.
///
/// ```
/// use std::time::Duration;
/// use taskq_syntax::Rate;
///
/// let rate: Rate = "600/min".parse().unwrap();
/// assert_eq!((rate.count(), rate.per()), (600, Duration::from_secs(60)));
/// assert_eq!(rate.to_string(), "600/min");
/// assert!("0/s".parse::<Rate>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Duration,
}

/// The most that a rate allows: one in a microsecond.
const MOST_A_SECOND: u128 = 1_000_000;

/// The units that stand alone, and their lengths in seconds.
const UNITS: [(&str, u64); 5] = [
    ("s", 1),
    ("min", 60),
    ("m", 60),
    ("h", 3600),
    ("d", 24 * 3600),
];

impl Rate {
    /// So many in so long; none for a rate of nothing, over no time, or of
    /// more than one in a microsecond.
    #[must_use]
    pub const fn new(count: u32, per: Duration) -> Option<Self> {
        let nanos = per.as_nanos();
        if count == 0 || nanos == 0 || count as u128 * 1_000_000_000 > MOST_A_SECOND * nanos {
            return None;
        }
        Some(Self { count, per })
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// In how long.
    #[must_use]
    pub const fn per(self) -> Duration {
        self.per
    }

    /// From one to the next, when they come evenly.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.per / self.count
    }

    /// How many a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS
            .iter()
            .find(|(_, seconds)| Duration::from_secs(*seconds) == self.per);
        match unit {
            Some((unit, _)) => f.pad(&format!("{}/{unit}", self.count)),
            None => f.pad(&format!("{}/{}", self.count, format_duration(self.per))),
        }
    }
}

impl FromStr for Rate {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let refuse = || {
            SyntaxError::new(format!(
                "`{text}` is not a rate; write how many in how long, such as `100/s`, `600/min`, \
                 `20/h` or `5/10s`"
            ))
        };
        let (count, per) = text.split_once('/').ok_or_else(refuse)?;
        let (count, per) = (count.trim(), per.trim());
        let count: u32 = count.parse().map_err(|_| refuse())?;
        let unit = UNITS.iter().find(|(unit, _)| *unit == per);
        let per = match unit {
            Some((_, seconds)) => Duration::from_secs(*seconds),
            None => parse_duration(per).map_err(|_| refuse())?,
        };
        Self::new(count, per).ok_or_else(|| {
            SyntaxError::new(format!(
                "`{text}` is no rate that can be kept; it is at least 1, and at most 1000000/s"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_and_written_alike() {
        for (text, count, seconds, written) in [
            ("100/s", 100, 1, "100/s"),
            ("6000/m", 6000, 60, "6000/min"),
            ("6000/min", 6000, 60, "6000/min"),
            (" 20 / h ", 20, 3600, "20/h"),
            ("1/d", 1, 86_400, "1/d"),
            ("5/10s", 5, 10, "5/10s"),
            ("5/2m", 5, 120, "5/2m"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.count(), count, "{text}");
            assert_eq!(rate.per(), Duration::from_secs(seconds), "{text}");
            assert_eq!(rate.to_string(), written);
            assert_eq!(written.parse(), Ok(rate));
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_how_to_write_one() {
        for bad in [
            "",
            "100",
            "/s",
            "x/s",
            "-1/s",
            "0/s",
            "1/0s",
            "1/x",
            "1/s/s",
            "9999999/s",
        ] {
            let refused = bad.parse::<Rate>().unwrap_err().to_string();
            assert!(refused.contains("rate"), "{bad}: {refused}");
        }
    }
}
