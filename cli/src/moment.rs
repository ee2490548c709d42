//! Moments, as they are typed.

use std::str::FromStr;
use std::time::Duration;

use anyhow::anyhow;
use taskq::Timestamp;

/// A moment to come: `2h` (so far from now) or `2026-11-22T04:32:01Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    In(Duration),
    At(Timestamp),
}

impl Ahead {
    /// The moment, where it is `now`.
    pub(crate) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(duration) => now.plus(duration),
            Self::At(time) => time,
        }
    }
}

impl FromStr for Ahead {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(duration) = taskq::parse_duration(text) {
            return Ok(Self::In(duration));
        }
        text.parse().map(Self::At).map_err(|_| {
            anyhow!(
                "`{text}` is no moment; write how far it is from now, like 2h or 30m, or the \
                 time, like 2026-11-22T04:32:01Z"
            )
        })
    }
}

/// A moment of the past: `2h` (so long ago) or `2026-11-22T04:32:01Z`.
pub(crate) fn moment(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(ago) = taskq::parse_duration(text) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        let now = Timestamp::now().as_millis();
        return Ok(Timestamp::from_millis(now.saturating_sub(ago)));
    }
    text.parse().map_err(|_| {
        anyhow!(
            "`{text}` is no moment; write how long ago it was, like 2h or 30m, or the time, like \
             2026-11-22T04:32:01Z"
        )
    })
}

/// Reads `2h` (so long from now) or `2026-11-22T04:32:01Z`.
pub(crate) fn to_come(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(wait) = taskq::parse_duration(text) {
        return Ok(Timestamp::now().plus(wait));
    }
    text.parse().map_err(|_| {
        anyhow!(
            "`{text}` is no moment; write how long it is from now, like 2h or 30m, or the time, \
             like 2026-11-22T04:32:01Z"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_to_come_is_a_time_or_so_far_from_now() {
        let now = Timestamp::from_millis(1_000);
        let from_now = |text: &str| text.parse::<Ahead>().unwrap().from(now);
        assert_eq!(from_now("2s"), Timestamp::from_millis(3_000));
        let told = from_now("2026-11-22T04:32:01Z");
        assert_eq!(told.to_string(), "2026-11-22T04:32:01.000Z");
        let refused = "tomorrow".parse::<Ahead>().unwrap_err().to_string();
        assert!(refused.contains("`tomorrow`"), "{refused}");
    }

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let told = moment("2026-11-22T04:32:01Z").unwrap();
        assert_eq!(told.to_string(), "2026-11-22T04:32:01.000Z");
        let ago = Timestamp::now().since(moment("2h").unwrap());
        assert!((7200..7260).contains(&ago.as_secs()), "{ago:?}");
        let refused = moment("yesterday").unwrap_err().to_string();
        assert!(refused.contains("`yesterday`"), "{refused}");
        assert!(refused.contains("2h"), "{refused}");
    }
}
