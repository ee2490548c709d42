//! The transport of one process: for tests, and for a first try without a
//! server.

mod end;
mod gate;
mod govern;
mod notes;
mod operate;
mod plans;
mod settings;
mod standing;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};
use taskq_syntax::Priority;
use tokio::sync::{Notify, broadcast};

use self::end::{End, Intake};
use self::govern::Buckets;
use self::operate::Told;
use super::names::PRIORITIES;
use super::rules::Snapshot;
use super::waiters::Waiters;
use super::{
    Broker, Consumer, Expected, History, Leases, Mode, Note, Publication, Published, Pulse,
    QueueDepth, Receipt, Record, Room, Rules, Setting, Settlement, Status, Subscription,
};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{AuditEntry, CancelRequest, DeadLetter, Event, Journal, Outcome, TaskId};
use crate::policy::Gate;
use crate::policy::Portions;
use crate::time::Timestamp;

/// The largest message, as a NATS server's default.
const MAX_MESSAGE: usize = 1024 * 1024;

/// All that a namespace of this process holds.
#[derive(Debug)]
pub(crate) struct Memory {
    store: Mutex<Store>,
    /// Something became ready, or due earlier than thought.
    changed: Notify,
    waiters: Arc<Waiters>,
    told: Told,
    wishes: broadcast::Sender<CancelRequest>,
    /// Something was set.
    set: broadcast::Sender<()>,
    /// The workers, to be asked which of them has a task.
    finders: standing::Finders,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            store: Mutex::default(),
            changed: Notify::new(),
            waiters: Arc::default(),
            told: Told::default(),
            wishes: broadcast::Sender::new(1024),
            set: broadcast::Sender::new(16),
            finders: standing::Finders::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Store {
    ready: HashMap<(String, Priority), VecDeque<Message>>,
    running: HashMap<u64, Message>,
    /// What waits for the turn of its key, by queue.
    gates: HashMap<String, Gate<Message>>,
    /// By due time, and by a number that keeps the order of equals.
    planned: BTreeMap<(Timestamp, u64), Message>,
    planned_count: u64,
    stored_count: u64,
    /// Where the plan of each burst is, as long as it is there.
    bursts: HashMap<String, (Timestamp, u64)>,
    queues: HashSet<String>,
    /// Where each message is that has not ended.
    live: HashMap<TaskId, Status>,
    outcomes: HashMap<TaskId, (Bytes, Option<Timestamp>)>,
    locks: HashMap<String, (TaskId, Option<Timestamp>)>,
    journals: HashMap<TaskId, Journal>,
    cancels: HashMap<TaskId, CancelRequest>,
    dead: BTreeMap<u64, DeadLetter>,
    dead_count: u64,
    /// What operators did, the oldest first.
    actions: Vec<AuditEntry>,
    payloads: HashMap<String, Bytes>,
    /// By kind and name.
    settings: BTreeMap<(&'static str, String), Setting>,
    settings_count: u64,
    /// What is set, as it counts.
    rules: Snapshot,
    /// Who goes by it, and for which queues.
    followers: Vec<(Weak<Rules>, Vec<String>)>,
    buckets: Buckets,
    /// By key, and until when.
    notes: HashMap<String, (Note, Option<Timestamp>)>,
    notes_count: u64,
}

#[derive(Clone, Debug)]
struct Message {
    publication: Publication,
    stored_at: Timestamp,
    deliveries: u32,
    /// Greater than that of what was stored before.
    number: u64,
    /// The key whose turn it has.
    turn: Option<Arc<str>>,
    /// Who gave it back last, for others to have it.
    passed_by: Option<EndNumber>,
}

/// Which worker's end: no two have the same.
type EndNumber = u64;

impl Memory {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, publication: Publication) -> Result<Published> {
        let now = Timestamp::now();
        let mut store = self.store();
        if store.knows(&publication.id, now) {
            return Ok(Published::Existing(publication.id));
        }
        if publication.due.is_none() && store.is_full(&publication.queue, 1) {
            let what = format!("sending task {} ({})", publication.id, publication.task);
            return Err(store.full(&what, &publication.queue));
        }
        let mut replaced = None;
        if let Some(lock) = &publication.lock {
            if let Some((holder, until)) = store.locks.get(&lock.key)
                && until.is_none_or(|until| now < until)
            {
                if !lock.replace {
                    return Ok(Published::Existing(holder.clone()));
                }
                replaced = Some(holder.clone());
            }
            let until = lock.window.map(|window| now.plus(window));
            let lock = lock.key.clone();
            store.locks.insert(lock, (publication.id.clone(), until));
        }
        store.enter(publication, now);
        drop(store);
        self.changed.notify_waiters();
        Ok(replaced.map_or(Published::Accepted, Published::Replaced))
    }

    /// Ends a delivery that a worker's end had; false if its outcome was
    /// refused.
    fn end(&self, who: EndNumber, receipt: &Receipt, settlement: Settlement) -> bool {
        let mut store = self.store();
        let Some(mut message) = store.running.remove(&receipt.lease) else {
            return true;
        };
        let id = message.publication.id.clone();
        let mut stored = true;
        if !matches!(settlement, Settlement::Release { .. }) {
            store.end_turn(&message);
        }
        match settlement {
            Settlement::Finish(record) => stored = self.record(&mut store, record),
            Settlement::Bury {
                letter,
                record,
                payload,
            } => {
                store.payloads.extend(payload);
                if let Some(record) = record {
                    stored = self.record(&mut store, record);
                }
                if stored {
                    store.bury(*letter);
                }
                store.live.remove(&id);
            }
            Settlement::Retry(publication) => {
                store.enter(publication, Timestamp::now());
            }
            Settlement::Release { delay, journal } => {
                if let Some((id, journal)) = journal {
                    store.journals.insert(id, journal);
                }
                message.passed_by = Some(who);
                store.give_back(message, delay);
            }
            Settlement::Discard => {
                store.live.remove(&id);
            }
            Settlement::Forget => {}
        }
        drop(store);
        self.changed.notify_waiters();
        stored
    }

    /// Stores an outcome; the first one counts.
    fn record(&self, store: &mut Store, record: Record) -> bool {
        store.live.remove(&record.id);
        store.journals.remove(&record.id);
        let now = Timestamp::now();
        if store.outcome(&record.id, now).is_some() {
            return false;
        }
        store.payloads.extend(record.payload);
        if let Some(name) = &record.spent {
            store.payloads.remove(name);
        }
        let until = record.ttl.map(|keep| now.plus(keep));
        let body = Bytes::from(record.body);
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
        if let Ok(outcome) = Outcome::decode(&body) {
            for event in Event::of_outcome(&outcome) {
                self.told.tell(event);
            }
        }
        self.waiters.deliver(&record.id, &body);
        true
    }
}

impl Memory {
    /// What is set for these queues and for task types, kept up to date.
    fn follow_rules(&self, queues: &[String]) -> Arc<Rules> {
        let rules = Arc::<Rules>::default();
        let mut store = self.store();
        rules.set(store.rules.of_queues(queues));
        let follower = (Arc::downgrade(&rules), queues.to_vec());
        store.followers.push(follower);
        rules
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

    /// Takes a message in, to the queue or to the plan; tells where it is
    /// planned.
    fn enter(&mut self, publication: Publication, now: Timestamp) -> Option<(Timestamp, u64)> {
        self.queues.insert(publication.queue.clone());
        let due = publication.due;
        let message = Message {
            publication,
            stored_at: now,
            deliveries: 0,
            number: self.number(),
            turn: None,
            passed_by: None,
        };
        match due {
            Some(due) if now < due => Some(self.plan(message, due)),
            _ => {
                self.line_up(message, false);
                None
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.stored_count += 1;
        self.stored_count
    }

    fn line_up(&mut self, message: Message, in_front: bool) {
        let publication = &message.publication;
        self.live.insert(publication.id.clone(), Status::Waiting);
        if publication.key.is_some() && message.turn.is_none() {
            return self.hold(message);
        }
        let lane = (publication.queue.clone(), publication.priority);
        let lane = self.ready.entry(lane).or_default();
        if in_front {
            lane.push_front(message);
        } else {
            lane.push_back(message);
        }
    }

    fn bury(&mut self, letter: DeadLetter) {
        self.dead.retain(|_, earlier| earlier.id != letter.id);
        self.dead_count += 1;
        self.dead.insert(self.dead_count, letter);
    }

    /// Takes messages out of their queues, as far as what is set lets them
    /// start; tells when more may, if the time alone will tell.
    fn take(
        &mut self,
        queues: &[String],
        portions: Option<&mut Portions>,
        room: &Room,
        now: Timestamp,
    ) -> (Vec<Message>, Option<Timestamp>) {
        let limits = queues.iter().map(|queue| match room.is_full(queue) {
            true => (0, None),
            false => self.places(queue, now, room.free),
        });
        let room = room.free;
        let (mut places, next): (Vec<usize>, Vec<_>) = limits.unzip();
        let mut taken = Vec::new();
        let wants = |store: &Self, places: &[usize]| -> Vec<bool> {
            let has = |queue: &String| {
                let lanes = PRIORITIES.map(|priority| (queue.clone(), priority));
                lanes
                    .iter()
                    .any(|lane| store.ready.get(lane).is_some_and(|it| !it.is_empty()))
            };
            let places = places.iter().zip(queues);
            places
                .map(|(places, queue)| *places > 0 && has(queue))
                .collect()
        };
        if let Some(portions) = portions {
            while taken.len() < room
                && let Some(place) = portions.next(&wants(self, &places))
            {
                let queue = &queues[place];
                let message = PRIORITIES.iter().find_map(|priority| {
                    self.ready.get_mut(&(queue.clone(), *priority))?.pop_front()
                });
                taken.extend(message);
                places[place] -= 1;
            }
        } else {
            for priority in PRIORITIES {
                for (queue, places) in queues.iter().zip(&mut places) {
                    let Some(lane) = self.ready.get_mut(&(queue.clone(), priority)) else {
                        continue;
                    };
                    let count = lane.len().min(room - taken.len()).min(*places);
                    taken.extend(lane.drain(..count));
                    *places -= count;
                }
            }
        }
        for queue in queues {
            let of_it = |message: &&Message| message.publication.queue == *queue;
            let count = taken.iter().filter(of_it).count();
            if count > 0 && !self.rules.queues.is_empty() {
                self.spend(queue, now, count);
            }
        }
        for message in &mut taken {
            message.deliveries += 1;
            self.live
                .insert(message.publication.id.clone(), Status::Running);
        }
        (taken, next.into_iter().flatten().min())
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
        ready(self.accept(publication)).boxed()
    }

    fn publish_all<'a>(&'a self, batch: &'a [Publication]) -> BoxFuture<'a, Result<bool>> {
        let now = Timestamp::now();
        let mut store = self.store();
        let known = batch.iter().filter(|it| store.knows(&it.id, now)).count();
        if known > 0 && known < batch.len() {
            let error = Error::new(
                ErrorKind::Duplicate,
                "the tasks are refused, and none is sent: one of their ids is a task already",
            );
            return ready(Err(error)).boxed();
        }
        if known == 0 {
            if let Some(first) = batch.first()
                && store.is_full(&first.queue, batch.len())
            {
                let what = format!(
                    "sending {} tasks at once to queue {}",
                    batch.len(),
                    first.queue
                );
                return ready(Err(store.full(&what, &first.queue))).boxed();
            }
            for publication in batch {
                store.enter(publication.clone(), now);
            }
        }
        drop(store);
        self.changed.notify_waiters();
        ready(Ok(known > 0)).boxed()
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
            store.promote(Timestamp::now(), None);
            Ok(store.live.get(id).copied().unwrap_or(Status::Unknown))
        })
    }

    fn consume(&self, subscription: Subscription) -> BoxFuture<'_, Result<Consumer>> {
        let leases = Arc::new(Leases::endless(subscription.lease));
        let pulse = Arc::new(Pulse::new(Instant::now()));
        let number = {
            let mut store = self.store();
            store.queues.extend(subscription.queues.iter().cloned());
            store.number()
        };
        let end = Arc::new(End {
            number,
            memory: Arc::clone(self),
            leases: Arc::clone(&leases),
            held: Mutex::default(),
            refused: AtomicU64::new(0),
        });
        let memory = Arc::clone(self);
        Box::pin(async move {
            let rules = memory.follow_rules(&subscription.queues);
            Ok(Consumer {
                deliveries: Box::new(Intake {
                    end: Arc::clone(&end),
                    portions: subscription.weights.map(Portions::new),
                    queues: subscription.queues,
                }),
                settler: end,
                leases,
                keeper: None,
                notices: memory.listen_to_wishes(),
                pulse,
                rules,
            })
        })
    }

