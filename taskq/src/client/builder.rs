//! The settings of a client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Client, EnqueueHook, Inner};
use crate::broker::{Broker, ConnectOptions, Mode, Namespace};
use crate::error::{Error, Result};
use crate::message::IdSource;
use crate::telemetry::Sent;

/// The settings of a client. `.connect()` makes it.
#[must_use = "a client is made by `.connect().await`"]
pub struct ClientBuilder {
    connect: ConnectOptions,
    mode: Mode,
    namespace: String,
    replicas: usize,
    result_timeout: Duration,
    results: bool,
    tell_enqueued: bool,
    largest_call: usize,
    enqueue_timeout: Duration,
    hooks: Vec<Arc<dyn EnqueueHook>>,
}

impl Default for ClientBuilder {
    /// `nats://127.0.0.1:4222`, no credentials, JetStream mode, namespace
    /// `taskq`, 10 seconds to connect, 5 minutes to wait for a result.
    fn default() -> Self {
        Self {
            connect: ConnectOptions::default(),
            mode: Mode::default(),
            namespace: "taskq".to_owned(),
            replicas: 1,
            result_timeout: Duration::from_secs(300),
            results: true,
            tell_enqueued: false,
            largest_call: 64 * 1024 * 1024,
            enqueue_timeout: Duration::from_secs(15),
            hooks: Vec::new(),
        }
    }
}

impl ClientBuilder {
    /// The address of the server, or of several, separated by commas:
    /// `nats://host:4222`, `tls://host:4222`. It may hold `user:password@`.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.connect.url = url.into();
        self
    }

    /// A file of NATS credentials (a JWT and a seed).
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.connect.creds = Some(path.into());
        self
    }

    /// A user and a password.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.connect.user = Some((user.into(), password.into()));
        self
    }

    /// A token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.connect.token = Some(token.into());
        self
    }

    /// The seed of an nkey.
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.connect.nkey = Some(seed.into());
        self
    }

    /// A file of certificates to trust; the connection is encrypted then.
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.connect.ca = Some(path.into());
        self
    }

    /// The files of this client's own certificate and key.
    pub fn identity(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.connect.identity = Some((cert.into(), key.into()));
        self
    }

    /// The name that the connection has in the server's lists.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.connect.name = name.into();
        self
    }

    /// The start of the subjects that answers come to, where a NATS user may
    /// not subscribe to `_INBOX.>`.
    pub fn inbox_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.connect.inbox_prefix = Some(prefix.into());
        self
    }

    /// How long to try to connect; 10 seconds unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect.connect_timeout = timeout;
        self
    }

    /// The transport; JetStream unless set.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Keeps several systems apart on one NATS: 1 to 32 of a-z, 0-9, `-`,
    /// `_`; `taskq` unless set. Clients and workers of one system share it.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How many nodes of a NATS cluster store each message, for streams that
    /// this client makes: 1 (unless set), 3 or 5. Streams that exist are left
    /// as they are.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// How long a handle waits for its outcome, unless it is told; 5 minutes
    /// unless set.
    pub fn result_timeout(mut self, timeout: Duration) -> Self {
        self.result_timeout = timeout;
        self
    }

    /// Whether outcomes are pushed to this client as they are recorded. A
    /// producer that never waits for one saves the traffic with `false`; its
    /// handles work, but each asks on its own.
    pub fn results(mut self, results: bool) -> Self {
        self.results = results;
        self
    }

    /// Whether every accepted call is told as an event of kind `enqueued`.
    /// It costs a message more each; off unless set.
    pub fn tell_enqueued(mut self, tell: bool) -> Self {
        self.tell_enqueued = tell;
        self
    }

    /// The most bytes that a call may have, its arguments in JSON; 64 MiB
    /// unless set. What is above the server's `max_payload` (1 MiB by
    /// default) goes through the object store.
    pub fn largest_call(mut self, bytes: usize) -> Self {
        self.largest_call = bytes;
        self
    }

    /// How long an enqueue that NATS does not acknowledge is tried again
    /// before it is an error; 15 seconds unless set. An election in a cluster
    /// takes up to 10, and is got over within it; who would rather know at
    /// once that nothing is accepted now sets less.
    pub fn enqueue_timeout(mut self, timeout: Duration) -> Self {
        self.enqueue_timeout = timeout;
        self
    }

    /// Adds a hook round every message that is sent; the first added is the
    /// first called.
    pub fn hook(mut self, hook: impl EnqueueHook) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// As [`Client::connect`], and [`ErrorKind::Invalid`](crate::ErrorKind::Invalid)
    /// for a setting that makes no sense.
    pub async fn connect(self) -> Result<Client> {
        let namespace = Namespace::new(&self.namespace)?;
        if !matches!(self.replicas, 1 | 3 | 5) {
            return Err(Error::invalid(format!(
                "a stream has 1, 3 or 5 replicas, not {}",
                self.replicas
            )));
        }
        let ids = IdSource::new();
        let broker = crate::broker::open(
            self.mode,
            &self.connect,
            &namespace,
            ids.origin(),
            self.replicas,
            self.enqueue_timeout,
        )
        .await?;
        Ok(self.finish(broker, namespace, ids))
    }

    /// A client of this process's memory, with these settings but the
    /// connection's; see [`Client::memory`].
    #[must_use]
    pub fn memory(self) -> Client {
        let broker = crate::broker::open_memory();
        self.finish(broker, Namespace::default(), IdSource::new())
    }

    fn finish(self, broker: Arc<dyn Broker>, namespace: Namespace, ids: IdSource) -> Client {
        Client(Arc::new(Inner {
            broker,
            namespace,
            ids,
            hooks: self.hooks,
            name: self.connect.name,
            result_timeout: self.result_timeout,
            results: self.results,
            tell_enqueued: self.tell_enqueued,
            largest_call: self.largest_call,
            enqueue_timeout: self.enqueue_timeout,
            desks: super::gather::Desks::default(),
            sent: Sent::default(),
        }))
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("connect", &self.connect)
            .field("mode", &self.mode)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
