//! The clock, the queue of what happens next, the network and the faults.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use super::Mutation;
use super::broker::{Broker, Reply, Request};
use super::check::Log;
use super::client::{Client, Errand};
use super::script::{Script, Weather};
use super::worker::{Delivered, Timer, Worker};
use crate::message::{Arguments, TaskId, TaskMessage};
use crate::time::Timestamp;

/// For how long a delivery is a worker's, in milliseconds.
pub(super) const TERM: u64 = 6000;
/// Nothing goes wrong any more from here on.
pub(super) const QUIET: u64 = 30_000;
/// By then everything must have ended: the slowest retries and quarantines,
/// several times over.
const HORIZON: u64 = QUIET + 600_000;
/// The longest way of a message on a connection that stands.
pub(super) const SLOWEST: u64 = 400;
/// Wall-clock time at the start.
const EPOCH: i64 = 1_700_000_000_000;

/// All that there is, in one thread.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) rng: Rng,
    pub(super) mutation: Option<Mutation>,
    base: Instant,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub(super) weather: Weather,
    pub(super) broker: Broker,
    pub(super) workers: Vec<Worker>,
    pub(super) client: Client,
    /// One for each worker, and the client's.
    pub(super) links: Vec<Link>,
    pub(super) scripts: BTreeMap<TaskId, Script>,
    pub(super) log: Log,
    pub(super) violation: Option<String>,
    tracing: bool,
    pub(super) trace: Vec<String>,
}

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) cut: bool,
    pub(super) epoch: u64,
    /// When the last message of each direction arrives: none overtakes.
    last: [u64; 3],
    /// Written while there was no connection.
    waiting: Vec<Request>,
}

/// The direction on a connection.
#[derive(Clone, Copy)]
enum Way {
    ToBroker = 0,
    FromBroker = 1,
    /// The lease thread has a connection of its own.
    Keeper = 2,
}

pub(super) enum Event {
    ToBroker {
        party: usize,
        epoch: u64,
        request: Request,
    },
    FromBroker {
        party: usize,
        life: u64,
        epoch: u64,
        message: Message,
    },
    Worker {
        worker: usize,
        life: u64,
        timer: Timer,
    },
    Client(Errand),
    /// Leases end, delays end, plans fall due.
    BrokerClock,
    Fault(Fault),
}

pub(super) enum Message {
    Delivery(Delivered),
    Reply(u64, Reply),
    /// Somebody wishes that a task should not go on.
    Wish(Bytes),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Kill(usize),
    Start(usize),
    Freeze(usize, u64),
    Thaw(usize),
    Cut(usize, u64),
    Mend(usize),
    /// The broker notices that a connection is gone.
    Notice(usize, u64),
    Drain(usize),
    BrokerDown {
        crash: bool,
        back: u64,
    },
    BrokerUp,
    /// What the broker knows of deliveries reaches the disk.
    Flush,
    Quiet,
}

impl World {
    pub(super) fn new(seed: u64, mutation: Option<Mutation>, tracing: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let weather = Weather::of(&mut rng);
        let workers = rng.usize(1..4);
        let base = Instant::now();
        let mut world = Self {
            now: 0,
            mutation,
            base,
            events: BTreeMap::new(),
            sequence: 0,
            weather,
            broker: Broker::new(),
            workers: (0..workers).map(|_| Worker::default()).collect(),
            client: Client::default(),
            links: (0..=workers).map(|_| Link::default()).collect(),
            scripts: BTreeMap::new(),
            log: Log::default(),
            violation: None,
            tracing,
            trace: Vec::new(),
            rng,
        };
        world.note(|| format!("{weather:?}, {workers} workers"));
        for task in 0..world.rng.u32(2..6) {
            let id = TaskId::from(format!("t{task}-x"));
            let script = Script::of(&mut world.rng);
            world.note(|| format!("{id}: {script:?}"));
            let message = TaskMessage {
                id: id.clone(),
                task: "task".to_owned(),
                labels: crate::message::Labels::default(),
                arguments: Arguments::default(),
            };
            let at = world.rng.u64(0..12_000);
            let late = (world.rng.u8(0..6) == 0).then(|| at + world.rng.u64(500..5000));
            world.at(at, Event::Client(Errand::Enqueue(message, late)));
            if weather.wishes && world.rng.bool() {
                let at = at + world.rng.u64(0..15_000);
                world.at(at, Event::Client(Errand::Cancel(id.clone())));
            }
            world.scripts.insert(id, script);
        }
        for worker in 0..workers {
            world.at(0, Event::Fault(Fault::Start(worker)));
        }
        world.plan_faults();
        world.at(QUIET, Event::Fault(Fault::Quiet));
        world
    }

