//! How much of its queues a worker takes, where that is limited for all
//! workers together.
//!
//! What comes of a limited queue waits here, under its lease, until it may
//! start: for a place in the queue, or for its time. There is never more of
//! it than could start soon.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::JetStream;
use super::slots::{SlotKeeper, Slots};
use super::tokens::Seen;
use crate::broker::rules::Snapshot;
use crate::broker::{Delivery, Leases, Rules};
use crate::message::QueueSettings;
use crate::policy::Bucket;

/// What waits for a place for so long is given back, since another worker may
/// have one.
const PATIENCE: Duration = Duration::from_secs(1);
/// As much of a queue with a rate waits here as starts in this time.
const AHEAD: f64 = 0.25;
/// And no more than this.
const MOST_AHEAD: usize = 500;
/// Starts are taken for as many as start in this time.
const CHUNK: f64 = 0.05;
/// After starts could not be taken, for so long no more are.
const FAILED: Duration = Duration::from_millis(500);
/// A start that is not made within this time is lost.
const STALE: Duration = Duration::from_millis(200);

/// The limited queues of a worker.
pub(super) struct Flow {
    broker: Arc<JetStream>,
    leases: Arc<Leases>,
    rules: Arc<Rules>,
    /// What the queues here were made by.
    known: Arc<Snapshot>,
    /// By the place of the queue among the worker's.
    queues: Vec<Limited>,
    /// Whether any is limited.
    any: bool,
    keeper: Option<Arc<SlotKeeper>>,
    /// There may be something that can start.
    news: Arc<Notify>,
    held_back: Arc<HeldBack>,
}

/// The queues of which this worker could not take more lately, so that what
/// waits in them is no sign of a fault.
#[derive(Debug, Default)]
pub(super) struct HeldBack(Mutex<HashMap<String, Instant>>);

impl HeldBack {
    fn note(&self, queue: &str, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(queue.to_owned(), now);
    }

    /// Whether that was so not longer ago than this.
    pub(super) fn was(&self, queue: &str, within: Duration) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(queue).is_some_and(|at| at.elapsed() < within)
    }
}

/// A queue, limited or not.
struct Limited {
    queue: Arc<str>,
    paused: bool,
    slots: Option<Arc<Slots>>,
    rate: Option<Rated>,
    /// The most urgent first.
    parked: [VecDeque<Parked>; 4],
}

struct Parked {
    delivery: Delivery,
    since: Instant,
}

/// A queue's rate.
struct Rated {
    bucket: Bucket,
    per_second: f64,
    taken: Arc<Mutex<Tokens>>,
}

/// The starts that this worker has taken.
#[derive(Default)]
struct Tokens {
    /// When each may be made.
    starts: VecDeque<Instant>,
    seen: Option<Seen>,
    /// Whether more are being taken.
    asking: bool,
    /// When to ask again.
    ask_after: Option<Instant>,
}

impl Flow {
    pub(super) fn new(
        broker: Arc<JetStream>,
        queues: &[Arc<str>],
        leases: Arc<Leases>,
        rules: Arc<Rules>,
        held_back: Arc<HeldBack>,
    ) -> Self {
        let queues = queues.iter().map(|queue| Limited {
            queue: Arc::clone(queue),
            paused: false,
            slots: None,
            rate: None,
            parked: Default::default(),
        });
        let mut flow = Self {
            queues: queues.collect(),
            known: Arc::default(),
            any: false,
            keeper: None,
            news: Arc::default(),
            broker,
            leases,
            rules,
            held_back,
        };
        flow.refresh();
        flow
    }

    /// Whether any queue is limited, or was and has something here.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Goes by what is set now.
    pub(super) fn refresh(&mut self) {
        if self.rules.is_plain() && !self.any {
            return;
        }
        let now = self.rules.snapshot();
        if Arc::ptr_eq(&now, &self.known) {
            return;
        }
        for place in 0..self.queues.len() {
            let settings = now.queues.get(&*self.queues[place].queue).cloned();
            self.set(place, &settings.unwrap_or_default());
        }
        self.known = now;
        self.any = self.queues.iter().any(Limited::is_limited);
    }

