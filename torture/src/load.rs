//! What is sent while faults are injected, and cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use taskq::{Call, Client, ErrorKind, TaskHandle, TaskId, Untyped};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ledger::{KEY, name};
use crate::notes::NUMBER;
use crate::shared::Shared;
use crate::tasks::{self, BULK, Kind};

/// No more is sent while so many tasks have not ended.
const BACKLOG: usize = 3_000;
/// How many calls each client sends at once.
const AT_ONCE: u64 = 96;
/// The keys that unique tasks share.
const KEYS: u32 = 40;
/// How many cancels are under way at once.
const CANCELS: usize = 64;
/// How long a waiter waits.
const WAIT: Duration = Duration::from_secs(60);

/// The producers. They end when they are told to.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

struct Producer {
    client: Client,
    /// A client that is told of outcomes.
    waiting: Client,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    cancels: Arc<Semaphore>,
    tickets: Arc<Tickets>,
    rng: Rng,
}

/// Keeps the rate, if there is one.
struct Tickets {
    begun: Instant,
    rate: u32,
    taken: AtomicU64,
}

impl Tickets {
    async fn take(&self) {
        if self.rate > 0 {
            let taken = self.taken.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_secs_f64(taken as f64 / f64::from(self.rate));
            tokio::time::sleep_until(self.begun + due).await;
        }
    }
}

impl Load {
    /// Sends with each of these clients; `waiting` is one that is told of
    /// outcomes.
    pub(crate) fn start(
        clients: &[Client],
        waiting: &Client,
        shared: &Arc<Shared>,
        rate: u32,
        seed: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let cancels = Arc::new(Semaphore::new(CANCELS));
        let tickets = Arc::new(Tickets {
            begun: Instant::now(),
            rate,
            taken: AtomicU64::new(0),
        });
        let mut rng = Rng::with_seed(seed);
        let mut tasks = JoinSet::new();
        for client in clients {
            for _ in 0..AT_ONCE {
                let producer = Producer {
                    client: client.clone(),
                    waiting: waiting.clone(),
                    shared: Arc::clone(shared),
                    stop: Arc::clone(&stop),
                    cancels: Arc::clone(&cancels),
                    tickets: Arc::clone(&tickets),
                    rng: rng.fork(),
                };
                tasks.spawn(producer.produce());
            }
        }
        Self { stop, tasks }
    }

    /// Sends nothing more, and waits for what is under way.
    pub(crate) async fn end(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Producer {
    async fn produce(mut self) {
        while !self.stop.load(Ordering::SeqCst) {
            if self.shared.ledger().pending() >= BACKLOG {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            self.tickets.take().await;
            let kind = draw(&mut self.rng);
            self.send(kind).await;
        }
    }

    async fn send(&mut self, kind: Kind) {
        let n = self.shared.ledger().begin(kind);
        let shared = Arc::clone(&self.shared);
        let mut tries = 0;
        loop {
            tries += 1;
            let call = self.call(kind, n).label(NUMBER, n);
            // A call of a name can be sent again; another might be there.
            let named = is_named(kind);
            let waits = kind == Kind::Quick && n.is_multiple_of(32);
            let client = if waits { &self.waiting } else { &self.client };
            match call.enqueue(client).await {
                Ok(handle) => {
                    if named && handle.id().as_str() != name(n) {
                        shared.ledger().merged(n);
                        return;
                    }
                    shared.ledger().accepted(n, handle.id());
                    self.accepted(kind, n, handle, waits);
                    return;
                }
                Err(error) => {
                    let is_over = self.stop.load(Ordering::SeqCst) || tries >= 3;
                    if named && error.is_retryable() && !is_over {
                        continue;
                    }
                    shared.ledger().refused(n, reason(&error));
                    return;
                }
            }
        }
    }

    fn accepted(&mut self, kind: Kind, n: u32, handle: TaskHandle<serde_json::Value>, waits: bool) {
        let shared = Arc::clone(&self.shared);
        let is_cancelled = match kind {
            Kind::Sleeping | Kind::Delayed => self.rng.u8(0..100) < 10,
            Kind::Long => self.rng.u8(0..100) < 30,
            _ => false,
        };
        if is_cancelled && let Ok(place) = Arc::clone(&self.cancels).try_acquire_owned() {
            let client = self.client.clone();
            let (id, after) = (handle.id().clone(), self.rng.u64(0..2_000));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                cancel(&client, &shared, n, id).await;
                drop(place);
            });
        } else if waits {
            tokio::spawn(async move {
                if let Ok(outcome) = handle.outcome_timeout(WAIT).await {
                    shared.ledger().told(n, &outcome);
                }
            });
        }
    }

    fn call(&mut self, kind: Kind, n: u32) -> Call<Untyped> {
        let rng = &mut self.rng;
        match kind {
            Kind::Quick => untyped(tasks::quick::call()),
            Kind::Sleeping => untyped(tasks::sleeping::call(rng.u64(20..800))),
            Kind::Flaky => untyped(tasks::flaky::call(Kind::failures(n))),
            Kind::Hopeless => untyped(tasks::hopeless::call()),
            Kind::Long => untyped(tasks::long::call(rng.u64(10..30))),
            Kind::Blocking => untyped(tasks::blocking::call(rng.u64(10..60))),
            Kind::Unique => {
                let key = n % KEYS;
                let call = tasks::sleeping::call(rng.u64(1..100));
                let call = call.unique_key(key.to_string()).label(KEY, key);
                untyped(call.id(name(n)))
            }
            Kind::Delayed => {
                let delay = Duration::from_millis(rng.u64(500..4_000));
                untyped(tasks::quick::call().delay(delay).id(name(n)))
            }
            Kind::Deadline => {
                let deadline = Duration::from_millis(rng.u64(300..4_000));
                untyped(tasks::sleeping::call(20).deadline(deadline))
            }
            Kind::Bulky => untyped(tasks::bulky::call("x".repeat(BULK))),
        }
    }
}

fn untyped<T: taskq::Task>(call: Call<T>) -> Call<Untyped> {
    call.untyped()
}

/// Whether a task of this kind is sent by a name.
fn is_named(kind: Kind) -> bool {
    matches!(kind, Kind::Unique | Kind::Delayed)
}

async fn cancel(client: &Client, shared: &Shared, n: u32, id: TaskId) {
    shared.ledger().wishes(n);
    // What is not known is no more than a wish.
    if let Ok(told) = client.cancel(id).by("torture").await {
        shared.ledger().cancelled(n, told);
    }
}

fn draw(rng: &mut Rng) -> Kind {
    match rng.u16(0..2_000) {
        0 => Kind::Bulky,
        1..=30 => Kind::Long,
        31..=90 => Kind::Hopeless,
        91..=230 => Kind::Flaky,
        231..=310 => Kind::Blocking,
        311..=470 => Kind::Unique,
        471..=590 => Kind::Delayed,
        591..=670 => Kind::Deadline,
        671..=1170 => Kind::Sleeping,
        _ => Kind::Quick,
    }
}

/// A refusal in few words: those of one cause have the same.
fn reason(error: &taskq::Error) -> String {
    let text = error.to_string();
    // What it is about differs from call to call.
    let about = text.split(": ").skip(1).collect::<Vec<_>>().join(": ");
    let about = if about.is_empty() { text } else { about };
    let kind: ErrorKind = error.kind();
    let about: String = about.chars().take(120).collect();
    format!("{kind:?}: {about}")
}
