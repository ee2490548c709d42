//! Why a task did not succeed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// In which way an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The task returned an error.
    Error,
    /// The task panicked.
    Panic,
    /// The attempt took longer than the task's timeout.
    Timeout,
    /// The arguments do not fit the task's parameters.
    Arguments,
    /// The message is not one.
    Undecodable,
    /// The worker does not know the task (core mode only, where nothing can
    /// wait for one that does).
    UnknownTask,
    /// The value that the task returned cannot be recorded.
    ReturnValue,
    /// Somebody cancelled it.
    Cancelled,
    /// Its time was over before it started.
    Expired,
    /// Its deadline passed while it ran.
    Deadline,
    /// The workers that ran it died, again and again.
    Crashed,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

/// Why a task did not succeed. Its JSON has the keys that Taskiq gives an
/// exception, and `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "WireFailure", into = "WireFailure")]
pub struct Failure {
    /// In which way.
    pub kind: FailureKind,
    /// The full name of the error's type; empty where there is none.
    pub type_name: String,
    /// What the error says, and what its causes say.
    pub message: String,
    /// Where it happened, if that was captured: the place of a panic, and a
    /// backtrace under `RUST_BACKTRACE=1`.
    pub backtrace: Option<String>,
}

impl Failure {
    /// A failure of taskq's own making.
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            type_name: String::new(),
            message: message.into(),
            backtrace: None,
        }
    }
}

/// The most bytes of an error's message that are recorded.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// An error may quote all that it was given, such as an argument of the wrong
/// type. A record that is too large for the broker would not tell of it at
/// all, so its beginning must do.
pub(crate) fn shortened(mut message: String) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message;
    }
    let whole = message.len();
    let end = (0..=LONGEST_MESSAGE)
        .rev()
        .find(|end| message.is_char_boundary(*end));
    message.truncate(end.unwrap_or(0));
    message.push_str(&format!("… ({whole} bytes in all)"));
    message
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A failure as Taskiq writes an exception.
#[derive(Serialize, Deserialize)]
struct WireFailure {
    #[serde(default = "error_kind")]
    kind: FailureKind,
    exc_type: String,
    exc_message: Vec<serde_json::Value>,
    #[serde(default)]
    exc_module: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backtrace: Option<String>,
}

fn error_kind() -> FailureKind {
    FailureKind::Error
}

impl From<Failure> for WireFailure {
    fn from(failure: Failure) -> Self {
        let (module, name) = match failure.type_name.rsplit_once("::") {
            // `Box<dyn a::Error>` is no path to split.
            Some((module, name)) if !module.contains('<') => {
                (Some(module.to_owned()), name.to_owned())
            }
            _ => (None, failure.type_name),
        };
        Self {
            kind: failure.kind,
            exc_type: name,
            exc_message: vec![failure.message.into()],
            exc_module: module,
            backtrace: failure.backtrace,
        }
    }
}

impl From<WireFailure> for Failure {
    fn from(wire: WireFailure) -> Self {
        let texts: Vec<String> = wire
            .exc_message
            .into_iter()
            .map(|part| match part {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            })
            .collect();
        Self {
            kind: wire.kind,
            type_name: match wire.exc_module {
                Some(module) => format!("{module}::{}", wire.exc_type),
                None => wire.exc_type,
            },
            message: texts.join(", "),
            backtrace: wire.backtrace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_too_long_is_cut_between_characters() {
        assert_eq!(shortened("short".to_owned()), "short");
        let cut = shortened(format!("a{}", "ß".repeat(LONGEST_MESSAGE)));
        assert!(cut.len() < LONGEST_MESSAGE + 100);
        assert!(
            cut.ends_with("ß… (32769 bytes in all)"),
            "{}",
            &cut[cut.len() - 50..]
        );
    }
}
