//! The consuming side: fetch, execute, settle.

mod attend;
mod builder;
mod control;
mod deaths;
mod detail;
mod early;
mod end;
mod execute;
mod fire;
mod holder;
mod lateness;
mod lease;
mod middleware;
mod page;
mod panics;
mod past;
mod planner;
mod presence;
mod queues;
mod record;
mod slots;
mod stats;
mod suspects;
mod voice;
mod wishes;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use builder::WorkerBuilder;
pub use lateness::Lateness;
pub use middleware::{Execution, TaskService, TaskValue};
pub use queues::QueueWeight;
pub use stats::{WorkerState, WorkerStats};

use self::control::{Bidden, Control};
use self::detail::Describe;
use self::early::Early;
use self::execute::Executor;
use self::slots::Slots;
use self::suspects::Suspects;
use self::voice::Speaker;
use self::wishes::Wishes;
use crate::broker::{Answering, Consumer, Delivery, Subscription};
use crate::client::Client;
use crate::error::Result;
use crate::message::{Event, EventKind};
use crate::pool::Recorder;
use crate::task::{Registration, Registry, States};

/// Messages that may be taken ahead, in time: so much work is in hand when
/// the tasks are short, and nothing when they are long.
const AHEAD: Duration = Duration::from_millis(50);
/// The most messages a worker holds beyond those it runs.
const MOST_AHEAD: usize = 2000;
/// With so many ends unconfirmed no more messages are taken.
const MOST_UNCONFIRMED: usize = 8192;
/// How long NATS may take for each of a worker's last words. It may be gone,
/// and the worker must end all the same.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the tasks of its program that come through its queues.
///
/// ```no_run
/// use taskq::prelude::*;
/// use tasks as _; // the crate of your tasks, named once
/// # mod tasks {}
///
/// # async fn f() -> taskq::Result<()> {
/// let client = Client::connect("nats://localhost:4222").await?;
/// Worker::builder(client)
///     .queues(["default", "email"])
///     .concurrency(64)
///     .run()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a worker does nothing until `.run().await`"]
pub struct Worker {
    client: Client,
    name: Arc<str>,
    queues: Vec<String>,
    /// How the room is divided among the queues; none if only priorities
    /// count.
    weights: Option<Vec<u32>>,
    concurrency: usize,
    /// How many of these may compute at once.
    computing: usize,
    lease: Duration,
    grace: Duration,
    limits: Limits,
    registry: Arc<Registry>,
    states: Arc<States>,
    service: Option<TaskService>,
    stats: WorkerStats,
}

/// What a worker puts up with.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// How many workers in a row a message may take with it; 0 for any
    /// number.
    max_crashes: u32,
    /// How long a cancelled task that listens may go on.
    cancel_grace: Duration,
    /// How many bytes of arguments an outcome keeps.
    keep_arguments: usize,
}

impl Worker {
    /// The settings of a worker.
    pub fn builder(client: Client) -> WorkerBuilder {
        WorkerBuilder::new(client)
    }

