//! From a delivery to the end of its run: `worker/execute.rs` of the library.

use std::sync::Arc;
use std::time::Duration;

use super::Work;
use super::end::record;
use super::{Await, DOUBT, Delivered, MAX_CRASHES, PATIENCE, PROBATION, Past, Run, Suspect, Timer};
use crate::broker::{History, Receipt, Settlement};
use crate::failure::{Failure, FailureKind};
use crate::message::{CancelRequest, DeadReason, Journal, Outcome, State, TaskMessage};
use crate::policy::{Admission, Facts, Next, Policy, admit, may_have_a_past, settle};
use crate::simulation::Mutation;
use crate::simulation::broker::{Read, Reply, Request, Write};
use crate::simulation::script::Kind;
use crate::simulation::world::{TERM, World};
use crate::task::{TaskError, TaskOptions};

impl World {
    pub(super) fn execute(
        &mut self,
        worker: usize,
        lease: u64,
        delivery: Delivered,
        handed_back: bool,
    ) {
        let message = TaskMessage::decode(&delivery.body).expect("messages can be read");
        let script = &self.scripts[&message.id];
        let known = !(script.new && self.workers[worker].old);
        let options = if known {
            script.options
        } else {
            TaskOptions::new()
        };
        let stored_at = Self::timestamp_at(delivery.stored_at);
        let policy = Policy::of(&options, &Default::default(), &message.labels, stored_at);
        let deliveries = delivery.deliveries;
        let work = Work {
            receipt: Receipt {
                lease,
                deliveries,
                address: Arc::from(delivery.sequence.to_string()),
                turn: None,
            },
            delivery,
            message,
            policy,
            journal: Journal::default().for_base(policy.first_attempt),
            known,
            handed_back,
            looked: false,
            past: Past::default(),
            joining: 0,
            run: None,
        };
        let wishes = !self.workers[worker].wishes.is_empty();
        let doubtful = self.workers[worker]
            .back
            .is_some_and(|back| self.now < back + DOUBT && work.delivery.stored_at <= back);
        let past = may_have_a_past(deliveries, doubtful, &policy);
        self.workers[worker].works.insert(lease, work);
        if handed_back {
            if deliveries > 1 {
                return self.ask_past(worker, lease);
            }
            return self.release(worker, lease, Duration::ZERO);
        }
        let plain =
            !past && policy.deadline.is_none() && !wishes && known && self.holds(worker, lease);
        if plain {
            self.run_task(worker, lease);
        } else if !self.holds(worker, lease) {
            self.forget(worker, lease);
        } else if past {
            self.ask_past(worker, lease);
        } else {
            self.decide(worker, lease, History::default());
        }
    }

    pub(super) fn ask_past(&mut self, worker: usize, lease: u64) {
        if !self.workers[worker].works.contains_key(&lease) {
            return;
        }
        if !self.holds(worker, lease) {
            return self.forget(worker, lease);
        }
        let work = self.workers[worker].works.get_mut(&lease).expect("seen");
        let round = work.past.round + 1;
        work.past = Past {
            round,
            ..Past::default()
        };
        let id = work.message.id.clone();
        for what in [Read::Outcome, Read::Journal, Read::Wish] {
            let number = self.expect(worker, PATIENCE, Await::Past { lease, round, what });
            let id = id.clone();
            self.send(worker, Request::Read { number, what, id });
        }
    }

    pub(super) fn decide(&mut self, worker: usize, lease: u64, history: History) {
        let now = self.timestamp();
        let me = &mut self.workers[worker];
        let work = me.works.get_mut(&lease).expect("decided once");
        work.journal = history.journal.for_base(work.policy.first_attempt);
        if work.handed_back {
            return self.release(worker, lease, Duration::ZERO);
        }
        let wish = history
            .cancel
            .or_else(|| me.wishes.get(&work.message.id).cloned());
        let blind = self.mutation == Some(Mutation::NoLookup);
        let admission = admit(&Facts {
            delivery: work.receipt.deliveries,
            journal: &work.journal,
            ended: history.outcome.is_some() && !blind,
            cancelled: wish.is_some(),
            deadline: work.policy.deadline,
            now,
            max_crashes: MAX_CRASHES,
        });
        let hasty = self.mutation == Some(Mutation::DiscardUnchecked)
            && work.receipt.deliveries > 1
            && history.outcome.is_none();
        let id = work.message.id.clone();
        self.note(|| format!("worker {worker}: {id} {admission:?}"));
        if hasty {
            return self.settle(worker, lease, Settlement::Discard);
        }
        match (admission, history.outcome, wish) {
            (Admission::Ended, Some(outcome), _) => self.ended_before(worker, lease, &outcome),
            (Admission::Cancel, _, Some(wish)) => {
                let failure = wish.failure();
                let outcome = self.outcome(worker, lease, State::Cancelled, Some(failure), None);
                let outcome = Outcome {
                    cancelled_by: Some(wish.by),
                    ..outcome
                };
                self.settle(worker, lease, Settlement::Finish(record(outcome)));
            }
            (Admission::Expire, ..) => {
                let failure = Failure::new(FailureKind::Expired, "too late");
                self.bury(worker, lease, State::Expired, DeadReason::Expired, failure);
            }
            (Admission::Quarantine, ..) => {
                self.check_quarantine(worker, lease);
                let failure = Failure::new(FailureKind::Crashed, "kills");
                self.bury(worker, lease, State::Failed, DeadReason::Crashed, failure);
            }
            (Admission::Run { suspect, .. }, ..) => self.admitted(worker, lease, suspect),
            (Admission::Ended | Admission::Cancel, ..) => self.forget(worker, lease),
        }
    }

