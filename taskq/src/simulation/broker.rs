//! The broker, with the semantics of the real one as far as they matter: a
//! work queue with leases, plans, outcomes of which the first counts, and
//! records of which the last counts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::worker::{Delivered, EXPIRES};
use super::world::{Event, Message, TERM, World};
use crate::message::TaskId;

#[derive(Default)]
pub(super) struct Broker {
    pub(super) up: bool,
    queue: BTreeMap<u64, Held>,
    next: u64,
    /// What is on the disk of deliveries: it is written there lazily, and a
    /// crash goes back to it.
    flushed: BTreeMap<u64, (u32, State)>,
    /// Who has asked for a message: party, life and connection, and until
    /// when.
    pulls: VecDeque<(usize, u64, u64, u64)>,
    pub(super) plan: BTreeMap<TaskId, (u64, Bytes)>,
    pub(super) done: BTreeMap<TaskId, Bytes>,
    pub(super) dead: BTreeMap<TaskId, Bytes>,
    pub(super) journals: BTreeMap<TaskId, Bytes>,
    pub(super) wishes: BTreeMap<TaskId, (u64, Bytes)>,
    /// Every id that a queue or a plan has taken.
    pub(super) accepted: BTreeSet<TaskId>,
    pub(super) refused: u64,
}

struct Held {
    id: TaskId,
    body: Bytes,
    stored_at: u64,
    deliveries: u32,
    state: State,
    /// How often it came back because nobody had ended it.
    lapses: u32,
    /// When the worker that has it died.
    orphaned: Option<u64>,
    holder: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// With a worker, or given back for a while.
    Out {
        until: u64,
        returned: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Pull {
        life: u64,
    },
    Publish {
        number: u64,
        write: Write,
    },
    Read {
        number: u64,
        what: Read,
        id: TaskId,
    },
    Ack(u64),
    Nak(u64, Duration),
    Renew {
        number: u64,
        messages: Vec<u64>,
    },
    /// Takes a message out that nobody had when it was looked for.
    Remove(TaskId, Place),
}

#[derive(Clone, Debug)]
pub(super) enum Write {
    Work {
        id: TaskId,
        body: Bytes,
        only_first: bool,
    },
    Plan {
        id: TaskId,
        body: Bytes,
        due: u64,
        only_first: bool,
    },
    Outcome {
        id: TaskId,
        body: Bytes,
    },
    Letter {
        id: TaskId,
        body: Bytes,
        only_first: bool,
    },
    Journal {
        id: TaskId,
        body: Bytes,
    },
    Wish {
        id: TaskId,
        body: Bytes,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Read {
    Outcome,
    Journal,
    Wish,
    /// Where the message is.
    Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Plan,
    Queue(u64),
    Held,
    Ended,
    Unknown,
}

#[derive(Clone, Debug)]
pub(super) enum Reply {
    Stored,
    /// An outcome, or a message of this subject, is there.
    Taken,
    /// Not now: no leader, no room.
    Refused,
    Found(Option<Bytes>),
    At(Place, Option<Bytes>),
    Renewed,
    /// Nothing came; said by the one who waited.
    Unanswered,
}

impl Request {
    /// Whether the network may give it twice. A first publication is no such
    /// thing: it has nothing to be known again by.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(
            self,
            Self::Pull { .. }
                | Self::Read { .. }
                | Self::Publish {
                    write: Write::Work { .. },
                    ..
                }
        )
    }

    /// The same, from nobody in particular.
    pub(super) fn unanswered(self) -> Self {
        match self {
            Self::Publish { write, .. } => Self::Publish { number: 0, write },
            Self::Renew { messages, .. } => Self::Renew {
                number: 0,
                messages,
            },
            other => other,
        }
    }

