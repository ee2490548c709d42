//! The transport that keeps: JetStream.

mod audit;
mod batch;
mod clock;
mod depth;
pub(super) mod events;
mod feed;
mod flow;
mod gate;
mod govern;
mod keeper;
mod layout;
mod ledger;
mod lookup;
mod notes;
mod operate;
mod outcomes;
mod past;
mod payloads;
pub(super) mod pipe;
mod plans;
mod provision;
mod publish;
mod pull;
mod record;
mod rights;
mod settings;
mod settle;
mod slots;
mod standing;
mod store;
mod tokens;
mod watchdog;
mod wishes;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_nats::Client;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::{OnceCell, broadcast, watch};

use self::clock::Clock;
use self::events::Teller;
use self::keeper::Keeper;
use self::layout::Layout;
pub(super) use self::outcomes::AbortOnDrop;
use self::pipe::Pipe;
use self::pull::Pulls;
use self::settle::Settlements;
use super::connect::{ConnectOptions, Connection, Happening};
use super::denial::Denials;
use super::names::{Act, api};
use super::waiters::Waiters;
use super::{
    Broker, Consumer, Expected, Extent, History, Leases, Mode, Namespace, PastQuery, Peek, Peeked,
    Provision, ProvisionOrder, Publication, Published, Pulse, QueueDepth, Recorded, Rules,
    Settings as _, Source, Status, Subscription, rules,
};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Journal, Outcome, TaskId};
use crate::time::Timestamp;

/// The oldest server that has all that this transport builds on.
pub(crate) const OLDEST_SERVER: (i64, i64, i64) = (2, 14, 0);

/// When to look for missed outcomes after a connection is back: at once, and
/// again when a cluster has learnt on all nodes what this client listens to.
const LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// How often a worker tries again to make sure of its queues at its start.
const ENSURE_TRIES: u32 = 5;

pub(crate) struct JetStream {
    me: Weak<Self>,
    client: Client,
    denials: Denials,
    options: ConnectOptions,
    layout: Layout,
    pipe: Pipe,
    teller: Teller,
    clock: Clock,
    /// The origin of the ids that this client makes.
    origin: String,
    /// How long a publication is tried again before the caller is told.
    patience: Duration,
    waiters: Arc<Waiters>,
    /// Set once the outcomes of this client's messages are listened for.
    listening: OnceCell<AbortOnDrop>,
    /// Counts the times that the connection came back.
    reconnects: watch::Sender<u64>,
}

