//! What must hold, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use super::script::Kind;
use super::worker::MAX_CRASHES;
use super::world::World;
use crate::message::{DeadLetter, DeadReason, Outcome, State, TaskId};
use crate::policy::BEYOND_DOUBT;

/// What is remembered of a run for the checks.
#[derive(Default)]
pub(super) struct Log {
    pub(super) broker_restarts: u32,
    pub(super) broker_crashes: u32,
    /// When the broker last crashed.
    pub(super) crashed: Option<u64>,
    /// When each outcome was stored.
    done_at: BTreeMap<TaskId, u64>,
    /// What was cancelled where it waited.
    cancelled: BTreeSet<TaskId>,
    /// Where each message of the queue runs now: worker and lease.
    running: BTreeMap<u64, BTreeSet<(usize, u64)>>,
    /// How many workers each message of the queue has killed.
    pub(super) kills: BTreeMap<u64, u32>,
    /// The tasks of which two messages were in the queue at once: what one
    /// writes down of its deliveries the other may wipe out.
    pub(super) doubled: BTreeSet<TaskId>,
}

impl Log {
    pub(super) fn run_ends(&mut self, worker: usize, lease: u64) {
        for running in self.running.values_mut() {
            running.remove(&(worker, lease));
        }
    }

    pub(super) fn worker_ends(&mut self, worker: usize) {
        for running in self.running.values_mut() {
            running.retain(|(whose, _)| *whose != worker);
        }
    }
}

impl World {
    /// When a task starts.
    pub(super) fn check_start(&mut self, worker: usize, lease: u64) {
        let work = self.work(worker, lease);
        let (id, delivery) = (work.message.id.clone(), work.delivery.clone());
        let looked = work.looked;
        // A worker that was not there when the broker crashed does not know
        // that it may have forgotten deliveries.
        let back = self.workers[worker].back;
        let crashed = self.log.crashed;
        let is_new = crashed.is_some_and(|crashed| back.is_none_or(|back| back < crashed));
        // Who cancels records it first and takes the message out then; a
        // worker that comes between the two, and came too late for the wish,
        // does not look up a first delivery.
        let is_cancelled = self.log.cancelled.contains(&id);
        if let Some(done) = self.log.done_at.get(&id).copied()
            && done < delivery.delivered_at
            && !(delivery.deliveries == 1 && (is_new || is_cancelled))
        {
            self.violate("a task that ended does not run again", || {
                format!("{id} ended at {done}, and was delivered and run later")
            });
        }
        if let Some((wished, _)) = self.broker.wishes.get(&id)
            && looked
            && *wished < delivery.delivered_at
        {
            self.violate("a cancelled task does not start", || id.to_string());
        }
        let running = self.log.running.entry(delivery.sequence).or_default();
        let others: Vec<(usize, u64)> = running.iter().copied().collect();
        running.insert((worker, lease));
        for (other, _) in others {
            // Who was frozen cannot know, and a broker that forgets what it
            // has handed out hands it out twice.
            let excused = self.workers[other].frozen
                || self.now < self.workers[other].thawed + 1000
                || self.log.broker_crashes > 0;
            if !excused {
                self.violate("what runs is held by one", || {
                    format!("{id} runs on worker {other} and on worker {worker}")
                });
            }
        }
    }

    /// When a message is put in quarantine.
    pub(super) fn check_quarantine(&mut self, worker: usize, lease: u64) {
        let work = self.work(worker, lease);
        let (id, sequence) = (work.message.id.clone(), work.delivery.sequence);
        // It may have been taken out meanwhile.
        let lapses = self.broker.lapses(sequence);
        if lapses != 0 && lapses < MAX_CRASHES && !self.log.doubled.contains(&id) {
            self.violate("only crashes put a message in quarantine", || {
                format!("{id} came back {lapses} times only")
            });
        }
    }

    /// When an outcome is stored: it is the first of its task.
    pub(super) fn check_outcome(&mut self, id: &TaskId, body: &[u8]) {
        let outcome = Outcome::decode(body).expect("outcomes can be read");
        let now = self.now;
        self.note(|| {
            format!(
                "outcome of {id}: {}, attempt {}, {:?}",
                outcome.state, outcome.attempt, outcome.dead
            )
        });
        if outcome.state == State::Cancelled && outcome.worker.is_empty() {
            self.log.cancelled.insert(id.clone());
        }
        let before = self.log.done_at.insert(id.clone(), now);
        if before.is_some() {
            self.violate("an outcome does not change", || id.to_string());
        }
        let mut numbers: Vec<u32> = outcome.attempts.iter().map(|it| it.attempt).collect();
        if outcome.started_at.is_some() {
            numbers.push(outcome.attempt);
        }
        if !numbers.is_sorted_by(|one, next| one < next) {
            self.violate("no number is that of two attempts", || {
                format!("{id}: {numbers:?}")
            });
        }
    }