    pub(super) fn admitted(&mut self, worker: usize, lease: u64, suspect: bool) {
        let me = &mut self.workers[worker];
        let work = me.works.get_mut(&lease).expect("decided");
        if !work.known {
            let delay = Duration::from_millis(250) * 2u32.pow(work.receipt.deliveries.min(7) - 1);
            return self.release(worker, lease, delay);
        }
        if !suspect {
            return self.write_start(worker, lease);
        }
        let at = self.now;
        let mut others = me.suspects.values();
        if others.any(|it| at - it.since < TERM * PROBATION) {
            return self.release(worker, lease, Duration::from_secs(1));
        }
        let mut joined = Vec::new();
        for other in me.suspects.values_mut() {
            if let Some(journal) = &mut other.journal {
                journal.join();
                joined.push((other.id.clone(), journal.encode()));
            }
        }
        let place = Suspect {
            id: work.message.id.clone(),
            since: at,
            alone: me.suspects.is_empty(),
            journal: None,
        };
        work.joining = joined.len();
        me.suspects.insert(lease, place);
        if joined.is_empty() {
            return self.write_start(worker, lease);
        }
        for (id, journal) in joined {
            let number = self.expect(worker, PATIENCE, Await::Join { lease });
            let body = journal.into();
            let write = Write::Journal { id, body };
            self.send(worker, Request::Publish { number, write });
        }
    }

    /// That others have company is written down, or could not be.
    pub(super) fn joined(&mut self, worker: usize, lease: u64, written: bool) {
        let Some(work) = self.workers[worker].works.get_mut(&lease) else {
            return;
        };
        if work.joining == 0 {
            return;
        }
        if !written {
            work.joining = 0;
            return self.release(worker, lease, Duration::from_secs(1));
        }
        work.joining -= 1;
        if work.joining == 0 {
            self.write_start(worker, lease);
        }
    }

    pub(super) fn write_start(&mut self, worker: usize, lease: u64) {
        let now = self.timestamp();
        let me = &mut self.workers[worker];
        let work = me.works.get_mut(&lease).expect("admitted");
        let deliveries = work.receipt.deliveries;
        if deliveries == 1 {
            return self.run_task(worker, lease);
        }
        let alone = me.suspects.get(&lease).is_some_and(|place| place.alone);
        work.journal.start(deliveries, &me.name, now, alone);
        self.write_journal(worker, lease);
    }

    pub(super) fn write_journal(&mut self, worker: usize, lease: u64) {
        let Some(work) = self.workers[worker].works.get(&lease) else {
            return;
        };
        let (id, body) = (work.message.id.clone(), work.journal.encode().into());
        if !self.holds(worker, lease) {
            return self.forget(worker, lease);
        }
        let number = self.expect(worker, PATIENCE, Await::Journal { lease });
        let write = Write::Journal { id, body };
        self.send(worker, Request::Publish { number, write });
    }

    pub(super) fn run_task(&mut self, worker: usize, lease: u64) {
        if !self.holds(worker, lease) {
            return self.forget(worker, lease);
        }
        let now = self.now;
        let work = &self.workers[worker].works[&lease];
        let id = work.message.id.clone();
        let script = self.scripts.get_mut(&id).expect("every task has one");
        script.starts += 1;
        let (start, mut lasts) = (script.starts, script.lasts);
        let mut limited = None;
        let left = work.policy.deadline.map(|deadline| {
            let left = deadline.since(Self::timestamp_at(now));
            (left, FailureKind::Deadline)
        });
        let timeout = work.policy.timeout.map(|it| (it, FailureKind::Timeout));
        for (limit, kind) in timeout.into_iter().chain(left) {
            let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            if limit < lasts {
                lasts = limit;
                limited = Some(kind);
            }
        }
        let (attempt, deliveries) = (work.attempt(), work.receipt.deliveries);
        self.note(|| {
            format!("worker {worker} runs {id}, attempt {attempt}, delivery {deliveries}")
        });
        self.check_start(worker, lease);
        let work = self.workers[worker].works.get_mut(&lease).expect("seen");
        work.run = Some(Run {
            since: now,
            start,
            limited,
            wish: None,
        });
        self.in_worker(worker, lasts, Timer::RunEnds(lease, now));
        if let Some(wish) = self.workers[worker].wishes.get(&id).cloned() {
            self.act_upon(worker, &wish);
        }
    }

