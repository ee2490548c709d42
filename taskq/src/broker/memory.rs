//! The transport of one process: for tests, and for a first try without a
//! server.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};
use taskq_syntax::Priority;
use tokio::sync::Notify;

use super::names::PRIORITIES;
use super::waiters::Waiters;
use super::{
    Broker, Consumer, Deliveries, Delivery, Expected, History, Leases, Mode, Publication,
    Published, QueueDepth, Receipt, Settlement, Settler, Status, Subscription,
};
use crate::error::Result;
use crate::message::{Outcome, TaskId};
use crate::time::Timestamp;

/// The largest message, as a NATS server's default.
const MAX_MESSAGE: usize = 1024 * 1024;

/// All that a namespace of this process holds.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    store: Mutex<Store>,
    /// Something became ready, or due earlier than thought.
    changed: Notify,
    waiters: Arc<Waiters>,
}

#[derive(Debug, Default)]
struct Store {
    ready: HashMap<(String, Priority), VecDeque<Message>>,
    running: HashMap<u64, Message>,
    /// By due time, and by a number that keeps the order of equals.
    planned: BTreeMap<(Timestamp, u64), Message>,
    planned_count: u64,
    queues: HashSet<String>,
    /// Where each message is that has not ended.
    live: HashMap<TaskId, Status>,
    outcomes: HashMap<TaskId, (Bytes, Option<Timestamp>)>,
    locks: HashMap<String, (TaskId, Option<Timestamp>)>,
    refunds: HashMap<TaskId, u32>,
    dead: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Message {
    publication: Publication,
    stored_at: Timestamp,
    deliveries: u32,
}

impl Memory {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, publication: Publication) -> Published {
        let now = Timestamp::now();
        let mut store = self.store();
        if store.knows(&publication.id, now) {
            return Published::Existing(publication.id);
        }
        if let Some(lock) = &publication.lock {
            if let Some((holder, until)) = store.locks.get(&lock.key)
                && until.is_none_or(|until| now < until)
            {
                return Published::Existing(holder.clone());
            }
            let until = lock.window.map(|window| now.plus(window));
            let lock = lock.key.clone();
            store.locks.insert(lock, (publication.id.clone(), until));
        }
        store.enter(publication, now);
        drop(store);
        self.changed.notify_waiters();
        Published::Accepted
    }

    fn end(&self, receipt: &Receipt, settlement: Settlement) {
        let mut store = self.store();
        let Some(message) = store.running.remove(&receipt.lease) else {
            return;
        };
        let id = message.publication.id.clone();
        let record = match settlement {
            Settlement::Finish(record) => Some(record),
            Settlement::Bury { letter, record } => {
                store.dead.push(letter.body);
                record
            }
            Settlement::Retry(publication) => {
                store.enter(publication, Timestamp::now());
                None
            }
            Settlement::Release { delay, refund } => {
                if let Some((id, count)) = refund {
                    store.refunds.insert(id, count);
                }
                store.give_back(message, delay);
                None
            }
            Settlement::Discard => {
                store.live.remove(&id);
                None
            }
        };
        if let Some(record) = record {
            store.live.remove(&record.id);
            store.refunds.remove(&record.id);
            let now = Timestamp::now();
            let until = record.ttl.map(|keep| now.plus(keep));
            let body = Bytes::from(record.body);
            // The first outcome counts.
            if store.outcome(&record.id, now).is_none() {
                store
                    .outcomes
                    .insert(record.id.clone(), (body.clone(), until));
                if let Some(key) = record.unlock
                    && store
                        .locks
                        .get(&key)
                        .is_some_and(|(holder, _)| *holder == record.id)
                {
                    store.locks.remove(&key);
                }
                self.waiters.deliver(&record.id, &body);
            }
        }
        drop(store);
        self.changed.notify_waiters();
    }
}

