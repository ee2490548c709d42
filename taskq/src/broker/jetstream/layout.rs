//! The streams and consumers, made when they are first needed.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, consumer, context, stream};
use taskq_syntax::Priority;

use crate::broker::names::{Namespace, PRIORITIES};
use crate::error::{Error, ErrorKind, Result};

/// How long outcomes are kept.
pub(super) const KEEP_OUTCOMES: Duration = Duration::from_secs(3 * 24 * 3600);
/// How long dead letters are kept.
const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long events are kept, unless they take more room than that.
const KEEP_EVENTS: Duration = Duration::from_secs(3 * 24 * 3600);
/// The most bytes of events that are kept.
const MOST_EVENTS: i64 = 256 * 1024 * 1024;
/// How many deliveries of a lane may be held by all workers together.
const MAX_HELD: i64 = 100_000;
/// How many pull requests of all workers may wait at a lane. Cannot be
/// changed later, so it is large.
const MAX_WAITING: i64 = 65_536;

/// The layout of one namespace.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) names: Namespace,
    pub(super) js: jetstream::Context,
    pub(super) replicas: usize,
    /// The queues whose streams are known to be there; the shared streams
    /// are known by the empty name.
    known: Mutex<HashSet<String>>,
}

impl Layout {
    pub(super) fn new(names: Namespace, client: async_nats::Client, replicas: usize) -> Self {
        let js = context::ContextBuilder::new()
            .timeout(Duration::from_secs(5))
            .build(client);
        Self {
            names,
            js,
            replicas,
            known: Mutex::default(),
        }
    }

    fn is_known(&self, queue: &str) -> bool {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(queue)
    }

