//! When something recurs: `0 9 * * MON-FRI`, `@hourly`, `every 15m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use croner::Cron as Pattern;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;

use crate::{SyntaxError, format_duration, nearest, parse_duration};

/// The shortest interval: the server's timer and a queue have to keep up.
const SHORTEST: Duration = Duration::from_secs(1);

/// Words for common patterns.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// When something recurs.
///
/// A cron pattern of five fields (minute, hour, day of the month, month, day of the
/// week) or six (seconds first), one of `@hourly @daily @midnight @weekly @monthly
/// @yearly @annually`, or `every 15m`.
///
/// ```
/// use taskq_syntax::Cadence;
///
/// let weekdays: Cadence = "0 9 * * MON-FRI".parse()?;
/// assert!(matches!(weekdays, Cadence::Cron(_)));
/// let often: Cadence = "every 15m".parse()?;
/// assert_eq!(often.to_string(), "every 15m");
/// # Ok::<(), taskq_syntax::SyntaxError>(())
/// ```
#[derive(Debug, Clone)]
pub enum Cadence {
    /// At the times of a clock on a wall.
    Cron(Box<Cron>),
    /// At equal distances.
    Every(Duration),
}

/// A cron pattern.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    pattern: Pattern,
    every_hour: bool,
}

impl Cron {
    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names every hour of the day, so that it counts real time: a
    /// minute past each hour is that of each hour which passes, also when the
    /// clock goes through an hour twice, or skips one.
    #[must_use]
    pub fn is_of_every_hour(&self) -> bool {
        self.every_hour
    }

    /// The pattern in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let words = self.pattern.describe();
        words.trim_end_matches('.').to_owned()
    }

    /// The first time that a clock on the wall shows after this one (or that it
    /// shows now, if `inclusive`) and that the pattern names; none if there is none
    /// in the calendar.
    #[must_use]
    pub fn next(&self, wall: DateTime, inclusive: bool) -> Option<DateTime> {
        self.pattern.find_next_occurrence(&wall, inclusive).ok()
    }
}

impl Cadence {
    /// The cadence in words, without its time zone.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Cron(cron) => cron.describe(),
            Self::Every(period) => format!("Every {}", format_duration(*period)),
        }
    }
}

impl PartialEq for Cadence {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cron(one), Self::Cron(other)) => one.text == other.text,
            (Self::Every(one), Self::Every(other)) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron(cron) => f.write_str(&cron.text),
            Self::Every(period) => write!(f, "every {}", format_duration(*period)),
        }
    }
}

impl FromStr for Cadence {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let text = text.trim();
        let refuse = |why: String| SyntaxError::new(format!("`{text}` is no schedule: {why}"));
        let period = text
            .strip_prefix("every ")
            .or_else(|| text.strip_prefix("@every "));
        if let Some(period) = period {
            let period = parse_duration(period.trim())?;
            if period < SHORTEST {
                return Err(refuse(
                    "the shortest interval is one second; write `every 1s` or longer".to_owned(),
                ));
            }
            if !period.subsec_nanos().is_multiple_of(1_000_000) {
                return Err(refuse(
                    "an interval has whole milliseconds; round it".to_owned(),
                ));
            }
            return Ok(Self::Every(period));
        }
        if text.starts_with('@') {
            let lower = text.to_ascii_lowercase();
            let word = WORDS.iter().find(|(word, _)| *word == lower);
            let Some((_, pattern)) = word else {
                let all = WORDS.map(|(word, _)| word);
                let guess = match nearest(&lower, all) {
                    Some(word) => format!("did you mean `{word}`? The words are"),
                    None => "the words are".to_owned(),
                };
                let all = all.map(|word| format!("`{word}`")).join(", ");
                return Err(refuse(format!("{guess} {all} and `@every 15m`")));
            };
            return Ok(Self::Cron(Box::new(cron(text, pattern).map_err(refuse)?)));
        }
        Ok(Self::Cron(Box::new(cron(text, text).map_err(refuse)?)))
    }
}

