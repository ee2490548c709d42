//! The settings of a worker.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tower::util::{BoxCloneSyncService, MapErr};
use tower::{Layer, Service, ServiceExt as _};

use super::middleware::{Execution, Run, TaskService, TaskValue};
use super::queues::{self, QueueWeight};
use super::{Limits, Worker, WorkerStats};
use crate::client::Client;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::message::KEPT_ARGUMENTS;
use crate::task::{Registration, Registry, State, States, Task};

/// The settings of a worker. `.run()` builds and runs it.
#[must_use = "a worker does nothing until `.run().await`"]
#[derive(Debug)]
pub struct WorkerBuilder {
    client: Client,
    name: Option<String>,
    queues: Vec<QueueWeight>,
    concurrency: usize,
    computing: Option<usize>,
    lease: Duration,
    grace: Duration,
    limits: Limits,
    discover: bool,
    tasks: Vec<Option<&'static Registration>>,
    states: States,
    service: Option<TaskService>,
}

impl WorkerBuilder {
    pub(super) fn new(client: Client) -> Self {
        let mut states = States::default();
        // Tasks that send tasks need no more than to ask for it.
        states.insert(Arc::new(client.clone()));
        Self {
            client,
            name: None,
            queues: vec!["default".into()],
            concurrency: 64,
            computing: None,
            lease: Duration::from_secs(6),
            grace: Duration::from_secs(30),
            limits: Limits {
                max_crashes: 3,
                cancel_grace: Duration::from_secs(5),
                keep_arguments: KEPT_ARGUMENTS,
            },
            discover: true,
            tasks: Vec::new(),
            states,
            service: None,
        }
    }

    /// The queues to serve; `default` unless set.
    ///
    /// Queues may have weights: `[("default", 3), ("email", 1)]`. Then those
    /// with a backlog share the worker's room by weight, so that `default` gets
    /// three quarters of it while both have work, and each all of it while
    /// the other has none. Without weights the priorities of their messages
    /// decide alone.
    ///
    /// ```no_run
    /// # use taskq::prelude::*;
    /// # async fn f(client: Client) -> taskq::Result<()> {
    /// Worker::builder(client).queues([("default", 3), ("email", 1)]).run().await
    /// # }
    /// ```
    pub fn queues<I>(mut self, queues: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<QueueWeight>,
    {
        self.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// How many attempts run at once; 64 unless set.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// How many attempts of tasks that compute (a plain `fn`) run at once, of
    /// those that [`concurrency`](Self::concurrency) allows; as many as there
    /// are processors unless set.
    ///
    /// More of them would only take the processors from each other, and from
    /// `async` tasks, which start meanwhile whatever computes. Take more where
    /// a plain `fn` waits, for a file or a database, rather than computes.
    pub fn computing(mut self, computing: usize) -> Self {
        self.computing = Some(computing);
        self
    }

    /// Gives the tasks a value that they take as `State<T>`. Of a type that
    /// was given already, the last counts. The worker's own [`Client`] is
    /// there from the start.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(Arc::new(value));
        self
    }

    /// [`state`](Self::state) for a value that others hold too.
    pub fn shared_state<T: Send + Sync + 'static>(mut self, value: State<T>) -> Self {
        self.states.insert(value.into_arc());
        self
    }

    /// Puts a `tower` layer round the execution of every task; the last
    /// added is the outermost.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<TaskService>,
        L::Service: Service<Execution, Response = TaskValue> + Clone + Send + Sync + 'static,
        <L::Service as Service<Execution>>::Error: Into<BoxError> + 'static,
        <L::Service as Service<Execution>>::Future: Send + 'static,
    {
        let inner = self
            .service
            .take()
            .unwrap_or_else(|| BoxCloneSyncService::new(Run));
        let layered: MapErr<L::Service, fn(_) -> BoxError> = layer.layer(inner).map_err(Into::into);
        self.service = Some(BoxCloneSyncService::new(layered));
        self
    }

    /// Adds a task by name, beside those that are found in the program.
    pub fn task<T: Task>(mut self) -> Self {
        self.tasks.push(T::REGISTRATION);
        self
    }