    pub(super) fn is_losable(&self) -> bool {
        matches!(
            self,
            Self::Ack(_) | Self::Nak(..) | Self::Renew { .. } | Self::Pull { .. }
        )
    }
}

impl Broker {
    pub(super) fn new() -> Self {
        Self {
            up: true,
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.plan.is_empty()
    }

    pub(super) fn flush(&mut self) {
        if self.up {
            let known = self.queue.iter();
            self.flushed = known
                .map(|(sequence, held)| (*sequence, (held.deliveries, held.state)))
                .collect();
        }
    }

    /// Requests for messages end with their connection.
    pub(super) fn forget_pulls(&mut self, party: usize, epoch: u64) {
        self.pulls
            .retain(|(whose, _, on, _)| *whose != party || *on >= epoch);
    }

    pub(super) fn lapses(&self, sequence: u64) -> u32 {
        self.queue.get(&sequence).map_or(0, |held| held.lapses)
    }

    pub(super) fn describe(&self) -> String {
        let queue: Vec<String> = self
            .queue
            .iter()
            .map(|(sequence, held)| {
                format!(
                    "#{sequence} {} x{} {:?}",
                    held.id, held.deliveries, held.state
                )
            })
            .collect();
        format!("queue {queue:?}, plan {:?}", self.plan.keys())
    }

    fn find(&self, id: &TaskId) -> (Place, Option<Bytes>) {
        if self.done.contains_key(id) {
            return (Place::Ended, None);
        }
        if let Some((_, body)) = self.plan.get(id) {
            return (Place::Plan, Some(body.clone()));
        }
        let found = self.queue.iter().find(|(_, held)| held.id == *id);
        found.map_or((Place::Unknown, None), |(sequence, held)| {
            // What has been handed out is with a worker, as far as the
            // broker tells.
            let place = if held.deliveries > 0 {
                Place::Held
            } else {
                Place::Queue(*sequence)
            };
            (place, Some(held.body.clone()))
        })
    }
}

impl World {
    pub(super) fn serve(&mut self, party: usize, request: Request) {
        match request {
            Request::Pull { life } => {
                let epoch = self.links[party].epoch;
                let until = self.now + EXPIRES;
                // Who stops listens no more, and the broker knows.
                if self.workers[party].is_draining() {
                    return;
                }
                self.broker.pulls.push_back((party, life, epoch, until));
                self.dispatch();
            }
            Request::Publish { number, write } => {
                let outcome = matches!(write, Write::Outcome { .. });
                // Nothing is stored, and perhaps nothing said.
                if self.chance(0.03) {
                    if self.rng.bool() {
                        self.answer(party, Message::Reply(number, Reply::Refused));
                    }
                    return;
                }
                let reply = self.store(write);
                // Stored, and nobody hears of it.
                if self.chance(if outcome { 0.08 } else { 0.04 }) {
                    self.note(|| "   its answer is lost".to_owned());
                    return;
                }
                self.answer(party, Message::Reply(number, reply));
            }
            Request::Read { number, what, id } => {
                if self.chance(0.03) {
                    return;
                }
                let reply = match what {
                    Read::Outcome => Reply::Found(self.broker.done.get(&id).cloned()),
                    Read::Journal => Reply::Found(self.broker.journals.get(&id).cloned()),
                    Read::Wish => {
                        Reply::Found(self.broker.wishes.get(&id).map(|(_, wish)| wish.clone()))
                    }
                    Read::Place => {
                        let (place, body) = self.broker.find(&id);
                        Reply::At(place, body)
                    }
                };
                self.answer(party, Message::Reply(number, reply));
            }
            Request::Ack(sequence) => {
                let removed = self.broker.queue.remove(&sequence);
                self.note(|| format!("#{sequence} acked, was there: {}", removed.is_some()));
            }
            Request::Nak(sequence, delay) => {
                let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                let until = self.now + delay;
                if let Some(held) = self.broker.queue.get_mut(&sequence)
                    && let State::Out { .. } = held.state
                {
                    held.state = State::Out {
                        until,
                        returned: true,
                    };
                    held.orphaned = None;
                    self.note(|| format!("#{sequence} given back for {delay} ms"));
                    self.at(until, Event::BrokerClock);
                }
            }
            Request::Renew { number, messages } => {
                let until = self.now + TERM;
                for sequence in messages {
                    if let Some(held) = self.broker.queue.get_mut(&sequence)
                        && let State::Out { .. } = held.state
                    {
                        held.state = State::Out {
                            until,
                            returned: false,
                        };
                    }
                }
                self.at(until, Event::BrokerClock);
                self.answer(party, Message::Reply(number, Reply::Renewed));
            }
            Request::Remove(id, place) => match place {
                Place::Plan => {
                    self.broker.plan.remove(&id);
                    if let (Place::Queue(sequence), _) = self.broker.find_in_queue(&id) {
                        self.broker.queue.remove(&sequence);
                    }
                }
                Place::Queue(sequence) => {
                    self.broker.queue.remove(&sequence);
                }
                _ => {}
            },
        }
    }

