//! The attempts of a message that failed, carried from one to the next.

use serde::{Deserialize, Serialize};

use super::{Label, Labels, labels};
use crate::failure::Failure;
use crate::time::Timestamp;

/// How many failed attempts a message carries: the first, and the latest.
const MOST: usize = 10;
/// The longest text of an error that is carried, in bytes.
const LONGEST_TEXT: usize = 2 * 1024;
/// The longest backtrace that is carried, in bytes.
const LONGEST_BACKTRACE: usize = 4 * 1024;

/// An attempt that failed: when, where and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// The worker that ran it.
    pub worker: String,
    /// When it started, by the server's clock.
    pub started_at: Timestamp,
    /// When it failed, by the server's clock.
    pub finished_at: Timestamp,
    /// How it failed.
    pub error: Failure,
}

/// The failed attempts of a message, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trail(Vec<FailedAttempt>);

impl Trail {
    /// Reads what a message carries. A label that cannot be read counts as
    /// none: a message must not be lost for one.
    pub(crate) fn of(labels: &Labels) -> Self {
        let carried = labels.get(labels::ERRORS).and_then(Label::as_str);
        Self(
            carried
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
        )
    }

    /// Adds an attempt, cut to a length that can be carried. Of too many the
    /// first and the latest stay.
    pub(crate) fn push(&mut self, mut attempt: FailedAttempt) {
        cut(&mut attempt.error.message, LONGEST_TEXT);
        if let Some(backtrace) = &mut attempt.error.backtrace {
            cut(backtrace, LONGEST_BACKTRACE);
        }
        if self.0.len() >= MOST {
            self.0.remove(1);
        }
        self.0.push(attempt);
    }

    /// Puts them on a message.
    pub(crate) fn write(&self, labels: &mut Labels) {
        if let (false, Ok(text)) = (self.0.is_empty(), serde_json::to_string(&self.0)) {
            labels.set(labels::ERRORS, text);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<FailedAttempt> {
        self.0
    }
}

/// Cuts a text at a character's start and says so.
fn cut(text: &mut String, most: usize) {
    if text.len() <= most {
        return;
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(" ...");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    #[test]
    fn a_message_carries_its_first_and_its_latest_failures_cut_to_size() {
        let mut trail = Trail::default();
        for attempt in 1..=40 {
            trail.push(FailedAttempt {
                attempt,
                worker: "w".to_owned(),
                started_at: Timestamp::from_millis(1),
                finished_at: Timestamp::from_millis(2),
                error: Failure::new(FailureKind::Error, "é".repeat(5000)),
            });
        }
        let mut labels = Labels::default();
        trail.write(&mut labels);
        let back = Trail::of(&labels);
        assert_eq!(back, trail);
        let numbers: Vec<u32> = back
            .into_vec()
            .iter()
            .map(|failed| failed.attempt)
            .collect();
        assert_eq!(numbers, [1, 32, 33, 34, 35, 36, 37, 38, 39, 40]);
        let size = labels.get(labels::ERRORS).unwrap().as_str().unwrap().len();
        assert!(size < 32 * 1024, "{size}");
    }

    #[test]
    fn a_label_that_is_no_trail_counts_as_none() {
        let mut labels = Labels::default();
        labels.set(labels::ERRORS, "[{");
        assert_eq!(Trail::of(&labels), Trail::default());
    }
}
