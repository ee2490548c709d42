//! What an attempt knows about itself.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::message::{KeptArguments, Label, Labels, TaskId, Traceparent, labels};
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
    /// The place of the task among those of the worker.
    pub(crate) place: usize,
    /// The key of its lease.
    pub(crate) lease: u64,
    pub(crate) number: u32,
    pub(crate) enqueued_at: Timestamp,
    /// When it was to start, if it was put off.
    pub(crate) due: Option<Timestamp>,
    pub(crate) started_at: Timestamp,
    pub(crate) labels: Labels,
    /// Its arguments, for its outcome and for what is told of it.
    pub(crate) kept: KeptArguments,
    /// Made when somebody first asks for it.
    pub(crate) cancelled: OnceLock<CancellationToken>,
    /// Who passes on what the task says; nobody in unit tests.
    pub(crate) voice: Option<Arc<dyn Voice>>,
    /// What the task has said; made when it first says something.
    pub(crate) said: OnceLock<Box<Mutex<Said>>>,
    /// Its hold on the task's checkpoint; made when it first asks for it.
    pub(crate) hold: OnceLock<Box<tokio::sync::Mutex<Hold>>>,
    /// Whether its start was told as an event.
    pub(crate) start_told: AtomicBool,
    /// Whether what it does no longer counts: its lease was lost, its time
    /// was over, or it was handed back.
    pub(crate) over: AtomicBool,
}

/// Passes on what a task says.
pub(crate) trait Voice: Send + Sync + fmt::Debug {
    /// Tells how far the task is, or keeps it for a moment.
    fn progress(&self, attempt: &Attempt, step: Step);
    /// Tells a line of the task's log.
    fn log(&self, attempt: &Attempt, line: &str);
    /// The task's checkpoint, and its revision: 0 if there is none.
    fn kept<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<(u64, Option<Bytes>)>>;
    /// Keeps a checkpoint if the one that is kept has still the expected
    /// revision; false if it has not.
    fn keep<'a>(
        &'a self,
        attempt: &'a Attempt,
        checkpoint: Bytes,
        expected: u64,
    ) -> BoxFuture<'a, Result<bool>>;
}

/// An attempt's hold on its task's checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// What tells this attempt from others, once it has the checkpoint.
    pub(super) mark: Option<String>,
    /// Where there is no worker, in unit tests: what was kept.
    pub(super) test: Option<Box<RawValue>>,
}

/// How far a task is.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) message: String,
}

/// What a task has said so far.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// What is not told yet.
    pub(crate) step: Option<Step>,
    pub(crate) step_told: Option<Instant>,
    /// The lines of its log, for the outcome.
    pub(crate) log: String,
    pub(crate) log_is_cut: bool,
    /// How many lines may be told as events at this moment, and since when.
    pub(crate) lines: Option<(f64, Instant)>,
}

