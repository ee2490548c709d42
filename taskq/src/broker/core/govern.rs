//! Core mode keeps no queue that could be governed.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::Core;
use crate::broker::{Govern, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::message::QueueSettings;
use crate::time::Timestamp;

impl Govern for Arc<Core> {
    fn enforce<'a>(&'a self, queue: &'a str, _: &'a QueueSettings) -> BoxFuture<'a, Result<()>> {
        ready(Err(unsupported("setting queue", queue))).boxed()
    }

    fn rate_until<'a>(
        &'a self,
        _: &'a str,
        _: &'a QueueSettings,
    ) -> BoxFuture<'a, Result<Option<Timestamp>>> {
        ready(Ok(None)).boxed()
    }

    fn hasten<'a>(&'a self, task: &'a str) -> BoxFuture<'a, Result<u64>> {
        ready(Err(unsupported("resuming task", task))).boxed()
    }

    fn halt<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        ready(Err(unsupported("halting queue", queue))).boxed()
    }

    fn waiting<'a>(
        &'a self,
        queue: &'a str,
        _: u64,
    ) -> BoxFuture<'a, Result<(Vec<Task>, Option<u64>)>> {
        ready(Err(unsupported("looking through queue", queue))).boxed()
    }
}

fn unsupported(what: &str, name: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "{what} {name} is not possible in core mode, where nothing waits; use jetstream mode \
             (TASKQ_MODE=jetstream)"
        ),
    )
}
