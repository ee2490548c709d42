//! Leading: hears what comes and what ends, and releases whose turn it is.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};

use super::places::Places;
use super::weigh::{Doubts, Weighed};
use super::{Lease, failed};
use crate::broker::jetstream::JetStream;
use crate::broker::jetstream::events::Found;
use crate::broker::jetstream::pipe::{Answer, Refusal};
use crate::broker::names::{Namespace, PRIORITIES, api};
use crate::error::Result;
use crate::message::KeyLimits;
use crate::policy::{Gate, Grant};

/// How many bytes of waiting messages are kept here; of more than that only
/// the places are, and they are fetched when their turn has come.
const CACHE: usize = 64 * 1024 * 1024;
/// How many messages that come while earlier ones are read are kept.
const AHEAD: usize = 4096;
/// How long is read, at most, before the first turn is given.
pub(super) const READING: Duration = Duration::from_secs(2);
/// How often released messages are removed from where they waited; and when
/// those are removed one by one that have others waiting before them.
const REMOVE: Duration = Duration::from_millis(50);
const STRAGGLER: Duration = Duration::from_millis(500);
/// How often it is compared with the server what is known here.
const COMPARE: Duration = Duration::from_secs(2);
/// A worker that has not told its room for so long is gone.
const GONE: Duration = Duration::from_secs(5);
/// How many messages have a turn at once, at the least.
const LEAST_WINDOW: usize = 16;
/// How long the ends of a drained leader's releases are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// So many comparisons in a row must say that messages are missing here.
const MISSING: u32 = 3;

/// Why somebody leads no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another leads, or this worker stops.
    Lost,
    /// It does, but does not know any more what waits and what runs.
    Unsure,
}

pub(super) struct Leader {
    pub(super) broker: Arc<JetStream>,
    pub(super) queue: String,
    /// The stream of what waits.
    pub(super) hold: String,
    pub(super) gate: Gate<Waiting>,
    /// What was released and has not ended, by id.
    pub(super) out: HashMap<Arc<str>, Out>,
    /// What a release expects of the queue's stream.
    pub(super) fence: HeaderMap,
    /// What is to be looked up of what was there when this began.
    pub(super) doubts: Doubts,
    pub(super) places: Places,
    /// Until then nothing is released while there is more to read of what
    /// waited when this began: keys that stand far back have a turn too.
    pub(super) settled: Instant,
    /// The last that waited then.
    pub(super) began: u64,
    /// The place of the next message to take in.
    pub(super) next: u64,
    /// The last that is known to be there.
    pub(super) highest: u64,
    pub(super) reading: bool,
    /// What came while earlier ones were read.
    pub(super) ahead: VecDeque<Found>,
    /// What is to be looked up again.
    pub(super) deferred: Vec<Found>,
    /// What is released and still where it waited, and when it was released
    /// or last asked to be removed.
    pub(super) undeleted: BTreeMap<u64, Instant>,
    /// What somebody wishes to cancel: it may be gone from where it waits.
    pub(super) cancelled: HashSet<Arc<str>>,
    pub(super) cached: usize,
    /// This worker, and how many messages it runs at once.
    pub(super) me: (String, usize),
    /// The same of each worker, and when it was told.
    pub(super) rooms: HashMap<String, (usize, Instant)>,
    pub(super) rates: Rates,
    pub(super) listing: bool,
    /// How many messages are being fetched, since their turn has come.
    pub(super) fetching: usize,
    /// How many messages are there that are none.
    pub(super) odd: usize,
    /// How often in a row there was more to wait than is known.
    pub(super) missing: u32,
    pub(super) tell: mpsc::UnboundedSender<Told>,
    pub(super) told: mpsc::UnboundedReceiver<Told>,
    pub(super) stored: Subscriber,
    pub(super) ended: Subscriber,
    pub(super) room_told: Subscriber,
    pub(super) wishes: Subscriber,
    pub(super) removed: Subscriber,
    pub(super) questions: Subscriber,
}

