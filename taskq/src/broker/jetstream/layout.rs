//! The streams and consumers, made when they are first needed, or by
//! `taskq init` (provision.rs).

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, consumer, context, stream};
use taskq_syntax::Priority;

use super::pipe::code;
use crate::broker::denial::Denials;
use crate::broker::names::{Namespace, PRIORITIES, api};
use crate::error::{Error, ErrorKind, Result};
use crate::message::QueueSettings;

/// How long outcomes are kept.
pub(super) const KEEP_OUTCOMES: Duration = Duration::from_secs(3 * 24 * 3600);
/// How long the arguments of a call are kept, should nobody remove them:
/// longer than a dead letter.
const KEEP_CALLS: Duration = Duration::from_secs(45 * 24 * 3600);
/// How long dead letters are kept.
const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long events are kept, unless they take more room than that.
const KEEP_EVENTS: Duration = Duration::from_secs(3 * 24 * 3600);
/// How many events are kept, some 300 bytes each. A limit in bytes would be set
/// aside, and a server with a small store would have no stream for them.
const MOST_EVENTS: i64 = 500_000;
/// How long it is kept what operators did.
const KEEP_AUDIT: Duration = Duration::from_secs(400 * 24 * 3600);
/// How many deliveries of a lane may be held by all workers together.
const MAX_HELD: i64 = 100_000;
/// How many pull requests of all workers may wait at a lane. Cannot be
/// changed later, so it is large.
const MAX_WAITING: i64 = 65_536;

/// The lease of consumers that `taskq init` makes; a worker's own default is
/// the same.
pub(super) const LEASE: Duration = Duration::from_secs(6);

/// The layout of one namespace.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) names: Namespace,
    pub(super) client: async_nats::Client,
    pub(super) js: jetstream::Context,
    pub(super) denials: Denials,
    pub(super) replicas: usize,
    /// The queues whose streams are known to be there; the shared streams
    /// are known by the empty name.
    known: Mutex<HashSet<String>>,
    /// The streams that are known to take what falls due.
    fed: Mutex<HashSet<String>>,
    /// Held by who finds that out.
    pub(super) feeding: tokio::sync::Mutex<()>,
    /// Held by who makes streams again that were not there.
    making: tokio::sync::Mutex<()>,
    /// How often somebody did.
    made: AtomicU64,
}

impl Layout {
    pub(super) fn new(
        names: Namespace,
        client: async_nats::Client,
        denials: Denials,
        replicas: usize,
    ) -> Self {
        let js = context::ContextBuilder::new()
            .timeout(Duration::from_secs(5))
            .build(client.clone());
        Self {
            names,
            client,
            js,
            denials,
            replicas,
            known: Mutex::default(),
            fed: Mutex::default(),
            feeding: tokio::sync::Mutex::default(),
            making: tokio::sync::Mutex::default(),
            made: AtomicU64::new(0),
        }
    }