    pub(super) fn act_upon(&mut self, worker: usize, wish: &CancelRequest) {
        // Some listen and take their time.
        let grace = if self.rng.bool() { 1 } else { 3000 };
        let works = self.workers[worker].works.iter_mut();
        let mut running = works.filter(|(_, work)| work.message.id == wish.id);
        let found = running.find_map(|(lease, work)| {
            let run = work.run.as_mut()?;
            run.wish.is_none().then(|| {
                run.wish = Some(wish.clone());
                (*lease, run.since)
            })
        });
        if let Some((lease, since)) = found {
            self.in_worker(worker, grace, Timer::Aborted(lease, since));
        }
    }

    pub(super) fn run_ends(&mut self, worker: usize, lease: u64, since: u64, aborted: bool) {
        let me = &self.workers[worker];
        let work = me.works.get(&lease);
        let Some((work, run)) = work.and_then(|work| Some((work, work.run.as_ref()?))) else {
            return;
        };
        if run.since != since {
            return;
        }
        let (id, start, limited) = (work.message.id.clone(), run.start, run.limited);
        let wish = run.wish.clone();
        let script = &self.scripts[&id];
        let retry_after = script.retry_after;
        let kind = script.kind;
        let dies = match kind {
            Kind::Kill(times) => start <= times,
            Kind::FailThenKill => start > 1,
            _ => false,
        };
        if dies && !aborted && limited.is_none() {
            let sequence = work.delivery.sequence;
            self.note(|| format!("{id} kills worker {worker}"));
            *self.log.kills.entry(sequence).or_default() += 1;
            return self.kill(worker);
        }
        if !self.holds(worker, lease) {
            return self.lose(worker, lease);
        }
        self.log.run_ends(worker, lease);
        let fails = match kind {
            Kind::Fail(times) => start <= times,
            Kind::FailThenKill => start == 1,
            _ => false,
        };
        let error = match (aborted, limited) {
            (true, _) => TaskError::of_kind(FailureKind::Cancelled, "stopped".to_owned()),
            (_, Some(kind)) => TaskError::of_kind(kind, "too long".to_owned()),
            _ if kind == Kind::Permanent => TaskError::permanent("hopeless"),
            _ if fails => match retry_after {
                Some(after) => TaskError::retry_after(after, "busy"),
                None => TaskError::from("failed"),
            },
            _ => {
                let outcome = self.outcome(worker, lease, State::Succeeded, None, None);
                return self.settle(worker, lease, Settlement::Finish(record(outcome)));
            }
        };
        if let Some(wish) = wish {
            let failure = Some(wish.failure());
            let outcome = self.outcome(worker, lease, State::Cancelled, failure, None);
            let outcome = Outcome {
                cancelled_by: Some(wish.by),
                ..outcome
            };
            return self.settle(worker, lease, Settlement::Finish(record(outcome)));
        }
        self.fail(worker, lease, &error);
    }

    pub(super) fn fail(&mut self, worker: usize, lease: u64, error: &TaskError) {
        let (now, draw) = (self.timestamp(), self.rng.f64());
        let work = &self.workers[worker].works[&lease];
        match settle(&work.policy, error, true, now, draw) {
            Next::Fail(reason) => {
                self.bury(worker, lease, State::Failed, reason, error.failure());
            }
            Next::Retry(delay) => {
                let again = self.next_attempt(worker, lease, error, now.plus(delay));
                self.settle(worker, lease, Settlement::Retry(again));
            }
        }
    }

    pub(super) fn learn(
        &mut self,
        worker: usize,
        lease: u64,
        round: u32,
        what: Read,
        reply: Reply,
    ) {
        let Some(work) = self.workers[worker].works.get_mut(&lease) else {
            return;
        };
        if work.past.round != round {
            return;
        }
        let Reply::Found(found) = reply else {
            work.past.round += 1;
            return self.in_worker(worker, 200, Timer::AskPast(lease));
        };
        match what {
            Read::Outcome => work.past.outcome = Some(found),
            Read::Journal => work.past.journal = Some(found),
            Read::Wish | Read::Place => work.past.wish = Some(found),
        }
        let past = std::mem::take(&mut work.past);
        let (Some(outcome), Some(journal), Some(wish)) = (&past.outcome, &past.journal, &past.wish)
        else {
            work.past = past;
            return;
        };
        work.looked = true;
        let history = History {
            outcome: outcome
                .as_ref()
                .map(|body| Outcome::decode(body).expect("outcomes can be read")),
            journal: journal
                .as_ref()
                .map_or_else(Journal::default, |body| Journal::decode(body)),
            cancel: wish.as_ref().and_then(|body| CancelRequest::decode(body)),
        };
        self.decide(worker, lease, history);
    }
}
