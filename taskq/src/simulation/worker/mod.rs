//! The workers: what `worker/` does with a delivery, one network step at a
//! time. The decisions are the library's own.

mod end;
mod execute;
mod settle;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Mutation;
use super::broker::{Read, Reply, Request, Write};
use super::world::{Event, Message, QUIET, TERM, World};
use crate::broker::ending::Ending;
use crate::broker::{Leases, Receipt};
use crate::failure::FailureKind;
use crate::message::{CancelRequest, Journal, Label, TaskId, TaskMessage, labels};
use crate::policy::Policy;
use crate::time::Timestamp;

/// How many workers a message may take with it.
pub(super) const MAX_CRASHES: u32 = 3;
/// How many tasks a worker runs at once, and how many it holds.
const CONCURRENCY: usize = 2;
const HELD: usize = 3;
/// For so many leases a suspect has no company.
const PROBATION: u64 = 5;
/// How long an answer may take.
const PATIENCE: u64 = 5000;
/// How long the broker keeps a request for a message.
pub(super) const EXPIRES: u64 = 6000;
/// For so long a broker that is back may have forgotten deliveries.
const DOUBT: u64 = 30_000;
/// How often the lease thread looks.
const LOOK: u64 = TERM / 12;
/// How long a renewal may take.
const RENEWAL: u64 = TERM / 4;

#[derive(Default)]
pub(super) struct Worker {
    pub(super) alive: bool,
    pub(super) life: u64,
    pub(super) frozen: bool,
    /// What happened meanwhile.
    pub(super) deferred: Vec<Event>,
    pub(super) thawed: u64,
    /// When its connection came back last.
    pub(super) back: Option<u64>,
    /// Of a version that does not know every task.
    pub(super) old: bool,
    name: String,
    draining: bool,
    leases: Option<Leases>,
    /// Whether leases cannot be renewed now.
    failing: bool,
    /// Since when each lease is sure, kept apart from what is tested.
    sure: BTreeMap<u64, u64>,
    ready: VecDeque<(u64, Delivered)>,
    works: BTreeMap<u64, Work>,
    pending: BTreeMap<u64, Await>,
    /// Ends that wait to be tried again.
    paused: BTreeMap<u64, Ending<Write>>,
    /// Messages asked for and not come yet.
    asked: usize,
    suspects: BTreeMap<u64, Suspect>,
    wishes: BTreeMap<TaskId, CancelRequest>,
    renewing: bool,
}

#[derive(Clone)]
pub(super) struct Delivered {
    pub(super) sequence: u64,
    pub(super) deliveries: u32,
    pub(super) stored_at: u64,
    pub(super) delivered_at: u64,
    pub(super) body: Bytes,
}

/// A delivery in one of the worker's places.
pub(super) struct Work {
    pub(super) receipt: Receipt,
    pub(super) delivery: Delivered,
    pub(super) message: TaskMessage,
    policy: Policy,
    journal: Journal,
    known: bool,
    handed_back: bool,
    /// Whether it was looked up before it started.
    pub(super) looked: bool,
    past: Past,
    /// How many others are to be told that they have company.
    joining: usize,
    /// Set while it runs.
    run: Option<Run>,
}

#[derive(Default)]
struct Past {
    round: u32,
    outcome: Option<Option<Bytes>>,
    journal: Option<Option<Bytes>>,
    wish: Option<Option<Bytes>>,
}

struct Run {
    since: u64,
    start: u32,
    limited: Option<FailureKind>,
    wish: Option<CancelRequest>,
}

/// A message that may have killed a worker: `worker/suspects.rs`.
struct Suspect {
    id: TaskId,
    since: u64,
    alone: bool,
    journal: Option<Journal>,
}

/// What an answer is awaited for.
enum Await {
    /// That another suspect has company is written down.
    Join {
        lease: u64,
    },
    Past {
        lease: u64,
        round: u32,
        what: Read,
    },
    Journal {
        lease: u64,
    },
    Step(Ending<Write>),
    Compare(Ending<Write>),
    Renew {
        leases: Vec<u64>,
        asked: u64,
    },
}

