//! How long to wait before the next attempt.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{SyntaxError, format_duration, nearest, parse_duration};

/// How long to wait before the next attempt of a task that failed.
///
/// This is the description, as an option and a label carry it; the delays are
/// computed where retries are decided. Built in code, also in a `const`, or read
/// from a text:
///
/// ```
/// use std::time::Duration;
/// use taskq_syntax::Backoff;
///
/// const MAIL: Backoff =
///     Backoff::exponential(Duration::from_secs(1)).max(Duration::from_secs(300));
///
/// assert_eq!("exponential(1s, max 5m)".parse(), Ok(MAIL));
/// assert_eq!(MAIL.without_jitter().to_string(), "exponential(1s, max 5m, no jitter)");
/// ```
///
/// Delays have jitter unless it is turned off: many calls that failed together
/// should not all come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a backoff does nothing until a task or a call is given it"]
pub struct Backoff {
    kind: BackoffKind,
    base: Duration,
    max: Option<Duration>,
    jitter: bool,
}

/// How the delays of a [`Backoff`] grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackoffKind {
    /// The base before every attempt.
    Constant,
    /// The base, twice the base, three times the base, ...
    Linear,
    /// The base, twice the base, four times the base, ...
    Exponential,
}

impl BackoffKind {
    const ALL: [Self; 3] = [Self::Constant, Self::Linear, Self::Exponential];

    /// The word for this kind, as it is written in a backoff's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Exponential => "exponential",
        }
    }
}

impl Backoff {
    const fn new(kind: BackoffKind, base: Duration) -> Self {
        Self {
            kind,
            base,
            max: None,
            jitter: true,
        }
    }

    /// Waits `base` before every attempt.
    pub const fn constant(base: Duration) -> Self {
        Self::new(BackoffKind::Constant, base)
    }

    /// Waits `base`, then twice, then three times `base`, and so on.
    pub const fn linear(base: Duration) -> Self {
        Self::new(BackoffKind::Linear, base)
    }

    /// Waits `base`, then twice, then four times `base`, and so on.
    pub const fn exponential(base: Duration) -> Self {
        Self::new(BackoffKind::Exponential, base)
    }

    /// Never waits longer than `max`.
    pub const fn max(mut self, max: Duration) -> Self {
        self.max = Some(max);
        self
    }

    /// Waits the exact delays, without a random part.
    pub const fn without_jitter(mut self) -> Self {
        self.jitter = false;
        self
    }

    /// How the delays grow.
    #[must_use]
    pub const fn kind(&self) -> BackoffKind {
        self.kind
    }

    /// The delay before the second attempt, which the later ones grow from.
    #[must_use]
    pub const fn base(&self) -> Duration {
        self.base
    }

    /// The longest delay, when one was set with [`max`](Self::max).
    #[must_use]
    pub const fn max_delay(&self) -> Option<Duration> {
        self.max
    }

    /// Whether delays get a random part.
    #[must_use]
    pub const fn has_jitter(&self) -> bool {
        self.jitter
    }
}

/// Writes the text that [`FromStr`] reads, for durations that
/// [`parse_duration`] accepts.
impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            base,
            max,
            jitter,
        } = *self;
        write!(f, "{}({}", kind.as_str(), format_duration(base))?;
        if let Some(max) = max {
            write!(f, ", max {}", format_duration(max))?;
        }
        if !jitter {
            f.write_str(", no jitter")?;
        }
        f.write_str(")")
    }
}

/// Reads `kind(base)`, `kind(base, max limit)`, each with an optional `, no jitter`.
impl FromStr for Backoff {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let refuse = |why: &str| SyntaxError::new(format!("`{text}` is not a backoff: {why}"));

        let (kind, inside) = match text.trim().split_once('(') {
            Some((kind, inside)) => (kind.trim(), inside.strip_suffix(')')),
            None => (text.trim(), None),
        };
        let Some(kind) = BackoffKind::ALL.into_iter().find(|k| k.as_str() == kind) else {
            let kinds = BackoffKind::ALL.map(BackoffKind::as_str);
            let guess = match nearest(kind, kinds) {
                Some(word) => format!("did you mean `{word}`? The kinds are"),
                None => "the kinds are".to_owned(),
            };
            return Err(refuse(&format!(
                "{guess} `constant`, `linear` and `exponential`, as in `exponential(1s, max 5m)`"
            )));
        };
        let Some(inside) = inside else {
            let kind = kind.as_str();
            return Err(refuse(&format!(
                "its durations stand in parentheses; write for example `{kind}(1s, max 5m)`"
            )));
        };