impl Store {
    fn outcome(&self, id: &TaskId, now: Timestamp) -> Option<&Bytes> {
        let (body, until) = self.outcomes.get(id)?;
        until.is_none_or(|until| now < until).then_some(body)
    }

    fn knows(&self, id: &TaskId, now: Timestamp) -> bool {
        self.live.contains_key(id) || self.outcome(id, now).is_some()
    }

    /// Takes a message in, to the queue or to the plan.
    fn enter(&mut self, publication: Publication, now: Timestamp) {
        self.queues.insert(publication.queue.clone());
        let due = publication.due;
        let message = Message {
            publication,
            stored_at: now,
            deliveries: 0,
        };
        match due {
            Some(due) if now < due => self.plan(message, due),
            _ => self.line_up(message, false),
        }
    }

    fn plan(&mut self, message: Message, due: Timestamp) {
        let id = message.publication.id.clone();
        self.live.insert(id, Status::Scheduled);
        self.planned_count += 1;
        self.planned.insert((due, self.planned_count), message);
    }

    fn line_up(&mut self, message: Message, in_front: bool) {
        let publication = &message.publication;
        self.live.insert(publication.id.clone(), Status::Waiting);
        let lane = (publication.queue.clone(), publication.priority);
        let lane = self.ready.entry(lane).or_default();
        if in_front {
            lane.push_front(message);
        } else {
            lane.push_back(message);
        }
    }

    fn give_back(&mut self, message: Message, delay: Duration) {
        if delay.is_zero() {
            self.line_up(message, true);
        } else {
            let due = Timestamp::now().plus(delay);
            self.plan(message, due);
            // It is on its way back, not put off by its sender.
        }
    }

    /// Moves what is due to its queue; tells when the next will be.
    fn promote(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some(entry) = self.planned.first_entry() {
            if now < entry.key().0 {
                return Some(entry.key().0);
            }
            let mut message = entry.remove();
            message.publication.due = None;
            self.line_up(message, false);
        }
        None
    }

    fn take(&mut self, queues: &[String], room: usize) -> Vec<Message> {
        let mut taken = Vec::new();
        for priority in PRIORITIES {
            for queue in queues {
                let Some(lane) = self.ready.get_mut(&(queue.clone(), priority)) else {
                    continue;
                };
                let count = lane.len().min(room - taken.len());
                taken.extend(lane.drain(..count));
            }
        }
        for message in &mut taken {
            message.deliveries += 1;
            self.live
                .insert(message.publication.id.clone(), Status::Running);
        }
        taken
    }
}

impl Broker for Arc<Memory> {
    fn mode(&self) -> Mode {
        Mode::Memory
    }

    fn max_message(&self) -> usize {
        MAX_MESSAGE
    }

    fn expect<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Expected>> {
        ready(Ok(self.waiters.expect(id, None))).boxed()
    }

    fn attach<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Expected>> {
        let expected = self.waiters.expect(id, None);
        let recorded = self.store().outcome(id, Timestamp::now()).cloned();
        if let Some(outcome) = recorded {
            self.waiters.deliver(id, &outcome);
        }
        ready(Ok(expected)).boxed()
    }

    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Published>> {
        ready(Ok(self.accept(publication))).boxed()
    }

    fn outcome<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Option<Outcome>>> {
        let outcome = self.store().outcome(id, Timestamp::now()).cloned();
        ready(outcome.map(|body| Outcome::decode(&body)).transpose()).boxed()
    }

    fn status<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Status>> {
        Box::pin(async move {
            if let Some(outcome) = self.outcome(id).await? {
                return Ok(Status::Done(outcome.state));
            }
            let mut store = self.store();
            store.promote(Timestamp::now());
            Ok(store.live.get(id).copied().unwrap_or(Status::Unknown))
        })
    }