    fn plan_faults(&mut self) {
        let weather = self.weather;
        let mut faults = Vec::new();
        let rng = &mut self.rng;
        let some = |rng: &mut Rng, on: bool, most: u64| -> Vec<u64> {
            let count = if on { rng.u64(1..=most) } else { 0 };
            (0..count).map(|_| rng.u64(100..QUIET - 1000)).collect()
        };
        let workers = self.workers.len();
        for at in some(rng, weather.workers, 4) {
            let worker = rng.usize(0..workers);
            faults.push((at, Fault::Kill(worker)));
        }
        for at in some(rng, weather.workers, 3) {
            let (worker, back) = (rng.usize(0..workers), at + rng.u64(100..12_000));
            faults.push((at, Fault::Freeze(worker, back)));
        }
        for at in some(rng, weather.network, 4) {
            let (party, back) = (rng.usize(0..=workers), at + rng.u64(50..10_000));
            faults.push((at, Fault::Cut(party, back)));
        }
        for at in some(rng, weather.drains, 4) {
            faults.push((at, Fault::Drain(rng.usize(0..workers))));
        }
        for at in some(rng, weather.broker, 3) {
            let (crash, back) = (rng.bool(), at + rng.u64(200..5000));
            faults.push((at, Fault::BrokerDown { crash, back }));
        }
        if weather.broker {
            faults.push((0, Fault::Flush));
        }
        for (at, fault) in faults {
            self.at(at, Event::Fault(fault));
        }
    }

