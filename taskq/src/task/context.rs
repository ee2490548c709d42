//! What an attempt knows about itself.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::message::{Labels, TaskId};
use crate::time::Timestamp;

/// The attempt that is running: its id, its number, its labels, and whether
/// it should stop.
///
/// A parameter of this type is supplied by the worker and is not part of the
/// call's signature:
///
/// ```
/// use taskq::prelude::*;
///
/// #[task]
/// async fn whoami(ctx: Context) -> String {
///     format!("{} at attempt {}", ctx.task(), ctx.attempt())
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// assert_eq!(whoami(Context::test()).await, "test at attempt 1");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Context(Arc<Attempt>);

/// One execution of a message.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) id: TaskId,
    pub(crate) task: &'static str,
    pub(crate) queue: Arc<str>,
    pub(crate) worker: Arc<str>,
    pub(crate) number: u32,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) started_at: Timestamp,
    pub(crate) labels: Labels,
    /// Made when somebody first asks for it.
    pub(crate) cancelled: OnceLock<CancellationToken>,
}

impl Attempt {
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        self.cancelled.get_or_init(CancellationToken::new)
    }
}

impl Context {
    pub(crate) fn new(attempt: Arc<Attempt>) -> Self {
        Self(attempt)
    }

    /// A context for unit tests: task `test`, queue `default`, attempt 1.
    #[must_use]
    pub fn test() -> Self {
        let now = Timestamp::now();
        Self(Arc::new(Attempt {
            id: "00000000-0000-7000-8000-000000000000".into(),
            task: "test",
            queue: "default".into(),
            worker: "test".into(),
            number: 1,
            enqueued_at: now,
            started_at: now,
            labels: Labels::default(),
            cancelled: OnceLock::new(),
        }))
    }

    /// The id of the message.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.0.id
    }

    /// The name of the task.
    #[must_use]
    pub fn task(&self) -> &str {
        self.0.task
    }

    /// The queue that the message came through.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.0.queue
    }

    /// The worker that runs this attempt.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.0.worker
    }

    /// The number of this attempt, from 1. A worker's death in an attempt
    /// counts it.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.number
    }

    /// When the broker accepted the call.
    #[must_use]
    pub fn enqueued_at(&self) -> Timestamp {
        self.0.enqueued_at
    }

    /// When this attempt started.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.0.started_at
    }

    /// The labels of the message.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.0.labels
    }

    /// Waits until this attempt should stop: its time is over, or the worker
    /// is shutting down and its grace has ended. An `async` task is dropped
    /// at its next await point then; a blocking one has to look.
    pub async fn cancelled(&self) {
        self.0.cancelled().cancelled().await;
    }

    /// Whether this attempt should stop; for blocking tasks, which cannot be
    /// dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0
            .cancelled
            .get()
            .is_some_and(CancellationToken::is_cancelled)
    }
}