/// A message that waits.
pub(super) struct Waiting {
    sequence: u64,
    /// The message, unless it is to be fetched.
    found: Option<Box<Found>>,
}

/// A message that has a turn.
pub(super) struct Out {
    pub(super) key: Arc<str>,
    pub(super) since: Instant,
    /// Whether it is known to be in its lane.
    pub(super) stored: bool,
}

/// How many end, and how much is released ahead of them.
#[derive(Default)]
pub(super) struct Rates {
    ended: usize,
    per_look: usize,
    stretch: usize,
}

/// What the requests of a leader come to.
pub(super) enum Told {
    Released {
        id: Arc<str>,
        sequence: u64,
        answer: Answer,
        subject: String,
        body: Bytes,
    },
    Deleted(u64, Answer),
    /// All before this place are removed.
    Purged(u64, Answer),
    Fetched(Arc<str>, u64, Result<Option<Found>>),
    /// What was read up to the last that was known then.
    Read(u64, Result<Weighed>),
    Weighed(Result<Weighed>),
    /// What is in the lanes, as it was asked for then.
    Listed(Instant, Result<HashSet<String>>),
    /// How much waits, and up to where.
    Counted(Result<(u64, u64)>),
    /// Whether the lanes wait for more.
    Hungry(bool),
}

impl Leader {
    /// Leads until another does, or this worker stops.
    pub(super) async fn lead(&mut self, lease: &Lease, stop: &mut watch::Receiver<bool>) -> Ended {
        let mut lost = lease.lost.clone();
        let mut reconnects = self.broker.reconnects.subscribe();
        let mut look = tokio::time::interval(super::LOOK);
        let mut compare = tokio::time::interval(COMPARE);
        let mut remove = tokio::time::interval(REMOVE);
        let mut batch = Vec::with_capacity(256);
        loop {
            if *stop.borrow() {
                self.finish().await;
                return Ended::Lost;
            }
            if lease.is_lost() {
                return Ended::Lost;
            }
            self.read_on();
            self.release();
            let now = self.broker.clock.now();
            let wait = self.gate.wake_at().map_or(Duration::from_secs(60), |at| {
                at.since(now).max(Duration::from_millis(1))
            });
            tokio::select! {
                biased;
                _ = stop.changed() => {}
                _ = lost.changed() => {}
                // What was under way may have been lost.
                _ = reconnects.changed() => return Ended::Unsure,
                count = self.told.recv_many(&mut batch, 256) => {
                    if count == 0 {
                        return Ended::Unsure;
                    }
                    for told in batch.drain(..) {
                        if let Err(ended) = self.take(told) {
                            return ended;
                        }
                    }
                }
                message = self.ended.next() => match message {
                    Some(message) => self.take_ended(&message),
                    None => return Ended::Lost,
                },
                message = self.stored.next() => match message {
                    Some(message) => {
                        self.take_stored(message);
                        let mut more = 255;
                        while more > 0
                            && let Some(Some(message)) = self.stored.next().now_or_never()
                        {
                            more -= 1;
                            self.take_stored(message);
                        }
                    }
                    None => return Ended::Lost,
                },
                Some(message) = self.room_told.next() => self.take_room(&message),
                Some(message) = self.wishes.next() => {
                    let id = message.subject.rsplit('.').next().unwrap_or_default();
                    self.recheck(id);
                }
                Some(message) = self.removed.next() => {
                    self.recheck(&String::from_utf8_lossy(&message.payload));
                }
                Some(message) = self.questions.next() => self.answer(message).await,
                () = tokio::time::sleep(wait) => {}
                _ = remove.tick() => self.remove(),
                _ = look.tick() => self.look(),
                _ = compare.tick() => self.compare(),
            }
        }
    }