    /// Runs to the end, or to the first violation.
    pub(super) fn run(&mut self) {
        while self.violation.is_none() {
            let Some(((at, _), event)) = self.events.pop_first() else {
                break;
            };
            if at > HORIZON {
                let left = self.broker.describe();
                self.violate("everything comes to rest", || left);
                return;
            }
            self.now = at;
            self.happen(event);
            if self.now > QUIET && self.is_over() {
                break;
            }
        }
        if self.violation.is_none() {
            self.check_end();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToBroker {
                party,
                epoch,
                request,
            } => {
                // What was on its way when the connection broke may arrive
                // all the same.
                let broken = self.links[party].epoch != epoch;
                if !self.broker.up || (broken && self.rng.u8(0..10) < 7) {
                    self.note(|| format!("lost on its way from {party}: {request:?}"));
                    return;
                }
                self.serve(party, request);
            }
            Event::FromBroker {
                party,
                life,
                epoch,
                message,
            } => {
                if self.links[party].epoch != epoch {
                    return;
                }
                if party == self.workers.len() {
                    if let Message::Reply(number, reply) = message {
                        self.client_hears(number, reply);
                    }
                } else if self.workers[party].life == life {
                    if self.workers[party].frozen {
                        let event = Event::FromBroker {
                            party,
                            life,
                            epoch,
                            message,
                        };
                        self.workers[party].deferred.push(event);
                    } else {
                        self.worker_hears(party, message);
                    }
                }
            }
            Event::Worker {
                worker,
                life,
                timer,
            } => {
                if self.workers[worker].life == life && self.workers[worker].alive {
                    if self.workers[worker].frozen {
                        let event = Event::Worker {
                            worker,
                            life,
                            timer,
                        };
                        self.workers[worker].deferred.push(event);
                    } else {
                        self.worker_timer(worker, timer);
                    }
                }
            }
            Event::Client(errand) => self.client_does(errand),
            Event::BrokerClock => self.broker_clock(),
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Flush | Fault::Notice(..) => {}
            _ => self.note(|| format!("!! {fault:?}")),
        }
        match fault {
            Fault::Kill(worker) => self.kill(worker),
            Fault::Start(worker) => self.start_worker(worker),
            Fault::Freeze(worker, back) => {
                if self.workers[worker].alive && !self.workers[worker].frozen {
                    self.workers[worker].frozen = true;
                    self.at(back, Event::Fault(Fault::Thaw(worker)));
                }
            }
            Fault::Thaw(worker) => self.thaw(worker),
            Fault::Cut(party, back) => {
                if !self.links[party].cut {
                    self.links[party].cut = true;
                    self.break_link(party);
                    self.at(back, Event::Fault(Fault::Mend(party)));
                }
            }
            Fault::Mend(party) => {
                if std::mem::take(&mut self.links[party].cut) {
                    self.mend_link(party);
                }
            }
            Fault::Notice(party, epoch) => self.broker.forget_pulls(party, epoch),
            Fault::Drain(worker) => self.drain(worker),
            Fault::BrokerDown { crash, back } => {
                if self.broker.up {
                    self.broker_down(crash);
                    for party in 0..self.links.len() {
                        self.break_link(party);
                    }
                    self.at(back, Event::Fault(Fault::BrokerUp));
                }
            }
            Fault::BrokerUp => {
                if !self.broker.up {
                    self.broker_up();
                    for party in 0..self.links.len() {
                        self.mend_link(party);
                    }
                }
            }
            Fault::Flush => {
                self.broker.flush();
                if self.now < QUIET {
                    let next = self.now + self.rng.u64(100..1200);
                    self.at(next, Event::Fault(Fault::Flush));
                }
            }
            Fault::Quiet => {
                if !self.broker.up {
                    self.fault(Fault::BrokerUp);
                }
                for party in 0..self.links.len() {
                    self.fault(Fault::Mend(party));
                }
                for worker in 0..self.workers.len() {
                    self.thaw(worker);
                    // The last version knows every task.
                    self.workers[worker].old = false;
                }
            }
        }
    }

    fn thaw(&mut self, worker: usize) {
        if !std::mem::take(&mut self.workers[worker].frozen) {
            return;
        }
        self.workers[worker].thawed = self.now;
        // Two threads wake, and nobody knows which gets on first.
        let mut deferred = std::mem::take(&mut self.workers[worker].deferred);
        while !deferred.is_empty() {
            let next = if self.rng.bool() {
                0
            } else {
                self.rng.usize(0..deferred.len())
            };
            let event = deferred.remove(next);
            let at = self.now + self.rng.u64(0..5);
            self.at(at, event);
        }
    }

    /// The process is gone from one moment to the next.
    pub(super) fn kill(&mut self, worker: usize) {
        if !self.workers[worker].alive {
            return;
        }
        self.worker_dies(worker);
        self.links[worker].waiting.clear();
        self.break_link(worker);
        if !self.links[worker].cut && self.broker.up {
            // A dead process' connections are closed for it.
            let epoch = self.links[worker].epoch;
            let at = self.now + self.rng.u64(1..50);
            self.at(at, Event::Fault(Fault::Notice(worker, epoch)));
        }
        let back = self.now + self.rng.u64(500..3000);
        self.at(back, Event::Fault(Fault::Start(worker)));
    }

    fn break_link(&mut self, party: usize) {
        self.links[party].epoch += 1;
        let (epoch, at) = (self.links[party].epoch, self.now + self.rng.u64(1..3000));
        self.at(at, Event::Fault(Fault::Notice(party, epoch)));
    }

