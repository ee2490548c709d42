//! Core mode keeps nothing, so nothing is planned there.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::{self, BoxStream, StreamExt as _};

use super::Core;
use crate::broker::{Plan, PlanName, PlanQuery, Plans, Replan};
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;

impl Plans for Arc<Core> {
    fn plans(&self, _: PlanQuery) -> BoxFuture<'_, Result<BoxStream<'static, Result<Plan>>>> {
        ready(Ok(stream::empty().boxed())).boxed()
    }

    fn plan<'a>(&'a self, _: PlanName<'a>) -> BoxFuture<'a, Result<Option<Plan>>> {
        ready(Ok(None)).boxed()
    }

    fn is_falling_due<'a>(&'a self, _: &'a TaskId) -> BoxFuture<'a, Result<bool>> {
        ready(Ok(false)).boxed()
    }

    fn replan(&self, replan: Replan) -> BoxFuture<'_, Result<bool>> {
        let error = Error::new(
            ErrorKind::Unsupported,
            format!(
                "task {} cannot be put off in core mode, which keeps nothing; use jetstream mode \
                 (TASKQ_MODE=jetstream)",
                replan.publication.task
            ),
        );
        ready(Err(error)).boxed()
    }
}
