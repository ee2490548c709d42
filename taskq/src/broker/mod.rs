//! How messages cross: one trait, three transports behind it.
//!
//! | mode | execution | outcome | without a worker |
//! |---|---|---|---|
//! | `jetstream` | at least once | exactly one is recorded | waits |
//! | `core` | at most once | pushed, not kept | an error at the producer |
//! | `memory` | at least once, in this process | exactly one is recorded | waits |

mod acting;
mod asking;
mod connect;
mod core;
mod denial;
pub(crate) mod ending;
mod govern;
mod jetstream;
mod lease;
mod ledger;
mod memory;
mod names;
mod notes;
mod operate;
mod past;
mod places;
mod plans;
mod provision;
mod pulse;
mod rules;
mod settings;
mod standing;
mod waiters;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use taskq_syntax::Priority;
use tokio::sync::mpsc;

pub(crate) use acting::{act, act_if_acting};
pub use acting::{acting, acting_as};
pub(crate) use connect::ConnectOptions;
pub(crate) use denial::Denials;
pub(crate) use govern::Govern;
pub(crate) use lease::{LeaseKeeper, Leases};
pub(crate) use ledger::Ledger;
pub(crate) use names::{Namespace, WORKERS, api};
pub(crate) use notes::{Note, Notes};
pub(crate) use operate::{Cancelling, EventQuery, EventScope, LetterQuery, Operate, Place, Task};
pub use past::{Extent, Source};
pub(crate) use past::{PastOf, PastQuery, Peek, Peeked, Recorded};
pub(crate) use places::{Permit, Places};
pub(crate) use plans::{Plan, PlanName, PlanQuery, Plans, Replan, SOON};
pub(crate) use provision::ProvisionOrder;
pub use provision::{Provision, ProvisionAction, ProvisionKind};
pub(crate) use pulse::Pulse;
pub(crate) use rules::Rules;
pub(crate) use settings::{Setting, SettingKind, Settings};
#[cfg(feature = "worker")]
pub(crate) use standing::{Answering, Finder};
pub(crate) use standing::{Holder, Locate, Standing};
pub(crate) use waiters::Expected;

use crate::error::{Error, ErrorKind, Result};
use crate::message::{CancelRequest, DeadLetter, Journal, Outcome, TaskId};
use crate::time::Timestamp;

/// Which transport carries the messages, and so what is promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// NATS JetStream: messages and outcomes are stored; a task runs at
    /// least once and has exactly one recorded outcome.
    #[default]
    JetStream,
    /// Core NATS: nothing is stored; a task runs at most once, and to
    /// enqueue without a listening worker is an error.
    Core,
    /// This process's memory: no server; the promises of `jetstream` for as
    /// long as the process lives.
    Memory,
}

impl Mode {
    /// The mode in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JetStream => "jetstream",
            Self::Core => "core",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "jetstream" => Ok(Self::JetStream),
            "core" => Ok(Self::Core),
            "memory" => Ok(Self::Memory),
            other => Err(Error::invalid(format!(
                "`{other}` is not a mode; the modes are `jetstream`, `core` and `memory`"
            ))),
        }
    }
}

/// Opens a transport for a sender of this origin.
pub(crate) async fn open(
    mode: Mode,
    options: &ConnectOptions,
    namespace: &Namespace,
    origin: String,
    replicas: usize,
    patience: Duration,
) -> Result<Arc<dyn Broker>> {
    let names = namespace.clone();
    Ok(match mode {
        Mode::Memory => open_memory(),
        Mode::Core => Arc::new(core::Core::open(options.connect().await?, names, origin).await?),
        Mode::JetStream => {
            let connection = options.connect().await?;
            jetstream::JetStream::open(
                connection,
                options.clone(),
                names,
                origin,
                replicas,
                patience,
            )
            .await?
        }
    })
}