#[derive(Clone, Copy)]
pub(super) enum Timer {
    Timeout(u64),
    Keeper,
    RunEnds(u64, u64),
    Aborted(u64, u64),
    AskPast(u64),
    WriteJournal(u64),
    Again(u64),
    Compare(u64),
    Reconnected,
    Pulse,
    GraceEnds,
    Exit(u64),
}

impl Worker {
    pub(super) fn is_idle(&self) -> bool {
        self.works.is_empty() && self.ready.is_empty() && self.paused.is_empty() && !self.has_ends()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    fn has_ends(&self) -> bool {
        let mut pending = self.pending.values();
        pending.any(|it| matches!(it, Await::Step(_) | Await::Compare(_)))
    }

    fn leases(&self) -> &Leases {
        self.leases.as_ref().expect("a living worker has leases")
    }
}

impl Work {
    fn attempt(&self) -> u32 {
        self.journal.attempt(self.receipt.deliveries)
    }

    fn enqueued_at(&self) -> Timestamp {
        let label = self.message.labels.get(labels::ENQUEUED_AT);
        label.and_then(Label::as_i64).map_or_else(
            || World::timestamp_at(self.delivery.stored_at),
            Timestamp::from_millis,
        )
    }
}

impl World {
    pub(super) fn start_worker(&mut self, worker: usize) {
        if self.workers[worker].alive {
            return;
        }
        let now = self.instant();
        let old = self.now < QUIET && self.rng.u8(0..10) < 3;
        let me = &mut self.workers[worker];
        *me = Worker {
            alive: true,
            life: me.life + 1,
            old,
            name: format!("w{worker}.{}", me.life + 1),
            leases: Some(Leases::new(Duration::from_millis(TERM))),
            ..Worker::default()
        };
        if self.mutation != Some(Mutation::LeaseFromReading) {
            self.workers[worker].leases().tick(now);
        }
        let first = self.rng.u64(1..=LOOK);
        self.in_worker(worker, first, Timer::Keeper);
        self.in_worker(worker, EXPIRES, Timer::Pulse);
        self.fill(worker);
    }

    pub(super) fn worker_dies(&mut self, worker: usize) {
        let me = &mut self.workers[worker];
        let life = me.life + 1;
        *me = Worker {
            life,
            ..Worker::default()
        };
        self.log.worker_ends(worker);
        self.orphan(worker);
    }

    pub(super) fn worker_hears(&mut self, worker: usize, message: Message) {
        match message {
            Message::Delivery(delivered) => {
                let now = self.instant();
                let at = self.now;
                let me = &mut self.workers[worker];
                me.asked = me.asked.saturating_sub(1);
                let address: Arc<str> = delivered.sequence.to_string().into();
                let lease = me.leases().hold(address, now);
                me.sure.insert(lease, at);
                me.ready.push_back((lease, delivered));
                if self.workers[worker].draining || self.workers[worker].failing {
                    self.hand_back_ready(worker);
                } else {
                    self.fill(worker);
                }
            }
            Message::Reply(number, reply) => {
                if let Some(what) = self.workers[worker].pending.remove(&number) {
                    self.go_on(worker, what, reply);
                }
            }
            Message::Wish(wish) => {
                if let Some(wish) = CancelRequest::decode(&wish) {
                    let me = &mut self.workers[worker];
                    me.wishes.insert(wish.id.clone(), wish.clone());
                    self.act_upon(worker, &wish);
                }
            }
        }
    }