        let duration =
            |word: &str| parse_duration(word).map_err(|error| refuse(&error.to_string()));
        let mut parts = inside.split(',').map(str::trim);
        let mut backoff = Self::new(kind, duration(parts.next().unwrap_or_default())?);
        for part in parts {
            let words: Vec<&str> = part.split_whitespace().collect();
            match words[..] {
                ["max", limit] if backoff.max.is_none() && backoff.jitter => {
                    backoff.max = Some(duration(limit)?);
                }
                ["no", "jitter"] if backoff.jitter => backoff.jitter = false,
                _ => {
                    return Err(refuse(&format!(
                        "`{part}` cannot stand there; after the base come `max` with a duration \
                         and `no jitter`, each at most once, as in \
                         `exponential(1s, max 5m, no jitter)`"
                    )));
                }
            }
        }
        if let Some(max) = backoff.max
            && max < backoff.base
        {
            return Err(refuse(
                "its longest delay is shorter than its base; write a longer `max` or a shorter base",
            ));
        }
        Ok(backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn backoffs_are_read() {
        for (text, backoff) in [
            ("constant(10s)", Backoff::constant(SECOND * 10)),
            ("linear(2s)", Backoff::linear(SECOND * 2)),
            ("exponential(1s)", Backoff::exponential(SECOND)),
            (
                "exponential(1s, max 5m)",
                Backoff::exponential(SECOND).max(SECOND * 300),
            ),
            (
                "exponential(1s, max 5m, no jitter)",
                Backoff::exponential(SECOND)
                    .max(SECOND * 300)
                    .without_jitter(),
            ),
            (
                "constant(1s, no jitter)",
                Backoff::constant(SECOND).without_jitter(),
            ),
            (" linear ( 1s ,max  1m ,no  jitter ) ", {
                Backoff::linear(SECOND).max(SECOND * 60).without_jitter()
            }),
        ] {
            assert_eq!(text.parse(), Ok(backoff), "{text}");
        }
    }

    #[test]
    fn every_refusal_says_the_mend() {
        for (text, mend) in [
            ("", "the kinds are `constant`"),
            ("exponental(1s)", "did you mean `exponential`?"),
            (
                "fibonacci(1s)",
                "is not a backoff: the kinds are `constant`",
            ),
            ("exponential", "write for example `exponential(1s, max 5m)`"),
            ("exponential(1s", "stand in parentheses"),
            ("linear()", "write for example `30s`"),
            ("linear(5)", "write `5s`, `5m` or `5ms`"),
            ("linear(0s)", "longer than zero"),
            (
                "linear(1s, 5m)",
                "`5m` cannot stand there; after the base come `max`",
            ),
            ("linear(1s, max)", "`max` cannot stand there"),
            ("linear(1s, max 5)", "write `5s`, `5m` or `5ms`"),
            ("linear(1s, max 5m, max 6m)", "each at most once"),
            ("linear(1s, no jitter, no jitter)", "each at most once"),
            (
                "linear(1s, no jitter, max 5m)",
                "as in `exponential(1s, max 5m, no jitter)`",
            ),
            ("linear(1s,)", "`` cannot stand there"),
            (
                "linear(5m, max 1s)",
                "write a longer `max` or a shorter base",
            ),
        ] {
            let sentence = text.parse::<Backoff>().unwrap_err().to_string();
            assert!(sentence.contains(mend), "{sentence}");
        }
    }

    fn any_backoff() -> impl Strategy<Value = Backoff> {
        let millis = 1..1_000_000_000u64;
        (
            0..3usize,
            millis.clone(),
            proptest::option::of(millis),
            any::<bool>(),
        )
            .prop_map(|(kind, base, above, jitter)| {
                let base = Duration::from_millis(base);
                let backoff = Backoff::new(BackoffKind::ALL[kind], base);
                let backoff = match above {
                    Some(above) => backoff.max(base + Duration::from_millis(above)),
                    None => backoff,
                };
                if jitter {
                    backoff
                } else {
                    backoff.without_jitter()
                }
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(backoff in any_backoff()) {
            prop_assert_eq!(backoff.to_string().parse(), Ok(backoff));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}|(linear|constant)[(]?[0-9smax, ]{0,20}[)]?") {
            if let Ok(backoff) = text.parse::<Backoff>() {
                prop_assert_eq!(backoff.to_string().parse(), Ok(backoff));
            }
        }
    }
}