    fn store(&mut self, write: Write) -> Reply {
        match write {
            Write::Work {
                id,
                body,
                only_first,
            } => {
                if only_first && self.broker.queue.values().any(|held| held.id == id) {
                    return Reply::Taken;
                }
                self.enqueue(id, body);
            }
            Write::Plan {
                id,
                body,
                due,
                only_first,
            } => {
                if only_first && self.broker.plan.contains_key(&id) {
                    return Reply::Taken;
                }
                self.note(|| format!("planned {id} for {due}"));
                self.broker.accepted.insert(id.clone());
                self.broker.plan.insert(id, (due, body));
                self.at(due, Event::BrokerClock);
            }
            Write::Outcome { id, body } => {
                if self.broker.done.contains_key(&id) {
                    self.broker.refused += 1;
                    self.note(|| format!("an outcome of {id} is refused"));
                    return Reply::Taken;
                }
                self.check_outcome(&id, &body);
                self.broker.done.insert(id, body);
            }
            Write::Letter {
                id,
                body,
                only_first,
            } => {
                if only_first && self.broker.dead.contains_key(&id) {
                    return Reply::Taken;
                }
                self.note(|| format!("a dead letter of {id}"));
                self.broker.dead.insert(id, body);
            }
            Write::Journal { id, body } => {
                self.broker.journals.insert(id, body);
            }
            Write::Wish { id, body } => {
                self.note(|| format!("a wish to cancel {id}"));
                let now = self.now;
                self.broker.wishes.insert(id, (now, body.clone()));
                for worker in 0..self.workers.len() {
                    self.answer(worker, Message::Wish(body.clone()));
                }
            }
        }
        Reply::Stored
    }

    fn enqueue(&mut self, id: TaskId, body: Bytes) {
        let sequence = self.broker.next;
        self.broker.next += 1;
        self.note(|| format!("#{sequence} is {id}"));
        self.broker.accepted.insert(id.clone());
        if self.broker.queue.values().any(|held| held.id == id) {
            self.log.doubled.insert(id.clone());
        }
        let held = Held {
            id,
            body,
            stored_at: self.now,
            deliveries: 0,
            state: State::Waiting,
            lapses: 0,
            orphaned: None,
            holder: None,
        };
        self.broker.queue.insert(sequence, held);
        self.dispatch();
    }