    /// How many messages may have a turn at once: so many that no worker
    /// waits, and not many more, since what is released is past its key's
    /// turn and no longer makes way for others.
    fn window(&self) -> usize {
        let room: usize = self.rooms.values().map(|(room, _)| room).sum();
        // What ends in a tenth of a second is under way between the server
        // and the workers.
        (room * 2 + self.rates.per_look / 10 + self.rates.stretch).max(LEAST_WINDOW)
    }

    /// Releases whose turn it is, as far as there is room.
    fn release(&mut self) {
        if self.next <= self.began && Instant::now() < self.settled {
            return;
        }
        let now = self.broker.clock.now();
        let window = self.window();
        while self.gate.released() < window {
            let Some(grant) = self.gate.next(now) else {
                return;
            };
            self.start(grant);
        }
    }

    fn start(&mut self, grant: Grant<Waiting>) {
        let Grant { key, item, .. } = grant;
        if let Some(found) = item.found {
            self.cached = self.cached.saturating_sub(size(&found));
            if !self.is_cancelled(&found) {
                return self.send(key, *found);
            }
        }
        let (broker, tell) = (Arc::clone(&self.broker), self.tell.clone());
        let (hold, sequence) = (self.hold.clone(), item.sequence);
        self.fetching += 1;
        tokio::spawn(async move {
            let found = broker.at(&hold, sequence).await;
            let _ = tell.send(Told::Fetched(key, sequence, found));
        });
    }

    /// Moves a message to its lane.
    fn send(&mut self, key: Arc<str>, found: Found) {
        let names = &self.broker.layout.names;
        let Some(name) = names.parse_hold(&found.subject) else {
            return self.gate.free(&key);
        };
        let id: Arc<str> = name.id.into();
        let subject = names.work_of_held(&self.queue, &name);
        let out = Out {
            key,
            since: Instant::now(),
            stored: false,
        };
        if let Some(old) = self.out.insert(Arc::clone(&id), out) {
            // Two of one id: the turn of one covers both.
            self.gate.free(&old.key);
        }
        self.publish(id, found.sequence, subject, found.body);
    }

    fn publish(&self, id: Arc<str>, sequence: u64, subject: String, body: Bytes) {
        let tell = self.tell.clone();
        let (headers, kept, bytes) = (self.fence.clone(), subject.clone(), body.clone());
        let on_answer = move |_, answer| {
            // Nobody hears it any more when another leads.
            let _ = tell.send(Told::Released {
                id,
                sequence,
                answer,
                subject: kept,
                body: bytes,
            });
        };
        self.broker
            .pipe
            .send(subject, Some(headers), body, on_answer);
    }

    /// Has a released message removed from where it waited.
    fn done_with(&mut self, sequence: u64) {
        self.places.leave(sequence);
        self.undeleted.insert(sequence, Instant::now());
    }