    /// When nothing happens any more.
    pub(super) fn check_end(&mut self) {
        for id in self.client.accepted.clone() {
            if !self.broker.accepted.contains(&id) {
                self.violate("no task is lost", || format!("{id} was never stored"));
            }
        }
        for id in self.broker.accepted.clone() {
            if !self.broker.done.contains_key(&id) {
                self.violate("no task is lost", || format!("{id} has no outcome"));
            }
        }
        for id in self.client.cancelled.clone() {
            let outcome = &self.broker.done[&id];
            let outcome = Outcome::decode(outcome).expect("outcomes can be read");
            if outcome.state != State::Cancelled {
                self.violate("what is told as cancelled is", || id.to_string());
            }
        }
        let ended = self.broker.done.clone();
        for (id, body) in &ended {
            let outcome = Outcome::decode(body).expect("outcomes can be read");
            let letter = self.broker.dead.get(id);
            let letter = letter.map(|body| DeadLetter::decode(body).expect("letters can be read"));
            let (said, kept) = (outcome.dead, letter.as_ref().map(|letter| letter.reason));
            if said != kept {
                self.violate("dead letters are those of the outcomes", || {
                    format!("{id}: {said:?} is recorded, {kept:?} kept")
                });
            }
            if let Some(letter) = letter
                && letter.reason == DeadReason::Crashed
                && letter.crashes.len() + 1 < MAX_CRASHES as usize
                && !self.log.doubled.contains(id)
            {
                self.violate("a quarantine has its evidence", || {
                    format!("{id}: {} crashes are kept", letter.crashes.len())
                });
            }
            self.check_count(id, &outcome);
        }
        for id in self.broker.dead.clone().keys() {
            if !ended.contains_key(id) {
                self.violate("dead letters are those of the outcomes", || {
                    format!("{id} has one and no outcome")
                });
            }
        }
        // One killer among peaceful tasks is found at once; of several, and
        // where deaths have other causes too, none gets beyond all doubt.
        let kills = |kind| matches!(kind, Kind::Kill(_) | Kind::FailThenKill);
        let killers = self.scripts.values().filter(|it| kills(it.kind)).count();
        let weather = self.weather;
        let plain = !(weather.network || weather.workers || weather.broker);
        let most = match (killers, plain) {
            (1, true) => MAX_CRASHES,
            _ => MAX_CRASHES * BEYOND_DOUBT + 1,
        };
        for (sequence, kills) in self.log.kills.clone() {
            if kills > most && self.log.broker_crashes == 0 && self.log.doubled.is_empty() {
                self.violate("a message kills so many workers", || {
                    format!("#{sequence} has killed {kills}")
                });
            }
        }
    }

    /// Where nothing went wrong the attempts are exactly those of the policy,
    /// and what was only handed back counts as none.
    fn check_count(&mut self, id: &TaskId, outcome: &Outcome) {
        let weather = self.weather;
        let disturbed = weather.network || weather.workers || weather.broker || weather.wishes;
        let script = &self.scripts[id];
        let kills = |kind| matches!(kind, Kind::Kill(_) | Kind::FailThenKill);
        let killers = self.scripts.values().any(|script| kills(script.kind));
        if disturbed || killers {
            return;
        }
        let (options, starts) = (&script.options, script.starts);
        let attempts = u32::try_from(outcome.attempts.len()).unwrap_or(u32::MAX);
        if outcome.started_at.is_some() && outcome.attempt != attempts + 1 {
            let attempt = outcome.attempt;
            return self.violate("what is handed back is no attempt", || {
                format!("{id} failed {attempts} times before attempt {attempt}")
            });
        }
        if options.deadline.is_some() || options.timeout.is_some() || !weather.is_calm() {
            return;
        }
        let expected = match script.kind {
            Kind::Fail(times) => times.min(options.retries.unwrap_or(0)) + 1,
            _ => 1,
        };
        if starts != expected {
            self.violate("retries are those of the policy", || {
                format!("{id} ran {starts} times instead of {expected}")
            });
        }
    }
}
