//! What an attempt leaves behind: `worker/record.rs` and `worker/end.rs` of the
//! library.

use std::time::Duration;

use taskq_syntax::Priority;

use super::Work;
use crate::broker::{Publication, Record, Settlement};
use crate::failure::Failure;
use crate::message::{Crash, DeadLetter, DeadReason, FailedAttempt, Outcome, State, Trail, labels};
use crate::simulation::Mutation;
use crate::simulation::world::World;
use crate::task::TaskError;
use crate::time::Timestamp;

impl World {
    pub(super) fn next_attempt(
        &self,
        worker: usize,
        lease: u64,
        error: &TaskError,
        due: Timestamp,
    ) -> Publication {
        let me = &self.workers[worker];
        let work = &me.works[&lease];
        let mut message = work.message.clone();
        let set = &mut message.labels;
        set.set(labels::ATTEMPT, work.attempt().saturating_add(1));
        set.set(labels::FAILURES, work.policy.failures.saturating_add(1));
        set.set(labels::ENQUEUED_AT, work.enqueued_at().as_millis());
        if let Some(deadline) = work.policy.deadline {
            set.set(labels::DEADLINE, deadline.as_millis());
        }
        let mut trail = Trail::of(set);
        trail.push(FailedAttempt {
            attempt: work.attempt(),
            worker: me.name.clone(),
            started_at: Self::timestamp_at(work.run.as_ref().map_or(0, |run| run.since)),
            finished_at: self.timestamp(),
            error: error.failure(),
        });
        trail.write(set);
        Publication {
            id: message.id.clone(),
            named: false,
            task: message.task.clone(),
            queue: "default".to_owned(),
            priority: Priority::Normal,
            due: Some(due),
            lock: None,
            key: None,
            body: message.encode().into(),
        }
    }

    pub(super) fn outcome(
        &self,
        worker: usize,
        lease: u64,
        state: State,
        error: Option<Failure>,
        dead: Option<DeadReason>,
    ) -> Outcome {
        let me = &self.workers[worker];
        let work = &me.works[&lease];
        let ran = work.run.as_ref();
        Outcome {
            id: work.message.id.clone(),
            task: work.message.task.clone(),
            queue: "default".to_owned(),
            state,
            is_err: state != State::Succeeded,
            return_value: None,
            error,
            execution_time: 0.0,
            // Of what did not start, the last one that did.
            attempt: work.attempt() - u32::from(ran.is_none()),
            worker: me.name.clone(),
            enqueued_at: work.enqueued_at(),
            due_at: None,
            started_at: ran.map(|run| Self::timestamp_at(run.since)),
            finished_at: self.timestamp(),
            labels: serde_json::Map::new(),
            log: None,
            attempts: Trail::of(&work.message.labels).into_vec(),
            dead,
            cancelled_by: None,
            payload: None,
            message: None,
            start_told: false,
            args: None,
            kwargs: None,
        }
    }

    pub(super) fn bury(
        &mut self,
        worker: usize,
        lease: u64,
        state: State,
        reason: DeadReason,
        error: Failure,
    ) {
        let outcome = self.outcome(worker, lease, state, Some(error), Some(reason));
        let work = &self.workers[worker].works[&lease];
        let letter = DeadLetter {
            crashes: crashes(work),
            ..DeadLetter::of(&outcome, reason, "normal", &work.delivery.body)
        };
        let settlement = Settlement::Bury {
            letter: Box::new(letter),
            record: Some(record(outcome)),
            payload: None,
        };
        self.settle(worker, lease, settlement);
    }

    pub(super) fn ended_before(&mut self, worker: usize, lease: u64, outcome: &Outcome) {
        let work = &self.workers[worker].works[&lease];
        let settlement = match outcome.dead {
            None => Settlement::Discard,
            Some(reason) => Settlement::Bury {
                letter: Box::new(DeadLetter {
                    crashes: crashes(work),
                    ..DeadLetter::of(outcome, reason, "normal", &work.delivery.body)
                }),
                record: None,
                payload: None,
            },
        };
        self.settle(worker, lease, settlement);
    }

    pub(super) fn release(&mut self, worker: usize, lease: u64, delay: Duration) {
        let refunds = self.mutation != Some(Mutation::RefundsCounted);
        let me = &mut self.workers[worker];
        let work = me.works.get_mut(&lease).expect("released once");
        if refunds {
            work.journal.refund(work.receipt.deliveries);
        }
        let journal = Some((work.message.id.clone(), work.journal.clone()));
        self.settle(worker, lease, Settlement::Release { delay, journal });
    }

    /// Leaves a delivery whose lease was lost before it started.
    pub(super) fn forget(&mut self, worker: usize, lease: u64) {
        self.note(|| format!("worker {worker} lost a delivery before it started"));
        self.settle(worker, lease, Settlement::Forget);
    }

    /// Stops what runs without a lease.
    pub(super) fn lose(&mut self, worker: usize, lease: u64) {
        self.note(|| format!("worker {worker} lost the lease of what it runs"));
        self.log.run_ends(worker, lease);
        self.settle(worker, lease, Settlement::Forget);
    }
}

fn crashes(work: &Work) -> Vec<Crash> {
    let starts = work.journal.starts.iter();
    starts
        .map(|start| Crash {
            worker: start.worker.clone(),
            started_at: start.at,
            death: None,
        })
        .collect()
}

pub(super) fn record(outcome: Outcome) -> Record {
    Record {
        body: outcome.encode(),
        id: outcome.id,
        ttl: None,
        unlock: None,
        payload: None,
        spent: None,
    }
}