    /// How many times streams were made again so far.
    pub(super) fn times_made(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    /// Makes streams again that were not there for a message. A thousand
    /// messages may find that at once, of which one has them made: the others
    /// wait. `before` is [`times_made`](Self::times_made) when the message was
    /// sent.
    pub(super) async fn make_again(
        &self,
        before: u64,
        make: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let _turn = self.making.lock().await;
        if self.times_made() != before {
            return Ok(());
        }
        self.forget();
        let made = make.await;
        // What may go better next time the others leave to the next of them;
        // what will not each is to be told.
        if made.as_ref().err().is_none_or(Error::is_retryable) {
            self.made.fetch_add(1, Ordering::AcqRel);
        }
        made
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

    /// Whether a stream is known to take what falls due for it.
    pub(super) fn is_fed(&self, stream: &str) -> bool {
        let fed = self.fed.lock();
        fed.unwrap_or_else(PoisonError::into_inner).contains(stream)
    }

    pub(super) fn set_fed(&self, stream: &str) {
        let fed = self.fed.lock();
        let mut fed = fed.unwrap_or_else(PoisonError::into_inner);
        fed.insert(stream.to_owned());
    }

    /// Looks again at the next need: somebody may have removed a stream.
    pub(super) fn forget(&self) {
        let fed = self.fed.lock();
        fed.unwrap_or_else(PoisonError::into_inner).clear();
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
        let mut config = self.queue_config(queue);
        config.max_messages = capped(&self.queue_settings(queue).await);
        self.ensure_stream(config).await?;
        self.set_known(queue);
        Ok(())
    }

    /// Whether the stream is known to be there of a queue's messages that wait
    /// for the turn of their key.
    pub(super) fn knows_hold(&self, queue: &str) -> bool {
        self.is_known(&format!("hold:{queue}"))
    }

    /// Makes the stream of a queue's messages that wait for the turn of their
    /// key, if it is not there. True when that was not known before.
    pub(super) async fn ensure_hold(&self, queue: &str) -> Result<bool> {
        let known = format!("hold:{queue}");
        if self.is_known(&known) {
            return Ok(false);
        }
        self.ensure_queue(queue).await?;
        let mut config = self.hold_config(queue);
        config.max_messages = capped(&self.queue_settings(queue).await);
        self.ensure_stream(config).await?;
        self.set_known(&known);
        Ok(true)
    }

    /// Makes the streams that all queues share, if they are not there.
    pub(super) async fn ensure_shared(&self) -> Result<()> {
        if self.is_known("") {
            return Ok(());
        }
        self.ensure_streams(self.shared_configs().into()).await?;
        self.set_known("");
        Ok(())
    }

    /// The streams that all queues share; a new one goes here.
    pub(super) fn shared_configs(&self) -> [stream::Config; 8] {
        [
            self.plan_config(),
            self.done_config(),
            self.dead_config(),
            self.state_config(),
            self.settings_config(),
            self.limits_config(),
            self.events_config(),
            self.audit_config(),
        ]
    }

    /// The streams of the object stores, which most systems never need.
    pub(super) fn bucket_configs(&self) -> [stream::Config; 2] {
        let config = |bucket: &str, max_age, what| {
            let (name, subjects) = api::object_store(bucket);
            stream::Config {
                max_age,
                discard: stream::DiscardPolicy::New,
                allow_rollup: true,
                ..self.base(name, subjects.to_vec(), what)
            }
        };
        [
            config(
                &self.names.payloads(),
                KEEP_CALLS,
                "taskq: arguments that are too large for a message",
            ),
            config(
                &self.names.results(),
                KEEP_OUTCOMES,
                "taskq: returned values that are too large for an outcome",
            ),
        ]
    }

    /// Makes the object stores, if they are not there.
    pub(super) async fn ensure_buckets(&self) -> Result<()> {
        self.ensure_streams(self.bucket_configs().into()).await
    }

    /// Makes several streams at the same time.
    async fn ensure_streams(&self, configs: Vec<stream::Config>) -> Result<()> {
        let streams = configs.into_iter();
        // Each in a box of its own: the first enqueue of a program comes here,
        // and an unoptimized build moves them over its caller's stack.
        let made = streams.map(|config| Box::pin(self.ensure_stream(config)));
        futures::future::try_join_all(made).await.map(drop)
    }

    /// An existing stream stays as it is: its limits are the operator's.
    async fn ensure_stream(&self, config: stream::Config) -> Result<()> {
        let name = config.name.clone();
        let (info, create) = (api::stream_info(&name), api::stream_create(&name));
        let made = self.js.get_or_create_stream(config);
        match self.denials.or_denied(&[&info, &create], made).await {
            Ok(Ok(_)) => Ok(()),
            // Who may not even look leaves the streams to others.
            Err(denial) if *denial.subject == *info => Ok(()),
            Err(denial) => Err(denial.into_error(&format!("creating stream {name}"))),
            Ok(Err(error)) => Err(create_error(&name, error)),
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
        let (info, create) = (
            api::consumer_info(&stream, &name),
            api::consumer_create(&stream, &name, &self.names.work_lane(queue, priority)),
        );
        let config = self.lane_config(queue, priority, lease);
        // Asked for first: a worker may not be allowed to create, and the
        // settings of an existing consumer are the queue's, not ours.
        let made = async {
            let existing = self
                .js
                .get_consumer_from_stream::<consumer::pull::Config, _, _>(&name, &stream)
                .await;
            match existing {
                Ok(consumer) => Ok(consumer),
                Err(_) => {
                    let made = self.js.create_consumer_on_stream(config, &stream).await;
                    self.pause_if_set(queue).await;
                    made
                }
            }
        };
        let made = self.denials.or_denied(&[&info, &create], made).await;
        let consumer = match made {
            Ok(made) => made.map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("cannot consume from stream {stream} as {name}: {error}"),
                )
                .with_source(error)
            })?,
            // Who may not even look leaves the consumers to others.
            Err(denial) if *denial.subject == *info => return Ok(lease),
            Err(denial) => {
                return Err(denial.into_error(&format!("creating consumer {name} of {stream}")));
            }
        };
        Ok(consumer.cached_info().config.ack_wait)
    }

