//! How urgent a call is.

use std::fmt;
use std::str::FromStr;

use crate::{SyntaxError, nearest};

/// How urgent a call is, among the calls of one queue.
///
/// Ordered: `Low < Normal < High < Critical`. Written `low`, `normal`, `high`,
/// `critical`.
///
/// ```
/// use taskq_syntax::Priority;
///
/// assert_eq!("high".parse(), Ok(Priority::High));
/// assert_eq!(Priority::default().to_string(), "normal");
/// assert!(Priority::High > Priority::Normal);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Work that can wait.
    Low,
    /// What a call has unless it says otherwise.
    #[default]
    Normal,
    /// Before normal work.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    /// Every priority, from the lowest to the highest.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The word for this priority, as it is written in options, labels and subjects.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        if let Some(priority) = Self::ALL.into_iter().find(|p| p.as_str() == text) {
            return Ok(priority);
        }
        let words = Self::ALL.map(Self::as_str);
        let guess = match nearest(text, words) {
            Some(word) => format!("did you mean `{word}`? The priorities are"),
            None => "write one of".to_owned(),
        };
        Err(SyntaxError::new(format!(
            "`{text}` is not a priority; {guess} `low`, `normal`, `high` and `critical`"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_priority_reads_back() {
        for priority in Priority::ALL {
            assert_eq!(priority.to_string().parse(), Ok(priority));
        }
        assert!(Priority::ALL.is_sorted());
    }

    #[test]
    fn an_unknown_priority_lists_those_there_are() {
        assert_eq!(
            "hihg".parse::<Priority>().unwrap_err().to_string(),
            "`hihg` is not a priority; did you mean `high`? \
             The priorities are `low`, `normal`, `high` and `critical`"
        );
        assert_eq!(
            "7".parse::<Priority>().unwrap_err().to_string(),
            "`7` is not a priority; write one of `low`, `normal`, `high` and `critical`"
        );
        assert!("High".parse::<Priority>().is_err());
    }
}
