//! The producing side.

mod builder;
mod cancel;
mod delayed;
mod enqueue;
mod gather;
mod handle;
mod hook;
mod progress;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt as _};

pub use builder::ClientBuilder;
pub(crate) use cancel::cancelled;
pub use cancel::{Cancel, Cancellation};
pub use delayed::Rescheduled;
pub use enqueue::Enqueue;
pub use handle::TaskHandle;
pub use hook::EnqueueHook;
pub use progress::Progress;

use crate::broker::{Broker, Mode, Namespace, QueueDepth};
use crate::error::Result;
use crate::message::{IdSource, TaskId};
use crate::task::{Call, Returns, Untyped};
use crate::telemetry::Sent;
use crate::time::Timestamp;

/// How many calls of a bulk enqueue are under way at once.
const BULK_WINDOW: usize = 1024;

/// A connection that calls are sent through. Cheap to clone; all clones
/// share it.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) namespace: Namespace,
    ids: IdSource,
    hooks: Vec<Arc<dyn EnqueueHook>>,
    /// What the connection is called.
    pub(crate) name: String,
    /// How long a handle waits for its outcome, unless it is told.
    result_timeout: Duration,
    /// Whether outcomes of sent calls are pushed to this client.
    results: bool,
    /// Whether accepted calls are told as events.
    tell_enqueued: bool,
    /// The most bytes of a call.
    largest_call: usize,
    /// How long a call is tried again before its sender is told.
    enqueue_timeout: Duration,
    /// The calls that become one task with others.
    desks: gather::Desks,
    /// How many calls were accepted.
    pub(crate) sent: Sent,
}

impl Client {
    /// Connects to NATS at `url`, in JetStream mode, with the defaults of
    /// [`ClientBuilder`].
    ///
    /// # Errors
    /// [`ErrorKind::Connect`](crate::ErrorKind::Connect) when no server
    /// answers within 10 seconds,
    /// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized) when it
    /// refuses the credentials,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) when it is
    /// too old or has JetStream off.
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().url(url).connect().await
    }

    /// A client with other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client of this process's memory: no server. Clones share the
    /// memory, and a worker built from one runs what the others send.
    ///
    /// ```standalone_crate
    /// use taskq::prelude::*;
    ///
    /// /// Doubles a number.
    /// #[task]
    /// async fn double(n: u64) -> u64 {
    ///     2 * n
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> taskq::Result<()> {
    /// let client = Client::memory();
    /// let worker = Worker::builder(client.clone()).build()?;
    /// let running = tokio::spawn(worker.run());
    ///
    /// let handle = double::enqueue(&client, 21).await?;
    /// assert_eq!(handle.result().await?, 42);
    /// # running.abort();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn memory() -> Self {
        Self::builder().memory()
    }

    /// A call of a task that is known by name only; see [`Call::named`].
    ///
    /// ```no_run
    /// # async fn f(client: taskq::Client) -> taskq::Result<()> {
    /// let handle = client
    ///     .call("images.resize")
    ///     .queue("cpu")
    ///     .arg("url", "https://example.com/a.png")
    ///     .arg("width", &80)
    ///     .enqueue(&client)
    ///     .await?;
    /// let thumb: serde_json::Value = handle.result().await?;
    /// # Ok(()) }
    /// ```
    pub fn call(&self, task: impl Into<String>) -> Call<Untyped> {
        Call::named(task)
    }

    /// Sends many calls, up to 1024 at once on the wire. The stream gives
    /// what became of each, in their order; it sends as it is read. An item
    /// is an error as of [`Call::enqueue`], and does not stop the others.
    ///
    /// ```no_run
    /// # use taskq::prelude::*;
    /// use futures::TryStreamExt as _;
    /// # #[task] async fn square(n: u64) -> u64 { n * n }
    /// # async fn f(client: Client) -> taskq::Result<()> {
    /// let calls = (0..10_000).map(square::call);
    /// let handles: Vec<TaskHandle<u64>> = client.enqueue_many(calls).try_collect().await?;
    /// # Ok(()) }
    /// ```
    pub fn enqueue_many<'a, T, I>(
        &'a self,
        calls: I,
    ) -> impl Stream<Item = Result<TaskHandle<T::Output>>> + Send + 'a
    where
        T: Returns + 'a,
        I: IntoIterator<Item = Call<T>>,
        I::IntoIter: Send + 'a,
    {
        stream::iter(calls)
            .map(move |call| call.enqueue(self))
            .buffered(BULK_WINDOW)
    }

    /// Sends up to 1000 calls of one queue, all or none: when this is Ok, all
    /// are accepted; when it is an error, none is (but for
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), where
    /// nobody knows: send them again under their ids). Nobody sees some of
    /// them and not the rest, whatever becomes of this process.
    ///
    /// Calls with chosen [`id`](Call::id)s can be sent again: when all of
    /// them are tasks already, their handles are given.
    ///
    /// ```no_run
    /// # use taskq::prelude::*;
    /// # #[task] async fn ship(order: u64) {}
    /// # async fn f(client: Client) -> taskq::Result<()> {
    /// let calls = (0..100).map(|order| ship::call(order).id(format!("ship-{order}")));
    /// let handles = client.enqueue_atomic(calls).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for more than 1000
    /// calls, calls of several queues, and calls that are put off, unique or
    /// larger than a message;
    /// [`ErrorKind::Duplicate`](crate::ErrorKind::Duplicate) when some are
    /// tasks already; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported)
    /// in core mode.
    pub async fn enqueue_atomic<T, I>(&self, calls: I) -> Result<Vec<TaskHandle<T::Output>>>
    where
        T: Returns,
        I: IntoIterator<Item = Call<T>>,
    {
        self.send_atomic(calls).await
    }

    pub(crate) fn new_id(&self) -> TaskId {
        self.0.ids.next()
    }

    /// The handle of a task that somebody sent. Asks nobody: whether there is
    /// such a task shows when it is waited for.
    ///
    /// The type is that of the value the task returns;
    /// `serde_json::Value` fits every task.
    pub fn handle<T>(&self, id: impl Into<TaskId>) -> TaskHandle<T> {
        TaskHandle::of(self.clone(), id.into())
    }

    /// Every queue and how much is in it. Empty in core mode, where nothing
    /// waits.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when NATS
    /// does not answer.
    pub async fn queues(&self) -> Result<Vec<QueueDepth>> {
        self.0.broker.queues().await
    }

    /// The time by the server's clock, which delays, retries and deadlines
    /// go by; this machine's in core mode and in memory. Asks the server at
    /// most once a minute.
    pub async fn server_time(&self) -> Timestamp {
        self.0.broker.compare_clocks().await;
        self.0.broker.now()
    }

    /// Counts the calls of these task types by name from now on, in
    /// [`Page::client`](crate::telemetry::Page::client). Types that the
    /// program itself has are known; a call by name is counted as one of
    /// [`OTHER`](crate::telemetry::OTHER) until its name is known: who sends
    /// may choose any. At most 512 are.
    pub fn know_tasks(&self, names: impl IntoIterator<Item = impl AsRef<str>>) {
        for name in names {
            self.0.sent.know(name.as_ref());
        }
    }

    /// The transport.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.broker.mode()
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.namespace.as_str()
    }

    /// The most bytes that a message may have: the server's `max_payload`,
    /// and 1 MiB in memory mode.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.0.broker.max_message()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("broker", &self.0.broker)
            .finish_non_exhaustive()
    }
}