    pub(super) fn broker_clock(&mut self) {
        if !self.broker.up {
            return;
        }
        let now = self.now;
        let due: Vec<TaskId> = self
            .broker
            .plan
            .iter()
            .filter(|(_, (due, _))| *due <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            if let Some((_, body)) = self.broker.plan.remove(&id) {
                self.enqueue(id, body);
            }
        }
        let mut late = None;
        for (sequence, held) in &mut self.broker.queue {
            if let State::Out { until, returned } = held.state
                && until <= now
            {
                held.state = State::Waiting;
                held.lapses += u32::from(!returned);
                if let Some(died) = held.orphaned.take()
                    && now > died + TERM + 1500
                {
                    late = Some((*sequence, died));
                }
            }
        }
        // A restart of the broker is no fault of the lease, nor is a renewal
        // of another who had it before, and whose connection came back.
        if let Some((sequence, died)) = late
            && self.log.broker_restarts == 0
            && !self.weather.network
        {
            self.violate("a crash is noticed in time", || {
                format!("#{sequence} waits since {died}")
            });
        }
        self.dispatch();
    }

    /// Gives waiting messages to who has asked.
    fn dispatch(&mut self) {
        loop {
            let waiting = |(_, held): &(&u64, &mut Held)| held.state == State::Waiting;
            let Some((sequence, held)) = self.broker.queue.iter_mut().find(waiting) else {
                return;
            };
            let Some((party, life, epoch, until)) = self.broker.pulls.pop_front() else {
                return;
            };
            if until <= self.now {
                continue;
            }
            let until = self.now + TERM;
            held.deliveries += 1;
            held.state = State::Out {
                until,
                returned: false,
            };
            held.holder = Some(party);
            held.orphaned = None;
            let delivered = Delivered {
                sequence: *sequence,
                deliveries: held.deliveries,
                stored_at: held.stored_at,
                delivered_at: self.now,
                body: held.body.clone(),
            };
            let id = held.id.clone();
            self.note(|| {
                format!(
                    "#{} ({id}) to worker {party}, delivery {}",
                    delivered.sequence, delivered.deliveries
                )
            });
            self.at(until, Event::BrokerClock);
            // Nobody there, and the broker does not know.
            let gone = self.links[party].epoch != epoch || self.workers[party].life != life;
            if gone || self.chance(0.01) {
                self.note(|| "   it is lost".to_owned());
            } else {
                self.answer(party, Message::Delivery(delivered));
            }
        }
    }

    pub(super) fn orphan(&mut self, worker: usize) {
        let now = self.now;
        for held in self.broker.queue.values_mut() {
            let out = matches!(
                held.state,
                State::Out {
                    returned: false,
                    ..
                }
            );
            if held.holder == Some(worker) && out {
                held.orphaned = Some(now);
            }
        }
    }

    pub(super) fn broker_down(&mut self, crash: bool) {
        self.log.broker_restarts += 1;
        self.broker.up = false;
        self.broker.pulls.clear();
        if !crash {
            return;
        }
        self.log.broker_crashes += 1;
        self.log.crashed = Some(self.now);
        for (sequence, held) in &mut self.broker.queue {
            let known = self.broker.flushed.get(sequence);
            let (deliveries, state) = known.copied().unwrap_or((0, State::Waiting));
            if (held.deliveries, held.state) != (deliveries, state) {
                held.lapses += 1;
            }
            held.deliveries = deliveries;
            held.state = state;
        }
    }

    pub(super) fn broker_up(&mut self) {
        self.broker.up = true;
        // A connection made since knows nothing of requests made before.
        self.broker.pulls.clear();
        self.broker_clock();
        let now = self.now;
        let times: Vec<u64> = self
            .broker
            .queue
            .values()
            .filter_map(|held| match held.state {
                State::Out { until, .. } => Some(until),
                State::Waiting => None,
            })
            .chain(self.broker.plan.values().map(|(due, _)| *due))
            .collect();
        for at in times {
            self.at(at.max(now), Event::BrokerClock);
        }
    }
}

impl Broker {
    fn find_in_queue(&self, id: &TaskId) -> (Place, Option<Bytes>) {
        let found = self
            .queue
            .iter()
            .find(|(_, held)| held.id == *id && held.deliveries == 0);
        found.map_or((Place::Unknown, None), |(sequence, held)| {
            (Place::Queue(*sequence), Some(held.body.clone()))
        })
    }
}