    fn set(&mut self, place: usize, settings: &QueueSettings) {
        let queue = Arc::clone(&self.queues[place].queue);
        let slots = match (settings.concurrency, &self.keeper) {
            (None, None) => None,
            (None, Some(keeper)) => {
                // What it has is given up.
                keeper.limit(&queue, None);
                None
            }
            (Some(most), _) => {
                let keeper = self.keeper.get_or_insert_with(|| {
                    SlotKeeper::start(
                        self.broker.options.clone(),
                        self.broker.layout.names.clone(),
                        Arc::clone(&self.leases),
                        Arc::clone(&self.news),
                    )
                });
                Some(keeper.limit(&queue, Some(most)))
            }
        };
        let limited = &mut self.queues[place];
        limited.paused = settings.paused.is_some();
        limited.slots = slots;
        limited.rate = settings.rate.map(|rate| {
            let bucket = Bucket::new(rate, settings.burst.unwrap_or(1));
            // Of the same bucket, what was taken still counts.
            let earlier = limited
                .rate
                .take()
                .filter(|earlier| earlier.bucket == bucket);
            Rated {
                bucket,
                per_second: rate.per_second(),
                taken: earlier.map_or_else(Arc::default, |earlier| earlier.taken),
            }
        });
    }

    /// How many more messages of a queue may be asked for; any number if
    /// none.
    pub(super) fn budget(&self, place: usize, now: Instant) -> Option<usize> {
        if !self.any {
            return None;
        }
        self.queues[place].budget(now)
    }

    /// Tells how much room the worker has, and which queues are held back.
    pub(super) fn look(&self, room: usize, now: Instant) {
        for limited in &self.queues {
            let Some(budget) = limited.budget(now) else {
                continue;
            };
            if let Some(slots) = &limited.slots {
                slots.want(if limited.paused { 0 } else { room });
            }
            if budget == 0 {
                self.held_back.note(&limited.queue, now);
            }
        }
        if let Some(keeper) = &self.keeper {
            keeper.look();
        }
    }

    /// Lets a delivery wait, if its queue is limited.
    pub(super) fn park(&mut self, place: usize, delivery: Delivery) -> Option<Delivery> {
        let limited = &mut self.queues[place];
        if !limited.is_limited() || limited.paused {
            // What is paused the worker hands back.
            return Some(delivery);
        }
        let waits_for = match limited.slots {
            Some(_) => "a place in its queue, whose concurrency is limited",
            None => "its start, by the rate of its queue",
        };
        let lease = delivery.receipt.lease;
        self.rules.park(lease, delivery.body.clone(), waits_for);
        let lane = 3 - delivery.priority as usize;
        limited.parked[lane].push_back(Parked {
            delivery,
            since: Instant::now(),
        });
        None
    }

    /// What may start now, at most so many.
    pub(super) fn ready(&mut self, room: usize) -> Vec<Delivery> {
        let mut ready = Vec::new();
        if !self.any {
            return ready;
        }
        let now = Instant::now();
        for limited in &mut self.queues {
            let before = ready.len();
            limited.start(room, now, &mut ready);
            for delivery in &ready[before..] {
                self.rules.unpark(delivery.receipt.lease);
            }
            if let Some((bucket, most, taken)) = limited.hunger(now) {
                let (broker, queue) = (Arc::clone(&self.broker), Arc::clone(&limited.queue));
                let news = Arc::clone(&self.news);
                tokio::spawn(async move {
                    take_tokens(&broker, &queue, bucket, most, &taken).await;
                    news.notify_one();
                });
            }
        }
        ready
    }

    /// Waits until something may be able to start. Cancel-safe.
    pub(super) async fn changed(&self) {
        if !self.any {
            return std::future::pending().await;
        }
        let due = self.queues.iter().filter_map(Limited::due).min();
        tokio::select! {
            () = self.news.notified() => {}
            () = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }

    /// Takes nothing more, and gives what waits here.
    pub(super) fn close(&mut self) -> Vec<Delivery> {
        if let Some(keeper) = &self.keeper {
            keeper.close();
        }
        let queues = self.queues.iter_mut();
        let parked = queues.flat_map(|limited| limited.parked.iter_mut());
        parked
            .flat_map(std::mem::take)
            .map(|parked| parked.delivery)
            .collect()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.close();
        }
    }
}

impl Limited {
    fn is_limited(&self) -> bool {
        self.paused || self.slots.is_some() || self.rate.is_some() || self.waiting() > 0
    }

    fn waiting(&self) -> usize {
        self.parked.iter().map(VecDeque::len).sum()
    }

    fn budget(&self, now: Instant) -> Option<usize> {
        if !self.is_limited() {
            return None;
        }
        if self.paused {
            return Some(0);
        }
        let waiting = self.waiting();
        let places = self.slots.as_ref().map(|slots| slots.free(now));
        let ahead = self
            .rate
            .as_ref()
            .map(|rate| count(rate.per_second * AHEAD, MOST_AHEAD));
        let most = match (places, ahead) {
            (Some(places), Some(ahead)) => places.min(ahead),
            (Some(most), None) | (None, Some(most)) => most,
            (None, None) => return None,
        };
        Some(most.saturating_sub(waiting))
    }

