//! Ends, step by step: `broker/jetstream/settle.rs` of the library.

use std::time::Duration;

use super::{Await, PATIENCE, Timer};
use crate::broker::ending::{After, Draft, Ending, Step, Turn};
use crate::broker::{Publication, Receipt, Settlement};
use crate::message::{DeadLetter, Journal, TaskId};
use crate::simulation::Mutation;
use crate::simulation::broker::{Read, Reply, Request, Write};
use crate::simulation::world::{TERM, World};

/// Writes what an end stores.
struct Drafts;

impl Draft for Drafts {
    type Message = Write;

    fn outcome(&self, id: &TaskId, body: Vec<u8>, _: Option<Duration>) -> Write {
        let (id, body) = (id.clone(), body.into());
        Write::Outcome { id, body }
    }

    fn plan(&self, publication: Publication) -> Write {
        Write::Plan {
            id: publication.id,
            body: publication.body,
            due: publication.due.map_or(0, World::millis_of),
            only_first: false,
        }
    }

    fn letter(&self, letter: &DeadLetter, only_first: bool) -> Write {
        let (id, body) = (letter.id.clone(), letter.encode().into());
        Write::Letter {
            id,
            body,
            only_first,
        }
    }

    fn journal(&self, id: &TaskId, journal: &Journal) -> Write {
        let (id, body) = (id.clone(), journal.encode().into());
        Write::Journal { id, body }
    }
}

fn sequence(receipt: &Receipt) -> u64 {
    receipt.address.parse().expect("addresses are numbers here")
}

impl World {
    pub(super) fn settle(&mut self, worker: usize, lease: u64, settlement: Settlement) {
        let me = &mut self.workers[worker];
        let work = me.works.remove(&lease).expect("settled once");
        me.suspects.remove(&lease);
        let hasty = match &settlement {
            Settlement::Finish(_) | Settlement::Bury { .. } => Mutation::AckBeforeOutcome,
            Settlement::Retry(_) => Mutation::AckBeforePlan,
            _ => Mutation::None,
        };
        if self.mutation == Some(hasty) {
            self.send(worker, Request::Ack(work.delivery.sequence));
        }
        let ending = Ending::new(work.receipt, settlement, &Drafts);
        self.step(worker, ending);
        self.fill(worker);
    }

    pub(super) fn step(&mut self, worker: usize, mut ending: Ending<Write>) {
        let lease = ending.receipt.lease;
        let message = loop {
            let held = self.mutation == Some(Mutation::PlanAfterLoss) || self.holds(worker, lease);
            match ending.turn(|| held) {
                Turn::Over => return self.close(worker, lease),
                Turn::Fenced => {
                    self.note(|| format!("worker {worker}: an end came too late"));
                    return self.close(worker, lease);
                }
                Turn::Take(Step::Ack) => {
                    self.send(worker, Request::Ack(sequence(&ending.receipt)));
                    return self.close(worker, lease);
                }
                Turn::Take(Step::Nak(delay)) => {
                    let delay = *delay;
                    self.check_fence(worker, lease, "a way back to the queue");
                    self.send(worker, Request::Nak(sequence(&ending.receipt), delay));
                    return self.close(worker, lease);
                }
                Turn::Take(
                    Step::PutPayload { .. } | Step::RemovePayload { .. } | Step::Unlock { .. },
                ) => ending.advance(),
                Turn::Take(Step::Store(message)) => {
                    let message = message.clone();
                    self.check_fence(worker, lease, "a next attempt");
                    break message;
                }
                Turn::Take(Step::Outcome { message, .. } | Step::Bury(message)) => {
                    break message.clone();
                }
            }
        };
        let number = self.expect(worker, PATIENCE, Await::Step(ending));
        let write = message;
        self.send(worker, Request::Publish { number, write });
    }

    pub(super) fn resume(&mut self, worker: usize, mut ending: Ending<Write>, reply: &Reply) {
        let taken = matches!(reply, Reply::Taken);
        let heedless = taken && self.mutation == Some(Mutation::RefusalIgnored);
        if heedless || matches!(reply, Reply::Stored) {
            ending.advance();
            return self.step(worker, ending);
        }
        match ending.refused(taken) {
            After::Refused if self.mutation == Some(Mutation::AckWhenRefused) => {
                self.send(worker, Request::Ack(sequence(&ending.receipt)));
                self.close(worker, ending.receipt.lease);
            }
            After::Refused | After::GoOn => self.step(worker, ending),
            After::Compare => self.compare(worker, ending),
            After::Again(pause) => {
                let number = self.number();
                let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                self.workers[worker].paused.insert(number, ending);
                self.in_worker(worker, pause, Timer::Again(number));
            }
        }
    }

    pub(super) fn compare(&mut self, worker: usize, ending: Ending<Write>) {
        let Some(id) = ending.outcome().cloned() else {
            return;
        };
        let number = self.expect(worker, PATIENCE, Await::Compare(ending));
        let what = Read::Outcome;
        self.send(worker, Request::Read { number, what, id });
    }

    pub(super) fn close(&mut self, worker: usize, lease: u64) {
        let me = &mut self.workers[worker];
        me.leases().release(lease);
        me.sure.remove(&lease);
    }

    fn check_fence(&mut self, worker: usize, lease: u64, what: &str) {
        let sure = self.workers[worker].sure.get(&lease).copied();
        let (now, safe) = (self.now, TERM - TERM / 6);
        if sure.is_none_or(|sure| now - sure >= safe) {
            self.violate("what lost its lease stores nothing", || {
                format!("worker {worker} stores {what}; its lease was sure at {sure:?}")
            });
        }
    }
}
