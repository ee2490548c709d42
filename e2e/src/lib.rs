//! What the tests of this crate share: a server of their own, clients in any
//! mode, workers that end with the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fixture fails its test by a panic"
)]

pub mod checks;
pub mod faults;
pub mod history;
mod postgres;
mod program;
mod roles;
pub mod script;

use std::time::Duration;

pub use faults::nats;
pub use postgres::PostgresServer;
pub use program::{Ended, Program, is_alive, program, run};
pub use roles::{ROLES, Roles};
use taskq::admin::WorkerInfo;
use taskq::{Client, ClientBuilder, Mode, Worker, WorkerBuilder, WorkerState};
use taskq_nats_server::NatsServer;
pub use taskq_torture::proxy;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a test waits for what must happen: only what does not happen takes so long, and a
/// machine may be slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A system in one of the modes, alone on its server.
#[derive(Debug)]
pub struct Fixture {
    mode: Mode,
    /// The memory that all clients of memory mode share.
    memory: Client,
    /// The server; none in memory mode.
    pub server: Option<NatsServer>,
}

impl Fixture {
    /// Starts a server of its own, unless the mode needs none.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        let server = (mode != Mode::Memory).then(|| {
            NatsServer::builder()
                .start()
                .expect("a nats-server for the test")
        });
        Self {
            mode,
            memory: Client::builder().result_timeout(PATIENCE).memory(),
            server,
        }
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The server's address; empty in memory mode.
    #[must_use]
    pub fn url(&self) -> &str {
        self.server.as_ref().map_or("", NatsServer::url)
    }

    /// The settings of a client of this system.
    pub fn builder(&self) -> ClientBuilder {
        Client::builder()
            .url(self.url())
            .mode(self.mode)
            .result_timeout(PATIENCE)
    }

    /// A client of its own, with its own connection.
    pub async fn client(&self) -> Client {
        if self.mode == Mode::Memory {
            return self.memory.clone();
        }
        self.builder().connect().await.expect("a client")
    }

    /// A worker on a connection of its own, consuming when this returns.
    pub async fn worker(&self) -> Running {
        self.worker_with(|worker| worker).await
    }

    /// A worker with other settings.
    pub async fn worker_with(&self, set: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> Running {
        let client = self.client().await;
        Running::start(set(Worker::builder(client))).await
    }
}

/// A worker in this process. It is aborted with this, as by a crash.
#[derive(Debug)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Its numbers.
    pub stats: taskq::WorkerStats,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<taskq::Result<()>>,
}

impl Running {
    /// Starts a worker and waits until it consumes.
    pub async fn start(builder: WorkerBuilder) -> Self {
        let worker = builder.build().expect("a worker");
        let (stop, stopped) = oneshot::channel();
        let (name, stats) = (worker.name().to_owned(), worker.stats());
        let task = tokio::spawn(worker.run_until(async {
            let _ = stopped.await;
        }));
        until("the worker consumes", || {
            stats.state() == WorkerState::Running
        })
        .await;
        Self {
            name,
            stats,
            stop: Some(stop),
            task,
        }
    }

    /// Stops it as SIGTERM would, and waits until it has drained.
    pub async fn drain(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ran = tokio::time::timeout(PATIENCE, &mut self.task).await;
        ran.expect("the worker drains in time")
            .expect("the worker does not panic")
            .expect("the worker stops without an error");
    }

    /// Ends it at once, as a crash would.
    pub async fn crash(self) {
        self.task.abort();
        until("the worker is gone", || self.task.is_finished()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until something is so.
///
/// # Panics
/// When it is not so after [`PATIENCE`].
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < limit, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a client finds so many workers, and gives them: one is found a moment after it
/// consumes.
///
/// # Panics
/// When it does not.
pub async fn found(client: &Client, count: usize) -> Vec<WorkerInfo> {
    faults::eventually("the workers are found", async || {
        let found = taskq::admin::workers(client).await.ok()?;
        (found.len() == count).then_some(found)
    })
    .await
}

/// Waits until a queue has nothing that waits or runs: an outcome is told a moment before its
/// message is gone.
///
/// # Panics
/// When it has.
pub async fn emptied(client: &Client, queue: &str) {
    faults::eventually("the queue is empty", async || {
        let queues = client.queues().await.ok()?;
        let depth = queues.iter().find(|depth| depth.queue == queue)?;
        ((depth.pending, depth.running) == (0, 0)).then_some(())
    })
    .await;
}

/// Compiles the code that the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Makes a test of each of these functions in each mode, on a system of its
/// own.
#[macro_export]
macro_rules! in_every_mode {
    ($($behaviour:ident),* $(,)?) => {
        mod memory { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() { super::$behaviour($crate::Fixture::new(taskq::Mode::Memory)).await; }
        )* }
        mod core_nats { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() { super::$behaviour($crate::Fixture::new(taskq::Mode::Core)).await; }
        )* }
        mod jetstream { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() { super::$behaviour($crate::Fixture::new(taskq::Mode::JetStream)).await; }
        )* }
    };
}
