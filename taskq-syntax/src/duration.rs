//! Durations as people write them: `30s`, `1h30m`, `1.5s`.

use std::time::Duration;

use crate::SyntaxError;

/// The longest duration a text may give: 36,500 days, about a hundred years.
///
/// The bound keeps every accepted duration, and its sum with a present time, inside
/// the signed 64-bit nanoseconds that NATS counts in.
pub const MAX_DURATION: Duration = Duration::from_secs(36_500 * 86_400);

/// Units from the largest to the smallest, with their length in nanoseconds.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("s", NANOS_PER_SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Reads a duration: numbers with a unit (`d`, `h`, `m`, `s`, `ms`, `us`, `ns`),
/// from the largest unit to the smallest, without spaces.
///
/// ```
/// use std::time::Duration;
/// use taskq_syntax::parse_duration;
///
/// assert_eq!(parse_duration("250ms")?, Duration::from_millis(250));
/// assert_eq!(parse_duration("1h30m")?, Duration::from_secs(5400));
/// assert_eq!(parse_duration("1.5s")?, Duration::from_millis(1500));
/// # Ok::<(), taskq_syntax::SyntaxError>(())
/// ```
///
/// # Errors
///
/// A text that is not of this form, zero, negative, finer than a nanosecond, or
/// longer than [`MAX_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, SyntaxError> {
    let refuse = |why: &str| SyntaxError::new(format!("`{text}` is not a duration: {why}"));

    if text.is_empty() {
        return Err(refuse(
            "it is empty; write for example `30s`, `5m` or `1h30m`",
        ));
    }
    if text.starts_with('-') {
        return Err(refuse(
            "it is negative; write a duration longer than zero, for example `30s`",
        ));
    }

    let mut total: u128 = 0;
    let mut largest_left = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        if number.is_empty() {
            return Err(refuse(
                "a number is missing; write numbers with a unit and no spaces, for example `1h30m`",
            ));
        }
        let (unit, after) = split_while(after, |c| c.is_ascii_alphabetic() || c == 'µ');
        if unit.is_empty() {
            return Err(if after.is_empty() {
                refuse(&format!(
                    "it has no unit; write `{number}s`, `{number}m` or `{number}ms`"
                ))
            } else {
                refuse(
                    "a unit must follow each number at once; write for example `1h30m`, without spaces",
                )
            });
        }
        let Some(position) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(refuse(&format!(
                "`{unit}` is not a unit; the units are `d`, `h`, `m`, `s`, `ms`, `us` and `ns`"
            )));
        };
        if position < largest_left {
            return Err(refuse(
                "units go from the largest to the smallest, each once; write for example `1h30m`",
            ));
        }
        largest_left = position + 1;

        let nanos = nanos(number, UNITS[position].1).map_err(refuse)?;
        total = total.saturating_add(nanos);
        rest = after;
    }

    if total == 0 {
        return Err(refuse(
            "it is zero; write a duration longer than zero, for example `30s`",
        ));
    }
    if total > MAX_DURATION.as_nanos() {
        return Err(refuse(TOO_LONG));
    }
    // Both fit: the total is at most MAX_DURATION.
    Ok(Duration::new(
        (total / NANOS_PER_SECOND) as u64,
        (total % NANOS_PER_SECOND) as u32,
    ))
}

const TOO_LONG: &str = "it is longer than 36500d; write a shorter one, for example `365d`";

/// `number`, such as `1` or `1.5`, times `unit` nanoseconds; or why it cannot be.
fn nanos(number: &str, unit: u128) -> Result<u128, &'static str> {
    const MALFORMED: &str = "its number is malformed; write digits with at most one point between them, for example `1.5s`";
    const TOO_FINE: &str = "it is finer than a nanosecond; write fewer decimals";

    let (whole, decimals) = match number.split_once('.') {
        Some((_, decimals)) if decimals.is_empty() || decimals.contains('.') => {
            return Err(MALFORMED);
        }
        Some((whole, decimals)) => (whole, decimals.trim_end_matches('0')),
        None => (number, ""),
    };
    if whole.is_empty() {
        return Err(MALFORMED);
    }
    let whole: u128 = whole.parse().map_err(|_| TOO_LONG)?;
    let whole = whole.checked_mul(unit).ok_or(TOO_LONG)?;
    if decimals.is_empty() {
        return Ok(whole);
    }
    // Twenty decimals times the longest unit fit u128 with room to spare, and no unit
    // has a whole number of nanoseconds after more than sixteen.
    if decimals.len() > 20 {
        return Err(TOO_FINE);
    }
    let numerator: u128 = decimals.parse().map_err(|_| MALFORMED)?;
    let denominator = 10u128.pow(decimals.len() as u32);
    if !(numerator * unit).is_multiple_of(denominator) {
        return Err(TOO_FINE);
    }
    let part = numerator * unit / denominator;
    whole.checked_add(part).ok_or(TOO_LONG)
}