    fn mend_link(&mut self, party: usize) {
        if !self.is_linked(party) {
            return;
        }
        self.links[party].epoch += 1;
        for request in std::mem::take(&mut self.links[party].waiting) {
            self.send(party, request);
        }
        if party < self.workers.len() && self.workers[party].alive {
            let (life, timer) = (self.workers[party].life, Timer::Reconnected);
            let at = self.now + 1;
            self.at(
                at,
                Event::Worker {
                    worker: party,
                    life,
                    timer,
                },
            );
        }
    }

    fn is_linked(&self, party: usize) -> bool {
        !self.links[party].cut && self.broker.up
    }

    /// Sends to the broker, now or when there is a connection again.
    pub(super) fn send(&mut self, party: usize, request: Request) {
        if !self.is_linked(party) {
            self.links[party].waiting.push(request);
            return;
        }
        let repeated = request.is_repeatable() && self.chance(0.02);
        let way = match request {
            Request::Renew { .. } => Way::Keeper,
            _ => Way::ToBroker,
        };
        let (at, epoch) = (self.arrival(party, way), self.links[party].epoch);
        if request.is_losable() && self.chance(0.04) {
            self.note(|| format!("lost: {request:?}"));
            return;
        }
        self.at(
            at,
            Event::ToBroker {
                party,
                epoch,
                request: request.clone(),
            },
        );
        if repeated {
            // Nobody waits for its answer any more.
            let request = request.unanswered();
            self.at(
                at,
                Event::ToBroker {
                    party,
                    epoch,
                    request,
                },
            );
        }
    }

    /// Sends from the broker; nothing waits there for a connection.
    pub(super) fn answer(&mut self, party: usize, message: Message) {
        if !self.is_linked(party) {
            return;
        }
        let (at, epoch) = (
            self.arrival(party, Way::FromBroker),
            self.links[party].epoch,
        );
        let life = self.workers.get(party).map_or(0, |worker| worker.life);
        self.at(
            at,
            Event::FromBroker {
                party,
                life,
                epoch,
                message,
            },
        );
    }

    fn arrival(&mut self, party: usize, way: Way) -> u64 {
        let delay = match self.rng.u8(0..50) {
            0 => self.rng.u64(200..SLOWEST),
            1..10 => self.rng.u64(30..200),
            _ => self.rng.u64(1..30),
        };
        let last = &mut self.links[party].last[way as usize];
        *last = (*last).max(self.now + delay);
        *last
    }

    /// Whether something goes wrong that goes wrong so often.
    pub(super) fn chance(&mut self, chance: f64) -> bool {
        self.weather.network && self.now < QUIET && self.rng.f64() < chance
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at.max(self.now), self.sequence), event);
    }

    pub(super) fn in_worker(&mut self, worker: usize, after: u64, timer: Timer) {
        let life = self.workers[worker].life;
        self.at(
            self.now + after,
            Event::Worker {
                worker,
                life,
                timer,
            },
        );
    }

    /// A number that nothing else has.
    pub(super) fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn instant(&self) -> Instant {
        self.instant_at(self.now)
    }

    pub(super) fn instant_at(&self, at: u64) -> Instant {
        self.base + Duration::from_millis(at)
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        Self::timestamp_at(self.now)
    }

    pub(super) fn timestamp_at(at: u64) -> Timestamp {
        Timestamp::from_millis(EPOCH).plus(Duration::from_millis(at))
    }

    pub(super) fn millis_of(time: Timestamp) -> u64 {
        u64::try_from(time.as_millis() - EPOCH).unwrap_or(0)
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.tracing {
            self.trace.push(format!("{:>9} {}", self.now, what()));
        }
    }

    pub(super) fn violate(&mut self, rule: &str, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let text = format!("{rule}: {} (at {} ms)", what(), self.now);
            self.note(|| format!("VIOLATION {text}"));
            self.violation = Some(text);
        }
    }

    /// Whether nothing can happen any more but that time goes by.
    fn is_over(&self) -> bool {
        self.client.is_idle() && self.broker.is_empty() && self.workers.iter().all(Worker::is_idle)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