    /// The consumer of a lane, as taskq makes it.
    pub(super) fn lane_config(
        &self,
        queue: &str,
        priority: Priority,
        lease: Duration,
    ) -> consumer::pull::Config {
        consumer::pull::Config {
            durable_name: Some(Namespace::consumer(priority)),
            filter_subject: self.names.work_lane(queue, priority),
            ack_policy: consumer::AckPolicy::Explicit,
            ack_wait: lease,
            // Attempts are counted by taskq: the server's limit neither
            // reports nor removes reliably (docs/architecture.md, "Choices").
            max_deliver: -1,
            max_ack_pending: MAX_HELD,
            max_waiting: MAX_WAITING,
            ..Default::default()
        }
    }

    /// Every lane of a queue.
    pub(super) async fn ensure_lanes(&self, queue: &str, lease: Duration) -> Result<Duration> {
        self.ensure_queue(queue).await?;
        let leases = futures::future::try_join_all(
            PRIORITIES.map(|priority| Box::pin(self.ensure_consumer(queue, priority, lease))),
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

    pub(super) fn queue_config(&self, queue: &str) -> stream::Config {
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

    pub(super) fn hold_config(&self, queue: &str) -> stream::Config {
        stream::Config {
            // So that a backlog cap refuses instead of forgetting.
            discard: stream::DiscardPolicy::New,
            allow_atomic_publish: true,
            // Whoever releases hears of each message as it is stored, with
            // its place, and asks for nothing.
            republish: Some(stream::Republish {
                source: self.names.hold_all(queue),
                destination: self.names.gate_stored(queue),
                headers_only: false,
            }),
            sources: Some(vec![stream::Source {
                name: self.names.plan_stream(),
                subject_transforms: vec![stream::SubjectTransform {
                    source: self.names.due_hold_queue(queue),
                    destination: self.names.hold_all(queue),
                }],
                ..Default::default()
            }]),
            ..self.base(
                self.names.hold_stream(queue),
                vec![self.names.hold_all(queue)],
                "taskq: the messages of a queue that wait for the turn of their key",
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

    fn settings_config(&self) -> stream::Config {
        stream::Config {
            // The last that was set; changed by compare-and-set.
            max_messages_per_subject: 1,
            ..self.base(
                self.names.settings_stream(),
                vec![self.names.settings_all()],
                "taskq: what is set for queues, task types and schedules",
            )
        }
    }

    fn limits_config(&self) -> stream::Config {
        stream::Config {
            // The last that was stored; changed by compare-and-set. A place
            // ends by its age.
            max_messages_per_subject: 1,
            allow_message_ttl: true,
            ..self.base(
                self.names.limits_stream(),
                vec![self.names.limits_all()],
                "taskq: places and rates of limited queues",
            )
        }
    }

    fn events_config(&self) -> stream::Config {
        stream::Config {
            max_age: KEEP_EVENTS,
            max_messages: MOST_EVENTS,
            ..self.base(
                self.names.events_stream(),
                vec![self.names.event_all()],
                "taskq: what happens to tasks and workers",
            )
        }
    }

    /// What nobody may delete from, the operator neither; only its age ends it.
    fn audit_config(&self) -> stream::Config {
        stream::Config {
            max_age: KEEP_AUDIT,
            deny_delete: true,
            deny_purge: true,
            ..self.base(
                self.names.audit_stream(),
                vec![self.names.audit_all()],
                "taskq: what operators did",
            )
        }
    }
}

/// The limit of a queue's stream by what is set; -1 for none.
pub(super) fn capped(settings: &QueueSettings) -> i64 {
    let most = settings.max_backlog;
    most.map_or(-1, |most| i64::try_from(most).unwrap_or(i64::MAX))
}

fn create_error(name: &str, error: context::CreateStreamError) -> Error {
    let what = format!("creating stream {name}");
    if let context::CreateStreamErrorKind::JetStream(told) = error.kind()
        && let Some(full) = full_store(&what, told.error_code().0, &told.to_string())
    {
        return full.with_source(error);
    }
    Error::new(
        ErrorKind::Unavailable,
        format!("{what} failed: {error}; JetStream must be on, and have a leader"),
    )
    .with_source(error)
}

/// The error of a request that the server has no space for.
pub(super) fn full_store(what: &str, code: u64, text: &str) -> Option<Error> {
    /// "error creating store for stream": hardly ever anything but the disk.
    const NO_STORE: u64 = 10049;
    let is_full = code::STORE_FULL.contains(&code) || code == NO_STORE;
    is_full.then(|| {
        Error::new(
            ErrorKind::Unavailable,
            format!("{what} was refused: {text}: {}", code::FULL),
        )
    })
}
