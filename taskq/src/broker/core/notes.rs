//! Core mode keeps nothing, so nothing is noted there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};

use super::Core;
use crate::broker::{Note, Notes};
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;

impl Notes for Arc<Core> {
    fn note<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Note>> {
        ready(Ok(Note::default())).boxed()
    }

    fn write_note<'a>(
        &'a self,
        key: &'a str,
        _: Bytes,
        _: u64,
        _: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool>> {
        let error = Error::new(
            ErrorKind::Unsupported,
            format!(
                "noting {key} is not possible in core mode, which keeps nothing; use jetstream \
                 mode (TASKQ_MODE=jetstream)"
            ),
        );
        ready(Err(error)).boxed()
    }

    fn unplan<'a>(&'a self, _: &'a str, _: &'a str, _: &'a TaskId) -> BoxFuture<'a, Result<()>> {
        ready(Ok(())).boxed()
    }
}