    fn history<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<History>> {
        Box::pin(async move {
            let outcome = self.outcome(id).await?;
            let store = self.store();
            Ok(History {
                outcome,
                journal: store.journals.get(id).cloned().unwrap_or_default(),
                cancel: store.cancels.get(id).cloned(),
            })
        })
    }

    fn write_journal<'a>(&'a self, id: &'a TaskId, journal: &Journal) -> BoxFuture<'a, Result<()>> {
        self.store().journals.insert(id.clone(), journal.clone());
        ready(Ok(())).boxed()
    }

    fn put_payload<'a>(&'a self, name: &'a str, payload: Bytes) -> BoxFuture<'a, Result<()>> {
        self.store().payloads.insert(name.to_owned(), payload);
        ready(Ok(())).boxed()
    }

    fn payload<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>> {
        ready(Ok(self.store().payloads.get(name).cloned())).boxed()
    }

    fn remove_payload<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        self.store().payloads.remove(name);
        ready(Ok(())).boxed()
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueDepth>>> {
        let mut store = self.store();
        store.promote(Timestamp::now(), None);
        let mut queues: Vec<QueueDepth> = store
            .queues
            .iter()
            .map(|queue| QueueDepth {
                queue: queue.clone(),
                pending: store.held(queue)
                    + PRIORITIES
                        .iter()
                        .filter_map(|priority| store.ready.get(&(queue.clone(), *priority)))
                        .map(|lane| lane.len() as u64)
                        .sum::<u64>(),
                held: store.held(queue),
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