    fn set_known(&self, queue: &str) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(queue.to_owned());
    }

    /// Looks again at the next need: somebody may have removed a stream.
    pub(super) fn forget(&self) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Makes the streams of a queue, if they are not there.
    pub(super) async fn ensure_queue(&self, queue: &str) -> Result<()> {
        if self.is_known(queue) {
            return Ok(());
        }
        self.ensure_shared().await?;
        self.ensure_stream(self.queue_config(queue)).await?;
        self.set_known(queue);
        Ok(())
    }

    /// Makes the streams that all queues share, if they are not there.
    pub(super) async fn ensure_shared(&self) -> Result<()> {
        if self.is_known("") {
            return Ok(());
        }
        futures::future::try_join_all(
            [
                self.plan_config(),
                self.done_config(),
                self.dead_config(),
                self.state_config(),
                self.events_config(),
            ]
            .map(|config| self.ensure_stream(config)),
        )
        .await?;
        self.set_known("");
        Ok(())
    }

    /// An existing stream stays as it is: its limits are the operator's.
    async fn ensure_stream(&self, config: stream::Config) -> Result<()> {
        let name = config.name.clone();
        match self.js.get_or_create_stream(config).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "cannot create stream {name}: {error}; JetStream must be on, and this NATS \
                     user be allowed to"
                ),
            )
            .with_source(error)),
        }
    }

    /// Makes the consumer of a lane, or takes the one that is there, and
    /// tells its lease.
    pub(super) async fn ensure_consumer(
        &self,
        queue: &str,
        priority: Priority,
        lease: Duration,
    ) -> Result<Duration> {
        let stream = self.names.queue_stream(queue);
        let name = Namespace::consumer(priority);
        let config = consumer::pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: self.names.work_lane(queue, priority),
            ack_policy: consumer::AckPolicy::Explicit,
            ack_wait: lease,
            // Attempts are counted by taskq: the server's limit neither
            // reports nor removes reliably (docs/architecture.md, "Choices").
            max_deliver: -1,
            max_ack_pending: MAX_HELD,
            max_waiting: MAX_WAITING,
            ..Default::default()
        };
        let wrap = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(
                ErrorKind::Unavailable,
                format!("cannot consume from stream {stream} as {name}: {error}"),
            )
            .with_source(error)
        };
        // Asked for first: a worker may not be allowed to create, and the
        // settings of an existing consumer are the queue's, not ours.
        let existing = self
            .js
            .get_consumer_from_stream::<consumer::pull::Config, _, _>(&name, &stream)
            .await;
        let consumer = match existing {
            Ok(consumer) => consumer,
            Err(_) => self
                .js
                .create_consumer_on_stream(config, &stream)
                .await
                .map_err(|error| wrap(error.into()))?,
        };
        Ok(consumer.cached_info().config.ack_wait)
    }

    /// Every lane of a queue.
    pub(super) async fn ensure_lanes(&self, queue: &str, lease: Duration) -> Result<Duration> {
        self.ensure_queue(queue).await?;
        let leases = futures::future::try_join_all(
            PRIORITIES.map(|priority| self.ensure_consumer(queue, priority, lease)),
        )
        .await?;
        Ok(leases.into_iter().min().unwrap_or(lease))
    }

    fn base(&self, name: String, subjects: Vec<String>, what: &str) -> stream::Config {
        stream::Config {
            name,
            subjects,
            description: Some(what.to_owned()),
            storage: stream::StorageType::File,
            num_replicas: self.replicas,
            allow_direct: true,
            ..Default::default()
        }
    }

    fn queue_config(&self, queue: &str) -> stream::Config {
        stream::Config {
            retention: stream::RetentionPolicy::WorkQueue,
            // So that a backlog cap refuses instead of forgetting.
            discard: stream::DiscardPolicy::New,
            allow_atomic_publish: true,
            sources: Some(vec![stream::Source {
                name: self.names.plan_stream(),
                subject_transforms: vec![stream::SubjectTransform {
                    source: self.names.due_queue(queue),
                    destination: self.names.work_all(queue),
                }],
                ..Default::default()
            }]),
            ..self.base(
                self.names.queue_stream(queue),
                vec![self.names.work_all(queue)],
                "taskq: the messages of a queue",
            )
        }
    }

    fn plan_config(&self) -> stream::Config {
        stream::Config {
            retention: stream::RetentionPolicy::WorkQueue,
            allow_message_schedules: true,
            allow_message_ttl: true,
            ..self.base(
                self.names.plan_stream(),
                vec![self.names.plan_all(), self.names.due_all()],
                "taskq: messages that are not due yet",
            )
        }
    }

    fn done_config(&self) -> stream::Config {
        stream::Config {
            // One outcome a message, enforced by the server: the second
            // finisher is refused. No cost was seen, where a header costs 5
            // to 10 % (docs/architecture.md, "Measured").
            max_messages_per_subject: 1,
            discard: stream::DiscardPolicy::New,
            discard_new_per_subject: true,
            max_age: KEEP_OUTCOMES,
            allow_message_ttl: true,
            ..self.base(
                self.names.done_stream(),
                vec![self.names.done_all()],
                "taskq: outcomes, one a message",
            )
        }
    }

    fn dead_config(&self) -> stream::Config {
        stream::Config {
            // A letter that is written again takes the place of the first.
            max_messages_per_subject: 1,
            max_age: KEEP_DEAD,
            ..self.base(
                self.names.dead_stream(),
                vec![self.names.dead_all()],
                "taskq: messages that will not be tried again",
            )
        }
    }

    fn state_config(&self) -> stream::Config {
        stream::Config {
            max_messages_per_subject: 1,
            allow_message_ttl: true,
            ..self.base(
                self.names.state_stream(),
                vec![self.names.state_all()],
                "taskq: locks, what is known of deliveries, wishes to cancel",
            )
        }
    }

    fn events_config(&self) -> stream::Config {
        stream::Config {
            max_age: KEEP_EVENTS,
            max_bytes: MOST_EVENTS,
            ..self.base(
                self.names.events_stream(),
                vec![self.names.event_all()],
                "taskq: what happens to tasks and workers",
            )
        }
    }
}
