//! Making what taskq needs on the server.

use std::time::Duration;

use crate::broker::{Provision, ProvisionOrder};
use crate::client::Client;
use crate::error::{Error, Result};

/// What [`init`] is to make.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is made before `init` is called with it"]
pub struct InitOptions {
    queues: Vec<String>,
    lease: Option<Duration>,
    replicas: Option<usize>,
    dry_run: bool,
}

impl InitOptions {
    /// The streams that all queues share, and what there is already.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes these queues too.
    pub fn queues(mut self, queues: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.queues.extend(queues.into_iter().map(Into::into));
        self
    }

    /// The lease of all queues, also of those that are there: for how long a
    /// message is a worker's before it must be renewed. Unless set, 6 seconds
    /// for new queues.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// The replicas of all streams, also of those that are there. Unless set,
    /// the client's for new streams.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// Tells what would be done, and does nothing.
    pub fn dry_run(mut self, on: bool) -> Self {
        self.dry_run = on;
        self
    }
}

/// Creates the streams and consumers that are missing, and updates what taskq
/// owns about those that are there: subjects, sources and flags. Limits, ages
/// and replicas are the operator's, and stay as they are unless asked.
///
/// Once this has run, producers and workers need no right to create
/// anything. It may be run again at any time, and after an update of taskq
/// should be.
///
/// ```no_run
/// use taskq::admin::{InitOptions, init};
///
/// # async fn make() -> taskq::Result<()> {
/// let client = taskq::Client::connect("nats://localhost:4222").await?;
/// for made in init(&client, InitOptions::new().queues(["default", "email"])).await? {
///     println!("{:?} {}", made.action, made.name);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) for a
/// user that may not; [`Unavailable`](crate::ErrorKind::Unavailable) when the
/// server does not take it; [`Invalid`](crate::ErrorKind::Invalid) for the
/// name of a queue that is none, or a stream of that name that is not
/// taskq's; [`Unsupported`](crate::ErrorKind::Unsupported) in any mode but
/// JetStream.
pub async fn init(client: &Client, options: InitOptions) -> Result<Vec<Provision>> {
    for queue in &options.queues {
        taskq_syntax::check_queue_name(queue)?;
    }
    if let Some(replicas) = options.replicas
        && !matches!(replicas, 1 | 3 | 5)
    {
        return Err(Error::invalid(format!(
            "a stream has 1, 3 or 5 replicas, not {replicas}"
        )));
    }
    if options
        .lease
        .is_some_and(|lease| lease < Duration::from_millis(500))
    {
        return Err(Error::invalid(
            "a lease is at least 500 ms: it must outlast a renewal's way to the server",
        ));
    }
    let order = ProvisionOrder {
        queues: options.queues,
        lease: options.lease,
        replicas: options.replicas,
        dry_run: options.dry_run,
    };
    client.0.broker.provision(order).await
}