    pub(super) fn worker_timer(&mut self, worker: usize, timer: Timer) {
        match timer {
            Timer::Timeout(number) => {
                if let Some(what) = self.workers[worker].pending.remove(&number) {
                    self.go_on(worker, what, Reply::Unanswered);
                }
            }
            Timer::Keeper => self.keep(worker),
            Timer::RunEnds(lease, since) => self.run_ends(worker, lease, since, false),
            Timer::Aborted(lease, since) => self.run_ends(worker, lease, since, true),
            Timer::AskPast(lease) => self.ask_past(worker, lease),
            Timer::WriteJournal(lease) => self.write_journal(worker, lease),
            Timer::Again(number) => {
                if let Some(ending) = self.workers[worker].paused.remove(&number) {
                    self.step(worker, ending);
                }
            }
            Timer::Compare(number) => {
                if let Some(ending) = self.workers[worker].paused.remove(&number) {
                    self.compare(worker, ending);
                }
            }
            Timer::Reconnected => {
                self.workers[worker].back = Some(self.now);
                self.workers[worker].asked = 0;
                self.fill(worker);
                // Wishes may have been missed.
                let running: Vec<TaskId> = self.workers[worker]
                    .works
                    .values()
                    .filter(|work| work.run.is_some())
                    .map(|work| work.message.id.clone())
                    .collect();
                for id in running {
                    if let Some((_, wish)) = self.broker.wishes.get(&id) {
                        let wish = wish.clone();
                        self.answer(worker, Message::Wish(wish));
                    }
                }
            }
            Timer::Pulse => {
                self.workers[worker].asked = 0;
                self.fill(worker);
                self.in_worker(worker, EXPIRES, Timer::Pulse);
            }
            Timer::GraceEnds => self.abort_running(worker),
            Timer::Exit(since) => {
                let me = &self.workers[worker];
                if me.is_idle() || self.now > since + 5000 {
                    self.kill(worker);
                } else {
                    self.in_worker(worker, 200, Timer::Exit(since));
                }
            }
        }
    }

    /// Puts what waits into free places, and asks for more.
    fn fill(&mut self, worker: usize) {
        if self.workers[worker].draining {
            return;
        }
        while self.workers[worker].works.len() < CONCURRENCY
            && let Some((lease, delivered)) = self.workers[worker].ready.pop_front()
        {
            self.execute(worker, lease, delivered, false);
        }
        let me = &self.workers[worker];
        let room = HELD.saturating_sub(me.works.len() + me.ready.len());
        let room = if me.failing { 0 } else { room };
        for _ in me.asked..room {
            self.workers[worker].asked += 1;
            let life = self.workers[worker].life;
            self.send(worker, Request::Pull { life });
        }
    }

    fn holds(&self, worker: usize, lease: u64) -> bool {
        self.mutation == Some(Mutation::NoFencing)
            || self.workers[worker].leases().is_held(lease, self.instant())
    }

    // How a worker stops: `worker/mod.rs`.

    pub(super) fn drain(&mut self, worker: usize) {
        let me = &mut self.workers[worker];
        if !me.alive || me.frozen || me.draining {
            return;
        }
        me.draining = true;
        me.asked = 0;
        let epoch = self.links[worker].epoch + 1;
        self.broker.forget_pulls(worker, epoch);
        self.hand_back_ready(worker);
        // Long enough for what is being looked up to start.
        let grace = self.rng.u64(2500..5000);
        self.in_worker(worker, grace, Timer::GraceEnds);
    }

    fn hand_back_ready(&mut self, worker: usize) {
        while let Some((lease, delivered)) = self.workers[worker].ready.pop_front() {
            self.execute(worker, lease, delivered, true);
        }
    }

    fn abort_running(&mut self, worker: usize) {
        let works = self.workers[worker].works.iter();
        let running: Vec<u64> = works
            .filter(|(_, work)| work.run.is_some())
            .map(|(lease, _)| *lease)
            .collect();
        for lease in running {
            self.log.run_ends(worker, lease);
            self.release(worker, lease, Duration::ZERO);
        }
        let now = self.now;
        self.in_worker(worker, 50, Timer::Exit(now));
    }

