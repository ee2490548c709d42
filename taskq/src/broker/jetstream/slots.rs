//! A queue's concurrency, kept by all workers together.
//!
//! A queue that has `n` places has `n` subjects, and whoever stores a record
//! on one has that place: for as long as the record lives, which it does for
//! about a lease unless it is renewed. So the server keeps the count, and the
//! places of a dead worker come free by themselves.
//!
//! A worker takes places ahead, and keeps them from one task to the next, so
//! that a task costs nothing for being counted. Who has more than others, or
//! more than it needs, gives some up to who asks.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::record;
use crate::broker::connect::{ConnectOptions, Connection};
use crate::broker::names::{Namespace, api};
use crate::broker::{Denials, Leases, Permit, Places};

/// How often to look for a place while none is to be had, and to ask for one.
const LOOK: Duration = Duration::from_millis(500);
/// Places that are not needed are kept for so long.
const SPARE: Duration = Duration::from_secs(1);
/// How often to say that places cannot be looked at.
const WARN: Duration = Duration::from_secs(30);
/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The places of one queue that this worker has.
#[derive(Debug)]
pub(super) struct Slots {
    queue: Arc<str>,
    /// How many the queue has; none if it is not limited.
    most: AtomicU32,
    /// How many this worker could use now, and when it said so.
    wanted: Mutex<(usize, Instant)>,
    /// How many are to be given up as soon as they are free.
    owed: AtomicUsize,
    held: Mutex<BTreeMap<u32, Held>>,
    /// What runs on them.
    places: Arc<Places>,
    /// How long a record lives.
    term: Duration,
}

/// A place that this worker has.
#[derive(Clone, Copy, Debug)]
struct Held {
    sequence: u64,
    /// When the server was last asked to renew it.
    asked: Instant,
    /// From when on the server is known to count its life.
    sure: Instant,
}

/// How long a record of a place lives, for workers of this lease: whole
/// seconds, and rather less than the lease where that is not too short.
fn term_of(lease: Duration) -> Duration {
    Duration::from_secs(lease.as_secs().saturating_sub(1).max(2))
}