    /// Removes released messages: all up to the first that waits at once, and
    /// those behind it that have been released for a while one by one.
    fn remove(&mut self) {
        let Some((first, _)) = self.undeleted.first_key_value() else {
            return;
        };
        let now = Instant::now();
        let floor = self.places.floor(self.next);
        if *first < floor {
            let before: Vec<u64> = self.undeleted.range(..floor).map(|(at, _)| *at).collect();
            let old = |at: &Instant| *at <= now;
            if before
                .iter()
                .any(|at| self.undeleted.get(at).is_some_and(old))
            {
                for at in before {
                    // Not again until this is answered, or was lost.
                    self.undeleted.insert(at, now + super::PATIENCE);
                }
                let tell = self.tell.clone();
                let subject = api::stream_purge(&self.hold);
                let body = format!(r#"{{"seq":{floor}}}"#);
                self.broker
                    .pipe
                    .send(subject, None, body.into(), move |_, answer| {
                        let _ = tell.send(Told::Purged(floor, answer));
                    });
            }
        }
        let late = |at: &Instant| *at + STRAGGLER <= now;
        let behind = self.undeleted.range(floor..);
        let late: Vec<u64> = behind
            .filter(|(_, at)| late(at))
            .map(|(place, _)| *place)
            .collect();
        for place in late {
            self.undeleted.insert(place, now);
            self.delete(place);
        }
    }

    fn delete(&self, sequence: u64) {
        let tell = self.tell.clone();
        let body = format!(r#"{{"seq":{sequence},"no_erase":true}}"#);
        let subject = api::message_delete(&self.hold);
        self.broker
            .pipe
            .send(subject, None, body.into(), move |_, answer| {
                let _ = tell.send(Told::Deleted(sequence, answer));
            });
    }

    fn take(&mut self, told: Told) -> std::result::Result<(), Ended> {
        match told {
            Told::Released {
                id,
                sequence,
                answer,
                subject,
                body,
            } => return self.released(id, sequence, answer, subject, body),
            Told::Purged(floor, answer) => match answer {
                Ok(()) => self.undeleted = self.undeleted.split_off(&floor),
                Err(Refusal::Denied(denial)) => {
                    let error = denial.into_error("releasing a task whose turn it is");
                    tracing::error!("{error}");
                    return Err(Ended::Lost);
                }
                // Tried again after a while.
                Err(_) => {}
            },
            Told::Deleted(sequence, answer) => match answer {
                // Refused for good: it is not there.
                Ok(()) => drop(self.undeleted.remove(&sequence)),
                Err(Refusal::Server { code, .. }) if code != 10008 && code != 10074 => {
                    self.undeleted.remove(&sequence);
                }
                Err(Refusal::Denied(denial)) => {
                    let error = denial.into_error("releasing a task whose turn it is");
                    tracing::error!("{error}");
                    return Err(Ended::Lost);
                }
                // Tried again with the next look.
                Err(_) => {}
            },
            Told::Fetched(key, sequence, found) => {
                self.fetching -= 1;
                match self.heard(found)? {
                    Some(found) => self.send(key, found),
                    // Cancelled while it waited.
                    None => {
                        self.places.leave(sequence);
                        self.gate.free(&key);
                    }
                }
            }
            Told::Read(known, read) => {
                self.reading = false;
                let weighed = self.heard(read)?;
                let next = weighed.next;
                let last = weighed.waiting.iter().chain(&weighed.unsure);
                let last = last.map(|found| found.sequence);
                let last = last.chain(weighed.over.iter().copied()).max();
                self.enter_all(weighed);
                // What was known to be there and is not at the end was removed.
                let end = || known.max(last.unwrap_or(0)) + 1;
                self.next = next.unwrap_or_else(end).max(self.next);
                self.catch_up();
            }
            Told::Weighed(weighed) => {
                let weighed = self.heard(weighed)?;
                self.enter_all(weighed);
            }
            Told::Listed(asked, listed) => {
                self.listing = false;
                let there = self.heard(listed)?;
                self.reconcile(asked, &there);
            }
            Told::Counted(counted) => {
                let (messages, last) = self.heard(counted)?;
                self.compare_counts(messages, last)?;
            }
            Told::Hungry(hungry) => {
                let room: usize = self.rooms.values().map(|(room, _)| room).sum();
                self.rates.stretch = if hungry {
                    self.rates.stretch + room.max(LEAST_WINDOW)
                } else {
                    self.rates.stretch / 2
                };
            }
        }
        Ok(())
    }

    fn heard<T>(&self, answer: Result<T>) -> std::result::Result<T, Ended> {
        answer.map_err(|error| {
            tracing::debug!("{}", failed(&self.queue, error));
            Ended::Unsure
        })
    }

    fn released(
        &mut self,
        id: Arc<str>,
        sequence: u64,
        answer: Answer,
        subject: String,
        body: Bytes,
    ) -> std::result::Result<(), Ended> {
        /// How long a full queue is left alone.
        const FULL: Duration = Duration::from_millis(250);
        match answer {
            Ok(()) => {
                if let Some(out) = self.out.get_mut(&id) {
                    out.stored = true;
                    out.since = Instant::now();
                }
                self.done_with(sequence);
                Ok(())
            }
            Err(refusal) if refusal.is_wrong_last_sequence() => {
                tracing::info!(
                    queue = self.queue,
                    "another worker leads the gate by now; nothing was released"
                );
                Err(Ended::Lost)
            }
            Err(refusal) if refusal.is_full() => {
                let (tell, text) = (self.tell.clone(), refusal);
                tokio::spawn(async move {
                    tokio::time::sleep(FULL).await;
                    let _ = tell.send(Told::Released {
                        id,
                        sequence,
                        answer: Err(Refusal::Server {
                            code: AGAIN,
                            text: format!("{text:?}"),
                        }),
                        subject,
                        body,
                    });
                });
                Ok(())
            }
            Err(Refusal::Server { code: AGAIN, .. }) => {
                self.publish(id, sequence, subject, body);
                Ok(())
            }
            Err(Refusal::Denied(denial)) => {
                let error = denial.into_error("releasing a task whose turn it is");
                tracing::error!("{error}");
                Err(Ended::Lost)
            }
            // It may have been stored, or not.
            Err(refusal) => {
                tracing::debug!(queue = self.queue, "a release was not stored: {refusal:?}");
                Err(Ended::Unsure)
            }
        }
    }

    /// Something was stored where messages wait.
    fn take_stored(&mut self, message: Message) {
        let header = |name: &str| Some(message.headers.as_ref()?.get(name)?.as_str().to_owned());
        let sequence = header("Nats-Sequence").and_then(|text| text.parse().ok());
        let (Some(sequence), Some(subject)) = (sequence, header("Nats-Subject")) else {
            return;
        };
        let found = Found {
            subject,
            sequence,
            body: message.payload,
            time: None,
            headers: None,
        };
        if sequence < self.next {
            return;
        }
        if self.reading || sequence > self.next {
            self.highest = self.highest.max(sequence);
            if self.ahead.len() < AHEAD {
                self.ahead.push_back(found);
            }
            return;
        }
        self.next = sequence + 1;
        self.enter(found);
    }

    /// Takes in what came while earlier ones were read.
    fn catch_up(&mut self) {
        while let Some(found) = self.ahead.front()
            && found.sequence <= self.next
        {
            let is_next = found.sequence == self.next;
            if let Some(found) = self.ahead.pop_front()
                && is_next
            {
                self.next += 1;
                self.enter(found);
            }
        }
        if self.next <= self.highest {
            // Those after a gap are read with it.
            self.ahead.clear();
        }
    }

    /// Reads what is there and was not heard of.
    fn read_on(&mut self) {
        if self.reading || self.next > self.highest {
            return;
        }
        self.reading = true;
        let (broker, tell) = (Arc::clone(&self.broker), self.tell.clone());
        let (queue, doubts) = (self.queue.clone(), self.doubts.clone());
        let (from, known) = (self.next, self.highest);
        tokio::spawn(async move {
            let read = broker.read_held(&queue, from, known, &doubts).await;
            let _ = tell.send(Told::Read(known, read));
        });
    }

    fn enter_all(&mut self, weighed: Weighed) {
        for found in weighed.waiting {
            self.enter(found);
        }
        for sequence in weighed.over {
            self.done_with(sequence);
        }
        for found in &weighed.unsure {
            self.places.enter(found.sequence);
        }
        self.deferred.extend(weighed.unsure);
    }

    fn enter(&mut self, mut found: Found) {
        self.places.enter(found.sequence);
        let names = &self.broker.layout.names;
        let Some(name) = names.parse_hold(&found.subject) else {
            tracing::warn!("{} is no place where a task waits", found.subject);
            self.odd += 1;
            return;
        };
        let limits = KeyLimits::of_body(&found.body);
        let (key, priority, sequence) = (name.key.to_owned(), name.priority, found.sequence);
        let keep = self.cached < CACHE;
        let found = keep.then(|| {
            // Not the buffer of the connection, of which it is a part.
            found.body = Bytes::copy_from_slice(&found.body);
            self.cached += size(&found);
            Box::new(found)
        });
        self.gate
            .enter(&key, priority, limits, Waiting { sequence, found });
    }

    fn take_ended(&mut self, message: &Message) {
        for id in String::from_utf8_lossy(&message.payload).lines() {
            if let Some(out) = self.out.remove(id) {
                self.rates.ended += 1;
                self.gate.free(&out.key);
            }
        }
    }

    fn take_room(&mut self, message: &Message) {
        let text = String::from_utf8_lossy(&message.payload);
        if let Some((worker, room)) = text.rsplit_once(' ')
            && let Ok(room) = room.trim().parse()
        {
            self.rooms.insert(worker.to_owned(), (room, Instant::now()));
        }
    }

    /// Until when its rate holds back a key.
    async fn answer(&self, question: Message) {
        let key = String::from_utf8_lossy(&question.payload);
        let until = self.gate.rate_until(&key, self.broker.clock.now());
        let until = until.map_or_else(String::new, |until| until.as_millis().to_string());
        if let Some(reply) = question.reply {
            // Who asked may be gone.
            let _ = self.broker.client.publish(reply, until.into()).await;
        }
    }

    /// Whoever wishes to cancel it may take it out of where it waits, so what
    /// is kept of it here does not count.
    fn recheck(&mut self, id: &str) {
        const MOST: usize = 100_000;
        if self.cancelled.len() >= MOST {
            self.cancelled.clear();
        }
        if !id.is_empty() {
            self.cancelled.insert(id.into());
        }
    }

    fn is_cancelled(&self, found: &Found) -> bool {
        if self.cancelled.is_empty() {
            return false;
        }
        let id = found.subject.rsplit('.').next();
        id.is_some_and(|id| self.cancelled.contains(id))
    }

    /// Once a second: what has to be tried again, and whether more should be
    /// released.
    fn look(&mut self) {
        let now = Instant::now();
        self.rooms.retain(|_, (_, at)| now - *at < GONE);
        let (me, room) = &self.me;
        self.rooms.insert(me.clone(), (*room, now));
        self.rates.per_look = std::mem::take(&mut self.rates.ended);
        if !self.deferred.is_empty() {
            let deferred = std::mem::take(&mut self.deferred);
            let (broker, tell) = (Arc::clone(&self.broker), self.tell.clone());
            let (queue, doubts) = (self.queue.clone(), self.doubts.clone());
            tokio::spawn(async move {
                let weighed = broker.weigh(&queue, deferred, &doubts, true).await;
                let _ = tell.send(Told::Weighed(weighed));
            });
        }
        if self.gate.waiting() > 0 && self.gate.released() >= self.window() {
            // Released and waiting in the lanes, or handed to workers that
            // cannot run them and keep nobody else from running others.
            let (broker, tell) = (Arc::clone(&self.broker), self.tell.clone());
            let queue = self.queue.clone();
            tokio::spawn(async move {
                if let Ok(pending) = broker.undelivered(&queue).await {
                    let _ = tell.send(Told::Hungry(pending == 0));
                }
            });
        } else {
            self.rates.stretch /= 2;
        }
    }

    /// Now and then: whether what is known here is what the server has.
    fn compare(&mut self) {
        let names = &self.broker.layout.names;
        let old = |out: &Out| out.stored && out.since.elapsed() >= COMPARE;
        if !self.listing && self.out.values().any(old) {
            self.listing = true;
            let (broker, tell) = (Arc::clone(&self.broker), self.tell.clone());
            let (stream, all) = (
                names.queue_stream(&self.queue),
                names.released_all(&self.queue),
            );
            let asked = Instant::now();
            tokio::spawn(async move {
                let state = broker.stream_state(&stream, &all).await;
                let names = &broker.layout.names;
                let listed = state.map(|state| {
                    let subjects = state.subjects.into_keys();
                    let ids = subjects
                        .filter_map(|subject| Some(names.parse_released(&subject)?.1.to_owned()));
                    ids.collect()
                });
                let _ = tell.send(Told::Listed(asked, listed));
            });
        }
        if !self.reading {
            let (broker, tell) = (Arc::clone(&self.broker), self.tell.clone());
            let (hold, none) = (self.hold.clone(), names.epoch(&self.queue));
            tokio::spawn(async move {
                let state = broker.stream_state(&hold, &none).await;
                let counts = state.map(|state| (state.messages, state.last_seq));
                let _ = tell.send(Told::Counted(counts));
            });
        }
    }

    /// Ends the turns of what has left its lane without a word: its end was
    /// not heard, or it was cancelled there.
    fn reconcile(&mut self, asked: Instant, there: &HashSet<String>) {
        let gone = |id: &Arc<str>, out: &mut Out| {
            out.stored && out.since + super::LOOK < asked && !there.contains(&**id)
        };
        for (_, out) in self.out.extract_if(gone) {
            self.gate.free(&out.key);
        }
    }

    fn compare_counts(&mut self, messages: u64, last: u64) -> std::result::Result<(), Ended> {
        // The last of them may not have been heard of, and none come after.
        if !self.reading && last >= self.next {
            self.highest = self.highest.max(last);
            return Ok(());
        }
        let known = self.gate.waiting() + self.undeleted.len() + self.deferred.len();
        let known = known + self.out.values().filter(|out| !out.stored).count();
        let known = known + self.fetching + self.odd;
        if messages <= known as u64 {
            self.missing = 0;
            return Ok(());
        }
        self.missing += 1;
        if self.missing < MISSING {
            return Ok(());
        }
        tracing::warn!(
            queue = self.queue,
            messages,
            known,
            "more waits than is known here; reading it anew"
        );
        Err(Ended::Unsure)
    }

    /// Waits for what is under way, so that the next leader has less to look
    /// up.
    async fn finish(&mut self) {
        let until = tokio::time::Instant::now() + LAST_WORDS;
        let is_open =
            |it: &Self| !it.undeleted.is_empty() || it.out.values().any(|out| !out.stored);
        self.remove();
        for place in self.undeleted.keys() {
            self.delete(*place);
        }
        while is_open(self)
            && let Ok(Some(told)) = tokio::time::timeout_at(until, self.told.recv()).await
        {
            if self.take(told).is_err() {
                return;
            }
        }
    }
}

/// No code of the server's: to be tried again.
const AGAIN: u64 = u64::MAX;

fn size(found: &Found) -> usize {
    // And what there is around it.
    found.body.len() + found.subject.len() + 128
}

impl JetStream {
    /// The message at a place of a stream, if it is there.
    async fn at(&self, stream: &str, sequence: u64) -> Result<Option<Found>> {
        let stored = self.stored_at(stream, sequence).await?;
        Ok(stored.map(|stored| Found {
            subject: stored.subject,
            sequence: stored.sequence,
            body: stored.body.into(),
            time: Some(stored.time),
            headers: None,
        }))
    }

    /// How many messages of a queue no worker was given yet.
    async fn undelivered(&self, queue: &str) -> Result<u64> {
        let stream = self.layout.names.queue_stream(queue);
        let mut sum = 0;
        for priority in PRIORITIES {
            let consumer = Namespace::consumer(priority);
            let consumer = self
                .layout
                .js
                .get_consumer_from_stream::<async_nats::jetstream::consumer::pull::Config, _, _>(
                    &consumer, &stream,
                )
                .await
                .map_err(|error| failed(queue, error))?;
            sum += consumer.cached_info().num_pending;
        }
        Ok(sum)
    }
}