/// Opens a memory of its own.
pub(crate) fn open_memory() -> Arc<dyn Broker> {
    Arc::new(Arc::<memory::Memory>::default())
}

/// A transport.
pub(crate) trait Broker:
    Notes + Operate + Plans + Settings + Govern + Locate + Send + Sync + fmt::Debug + 'static
{
    fn mode(&self) -> Mode;

    /// The most bytes that a message may have.
    fn max_message(&self) -> usize;

    /// Makes sure that the outcome of a message which this client is about
    /// to publish will be seen.
    fn expect<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Expected>>;

    /// Makes sure that the outcome of a message which somebody has published
    /// will be seen, or has been.
    fn attach<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Expected>>;

    /// Sends a message; Ok when the broker has it.
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Published>>;

    /// Sends messages of one queue, all or none; Ok when the broker has them,
    /// and true if it had them all before.
    fn publish_all<'a>(&'a self, batch: &'a [Publication]) -> BoxFuture<'a, Result<bool>>;

    /// The recorded outcome, if there is one by now.
    fn outcome<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Option<Outcome>>>;

    /// Where a message is now.
    fn status<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Status>>;

    /// Starts to take messages.
    fn consume(&self, subscription: Subscription) -> BoxFuture<'_, Result<Consumer>>;

    /// What became of a message that is delivered once more.
    fn history<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<History>>;

    /// Stores what is known of a message's deliveries. Ok when it is stored.
    fn write_journal<'a>(&'a self, id: &'a TaskId, journal: &Journal) -> BoxFuture<'a, Result<()>>;

    /// The time by the broker's clock, as far as it is known.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Compares the clocks, if that has not been done lately.
    fn compare_clocks(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Stores a payload that is too large for a message.
    fn put_payload<'a>(&'a self, name: &'a str, payload: Bytes) -> BoxFuture<'a, Result<()>>;

    /// A stored payload; none if there is none of this name.
    fn payload<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>>;

    /// Removes a stored payload, if it is there.
    fn remove_payload<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Every queue and how much is in it.
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueDepth>>>;

    /// How much of one queue is due, which costs the server little however much
    /// is not: `scheduled` is left at 0. Nothing where there is no such queue.
    fn due_depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<QueueDepth>> {
        Box::pin(async move {
            let queues = self.queues().await?;
            let found = queues.into_iter().find(|depth| depth.queue == queue);
            Ok(QueueDepth {
                scheduled: 0,
                queue: queue.to_owned(),
                ..found.unwrap_or_default()
            })
        })
    }

    /// The NATS connection, for services and diagnosis; none in memory.
    fn nats(&self) -> Option<&async_nats::Client>;

    /// What the server refuses on that connection; none in memory.
    fn denials(&self) -> Option<&Denials> {
        None
    }

    /// From where to where a source reaches now.
    fn extent(&self, _: Source) -> BoxFuture<'_, Result<Extent>> {
        past::unsupported(self.mode())
    }

    /// The records of a source behind a place in it, and those to come; how
    /// many there are now, too.
    fn recorded(
        &self,
        _: Source,
        _after: u64,
    ) -> BoxFuture<'_, Result<(u64, BoxStream<'static, Result<Recorded>>)>> {
        past::unsupported(self.mode())
    }

    /// The records that are stored now, one after the other, from either end.
    fn past(&self, _: PastQuery) -> BoxFuture<'_, Result<BoxStream<'static, Result<Recorded>>>> {
        past::unsupported(self.mode())
    }

    /// Some of the messages that are in a queue.
    fn peek<'a>(&'a self, _: &'a Peek) -> BoxFuture<'a, Result<Peeked>> {
        past::unsupported(self.mode())
    }

    /// Where operations on many tasks are kept; none where nothing is kept for
    /// others.
    fn ledger(&self) -> Option<&dyn Ledger> {
        None
    }

    /// Makes what is missing on the server, and brings up to date what is
    /// there.
    fn provision(&self, _: ProvisionOrder) -> BoxFuture<'_, Result<Vec<Provision>>> {
        let mode = self.mode();
        Box::pin(async move {
            Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "there is nothing to make in {mode} mode: only jetstream mode has streams; \
                     set TASKQ_MODE=jetstream"
                ),
            ))
        })
    }
}

