//! The one error of this crate.

use std::fmt;

/// A text that is not what its option asks for.
///
/// Its `Display` is one sentence that says what is wrong, why, and what to write
/// instead. The sentence names the text, but not the option: whoever reads the
/// option adds that.
///
/// ```
/// let error = taskq_syntax::parse_duration("30").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "`30` is not a duration: it has no unit; write `30s`, `30m` or `30ms`"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    sentence: String,
}

impl SyntaxError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for SyntaxError {}