    fn pop(&mut self) -> Option<Delivery> {
        let parked = self.parked.iter_mut().find_map(VecDeque::pop_front);
        parked.map(|parked| parked.delivery)
    }

    /// Moves on what may start.
    fn start(&mut self, room: usize, now: Instant, ready: &mut Vec<Delivery>) {
        if self.paused {
            // The worker hands it back.
            ready.extend(std::iter::from_fn(|| self.pop()));
            return;
        }
        while ready.len() < room && self.waiting() > 0 {
            if self
                .slots
                .as_ref()
                .is_some_and(|slots| slots.free(now) == 0)
            {
                break;
            }
            if let Some(rate) = &self.rate
                && !rate.spend(now)
            {
                break;
            }
            let Some(mut delivery) = self.pop() else {
                break;
            };
            let slots = self.slots.as_ref();
            delivery.permit = slots.map(|slots| slots.enter(delivery.receipt.lease));
            ready.push(delivery);
        }
        let no_place = self
            .slots
            .as_ref()
            .is_some_and(|slots| slots.free(now) == 0);
        if no_place {
            for lane in &mut self.parked {
                while let Some(first) = lane.front()
                    && now.saturating_duration_since(first.since) > PATIENCE
                    && let Some(mut parked) = lane.pop_front()
                {
                    parked.delivery.unwanted = true;
                    ready.push(parked.delivery);
                }
            }
        }
    }

    /// The starts to take now, if there is need of any.
    fn hunger(&self, now: Instant) -> Option<(Bucket, usize, Arc<Mutex<Tokens>>)> {
        let rate = self.rate.as_ref()?;
        let places = self
            .slots
            .as_ref()
            .map_or(usize::MAX, |slots| slots.free(now));
        let waiting = self.waiting().min(places);
        let mut tokens = rate.tokens();
        let is_early = tokens.ask_after.is_some_and(|at| now < at);
        let need = waiting.saturating_sub(tokens.starts.len());
        if tokens.asking || is_early || need == 0 {
            return None;
        }
        tokens.asking = true;
        let most = need.min(count(rate.per_second * CHUNK, MOST_AHEAD));
        Some((rate.bucket, most, Arc::clone(&rate.taken)))
    }

    /// When to look again without being told.
    fn due(&self) -> Option<Instant> {
        if self.waiting() == 0 {
            return None;
        }
        let patience = self.slots.as_ref().and_then(|_| {
            let first = self.parked.iter().filter_map(VecDeque::front);
            let first = first.map(|parked| parked.since).min()?;
            Some(first + PATIENCE + Duration::from_millis(1))
        });
        let start = self.rate.as_ref().and_then(|rate| {
            let tokens = rate.tokens();
            tokens.starts.front().copied().or(tokens.ask_after)
        });
        patience.into_iter().chain(start).min()
    }
}

impl Rated {
    fn tokens(&self) -> std::sync::MutexGuard<'_, Tokens> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spends a start, if one may be made now.
    fn spend(&self, now: Instant) -> bool {
        let mut tokens = self.tokens();
        while let Some(start) = tokens.starts.front()
            && now.saturating_duration_since(*start) > STALE
        {
            tokens.starts.pop_front();
        }
        match tokens.starts.front() {
            Some(start) if *start <= now => {
                tokens.starts.pop_front();
                true
            }
            _ => false,
        }
    }
}

/// As many as this, at least one.
fn count(number: f64, most: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small, non-negative number; a greater one is cut off"
    )]
    let number = number.ceil() as usize;
    number.clamp(1, most)
}

async fn take_tokens(
    broker: &JetStream,
    queue: &str,
    bucket: Bucket,
    most: usize,
    into: &Mutex<Tokens>,
) {
    let lock = || into.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = lock().seen;
    broker.compare().await;
    let taken = broker.take_tokens(queue, bucket, most, seen).await;
    // By the server's clock, and by this machine's.
    let (server, here) = (broker.clock.nanos(), Instant::now());
    let at = |start: i64| {
        let ahead = u64::try_from(start - server).unwrap_or(0);
        here + Duration::from_nanos(ahead)
    };
    let mut tokens = lock();
    tokens.asking = false;
    match taken {
        Ok((taken, seen)) => {
            tokens.seen = seen;
            tokens.ask_after = taken.starts.is_empty().then(|| {
                // It may be ahead by some; then there is one.
                let ahead = Duration::from_millis(50);
                at(taken.next).checked_sub(ahead).unwrap_or(here).max(here)
                    + Duration::from_millis(fastrand::u64(1..6))
            });
            tokens.starts.extend(taken.starts.into_iter().map(at));
        }
        Err(error) => {
            tracing::warn!(queue, "{error}; what waits starts when it can");
            tokens.seen = None;
            tokens.ask_after = Some(here + FAILED);
        }
    }
}