    fn consume(&self, subscription: Subscription) -> BoxFuture<'_, Result<Consumer>> {
        let leases = Arc::new(Leases::new(subscription.lease));
        self.store()
            .queues
            .extend(subscription.queues.iter().cloned());
        let end = Arc::new(End {
            memory: Arc::clone(self),
            leases: Arc::clone(&leases),
            held: Mutex::default(),
        });
        ready(Ok(Consumer {
            deliveries: Box::new(Intake {
                end: Arc::clone(&end),
                queues: subscription.queues,
            }),
            settler: end,
            leases,
            keeper: None,
        }))
        .boxed()
    }

    fn history<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<History>> {
        Box::pin(async move {
            Ok(History {
                outcome: self.outcome(id).await?,
                refunds: self.store().refunds.get(id).copied().unwrap_or(0),
            })
        })
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueDepth>>> {
        let mut store = self.store();
        store.promote(Timestamp::now());
        let mut queues: Vec<QueueDepth> = store
            .queues
            .iter()
            .map(|queue| QueueDepth {
                queue: queue.clone(),
                pending: PRIORITIES
                    .iter()
                    .filter_map(|priority| store.ready.get(&(queue.clone(), *priority)))
                    .map(|lane| lane.len() as u64)
                    .sum(),
                running: count(store.running.values(), queue),
                scheduled: count(store.planned.values(), queue),
            })
            .collect();
        drop(store);
        queues.sort_by(|one, other| one.queue.cmp(&other.queue));
        ready(Ok(queues)).boxed()
    }

    fn nats(&self) -> Option<&async_nats::Client> {
        None
    }
}

fn count<'a>(messages: impl Iterator<Item = &'a Message>, queue: &str) -> u64 {
    messages
        .filter(|message| message.publication.queue == queue)
        .count() as u64
}

struct Intake {
    end: Arc<End>,
    queues: Vec<String>,
}

/// A worker's end. What it still holds when it is gone is delivered again.
struct End {
    memory: Arc<Memory>,
    leases: Arc<Leases>,
    held: Mutex<HashSet<u64>>,
}

impl End {
    fn held(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deliveries for Intake {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Option<Vec<Delivery>>> {
        Box::pin(async move {
            loop {
                let changed = self.end.memory.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let now = Timestamp::now();
                let (taken, due) = {
                    let mut store = self.end.memory.store();
                    let due = store.promote(now);
                    let taken = store.take(&self.queues, room);
                    let deliveries: Vec<Delivery> = taken
                        .into_iter()
                        .map(|message| {
                            let lease = self.end.leases.hold("".into(), Instant::now());
                            self.end.held().insert(lease);
                            let delivery = deliver(&message, lease);
                            store.running.insert(lease, message);
                            delivery
                        })
                        .collect();
                    (deliveries, due)
                };
                if !taken.is_empty() {
                    return Some(taken);
                }
                let wait = due.map_or(Duration::from_secs(3600), |due| {
                    due.since(now).max(Duration::from_millis(1))
                });
                let _ = tokio::time::timeout(wait, changed).await;
            }
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        ready(Vec::new()).boxed()
    }
}

fn deliver(message: &Message, lease: u64) -> Delivery {
    Delivery {
        body: message.publication.body.clone(),
        queue: message.publication.queue.as_str().into(),
        priority: message.publication.priority,
        stored_at: message.stored_at,
        receipt: Receipt {
            lease,
            deliveries: message.deliveries,
            address: "".into(),
        },
    }
}

impl Settler for End {
    fn settle(&self, receipt: Receipt, settlement: Settlement) {
        self.held().remove(&receipt.lease);
        self.leases.release(receipt.lease);
        self.memory.end(&receipt, settlement);
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn unconfirmed(&self) -> usize {
        0
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let held: Vec<u64> = self.held().drain().collect();
        if held.is_empty() {
            return;
        }
        let mut store = self.memory.store();
        for lease in held {
            if let Some(message) = store.running.remove(&lease) {
                store.give_back(message, Duration::ZERO);
            }
        }
        drop(store);
        self.memory.changed.notify_waiters();
    }
}