/// Reads a pattern; or why it is none, with what to write.
fn cron(text: &str, pattern: &str) -> Result<Cron, String> {
    const FIELDS: &str = "write five fields (minute, hour, day of the month, month, day of the \
                          week) such as `0 9 * * MON-FRI`, six with the seconds first, a word \
                          such as `@hourly`, or an interval such as `every 15m`";
    let count = pattern.split_whitespace().count();
    if count != 5 && count != 6 {
        let s = if count == 1 { "" } else { "s" };
        return Err(format!(
            "a cron pattern has 5 or 6 fields and this has {count} field{s}; {FIELDS}"
        ));
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        .build();
    let parsed = parser.parse(pattern).map_err(|error| {
        let why = match error {
            croner::errors::CronError::ComponentError(why)
            | croner::errors::CronError::IllegalCharacters(why)
            | croner::errors::CronError::InvalidPattern(why) => why,
            other => other.to_string(),
        };
        format!("{}; {FIELDS}", why.trim_end_matches('.'))
    })?;
    let hours = 0..24;
    let every_hour = hours
        .into_iter()
        .all(|hour| parsed.pattern.hour_match(hour).unwrap_or(false));
    let cron = Cron {
        text: text.to_owned(),
        pattern: parsed,
        every_hour,
    };
    if cron
        .next(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true)
        .is_none()
    {
        return Err("no day is such a day; look at its day of the month and its month".to_owned());
    }
    Ok(cron)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Cadence, String> {
        text.parse().map_err(|error: SyntaxError| error.to_string())
    }

    fn next(text: &str, wall: &str) -> String {
        match read(text).unwrap() {
            Cadence::Cron(cron) => cron.next(wall.parse().unwrap(), false).unwrap().to_string(),
            Cadence::Every(_) => unreachable!(),
        }
    }

    #[test]
    fn five_fields_are_minutes_and_six_are_seconds() {
        assert_eq!(
            next("*/5 * * * *", "2026-01-01T00:01:00"),
            "2026-01-01T00:05:00"
        );
        assert_eq!(
            next("*/5 * * * * *", "2026-01-01T00:01:00"),
            "2026-01-01T00:01:05"
        );
        assert_eq!(
            next("0 9 * * MON-FRI", "2026-11-27T09:00:00"),
            "2026-11-30T09:00:00"
        );
        assert_eq!(
            next("0 0 29 2 *", "2026-01-01T00:00:00"),
            "2028-02-29T00:00:00"
        );
    }

    #[test]
    fn a_word_stands_for_its_pattern_and_is_kept_as_it_was_written() {
        for (word, pattern) in WORDS {
            let now = "2026-05-05T05:05:05";
            assert_eq!(next(word, now), next(pattern, now), "{word}");
            assert_eq!(read(word).unwrap().to_string(), word);
        }
        assert_eq!(read("@every 15m").unwrap(), read("every 900s").unwrap());
    }

    #[test]
    fn only_a_pattern_of_every_hour_counts_real_time() {
        for (text, every) in [
            ("30 * * * *", true),
            ("* 0-23 * * *", true),
            ("0 */2 * * *", false),
            ("0 9 * * *", false),
        ] {
            let Cadence::Cron(cron) = read(text).unwrap() else {
                unreachable!()
            };
            assert_eq!(cron.is_of_every_hour(), every, "{text}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_told_with_the_mend() {
        for (text, told) in [
            ("", "has 0 fields"),
            ("0 9 * *", "5 or 6 fields and this has 4 fields"),
            ("0 25 * * *", "25"),
            ("0 9 * * MOO", "illegal character"),
            ("0 0 30 2 *", "no day is such a day"),
            ("@hourli", "did you mean `@hourly`?"),
            ("every 15", "has no unit"),
            ("every 10ms", "shortest interval is one second"),
            ("0 0 0 1 1 * 2030", "7 fields"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_pattern_is_told_in_words() {
        let words = read("0 9 * * MON-FRI").unwrap().describe();
        assert!(words.contains("09:00") || words.contains("9:00"), "{words}");
        assert!(words.contains("Monday"), "{words}");
    }
}
