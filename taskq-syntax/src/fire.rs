//! What becomes of a fire that meets the one before, or that comes too late.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{SyntaxError, format_duration, nearest, parse_duration};

/// What becomes of a fire of a schedule while an earlier one has not ended.
///
/// Written `allow`, `skip`, `queue one`, `replace`.
///
/// ```
/// use taskq_syntax::Overlap;
///
/// assert_eq!("queue one".parse(), Ok(Overlap::QueueOne));
/// assert_eq!(Overlap::default().to_string(), "allow");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// Both run.
    #[default]
    Allow,
    /// The later one ends without a run.
    Skip,
    /// The later one waits for the earlier one to end; when one waits already, the
    /// later ends without a run.
    QueueOne,
    /// The earlier one is cancelled, and the later one runs when it has ended.
    Replace,
}

impl Overlap {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Skip, Self::QueueOne, Self::Replace];

    /// The policy as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
            Self::QueueOne => "queue one",
            Self::Replace => "replace",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Overlap {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        // A shell and an environment like it without the space.
        let plain = text.replace(['_', '-'], " ");
        if let Some(overlap) = Self::ALL.into_iter().find(|it| it.as_str() == plain) {
            return Ok(overlap);
        }
        let words = Self::ALL.map(Self::as_str);
        let guess = match nearest(&plain, words) {
            Some(word) => format!("did you mean `{word}`? The policies are"),
            None => "write one of".to_owned(),
        };
        Err(SyntaxError::new(format!(
            "`{text}` is not an overlap policy; {guess} `allow`, `skip`, `queue one` and `replace`"
        )))
    }
}

/// What becomes of a fire of a schedule that could not start near its time.
///
/// Written `skip`, `once`, `all(10m)`.
///
/// ```
/// use std::time::Duration;
/// use taskq_syntax::Misfire;
///
/// assert_eq!("all(10m)".parse(), Ok(Misfire::All(Duration::from_secs(600))));
/// assert_eq!(Misfire::default().to_string(), "once");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Misfire {
    /// It is not made up for.
    Skip,
    /// Of all that were missed, the latest runs.
    #[default]
    Once,
    /// All run that are not longer ago than this.
    All(Duration),
}

impl fmt::Display for Misfire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip => f.pad("skip"),
            Self::Once => f.pad("once"),
            Self::All(window) => f.pad(&format!("all({})", format_duration(*window))),
        }
    }
}

impl FromStr for Misfire {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let window = text
            .strip_prefix("all(")
            .and_then(|rest| rest.strip_suffix(')'));
        match (text, window) {
            ("skip", _) => Ok(Self::Skip),
            ("once", _) => Ok(Self::Once),
            (_, Some(window)) => Ok(Self::All(parse_duration(window.trim())?)),
            _ => Err(SyntaxError::new(format!(
                "`{text}` is not a misfire policy; write `skip`, `once`, or `all(10m)` for all \
                 that are at most so long ago"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_reads_back() {
        for overlap in Overlap::ALL {
            assert_eq!(overlap.to_string().parse(), Ok(overlap));
        }
        assert_eq!("queue_one".parse(), Ok(Overlap::QueueOne));
        let window = Misfire::All(Duration::from_secs(90));
        for misfire in [Misfire::Skip, Misfire::Once, window] {
            assert_eq!(misfire.to_string().parse(), Ok(misfire));
        }
    }

    #[test]
    fn an_unknown_policy_lists_those_there_are() {
        let error = "replcae".parse::<Overlap>().unwrap_err().to_string();
        assert!(error.contains("did you mean `replace`?"), "{error}");
        let error = "all".parse::<Misfire>().unwrap_err().to_string();
        assert!(error.contains("`all(10m)`"), "{error}");
        let error = "all(10)".parse::<Misfire>().unwrap_err().to_string();
        assert!(error.contains("no unit"), "{error}");
    }
}
