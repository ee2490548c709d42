//! `tower` layers round the execution of tasks.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::value::RawValue;
use tower::Service;
use tower::util::BoxCloneSyncService;

use super::panics;
use crate::error::BoxError;
use crate::failure::FailureKind;
use crate::task::{Attempt, Context, Job, JobKind, Returned, TaskError};

/// One attempt, ready to run: what a layer sees.
#[derive(Debug)]
pub struct Execution {
    pub(super) attempt: Arc<Attempt>,
    pub(super) job: Job,
}

impl Execution {
    /// The attempt's id, task, number and labels.
    #[must_use]
    pub fn context(&self) -> Context {
        Context::new(Arc::clone(&self.attempt))
    }
}

/// What a task returned, as JSON.
#[derive(Debug)]
pub struct TaskValue(pub(super) Box<RawValue>);

impl TaskValue {
    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

/// The execution of tasks, with the layers round it that are added so far.
///
/// Its error is a boxed one, as `tower`'s own layers want it; a task's own
/// error comes through them whole.
pub type TaskService = BoxCloneSyncService<Execution, TaskValue, BoxError>;

/// A task's error on its way through the layers.
#[derive(Debug)]
struct Carried(TaskError);

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Carried {}

/// The task's error that came through the layers, or a layer's own.
pub(super) fn unwrap_error(error: BoxError) -> TaskError {
    match error.downcast::<Carried>() {
        Ok(carried) => carried.0,
        Err(error) => error.into(),
    }
}

/// The innermost service: runs the job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run;

impl Service<Execution> for Run {
    type Response = TaskValue;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<TaskValue, BoxError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, execution: Execution) -> Self::Future {
        run(execution.job)
            .map(|value| value.map(TaskValue).map_err(|error| Carried(error).into()))
            .boxed()
    }
}

/// Runs a job where it belongs.
pub(super) async fn run(job: Job) -> Returned {
    match job.0 {
        JobKind::Future(future) => future.await,
        JobKind::Blocking(function) => {
            // Caught on its own thread, which knows the place.
            let caught = move || {
                std::panic::catch_unwind(AssertUnwindSafe(function))
                    .unwrap_or_else(|panic| Err(panics::caught(panic.as_ref())))
            };
            match tokio::task::spawn_blocking(caught).await {
                Ok(returned) => returned,
                Err(error) => Err(TaskError::of_kind(
                    FailureKind::Error,
                    format!("the blocking pool refused the task: {error}"),
                )),
            }
        }
    }
}