impl Attempt {
    /// An attempt that nobody has asked anything yet.
    pub(crate) fn new(
        id: TaskId,
        task: &'static str,
        queue: Arc<str>,
        worker: Arc<str>,
        number: u32,
        started_at: Timestamp,
        labels: Labels,
    ) -> Self {
        Self {
            id,
            task,
            queue,
            worker,
            place: 0,
            lease: 0,
            number,
            enqueued_at: started_at,
            due: labels.due(),
            started_at,
            labels,
            kept: KeptArguments::default(),
            cancelled: OnceLock::new(),
            voice: None,
            said: OnceLock::new(),
            hold: OnceLock::new(),
            start_told: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    pub(crate) fn trace_id(&self) -> Option<&str> {
        Some(Traceparent::of(&self.labels)?.trace_id)
    }

    pub(crate) fn cancelled(&self) -> &CancellationToken {
        self.cancelled.get_or_init(CancellationToken::new)
    }

    /// Its hold on the task's checkpoint.
    pub(super) async fn hold(&self) -> tokio::sync::MutexGuard<'_, Hold> {
        self.hold.get_or_init(Box::default).lock().await
    }

    /// What it has said; made if it has said nothing yet.
    pub(crate) fn said(&self) -> MutexGuard<'_, Said> {
        let said = self.said.get_or_init(Box::default);
        said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    pub(crate) fn new(attempt: Arc<Attempt>) -> Self {
        Self(attempt)
    }

    pub(super) fn inner(&self) -> &Attempt {
        &self.0
    }

    /// A context for unit tests: task `test`, queue `default`, attempt 1.
    #[must_use]
    pub fn test() -> Self {
        Self(Arc::new(Attempt::new(
            "00000000-0000-7000-8000-000000000000".into(),
            "test",
            "default".into(),
            "test".into(),
            1,
            Timestamp::now(),
            Labels::default(),
        )))
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

    /// The trace that the task is a part of (32 hex digits), if whoever sent it
    /// was traced or gave it a `traceparent`, or this worker is traced.
    ///
    /// ```
    /// use taskq::prelude::*;
    ///
    /// #[task]
    /// async fn pay(ctx: Context) {
    ///     println!("to be found in the traces as {}", ctx.trace_id().unwrap_or("none"));
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # pay(Context::test()).await;
    /// # }
    /// ```
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.0.trace_id()
    }

    /// When the broker accepted the call.
    #[must_use]
    pub fn enqueued_at(&self) -> Timestamp {
        self.0.enqueued_at
    }

    /// The schedule whose fire this is, if it is one's.
    #[must_use]
    pub fn schedule(&self) -> Option<&str> {
        self.0.labels.get(labels::SCHEDULE).and_then(Label::as_str)
    }

    /// The time that this fire of a schedule is for. It starts later, by a
    /// little or by an outage: a task that does something for a period takes
    /// the period from here. None for a task that is no schedule's.
    ///
    /// ```
    /// use taskq::prelude::*;
    ///
    /// #[task(schedule = "0 0 * * *")]
    /// async fn close_the_day(ctx: Context) -> String {
    ///     match ctx.scheduled_for() {
    ///         Some(midnight) => format!("the day before {midnight}"),
    ///         None => "called by hand".to_owned(),
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// assert_eq!(close_the_day(Context::test()).await, "called by hand");
    /// # }
    /// ```
    #[must_use]
    pub fn scheduled_for(&self) -> Option<Timestamp> {
        let nominal = self.0.labels.get(labels::NOMINAL)?.as_i64()?;
        Some(Timestamp::from_millis(nominal))
    }

    /// When this attempt was to start; none if the call was not put off, and
    /// this is its first attempt. [`started_at`](Self::started_at) less this
    /// is how late it is.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.0.due
    }

    /// When this attempt started, by the server's clock.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.0.started_at
    }

    /// The labels of the message.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.0.labels
    }

    /// Tells how far the task is: `done` of `total` (0 if that is not known),
    /// in whatever it counts, and what it is doing. Whoever has the handle
    /// sees it by [`TaskHandle::progress`](crate::TaskHandle::progress), and
    /// so does `taskq events`.
    ///
    /// Call it as often as you like: at most ten a second are told, the
    /// latest always. Telling costs the task nothing but the call.
    ///
    /// ```
    /// use taskq::prelude::*;
    ///
    /// #[task]
    /// async fn import(ctx: Context, lines: Vec<String>) {
    ///     for (done, line) in (1..).zip(&lines) {
    ///         // ... import it ...
    ///         ctx.progress(done, lines.len() as u64, line.as_str());
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # import(Context::test(), vec!["a".into()]).await;
    /// # }
    /// ```
    pub fn progress(&self, done: u64, total: u64, message: impl Into<String>) {
        if let Some(voice) = &self.0.voice {
            let message = message.into();
            let step = Step {
                done,
                total,
                message,
            };
            voice.progress(&self.0, step);
        }
    }

    /// Says something for the record: it is told as an event, and the
    /// outcome keeps it ([`Outcome::log`](crate::Outcome::log), the first
    /// 16 KiB). At most 20 lines a second are told as events, after a first
    /// 100.
    pub fn log(&self, line: impl fmt::Display) {
        if let Some(voice) = &self.0.voice {
            voice.log(&self.0, &line.to_string());
        }
    }

    /// Waits until this attempt should stop: its time is over, somebody
    /// cancelled the task, the worker lost its lease, or it is shutting down
    /// and its grace has ended. An `async` task is dropped at its next await
    /// point: at once, or, for a cancelled task that waits for this, after
    /// the worker's [`cancel_grace`]. A blocking one has to look.
    ///
    /// [`cancel_grace`]: crate::WorkerBuilder::cancel_grace
    pub async fn cancelled(&self) {
        self.0.cancelled().cancelled().await;
    }

    /// Whether this attempt should stop; for blocking tasks, which cannot be
    /// dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled().is_cancelled()
    }
}