/// A message on its way to a queue.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) id: TaskId,
    /// Whether the sender chose the id, so that it may have been sent before.
    pub(crate) named: bool,
    pub(crate) task: String,
    pub(crate) queue: String,
    pub(crate) priority: Priority,
    /// Not to start before; now if there is none.
    pub(crate) due: Option<Timestamp>,
    pub(crate) lock: Option<Lock>,
    /// By which it waits for its turn; it waits for none if there is none.
    pub(crate) key: Option<String>,
    pub(crate) body: Bytes,
}

/// Keeps a second message of the same key from being accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) key: String,
    /// For this long; until the task has ended if there is none.
    pub(crate) window: Option<Duration>,
    /// Whether the lock is to be taken from who has it.
    pub(crate) replace: bool,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// The broker has it.
    Accepted,
    /// The broker has it, and its lock was taken from this message.
    Replaced(TaskId),
    /// The broker had it: another message of the same id, or of the same
    /// lock.
    Existing(TaskId),
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// The broker has no trace of it: never sent, or its outcome has
    /// expired.
    Unknown,
    /// Not due yet: a delay, or the wait before a retry.
    Scheduled,
    /// In the queue, not given to a worker yet.
    Waiting,
    /// Given to a worker, not ended yet.
    Running,
    /// Ended.
    Done(crate::message::State),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Scheduled => "scheduled",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done(state) => state.as_str(),
        })
    }
}

/// What a worker takes.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) queues: Vec<String>,
    /// How the room is divided among the queues; none if only priorities
    /// count.
    pub(crate) weights: Option<Vec<u32>>,
    /// For how long a delivery is this worker's before it must be renewed;
    /// counts when this worker is the first of a queue.
    pub(crate) lease: Duration,
    /// How many messages this worker runs at once.
    pub(crate) concurrency: usize,
}

/// The receiving end of a subscription.
pub(crate) struct Consumer {
    pub(crate) deliveries: Box<dyn Deliveries>,
    pub(crate) settler: Arc<dyn Settler>,
    pub(crate) leases: Arc<Leases>,
    /// Renews what is in `leases`; none where nothing can be lost.
    pub(crate) keeper: Option<Box<dyn LeaseKeeper>>,
    /// What the worker must know of while it runs tasks.
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    /// Whether messages could come.
    pub(crate) pulse: Arc<Pulse>,
    /// What is set for the queues and for task types.
    pub(crate) rules: Arc<Rules>,
}

/// What a worker must know of while it runs tasks.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// Somebody wishes that a task should not go on.
    Cancel(CancelRequest),
    /// The connection was gone and is back: wishes may have been missed.
    Missed,
}

/// What a worker has room for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    /// So many messages more. With 0 none are asked for, but some may still be
    /// on their way.
    pub(crate) free: usize,
    /// Nothing of these queues.
    pub(crate) full: Vec<Arc<str>>,
}

impl Room {
    pub(crate) fn is_full(&self, queue: &str) -> bool {
        self.full.iter().any(|full| **full == *queue)
    }
}

/// A stream of messages whose flow the worker governs.
pub(crate) trait Deliveries: Send {
    /// Waits for messages, with room for so many more. Cancel-safe. None when
    /// the broker is closed.
    fn next(&mut self, room: Room) -> BoxFuture<'_, Option<Vec<Delivery>>>;

    /// Asks for nothing more, and gives what was already on its way.
    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>>;
}