    /// The name that outcomes and logs give this worker.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tasks it can run, sorted by name.
    #[must_use]
    pub fn tasks(&self) -> Vec<&'static Registration> {
        self.registry.tasks()
    }

    /// Its numbers, for health checks and metrics; live for as long as you
    /// hold it.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        self.stats.clone()
    }

    /// Runs until the process is told to stop: SIGTERM or SIGINT (Ctrl-C).
    ///
    /// Then it takes no more work, and what runs has the grace to finish;
    /// what does not is handed back at once and does not count as an
    /// attempt. A second signal ends the grace. An operator can tell it the
    /// same from afar ([`admin::steer`](crate::admin::steer)).
    ///
    /// # Errors
    /// When the queues cannot be consumed from.
    pub async fn run(self) -> Result<()> {
        let mut signals = stop_signals();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (hurry, hurried) = tokio::sync::oneshot::channel();
        let watch = tokio::spawn(async move {
            signals.recv().await;
            let _ = stop.send(());
            signals.recv().await;
            let _ = hurry.send(());
        });
        let ran = self
            .serve(
                async {
                    let _ = stopped.await;
                },
                async {
                    if hurried.await.is_err() {
                        std::future::pending::<()>().await;
                    }
                },
            )
            .await;
        watch.abort();
        ran
    }

    /// Runs until `stop` is ready, then drains as [`run`](Self::run) does.
    ///
    /// # Errors
    /// When the queues cannot be consumed from.
    pub async fn run_until(self, stop: impl Future<Output = ()> + Send) -> Result<()> {
        self.serve(stop, std::future::pending()).await
    }

    async fn serve(
        self,
        stop: impl Future<Output = ()> + Send,
        hurry: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let Consumer {
            mut deliveries,
            settler,
            leases,
            keeper,
            notices,
            pulse,
            rules,
        } = self
            .client
            .0
            .broker
            .consume(Subscription {
                queues: self.queues.clone(),
                weights: self.weights.clone(),
                lease: self.lease,
                concurrency: self.concurrency,
            })
            .await?;
        // Before the first task: its retry, or its deadline, is by the
        // server's time. Should nobody tell it, this machine's must do.
        let clocks = self.client.0.broker.compare_clocks();
        let _ = tokio::time::timeout(Duration::from_secs(2), clocks).await;
        panics::note_places();
        let (lose, lost) = tokio::sync::mpsc::unbounded_channel();
        let keeping = keeper.map(|keeper| lease::keep(Arc::clone(&leases), keeper, lose));
        let presence = presence::announce(&self);
        let planner = planner::start(&self);
        let executor = Arc::new(Executor {
            client: self.client.clone(),
            worker: Arc::clone(&self.name),
            registry: Arc::clone(&self.registry),
            states: Arc::clone(&self.states),
            service: self.service.clone(),
            settler: Arc::clone(&settler),
            speaker: Arc::new(Speaker {
                broker: Arc::clone(&self.client.0.broker),
                leases: Arc::clone(&leases),
            }),
            leases: Arc::clone(&leases),
            stats: self.stats.clone(),
            limits: self.limits,
            rules,
            wishes: Wishes::default(),
            suspects: Suspects::default(),
            early: Early::default(),
            active: std::sync::Mutex::default(),
            recorder: Recorder::of_environment(),
        });
        let set_state = |state| self.set_state(&executor, state);
        set_state(WorkerState::Starting);
        let slots = Arc::new(Slots::new(self.concurrency, self.computing));
        // Should this future be dropped, nothing goes on behind its back.
        let crew = Crew {
            executor: Arc::clone(&executor),
            slots: Arc::clone(&slots),
            _attending: attend::attend(
                Arc::clone(&executor),
                Arc::clone(&slots),
                notices,
                lost,
                Arc::clone(&pulse),
            ),
            _answering: holder::answer(&executor, &slots).await,
            _starting: early::start(Arc::clone(&executor), Arc::clone(&slots)),
        };
        let control = Arc::new(Control::default());
        let describe = Describe::new(&self, &executor, &slots, &pulse);
        let _listening = control::listen(&self, &control, describe).await;
        self.log_start();
        self.tell(EventKind::WorkerUp, |event| {
            event
                .with("queues", self.queues.clone())
                .with("concurrency", self.concurrency)
                .with("version", env!("CARGO_PKG_VERSION"))
        });
        set_state(WorkerState::Running);

        let mut pace = Pace::new();
        let mut quiet = false;
        tokio::pin!(stop);
        loop {
            let bidden = control.bidden();
            match bidden {
                Bidden::Run if quiet => set_state(WorkerState::Running),
                Bidden::Quiet if !quiet => {
                    set_state(WorkerState::Quiet);
                    let mut unstarted = slots.take_waiting();
                    unstarted.extend(executor.early.take_all());
                    hand_back_all(&executor, unstarted);
                }
                Bidden::Drain(_) | Bidden::Stop => break,
                Bidden::Run | Bidden::Quiet => {}
            }
            quiet = bidden == Bidden::Quiet;
            let ahead = pace.ahead(self.stats.finished());
            executor.early.set_room(self.concurrency + ahead);
            let mut room = slots.room(self.concurrency + ahead);
            if quiet || settler.unconfirmed() > MOST_UNCONFIRMED || leases.is_failing() {
                room.free = 0;
            }
            // With little room left, a slot that comes free is news.
            let tight = room.free * 4 < self.concurrency + ahead || !room.full.is_empty();
            let batch = tokio::select! {
                () = &mut stop => break,
                () = control.other_than(bidden) => continue,
                () = slots.freed(), if tight => continue,
                // What closed the door may be over without a word.
                () = tokio::time::sleep(AHEAD), if room.free == 0 => continue,
                batch = deliveries.next(room) => batch,
            };
            let Some(batch) = batch else {
                tracing::warn!(worker = %self.name, "the connection is closed for good; stopping");
                break;
            };
            if quiet || leases.is_failing() {
                // Asked for before; others can keep what this one cannot.
                hand_back_all(&executor, batch);
                continue;
            }
            slots::offer(&executor, &slots, batch);
        }

        set_state(WorkerState::Draining);
        drop(presence);
        drop(planner);
        let grace = match control.bidden() {
            Bidden::Drain(Some(grace)) => grace,
            Bidden::Stop => Duration::ZERO,
            _ => self.grace,
        };
        tracing::info!(
            worker = %self.name,
            running = slots.running(),
            "stopping: no new work; what runs has {} to finish",
            taskq_syntax::format_duration(grace)
        );
        let mut unstarted = slots.close();
        unstarted.extend(executor.early.close());
        let handing_back = async {
            unstarted.extend(deliveries.close().await);
            for delivery in unstarted {
                executor.hand_back(delivery).await;
            }
        };
        // What is not handed back runs elsewhere when its lease ends.
        let _ = tokio::time::timeout(LAST_WORDS, handing_back).await;
        tokio::select! {
            () = slots.idle() => {}
            () = tokio::time::sleep(grace) => {}
            () = hurry => {}
            () = control.stop() => {}
        }
        let handed_back = executor.abort_running();
        let flushed = tokio::time::timeout(LAST_WORDS, settler.flush()).await;
        if flushed.is_err() {
            tracing::warn!(
                worker = %self.name,
                "NATS does not confirm the last outcomes; their tasks run again when their leases end"
            );
        }
        self.tell(EventKind::WorkerDown, |event| {
            event
                .with("handed_back", handed_back)
                .with("finished", self.stats.finished())
        });
        drop(crew);
        drop(deliveries);
        if let Some(nats) = self.client.0.broker.nats() {
            // The last acks are on the wire before the process may end.
            let _ = tokio::time::timeout(LAST_WORDS, nats.flush()).await;
        }
        drop(keeping);
        set_state(WorkerState::Stopped);
        tracing::info!(worker = %self.name, finished = self.stats.finished(), handed_back, "stopped");
        Ok(())
    }

    /// Lets everybody see what the worker does, its pool among them.
    fn set_state(&self, executor: &Executor, state: WorkerState) {
        self.stats.set_state(state);
        if let Some(recorder) = &executor.recorder {
            recorder.head(&self.name, state.as_str(), self.concurrency);
        }
    }

    /// Tells what the worker does.
    fn tell(&self, kind: EventKind, more: impl FnOnce(Event) -> Event) {
        let broker = &self.client.0.broker;
        let event = Event {
            worker: Some(self.name.to_string()),
            ..Event::new(kind, broker.now())
        };
        broker.tell(more(event));
    }

    fn log_start(&self) {
        tracing::info!(
            worker = %self.name,
            queues = self.queues.join(","),
            concurrency = self.concurrency,
            mode = %self.client.mode(),
            version = env!("CARGO_PKG_VERSION"),
            "worker started with {} tasks",
            self.registry.tasks().len()
        );
        for task in self.registry.tasks() {
            tracing::info!(
                queue = task.options.queue,
                "task {} ({})",
                task.signature(),
                task.place()
            );
        }
    }
}