impl JetStream {
    pub(crate) async fn open(
        connection: Connection,
        options: ConnectOptions,
        names: Namespace,
        origin: String,
        replicas: usize,
        patience: Duration,
    ) -> Result<Arc<Self>> {
        let Connection {
            client,
            happenings,
            denials,
        } = connection;
        check_server(&client, &denials).await?;
        let pipe = Pipe::open(client.clone(), client.new_inbox()).await?;
        let broker = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            layout: Layout::new(names, client.clone(), denials.clone(), replicas),
            teller: Teller::new(client.clone()),
            clock: Clock::default(),
            client,
            denials,
            options,
            pipe,
            origin,
            patience,
            waiters: Arc::default(),
            listening: OnceCell::new(),
            reconnects: watch::Sender::new(0),
        });
        tokio::spawn(follow(Arc::downgrade(&broker), happenings));
        tokio::spawn(outcomes::look_for_overdue(Arc::downgrade(&broker)));
        Ok(broker)
    }

    /// Makes sure of the queues' streams and consumers, and tells their
    /// leases. A cluster that was started a moment ago takes its time, and
    /// more when several workers ask for the same at once.
    async fn ensure_all(&self, subscription: &Subscription) -> Result<Vec<Duration>> {
        let mut tries = 0;
        loop {
            let lanes = subscription
                .queues
                .iter()
                .map(|queue| self.layout.ensure_lanes(queue, subscription.lease));
            match futures::future::try_join_all(lanes).await {
                Err(error) if error.is_retryable() && tries < ENSURE_TRIES => {
                    tries += 1;
                    tracing::warn!("{error}; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                done => return done,
            }
        }
    }

    /// What is set for these queues and for task types, kept up to date for
    /// as long as it is used.
    async fn follow_rules(&self, queues: &[String]) -> Result<Arc<Rules>> {
        let rules = Arc::<Rules>::default();
        // Listened for first, so that no change falls between.
        let changes = self.setting_changes().await?;
        match rules::read(self, queues).await {
            Ok(snapshot) => {
                rules.set(snapshot);
            }
            Err(error) => tracing::warn!(
                "{error}; until it can be read, this worker goes on as if nothing were set"
            ),
        }
        let (me, queues): (_, Arc<[String]>) = (self.me.clone(), queues.into());
        let read = move || {
            let (broker, queues) = (me.upgrade()?, Arc::clone(&queues));
            let reading = async move { rules::read(&*broker, &queues).await };
            Some(Box::pin(reading) as BoxFuture<'static, _>)
        };
        tokio::spawn(rules::follow(Arc::downgrade(&rules), changes, read));
        Ok(rules)
    }

    fn me(&self) -> Result<Arc<Self>> {
        self.me
            .upgrade()
            .ok_or_else(|| Error::new(ErrorKind::Closed, "the client is closed"))
    }
}

/// Refuses a server that lacks what this transport builds on.
async fn check_server(client: &Client, denials: &Denials) -> Result<()> {
    let info = client.server_info();
    let (major, minor, patch) = OLDEST_SERVER;
    if !client.is_server_compatible(major, minor, patch) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "nats-server {} is too old: taskq needs {major}.{minor}.{patch} or newer for \
                 schedules and work queues that feed each other; update it, or use core mode \
                 (TASKQ_MODE=core)",
                info.version
            ),
        ));
    }
    if !info.jetstream {
        return Err(jetstream_off(client));
    }
    // The account may not have it even where the server does.
    let asked = denials.or_denied(&[api::INFO], client.request(api::INFO, "".into()));
    match asked.await {
        Ok(Ok(answer)) if !contains(&answer.payload, b"\"error\"") => Ok(()),
        Ok(Ok(_)) => Err(jetstream_off(client)),
        Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => {
            Err(jetstream_off(client))
        }
        // Nothing goes without answers.
        Err(denial) if denial.act == Act::Subscribe => Err(denial.into_error("connecting to NATS")),
        // This user may not ask; what it may do will show.
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn jetstream_off(client: &Client) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "JetStream is off on the NATS server {} (or for this account); start it with \
             `nats-server -js`, or use core mode (TASKQ_MODE=core)",
            client.server_info().server_name
        ),
    )
}

