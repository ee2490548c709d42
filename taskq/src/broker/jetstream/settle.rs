//! Ending attempts: outcome first, ack after.
//!
//! Every end is a list of steps, and a step is taken when the one before is
//! confirmed. Thousands of ends are under way at once, in one task; a step
//! that NATS cannot take now is repeated until it can, and the lease is kept
//! until then.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Subject, header};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Notify, mpsc};

use super::JetStream;
use super::gate::Ended;
use super::pipe::{Answer, Pipe, Refusal};
use super::publish::ttl;
use crate::broker::ending::{self, After, Draft, Step, Turn};
use crate::broker::{Leases, Namespace, Publication, Receipt, Settlement, Settler};
use crate::message::{DeadLetter, Journal, TaskId};
use crate::time::Timestamp;

/// How long is remembered what is known of deliveries: longer than any
/// redelivery takes.
const KEEP_JOURNALS: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Settlements {
    orders: mpsc::UnboundedSender<Order>,
    open: Arc<Open>,
    refused: Arc<AtomicU64>,
}

/// How many ends are not confirmed.
#[derive(Default)]
struct Open {
    count: AtomicUsize,
    closed: AtomicU64,
    none: Notify,
}

enum Order {
    Start(Receipt, Settlement),
    /// The answer to the publication of this number.
    Resume(Ending, u64, Answer),
    Again(Ending),
    /// The step is taken.
    Go(Ending),
    /// Whether the outcome that was there is this attempt's own.
    Compared(Ending, bool),
}

/// An end under way.
type Ending = ending::Ending<Stored>;

struct Stored {
    subject: Subject,
    headers: Option<HeaderMap>,
    body: Bytes,
}

impl Settlements {
    pub(super) fn new(broker: Arc<JetStream>, pipe: Pipe, leases: Arc<Leases>) -> Self {
        let (orders, mut incoming) = mpsc::unbounded_channel();
        let open = Arc::new(Open::default());
        let refused = Arc::default();
        let mut desk = Desk {
            broker,
            pipe,
            leases,
            orders: orders.downgrade(),
            open: Arc::clone(&open),
            refused: Arc::clone(&refused),
            told: HashMap::new(),
            ended: Ended::default(),
        };
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(256);
            while incoming.recv_many(&mut batch, 256).await > 0 {
                for order in batch.drain(..) {
                    desk.take(order).await;
                }
                desk.tell().await;
            }
        });
        Self {
            orders,
            open,
            refused,
        }
    }
}

impl Settler for Settlements {
    fn settle(&self, receipt: Receipt, settlement: Settlement) {
        self.open.count.fetch_add(1, Ordering::AcqRel);
        // The desk lives as long as this end.
        let _ = self.orders.send(Order::Start(receipt, settlement));
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                let none = self.open.none.notified();
                if self.unconfirmed() == 0 {
                    return;
                }
                none.await;
            }
        })
    }

    fn unconfirmed(&self) -> usize {
        self.open.count.load(Ordering::Acquire)
    }

    fn confirmed(&self) -> u64 {
        self.open.closed.load(Ordering::Relaxed)
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// The message that stores what is known of a message's deliveries.
pub(super) fn journal(
    names: &Namespace,
    id: &TaskId,
    journal: &Journal,
) -> (String, Option<HeaderMap>, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_MESSAGE_TTL, ttl(KEEP_JOURNALS));
    (names.history(id), Some(headers), journal.encode().into())
}

impl Draft for Desk {
    type Message = Stored;

    fn outcome(&self, id: &TaskId, body: Vec<u8>, keep: Option<Duration>) -> Stored {
        let headers = keep.map(|keep| {
            let mut headers = HeaderMap::new();
            headers.insert(header::NATS_MESSAGE_TTL, ttl(keep));
            headers
        });
        Stored {
            subject: self.broker.layout.names.done(id).into(),
            headers,
            body: body.into(),
        }
    }

    fn plan(&self, publication: Publication) -> Stored {
        if publication.key.is_some() && !self.broker.layout.knows_hold(&publication.queue) {
            // It fires all the same, and is taken when there is a stream.
            let (broker, publication) = (Arc::clone(&self.broker), publication.clone());
            tokio::spawn(async move {
                if let Err(error) = broker.ensure_for(&publication).await {
                    tracing::warn!("{error}");
                }
            });
        }
        let due = publication.due.unwrap_or_else(Timestamp::now);
        let mut headers = HeaderMap::new();
        let names = &self.broker.layout.names;
        let (queue, task, id) = (&publication.queue, &publication.task, &publication.id);
        // What waits for the turn of a key would have it before its time.
        let is_soon = publication.key.is_none() && self.broker.is_soon(due);
        let subject = if is_soon && self.broker.layout.is_fed(&names.queue_stream(queue)) {
            // As if it had fallen due: who is given it waits. A plan takes
            // the place of its repetition; here the server has to be told.
            headers.insert(header::NATS_MESSAGE_ID, format!("{id} {}", due.as_millis()));
            names.due(queue, publication.priority, task, id)
        } else {
            self.broker.set_schedule(&mut headers, &publication, due);
            names.plan(queue, task, id)
        };
        Stored {
            subject: subject.into(),
            headers: Some(headers),
            body: publication.body,
        }
    }