impl Slots {
    fn new(queue: Arc<str>, lease: Duration, freed: Arc<Notify>) -> Self {
        Self {
            queue,
            most: AtomicU32::new(0),
            wanted: Mutex::new((0, Instant::now())),
            owed: AtomicUsize::new(0),
            held: Mutex::default(),
            places: Arc::new(Places::new(freed)),
            term: term_of(lease),
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u32, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many may run, of those in this range.
    fn sure(&self, now: Instant, below: u32) -> usize {
        // Some time after that the server may give it to another; until then
        // what runs on it must have been stopped.
        let safe = self.term * 2 / 3;
        let held = self.held();
        let sure = held
            .range(..below)
            .filter(|(_, held)| now.saturating_duration_since(held.sure) < safe);
        sure.count()
    }

    /// How many more may start now.
    pub(super) fn free(&self, now: Instant) -> usize {
        let owed = self.owed.load(Ordering::Acquire);
        let most = self.most.load(Ordering::Acquire);
        self.sure(now, most)
            .saturating_sub(self.places.taken() + owed)
    }

    /// Takes a place for a delivery; there must be a free one.
    pub(super) fn enter(&self, lease: u64) -> Permit {
        Places::enter(&self.places, lease)
    }

    /// Says how many more this worker could run, beside those that run.
    pub(super) fn want(&self, more: usize) {
        let wanted = self.places.taken() + more;
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = (wanted, Instant::now());
    }

    /// How many it needs: what it asked for not long ago, and what runs.
    fn needed(&self, now: Instant) -> usize {
        let (wanted, at) = *self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.places.taken();
        let most = self.most.load(Ordering::Acquire) as usize;
        let wanted = match now.saturating_duration_since(at) < SPARE {
            true => wanted.max(taken),
            false => taken,
        };
        wanted.min(most)
    }
}

/// The places of all limited queues of a worker, kept from a thread and a
/// connection of their own, as leases are.
#[derive(Debug)]
pub(super) struct SlotKeeper {
    queues: Mutex<Vec<Arc<Slots>>>,
    closing: AtomicBool,
    /// To the thread: there is something to do.
    wake: Notify,
    /// To the worker: there may be a place.
    freed: Arc<Notify>,
    lease: Duration,
}

impl SlotKeeper {
    /// Starts the thread.
    pub(super) fn start(
        mut options: ConnectOptions,
        names: Namespace,
        leases: Arc<Leases>,
        freed: Arc<Notify>,
    ) -> Arc<Self> {
        let keeper = Arc::new(Self {
            queues: Mutex::default(),
            closing: AtomicBool::new(false),
            wake: Notify::new(),
            freed,
            lease: leases.term(),
        });
        options.name.push_str("-slots");
        let thread = Thread {
            keeper: Arc::clone(&keeper),
            options,
            names,
            leases,
            holder: format!("{:016x}", fastrand::u64(..)),
            asked: None,
            warned: None,
        };
        let started = std::thread::Builder::new()
            .name("taskq-slots".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                match runtime {
                    Ok(runtime) => runtime.block_on(thread.run()),
                    Err(error) => cannot_keep(&error),
                }
            });
        if let Err(error) = started {
            cannot_keep(&error);
        }
        keeper
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Arc<Slots>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places of a queue that has so many.
    pub(super) fn limit(&self, queue: &Arc<str>, most: Option<u32>) -> Arc<Slots> {
        let mut queues = self.queues();
        let found = queues.iter().find(|slots| slots.queue == *queue).cloned();
        let slots = found.unwrap_or_else(|| {
            let slots = Slots::new(Arc::clone(queue), self.lease, Arc::clone(&self.freed));
            let slots = Arc::new(slots);
            queues.push(Arc::clone(&slots));
            slots
        });
        slots.most.store(most.unwrap_or(0), Ordering::Release);
        self.wake.notify_one();
        slots
    }

    /// There may be a place to give up, or one is needed.
    pub(super) fn look(&self) {
        self.wake.notify_one();
    }

    /// Gives up each place as soon as nothing runs on it.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

fn cannot_keep(error: &std::io::Error) {
    tracing::error!(
        "the places of limited queues cannot be kept: {error}; nothing of these queues runs here"
    );
}

/// What workers tell each other of the places of a queue.
#[derive(Serialize, Deserialize)]
struct Word {
    holder: String,
    /// How many it has, where it asks for one; none where it gave one up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wants: Option<usize>,
}

struct Thread {
    keeper: Arc<SlotKeeper>,
    options: ConnectOptions,
    names: Namespace,
    leases: Arc<Leases>,
    /// What it calls itself in its records.
    holder: String,
    /// When it last asked others for a place, or looked for one.
    asked: Option<Instant>,
    /// When it last said that it cannot look.
    warned: Option<Instant>,
}

impl Thread {
    async fn run(mut self) {
        // Beside all that waits for answers, so that it is on time.
        tokio::spawn(fence(Arc::clone(&self.keeper), Arc::clone(&self.leases)));
        let mut pause = Duration::from_millis(100);
        let mut gone = Instant::now();
        loop {
            match self.options.connect().await {
                Ok(Connection {
                    client, denials, ..
                }) => {
                    if self.serve(&client, &denials).await {
                        return;
                    }
                    gone = Instant::now();
                }
                Err(error) => {
                    tracing::warn!("the places of limited queues cannot be kept now: {error}");
                }
            }
            if self.keeper.closing.load(Ordering::Acquire) && gone.elapsed() > self.keeper.lease {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Until the connection is closed; true when there is nothing to do for
    /// good.
    async fn serve(&mut self, client: &Client, denials: &Denials) -> bool {
        let Ok(mut words) = client.subscribe(self.names.slot_words()).await else {
            return false;
        };
        let tick = (self.keeper.lease / 12)
            .max(Duration::from_millis(50))
            .min(LOOK);
        let mut closing_since: Option<Instant> = None;
        loop {
            let keeper = Arc::clone(&self.keeper);
            tokio::select! {
                () = tokio::time::sleep(tick) => {}
                () = keeper.wake.notified() => {}
                word = words.next() => match word {
                    Some(word) => self.hear(&word),
                    None => return false,
                },
            }
            let closing = keeper.closing.load(Ordering::Acquire);
            let queues: Vec<Arc<Slots>> = keeper.queues().clone();
            for slots in &queues {
                self.renew(client, denials, slots).await;
                self.give_up(client, slots, closing).await;
                if !closing {
                    self.acquire(client, denials, slots).await;
                }
            }
            if closing {
                let since = *closing_since.get_or_insert_with(Instant::now);
                let held = queues.iter().any(|slots| !slots.held().is_empty());
                // What still runs then is not waited for.
                if !held || since.elapsed() > Duration::from_secs(3600) {
                    return true;
                }
            }
        }
    }

    fn subject(&self, slots: &Slots, place: u32) -> String {
        self.names.slot(&slots.queue, place)
    }

    async fn renew(&self, client: &Client, denials: &Denials, slots: &Slots) {
        let now = Instant::now();
        let due: Vec<(u32, Held)> = slots
            .held()
            .iter()
            .filter(|(_, held)| now.saturating_duration_since(held.asked) >= slots.term / 4)
            .map(|(place, held)| (*place, *held))
            .collect();
        let renewed = due.into_iter().map(|(place, held)| async move {
            let subject = self.subject(slots, place);
            let body = Bytes::from(self.holder.clone());
            let live = Some(slots.term);
            let asked = Instant::now();
            let stored =
                record::store(client, denials, &subject, body, Some(held.sequence), live).await;
            match stored {
                Ok(sequence) => {
                    if let Some(held) = slots.held().get_mut(&place) {
                        *held = Held {
                            sequence,
                            asked,
                            sure: asked,
                        };
                    }
                }
                Err(refusal) if refusal.is_wrong_last_sequence() => {
                    self.find_again(client, slots, place).await;
                }
                // Asked for again at the next turn.
                Err(_) => {}
            }
        });
        futures::future::join_all(renewed).await;
    }

    /// Finds out whether a place is this worker's after all: an answer may
    /// have been lost.
    async fn find_again(&self, client: &Client, slots: &Slots, place: u32) {
        let stream = self.names.limits_stream();
        let query = json!({ "last_by_subj": self.subject(slots, place) });
        let answer = ask(client, api::message_get(&stream), &query).await;
        let message = answer.as_ref().and_then(|answer| answer.get("message"));
        let (sequence, own) = match message {
            Some(message) => {
                use base64::Engine as _;
                let body = message["data"].as_str().unwrap_or_default();
                let body = base64::engine::general_purpose::STANDARD.decode(body);
                let own = body.is_ok_and(|body| body == self.holder.as_bytes());
                (message["seq"].as_u64().unwrap_or(0), own)
            }
            // Nobody answers, or there is none.
            None => (0, answer.is_none()),
        };
        let mut held = slots.held();
        if !own {
            held.remove(&place);
        } else if let Some(held) = held.get_mut(&place)
            && sequence > 0
        {
            held.sequence = sequence;
        }
    }

    /// Gives up what is owed, what is too much, and all when it is over.
    async fn give_up(&self, client: &Client, slots: &Slots, closing: bool) {
        let now = Instant::now();
        let most = slots.most.load(Ordering::Acquire);
        let going: Vec<(u32, Held)> = {
            let mut held = slots.held();
            let free = held.len().saturating_sub(slots.places.taken());
            let beyond = held.range(most..).count();
            let needed = if closing { 0 } else { slots.needed(now) };
            let spare = held.len().saturating_sub(needed).max(beyond);
            let owed = slots.owed.swap(0, Ordering::AcqRel);
            let count = spare.max(owed).min(free);
            if owed > count {
                // Given up when something has ended.
                slots.owed.store(owed - count, Ordering::Release);
            }
            // Those first that the queue does not have any more.
            let places: Vec<u32> = held.keys().rev().take(count).copied().collect();
            places
                .into_iter()
                .filter_map(|place| held.remove_entry(&place))
                .collect()
        };
        if going.is_empty() {
            return;
        }
        let stream = self.names.limits_stream();
        for (_, held) in going {
            let query = json!({ "seq": held.sequence, "no_erase": true });
            // What is not deleted ends by its age.
            let _ = ask(client, api::message_delete(&stream), &query).await;
        }
        self.tell(client, slots, None).await;
    }

    async fn acquire(&mut self, client: &Client, denials: &Denials, slots: &Slots) {
        let now = Instant::now();
        let (held, needed) = (slots.held().len(), slots.needed(now));
        let most = slots.most.load(Ordering::Acquire);
        if held >= needed {
            return;
        }
        if self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < LOOK / 5)
        {
            return;
        }
        let Some(taken) = self.taken(client, slots).await else {
            self.asked = Some(now);
            if self
                .warned
                .is_none_or(|at| now.saturating_duration_since(at) > WARN)
            {
                self.warned = Some(now);
                tracing::warn!(
                    queue = %slots.queue,
                    "NATS does not tell which places of the queue are taken, so nothing of it \
                     starts here; if that goes on, let an operator run `taskq init`"
                );
            }
            return;
        };
        let mut open: Vec<u32> = (0..most).filter(|place| !taken.contains(place)).collect();
        fastrand::shuffle(&mut open);
        let mut got = 0;
        for place in open {
            if held + got >= needed {
                break;
            }
            let subject = self.subject(slots, place);
            let body = Bytes::from(self.holder.clone());
            let asked = Instant::now();
            let stored =
                record::store(client, denials, &subject, body, Some(0), Some(slots.term)).await;
            match stored {
                Ok(sequence) => {
                    let held = Held {
                        sequence,
                        asked,
                        sure: asked,
                    };
                    slots.held().insert(place, held);
                    got += 1;
                    self.keeper.freed.notify_one();
                }
                Err(refusal) if refusal.is_wrong_last_sequence() => {}
                Err(refusal) => {
                    tracing::debug!(queue = %slots.queue, "no place can be taken: {refusal:?}");
                    break;
                }
            }
        }
        if held + got < needed {
            self.asked = Some(now);
            self.tell(client, slots, Some(held + got)).await;
        }
    }

    /// The places of a queue that somebody has.
    async fn taken(&self, client: &Client, slots: &Slots) -> Option<HashSet<u32>> {
        let stream = self.names.limits_stream();
        let query = json!({ "subjects_filter": self.names.slots(&slots.queue) });
        let answer = ask(client, api::stream_info(&stream), &query).await?;
        let state = answer.get("state")?;
        let taken = state.get("subjects").and_then(Value::as_object);
        let place = |subject: &String| subject.rsplit('.').next()?.parse().ok();
        Some(taken.map_or_else(HashSet::new, |taken| {
            taken.keys().filter_map(place).collect()
        }))
    }

    async fn tell(&self, client: &Client, slots: &Slots, wants: Option<usize>) {
        let word = Word {
            holder: self.holder.clone(),
            wants,
        };
        let body = serde_json::to_vec(&word).unwrap_or_default();
        let subject = self.names.slot_word(&slots.queue);
        // Who does not hear it looks after a while.
        let _ = client.publish(subject, body.into()).await;
    }

    fn hear(&mut self, message: &async_nats::Message) {
        let Ok(word) = serde_json::from_slice::<Word>(&message.payload) else {
            return;
        };
        if word.holder == self.holder {
            return;
        }
        let queues = self.keeper.queues();
        let is_of = |slots: &&Arc<Slots>| self.names.slot_word(&slots.queue) == *message.subject;
        let Some(slots) = queues.iter().find(is_of) else {
            return;
        };
        match word.wants {
            // It has one or more less: who has more shares.
            Some(others) if slots.held().len() > others + 1 => {
                let _ = slots
                    .owed
                    .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
            }
            Some(_) => {}
            // One may be free now.
            None => self.asked = None,
        }
    }
}

/// Gives up what runs on places that may be others' soon.
async fn fence(keeper: Arc<SlotKeeper>, leases: Arc<Leases>) {
    let tick = (keeper.lease / 24).max(Duration::from_millis(25));
    loop {
        tokio::time::sleep(tick).await;
        let now = Instant::now();
        for slots in keeper.queues().iter() {
            let lost = slots.places.beyond(slots.sure(now, u32::MAX));
            // Told once: they leave their places when they are stopped.
            let lost = lost.iter().filter(|lease| leases.give_up(**lease)).count();
            if lost > 0 {
                tracing::warn!(
                    queue = %slots.queue,
                    "{lost} attempts lost their place in the queue: NATS did not confirm it in \
                     time; they are stopped, and run again elsewhere"
                );
            }
        }
    }
}

async fn ask(client: &Client, subject: String, query: &Value) -> Option<Value> {
    let asked = client.request(subject, query.to_string().into());
    let answer = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}
