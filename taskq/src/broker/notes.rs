//! What schedulers, and workers that start the fires of schedules, tell each
//! other: how far a schedule is planned, who has a fire, whose turn it is. And
//! what an attempt tells the next one: how far the task is.
//!
//! A note is a body under a key, changed by compare-and-set on its revision,
//! as a [setting](super::Settings) is; but nobody is told of it, and it may
//! have an end.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::Result;
use crate::message::TaskId;

/// What was noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// Greater at each change; 0 where there is no note.
    pub(crate) revision: u64,
    pub(crate) body: Option<Bytes>,
}

/// Where notes are kept.
pub(crate) trait Notes {
    /// One note.
    fn note<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Note>>;

    /// Writes a note, for this long or for good, if its revision is still the
    /// expected one; false if it is not.
    fn write_note<'a>(
        &'a self,
        key: &'a str,
        body: Bytes,
        expected: u64,
        keep: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Takes a message that is planned, and has not fallen due, out of the
    /// plan, if it is there.
    fn unplan<'a>(
        &'a self,
        queue: &'a str,
        task: &'a str,
        id: &'a TaskId,
    ) -> BoxFuture<'a, Result<()>>;
}