/// Hands back what is not started here.
fn hand_back_all(executor: &Arc<Executor>, deliveries: Vec<Delivery>) {
    if deliveries.is_empty() {
        return;
    }
    let executor = Arc::clone(executor);
    tokio::spawn(async move {
        for delivery in deliveries {
            executor.hand_back(delivery).await;
        }
    });
}

/// What runs; ends with it.
struct Crew {
    executor: Arc<Executor>,
    slots: Arc<Slots>,
    _attending: attend::Attending,
    _answering: Option<Answering>,
    _starting: early::Starting,
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.slots.close();
        self.executor.drop_running();
    }
}

/// How fast tasks end, and so how many to take ahead.
struct Pace {
    since: Instant,
    finished: u64,
    /// Tasks a second, smoothed.
    rate: f64,
}

impl Pace {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            finished: 0,
            rate: 0.0,
        }
    }

    fn ahead(&mut self, finished: u64) -> usize {
        let elapsed = self.since.elapsed();
        if elapsed >= AHEAD {
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let rate = (finished - self.finished) as f64 / elapsed.as_secs_f64();
            self.rate = (self.rate + rate) / 2.0;
            self.since = Instant::now();
            self.finished = finished;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small, non-negative number"
        )]
        let ahead = (self.rate * AHEAD.as_secs_f64()) as usize;
        ahead.min(MOST_AHEAD)
    }
}

/// SIGTERM and SIGINT, one message each.
fn stop_signals() -> tokio::sync::mpsc::UnboundedReceiver<()> {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut term), Ok(mut int)) = (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
            ) else {
                tracing::warn!("cannot listen for signals; stop the worker by SIGKILL");
                return std::future::pending().await;
            };
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                if tell.send(()).is_err() {
                    return;
                }
            }
        }
        #[cfg(not(unix))]
        while tokio::signal::ctrl_c().await.is_ok() {
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    told
}