/// Acts upon what happens to the connection.
async fn follow(broker: Weak<JetStream>, mut happenings: broadcast::Receiver<Happening>) {
    loop {
        let happening = happenings.recv().await;
        let Some(broker) = broker.upgrade() else {
            return;
        };
        match happening {
            Ok(Happening::Denied(denial)) => broker.take_denial(&denial),
            // Nothing can have been missed, but the server may have just been
            // started again, and have forgotten what it has delivered.
            Ok(Happening::Connected) => broker.reconnects.send_modify(|count| *count += 1),
            Ok(Happening::Reconnected) => {
                broker.reconnects.send_modify(|count| *count += 1);
                let broker = Arc::downgrade(&broker);
                tokio::spawn(async move {
                    for pause in LOOKS {
                        tokio::time::sleep(pause).await;
                        let Some(broker) = broker.upgrade() else {
                            return;
                        };
                        broker.recheck_all().await;
                    }
                });
            }
            Ok(Happening::SlowConsumer) | Err(broadcast::error::RecvError::Lagged(_)) => {
                tokio::spawn(async move { broker.recheck_all().await });
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

impl Broker for JetStream {
    fn mode(&self) -> Mode {
        Mode::JetStream
    }

    fn extent(&self, source: Source) -> BoxFuture<'_, Result<Extent>> {
        Box::pin(self.look_at(source))
    }

    fn recorded(
        &self,
        source: Source,
        after: u64,
    ) -> BoxFuture<'_, Result<(u64, BoxStream<'static, Result<Recorded>>)>> {
        Box::pin(self.read_records(source, after))
    }

    fn past(
        &self,
        query: PastQuery,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Recorded>>>> {
        Box::pin(self.read_stored(query))
    }

    fn peek<'a>(&'a self, query: &'a Peek) -> BoxFuture<'a, Result<Peeked>> {
        Box::pin(self.look_into(query))
    }

    fn max_message(&self) -> usize {
        self.client.max_payload()
    }

    fn expect<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Expected>> {
        Box::pin(self.expect_outcome(id))
    }

    fn attach<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Expected>> {
        Box::pin(self.attach_to(id))
    }

    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Published>> {
        Box::pin(self.publish_message(publication))
    }

    fn publish_all<'a>(&'a self, batch: &'a [Publication]) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.publish_batch(batch))
    }

    fn ledger(&self) -> Option<&dyn super::Ledger> {
        Some(self)
    }

    fn outcome<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Option<Outcome>>> {
        Box::pin(self.find_outcome(id))
    }

    fn status<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Status>> {
        Box::pin(self.find_status(id))
    }

    fn consume(&self, subscription: Subscription) -> BoxFuture<'_, Result<Consumer>> {
        Box::pin(async move {
            let terms = self.ensure_all(&subscription).await?;
            self.may_take(&subscription.queues).await?;
            let term = terms.into_iter().min().unwrap_or(subscription.lease);
            let leases = Arc::new(Leases::new(term));
            let pulse = Arc::new(Pulse::new(Instant::now()));
            let pipe = Pipe::open(self.client.clone(), self.client.new_inbox()).await?;
            let notices = self.listen_to_wishes().await?;
            // Until that is known, retries take the longer way.
            let (broker, queues) = (self.me()?, subscription.queues.clone());
            tokio::spawn(async move {
                for queue in queues {
                    let stream = broker.layout.names.queue_stream(&queue);
                    broker.await_feed(&stream).await;
                }
            });
            let rules = self.follow_rules(&subscription.queues).await?;
            let watched = self.watch_consumers(&subscription.queues, term, Arc::clone(&pulse));
            let gates = self.attend_gates(&subscription.queues, subscription.concurrency);
            let deliveries = Pulls::open(
                self.me()?,
                &subscription,
                Arc::clone(&leases),
                Arc::clone(&pulse),
                watched,
                Arc::clone(&rules),
                gates,
            )
            .await?;
            let settler = Settlements::new(self.me()?, pipe, Arc::clone(&leases));
            Ok(Consumer {
                deliveries: Box::new(deliveries),
                settler: Arc::new(settler),
                leases,
                keeper: Some(Box::new(Keeper::new(self.options.clone()))),
                notices,
                pulse,
                rules,
            })
        })
    }

    fn history<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<History>> {
        Box::pin(self.find_history(id))
    }

    fn write_journal<'a>(&'a self, id: &'a TaskId, journal: &Journal) -> BoxFuture<'a, Result<()>> {
        let (subject, headers, body) = settle::journal(&self.layout.names, id, journal);
        Box::pin(async move {
            let stored = self.pipe.publish(subject, headers, body).await;
            stored.map_err(|refusal| {
                refusal.into_error(&format!("writing down that task {id} starts again"))
            })
        })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn compare_clocks(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.compare())
    }

    fn put_payload<'a>(&'a self, name: &'a str, payload: Bytes) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.store_payload(name, payload))
    }

    fn payload<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>> {
        Box::pin(self.load_payload(name))
    }

    fn remove_payload<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.delete_payload(name))
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueDepth>>> {
        Box::pin(self.count_queues())
    }

    fn due_depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<QueueDepth>> {
        Box::pin(async move {
            match self.count_due(queue).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(QueueDepth {
                    queue: queue.to_owned(),
                    ..QueueDepth::default()
                }),
                counted => counted,
            }
        })
    }

    fn nats(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn denials(&self) -> Option<&Denials> {
        Some(&self.denials)
    }

    fn provision(&self, order: ProvisionOrder) -> BoxFuture<'_, Result<Vec<Provision>>> {
        Box::pin(async move { self.layout.provision(order).await })
    }
}

impl std::fmt::Debug for JetStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JetStream")
            .field("connection", &self.options)
            .field("namespace", &self.layout.names.as_str())
            .finish_non_exhaustive()
    }
}