    fn letter(&self, letter: &DeadLetter, only_first: bool) -> Stored {
        let names = &self.broker.layout.names;
        let headers = only_first.then(|| {
            let mut headers = HeaderMap::new();
            headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
            headers
        });
        Stored {
            subject: names.dead(&letter.queue, &letter.task, &letter.id).into(),
            headers,
            body: letter.encode().into(),
        }
    }

    fn journal(&self, id: &TaskId, journal: &Journal) -> Stored {
        let (subject, headers, body) = self::journal(&self.broker.layout.names, id, journal);
        Stored {
            subject: subject.into(),
            headers,
            body,
        }
    }
}

/// The one task that ends attempts.
struct Desk {
    broker: Arc<JetStream>,
    pipe: Pipe,
    leases: Arc<Leases>,
    orders: mpsc::WeakUnboundedSender<Order>,
    open: Arc<Open>,
    /// How many outcomes were refused.
    refused: Arc<AtomicU64>,
    /// What to tell each origin of its outcomes.
    told: HashMap<String, String>,
    /// Whose turns are over.
    ended: Ended,
}

impl Desk {
    async fn take(&mut self, order: Order) {
        match order {
            Order::Start(receipt, settlement) => {
                self.step(Ending::new(receipt, settlement, self)).await;
            }
            Order::Again(ending) => self.step(ending).await,
            Order::Go(mut ending) => {
                ending.advance();
                self.step(ending).await;
            }
            Order::Compared(mut ending, own) => {
                ending.compared(own);
                self.step(ending).await;
            }
            Order::Resume(ending, number, answer) => self.resume(ending, number, answer).await,
        }
    }