/// A message given to this worker.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) body: Bytes,
    pub(crate) queue: Arc<str>,
    pub(crate) priority: Priority,
    /// When the broker stored it, by the broker's clock.
    pub(crate) stored_at: Timestamp,
    /// Whether the broker may have forgotten that it delivered it before.
    pub(crate) doubtful: bool,
    /// Its place in a limited queue.
    pub(crate) permit: Option<Permit>,
    /// Whether it is to go back unstarted: another worker may have a place
    /// for it.
    pub(crate) unwanted: bool,
    pub(crate) receipt: Receipt,
}

/// Names a delivery to the broker.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    /// The key in [`Leases`].
    pub(crate) lease: u64,
    /// How many times the message has been delivered, this time included.
    pub(crate) deliveries: u32,
    /// The broker's own name for it.
    pub(crate) address: Arc<str>,
    /// Whose turn ends with it; none for what waited for no turn.
    pub(crate) turn: Option<Arc<Turn>>,
}

/// A message that was released when it was its key's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) queue: Arc<str>,
    /// The message, as the broker names it.
    pub(crate) id: Box<str>,
}

/// Ends attempts. Ends are pipelined: `settle` returns at once.
pub(crate) trait Settler: Send + Sync {
    fn settle(&self, receipt: Receipt, settlement: Settlement);

    /// Waits until everything settled so far is known to the broker.
    fn flush(&self) -> BoxFuture<'_, ()>;

    /// How many ends the broker has not confirmed yet.
    fn unconfirmed(&self) -> usize;

    /// How many ends the broker has confirmed.
    fn confirmed(&self) -> u64;

    /// How many outcomes the broker has refused, because there was one.
    fn refused(&self) -> u64;
}

/// How an attempt ends.
#[derive(Debug)]
pub(crate) enum Settlement {
    /// Stores the outcome, then acks.
    Finish(Record),
    /// Schedules the next attempt, then acks.
    Retry(Publication),
    /// Stores the outcome if there can be one; keeps the message with its
    /// evidence, unless another outcome was there; then acks.
    Bury {
        letter: Box<DeadLetter>,
        record: Option<Record>,
        /// What is too large for the letter.
        payload: Option<(String, Bytes)>,
    },
    /// Gives the message back after a while.
    Release {
        delay: Duration,
        /// The message, and what is known of its deliveries.
        journal: Option<(TaskId, Journal)>,
    },
    /// Acks: the outcome is already recorded.
    Discard,
    /// Nothing: the message is another's by now.
    Forget,
}

/// An outcome to store.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: TaskId,
    pub(crate) body: Vec<u8>,
    /// How long to keep it; as long as the broker keeps outcomes if there is
    /// none.
    pub(crate) ttl: Option<Duration>,
    /// The lock to give up with it.
    pub(crate) unlock: Option<String>,
    /// A payload to store before it.
    pub(crate) payload: Option<(String, Bytes)>,
    /// The stored payload of the call, to remove after it.
    pub(crate) spent: Option<String>,
}

/// What became of a message that is delivered once more.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) outcome: Option<Outcome>,
    pub(crate) journal: Journal,
    pub(crate) cancel: Option<CancelRequest>,
}

/// How much is in a queue, in messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct QueueDepth {
    /// The queue.
    pub queue: String,
    /// Waiting: for a worker, or for the turn of their key.
    pub pending: u64,
    /// How many of those wait for the turn of their key.
    pub held: u64,
    /// Given to a worker and not ended.
    pub running: u64,
    /// Not due yet: delays, and waits before a retry.
    pub scheduled: u64,
}

/// The sentence of a refused call whose queue has all that it may have.
fn full_queue(what: &str, queue: &str, most: Option<u64>) -> String {
    let most = most.map_or_else(String::new, |most| format!(", {most} messages,"));
    format!(
        "{what} was refused: queue `{queue}` has reached its backlog cap{most} and takes no more \
         until workers catch up; send it again later, start more workers, or raise the cap \
         (`taskq queues set {queue} --max-backlog N`)"
    )
}