    // The lease thread: `worker/lease.rs`.

    fn keep(&mut self, worker: usize) {
        let now = self.instant();
        let me = &self.workers[worker];
        // A thread that waits for an answer must look all the same.
        if !(me.renewing && self.mutation == Some(Mutation::BlindRenewal)) {
            if self.mutation != Some(Mutation::LeaseFromReading) {
                me.leases().tick(now);
            }
            let mut lost = me.leases().take_lost(now);
            lost.sort_unstable();
            let lost = if self.mutation == Some(Mutation::NoFencing) {
                Vec::new()
            } else {
                lost
            };
            for lease in lost {
                let work = self.workers[worker].works.get(&lease);
                if work.is_some_and(|work| work.run.is_some()) {
                    self.lose(worker, lease);
                }
            }
        }
        self.in_worker(worker, LOOK, Timer::Keeper);
        let me = &mut self.workers[worker];
        if me.renewing {
            return;
        }
        let mut due = me.leases().take_due(now);
        // Nothing to renew: then it asks whether it could.
        if due.is_empty() && !me.failing {
            return;
        }
        due.sort_unstable();
        me.renewing = true;
        let (leases, messages): (Vec<u64>, Vec<u64>) = due
            .into_iter()
            .map(|(lease, address)| {
                (
                    lease,
                    address.parse::<u64>().expect("addresses are numbers"),
                )
            })
            .unzip();
        let asked = self.now;
        let number = self.expect(worker, RENEWAL, Await::Renew { leases, asked });
        self.send(worker, Request::Renew { number, messages });
    }

    // Waiting for answers.

    fn expect(&mut self, worker: usize, patience: u64, what: Await) -> u64 {
        let number = self.number();
        self.workers[worker].pending.insert(number, what);
        self.in_worker(worker, patience, Timer::Timeout(number));
        number
    }

    fn go_on(&mut self, worker: usize, what: Await, reply: Reply) {
        match what {
            Await::Past { lease, round, what } => {
                self.learn(worker, lease, round, what, reply);
            }
            Await::Journal { lease } => match reply {
                Reply::Stored => {
                    let me = &mut self.workers[worker];
                    if let Some(work) = me.works.get(&lease) {
                        if let Some(place) = me.suspects.get_mut(&lease) {
                            place.journal = Some(work.journal.clone());
                        }
                        self.run_task(worker, lease);
                    }
                }
                _ => self.in_worker(worker, 200, Timer::WriteJournal(lease)),
            },
            Await::Join { lease } => {
                self.joined(worker, lease, matches!(reply, Reply::Stored));
            }
            Await::Step(ending) => self.resume(worker, ending, &reply),
            Await::Compare(mut ending) => match reply {
                Reply::Found(found) => {
                    let own = match ending.message() {
                        Some(Write::Outcome { body, .. }) => found.as_ref() == Some(body),
                        _ => false,
                    };
                    ending.compared(own);
                    self.step(worker, ending);
                }
                _ => {
                    let number = self.number();
                    self.workers[worker].paused.insert(number, ending);
                    self.in_worker(worker, 200, Timer::Compare(number));
                }
            },
            Await::Renew { leases, asked } => {
                self.workers[worker].renewing = false;
                if let Reply::Renewed = reply {
                    let at = self.instant_at(asked);
                    for lease in &leases {
                        if let Some(sure) = self.workers[worker].sure.get_mut(lease) {
                            *sure = (*sure).max(asked);
                        }
                    }
                    self.workers[worker].leases().confirm(leases, at);
                    if std::mem::take(&mut self.workers[worker].failing) {
                        self.fill(worker);
                    }
                } else {
                    self.workers[worker].failing = true;
                    self.workers[worker].leases().ask_again(leases);
                }
            }
        }
    }

    // What the checks ask.

    pub(super) fn work(&self, worker: usize, lease: u64) -> &Work {
        &self.workers[worker].works[&lease]
    }
}