    /// Whether the tasks of the whole program are found by themselves;
    /// `false` leaves those that [`task`](Self::task) names.
    pub fn discover(mut self, discover: bool) -> Self {
        self.discover = discover;
        self
    }

    /// The worker's name: unique, or outcomes do not tell who made them.
    /// Host, process id and four random letters unless set.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// For how long a message is this worker's without a sign of life: so
    /// soon after a crash it runs elsewhere. A queue keeps the lease of its
    /// first worker. 6 seconds unless set.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long running tasks may go on after the worker was told to stop.
    /// 30 seconds unless set.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a task that was cancelled, and that waits for
    /// [`Context::cancelled`](crate::Context::cancelled), may go on; 5
    /// seconds unless set.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.limits.cancel_grace = grace;
        self
    }

    /// How many workers in a row a message may take with it before it is put
    /// in quarantine: recorded as failed, and kept as a dead letter with what
    /// is known of the deaths. 3 unless set; 0 for any number.
    pub fn max_crashes(mut self, crashes: u32) -> Self {
        self.limits.max_crashes = crashes;
        self
    }

    /// Up to how many bytes of a task's arguments its outcome's record keeps,
    /// and an event of it tells, so that the task is found by them
    /// (`taskq_gateway`'s `arg`); longer ones are left out. 1024 unless set; 0
    /// keeps none. Those of a sensitive task are never kept.
    pub fn keep_arguments(mut self, bytes: usize) -> Self {
        self.limits.keep_arguments = bytes;
        self
    }

    /// Checks everything, and makes the worker.
    ///
    /// # Errors
    /// [`ErrorKind::Registry`] when the program has no tasks, two of one
    /// name, or one whose state is missing, all told at once;
    /// [`ErrorKind::Invalid`] for a setting that makes no sense.
    pub fn build(self) -> Result<Worker> {
        if self.queues.is_empty() {
            return Err(Error::invalid(
                "a worker serves at least one queue; name one",
            ));
        }
        let (queues, weights) = queues::check(self.queues)?;
        if self.concurrency == 0 {
            return Err(Error::invalid(
                "a worker with a concurrency of 0 runs nothing; use 1 or more",
            ));
        }
        let processors = || available_parallelism().map_or(1, usize::from);
        let computing = self.computing.unwrap_or_else(processors);
        if computing == 0 {
            return Err(Error::invalid(
                "a worker where 0 tasks may compute never runs a plain `fn`; use 1 or more",
            ));
        }
        if self.lease < Duration::from_millis(500) {
            return Err(Error::invalid(
                "a lease is at least 500 ms: it must outlast a renewal's way to the server",
            ));
        }
        let mut tasks: Vec<&'static Registration> = Vec::new();
        for task in self.tasks {
            tasks.push(task.ok_or_else(|| {
                Error::new(
                    ErrorKind::Registry,
                    "a task that was added by name has no body here: it is a contract; add the \
                     one that implements it",
                )
            })?);
        }
        if self.discover {
            tasks.extend(inventory::iter::<Registration>);
        }
        let registry = Registry::new(tasks, &self.states)?;
        let names = registry.tasks().iter().map(|task| task.name).collect();
        let stats = WorkerStats::new(self.concurrency, names);
        Ok(Worker {
            client: self.client,
            name: self.name.unwrap_or_else(unique_name).into(),
            queues,
            weights,
            concurrency: self.concurrency,
            computing: computing.min(self.concurrency),
            lease: self.lease,
            grace: self.grace,
            limits: self.limits,
            registry: Arc::new(registry),
            states: Arc::new(self.states),
            service: self.service,
            stats,
        })
    }

    /// Builds the worker and runs it; see [`Worker::run`].
    ///
    /// # Errors
    /// As [`build`](Self::build) and [`Worker::run`].
    pub async fn run(self) -> Result<()> {
        self.build()?.run().await
    }
}

/// `<host>-<process>-<random>`: two workers that share a name would run each
/// other's tasks twice over in every report.
fn unique_name() -> String {
    let host = host().unwrap_or_else(|| "worker".to_owned());
    let random: String = (0..4).map(|_| fastrand::lowercase()).collect();
    format!("{host}-{}-{random}", std::process::id())
}

/// The machine's name, as far as it is told.
pub(super) fn host() -> Option<String> {
    std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}