/// Writes a duration in the form that [`parse_duration`] reads, exactly.
///
/// ```
/// use std::time::Duration;
/// use taskq_syntax::format_duration;
///
/// assert_eq!(format_duration(Duration::from_secs(5400)), "1h30m");
/// assert_eq!(format_duration(Duration::from_millis(1500)), "1.5s");
/// assert_eq!(format_duration(Duration::from_millis(250)), "250ms");
/// ```
///
/// Zero is written as `0s`, which `parse_duration` refuses.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in UNITS {
        let whole = rest / length;
        if whole == 0 {
            continue;
        }
        text.push_str(&whole.to_string());
        rest %= length;
        if length <= NANOS_PER_SECOND {
            // Seconds and less are one number with decimals: `1.5s`, not `1s500ms`.
            if rest > 0 {
                let width = length.ilog10() as usize;
                let decimals = format!("{rest:0width$}");
                text.push('.');
                text.push_str(decimals.trim_end_matches('0'));
            }
            text.push_str(unit);
            break;
        }
        text.push_str(unit);
    }
    text
}

/// Splits `text` before its first character that is not `wanted`.
fn split_while(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("250ms", 250),
            ("2d", 172_800_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("0.25h", 900_000),
            ("1m0s", 60_000),
            ("1.50s", 1_500),
            ("36500d", 3_153_600_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("0.000000001s"), Ok(Duration::from_nanos(1)));
        assert_eq!(parse_duration("1.5us"), Ok(Duration::from_nanos(1500)));
        assert_eq!(
            parse_duration("0.0000000000125d"),
            Ok(Duration::from_nanos(1080))
        );
        assert_eq!(parse_duration("0.05us"), Ok(Duration::from_nanos(50)));
    }

    #[test]
    fn every_refusal_says_the_mend() {
        for (text, mend) in [
            ("", "write for example `30s`"),
            ("30", "write `30s`, `30m` or `30ms`"),
            ("1.5", "write `1.5s`, `1.5m` or `1.5ms`"),
            ("0s", "longer than zero"),
            ("0h0m", "longer than zero"),
            ("-5s", "longer than zero"),
            ("5 s", "without spaces"),
            ("1h 30m", "no spaces"),
            (" 1h", "no spaces"),
            ("30m1h", "from the largest to the smallest"),
            ("1s1s", "each once"),
            ("s", "a number is missing"),
            ("5 minutes", "without spaces"),
            ("5min", "the units are `d`"),
            ("5S", "the units are `d`"),
            ("5µs", "the units are `d`"),
            ("1..5s", "at most one point"),
            (".5s", "at most one point"),
            ("5.s", "at most one point"),
            ("0.00000000000012d", "fewer decimals"),
            ("0.00000000000000000000000000001d", "fewer decimals"),
            ("1.5ns", "fewer decimals"),
            ("0.0000000001s", "fewer decimals"),
            ("36501d", "write a shorter one"),
            (
                "99999999999999999999999999999999999999999999d",
                "write a shorter one",
            ),
            (
                "340282366920938463463374607431768211455d",
                "write a shorter one",
            ),
        ] {
            let sentence = parse_duration(text).unwrap_err().to_string();
            assert!(sentence.contains(mend), "{text}: {sentence}");
            assert!(sentence.starts_with(&format!("`{text}` is not a duration: ")));
        }
    }

    #[test]
    fn durations_are_written_short() {
        for text in [
            "1d",
            "1d12h",
            "1h30m",
            "1m1.5s",
            "1m500ms",
            "1.000000001s",
            "250ms",
            "250.5ms",
            "1.5us",
            "7ns",
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(format_duration(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            secs in 0..MAX_DURATION.as_secs(),
            nanos in 0..1_000_000_000u32,
        ) {
            let duration = Duration::new(secs, nanos);
            prop_assume!(!duration.is_zero());
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[0-9.]{0,45}(d|h|m|s|ms|ns|é)?[0-9.]{0,9}(m|s| )?") {
            if let Ok(duration) = parse_duration(&text) {
                prop_assert!(!duration.is_zero() && duration <= MAX_DURATION);
                prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            }
        }
    }
}
