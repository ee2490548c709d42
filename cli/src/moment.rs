//! A moment of the past, as it is typed.

use anyhow::anyhow;
use taskq::Timestamp;

/// Reads `2h` (so long ago) or `2026-11-22T04:32:01Z`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