    /// Takes the next step of an end.
    async fn step(&mut self, mut ending: Ending) {
        loop {
            let is_held = || self.leases.is_held(ending.receipt.lease, Instant::now());
            let message = match ending.turn(is_held) {
                Turn::Over => return self.close(&ending),
                Turn::Fenced => {
                    tracing::warn!(
                        "an attempt lost its lease before its end was stored; the message runs \
                         again from its last state"
                    );
                    return self.close(&ending);
                }
                Turn::Take(Step::Ack) => {
                    self.answer(&ending.receipt, Bytes::new()).await;
                    if let Some(turn) = &ending.receipt.turn {
                        self.ended.note(turn);
                    }
                    return self.close(&ending);
                }
                Turn::Take(Step::Nak(delay)) => {
                    let body = if delay.is_zero() {
                        Bytes::from_static(b"-NAK")
                    } else {
                        format!(r#"-NAK {{"delay":{}}}"#, delay.as_nanos()).into()
                    };
                    self.answer(&ending.receipt, body).await;
                    return self.close(&ending);
                }
                Turn::Take(Step::Unlock { key, id }) => {
                    self.unlock(key.clone(), id.clone());
                    ending.advance();
                    continue;
                }
                Turn::Take(Step::RemovePayload { name }) => {
                    self.remove_payload(name.clone());
                    ending.advance();
                    continue;
                }
                Turn::Take(Step::PutPayload { name, payload }) => {
                    let (name, payload) = (name.clone(), payload.clone());
                    return self.put_payload(ending, name, payload);
                }
                Turn::Take(
                    Step::Outcome { message, .. } | Step::Store(message) | Step::Bury(message),
                ) => message,
            };
            let (subject, headers, body) = (
                message.subject.clone(),
                message.headers.clone(),
                message.body.clone(),
            );
            let Some(orders) = self.orders.upgrade() else {
                return;
            };
            self.pipe
                .send(subject, headers, body, move |number, answer| {
                    // Nobody takes orders any more when the worker is gone.
                    let _ = orders.send(Order::Resume(ending, number, answer));
                });
            return;
        }
    }

    /// Goes on after a step was answered.
    async fn resume(&mut self, mut ending: Ending, number: u64, answer: Answer) {
        let Err(refusal) = answer else {
            if let Some(id) = ending.outcome() {
                self.note(id, Some(number));
            }
            ending.advance();
            return self.step(ending).await;
        };
        let taken = refusal.is_subject_taken() || refusal.is_wrong_last_sequence();
        let id = ending.outcome().filter(|_| taken).cloned();
        if let Some(id) = &id {
            self.note(id, None);
        }
        let pause = match (ending.refused(taken), id) {
            (After::Again(pause), _) => pause,
            (After::Compare, Some(id)) => return self.compare(ending, id),
            (After::Refused, Some(id)) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    task_id = %id,
                    "the outcome was refused: another attempt, or an operator, had ended the task"
                );
                return self.step(ending).await;
            }
            _ => return self.step(ending).await,
        };
        let message = refusal.clone().into_error("ending an attempt").to_string();
        if ending.tries() == 3 {
            tracing::warn!("{message}; trying on, and keeping the task until then");
        } else {
            tracing::debug!("{message}; trying again in {pause:?}");
        }
        if matches!(refusal, Refusal::Closed) {
            return;
        }
        let (orders, broker) = (self.orders.clone(), Arc::clone(&self.broker));
        tokio::spawn(async move {
            if refusal == Refusal::NobodyThere {
                broker.layout.forget();
                // What goes wrong here shows again at the next try.
                let _ = broker.layout.ensure_shared().await;
            }
            tokio::time::sleep(pause).await;
            if let Some(orders) = orders.upgrade() {
                let _ = orders.send(Order::Again(ending));
            }
        });
    }

    /// Notes that an outcome is stored, under the number of its reply
    /// subject; or that another one is, which its waiters must look up.
    fn note(&mut self, id: &TaskId, number: Option<u64>) {
        if !self.told.contains_key(id.origin()) {
            let heading = self.pipe.replies().to_owned();
            self.told.insert(id.origin().to_owned(), heading);
        }
        if let Some(lines) = self.told.get_mut(id.origin()) {
            // Writing to a string cannot fail.
            let _ = match number {
                Some(number) => write!(lines, "\n{number} {id}"),
                None => write!(lines, "\n- {id}"),
            };
        }
    }

    /// Tells each origin what was noted: many outcomes in one message, when
    /// there are many.
    async fn tell(&mut self) {
        for (origin, lines) in self.told.drain() {
            let subject = self.broker.layout.names.stored(&origin);
            // Who is not told looks for the record after a while.
            let _ = self.broker.client.publish(subject, lines.into()).await;
        }
        self.ended.tell(&self.broker).await;
    }

    async fn answer(&self, receipt: &Receipt, body: Bytes) {
        // An ack that is lost is made up for: the redelivery finds the
        // outcome.
        let _ = self
            .broker
            .client
            .publish(receipt.address.to_string(), body)
            .await;
    }

    /// Stores a payload, again and again until it is stored.
    fn put_payload(&self, ending: Ending, name: String, payload: Bytes) {
        let (broker, orders) = (Arc::clone(&self.broker), self.orders.clone());
        tokio::spawn(async move {
            let mut pause = Duration::from_millis(100);
            while let Err(error) = broker.store_payload(&name, payload.clone()).await {
                tracing::warn!("{error}; trying on, and keeping the task until then");
                if orders.strong_count() == 0 {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            if let Some(orders) = orders.upgrade() {
                let _ = orders.send(Order::Go(ending));
            }
        });
    }

    fn remove_payload(&self, name: String) {
        let broker = Arc::clone(&self.broker);
        tokio::spawn(async move {
            if let Err(error) = broker.delete_payload(&name).await {
                tracing::debug!("{error}; the store drops it by its age");
            }
        });
    }

    /// Finds out whether the outcome that is there is this attempt's own.
    fn compare(&self, ending: Ending, id: TaskId) {
        let (broker, orders) = (Arc::clone(&self.broker), self.orders.clone());
        tokio::spawn(async move {
            let mut pause = Duration::from_millis(100);
            let own = loop {
                match broker.stored_outcome(&id).await {
                    Ok(stored) => {
                        let own = ending.message().map(|message| &message.body);
                        break stored.is_some_and(|body| own.is_some_and(|own| *own == body));
                    }
                    Err(error) => tracing::debug!("cannot look at the outcome of {id}: {error}"),
                }
                if orders.strong_count() == 0 {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            };
            if let Some(orders) = orders.upgrade() {
                let _ = orders.send(Order::Compared(ending, own));
            }
        });
    }

    fn unlock(&self, key: String, id: TaskId) {
        let broker = Arc::clone(&self.broker);
        tokio::spawn(async move {
            if let Err(error) = broker.release_lock(&key, &id).await {
                tracing::debug!("the lock of {id} stays until it is found stale: {error}");
            }
        });
    }

    fn close(&self, ending: &Ending) {
        self.leases.release(ending.receipt.lease);
        self.open.closed.fetch_add(1, Ordering::Relaxed);
        if self.open.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.none.notify_waiters();
        }
    }
}
