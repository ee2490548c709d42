//! In a program without the feature `otlp` there are no spans: this is what
//! takes their place and costs nothing.

use crate::error::Error;
use crate::message::{Labels, TaskId};

/// There is none.
#[derive(Debug)]
pub(crate) enum Sending {}

impl Sending {
    pub(crate) fn start(_: &str, _: &str, _: &TaskId, _: &mut Labels) -> Option<Self> {
        None
    }

    pub(crate) fn end(self, _: usize, _: Result<&TaskId, &Error>) {
        match self {}
    }
}

#[cfg(feature = "worker")]
pub(crate) use worker::{Beginning, Running};

#[cfg(feature = "worker")]
mod worker {
    use std::time::Duration;

    use crate::message::{Labels, TaskId};
    use crate::task::Job;
    use crate::time::Timestamp;

    /// What would be told.
    #[expect(dead_code, reason = "read by the spans only")]
    pub(crate) struct Beginning<'a> {
        pub(crate) task: &'static str,
        pub(crate) queue: &'a str,
        pub(crate) id: &'a TaskId,
        pub(crate) number: u32,
        pub(crate) worker: &'a str,
        pub(crate) enqueued_at: Timestamp,
        pub(crate) started_at: Timestamp,
    }

    /// There is none.
    #[derive(Debug)]
    pub(crate) enum Running {}

    impl Running {
        pub(crate) fn start(_: &Beginning<'_>, _: &mut Labels) -> Option<Self> {
            None
        }

        pub(crate) fn around(&self, _: Job) -> Job {
            match *self {}
        }

        pub(crate) fn end(self, _: Duration, _: Option<&str>) {
            match self {}
        }
    }
}
