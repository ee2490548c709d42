//! Whether the fire of a schedule runs: whether it still counts, is the only
//! one of its time, comes in time, and whether it is its turn.

use std::time::Duration;

use super::execute::{Executor, Incoming};
use crate::broker::{Note, Setting, SettingKind, Settlement, Status};
use crate::error::Result;
use crate::message::{CancelRequest, TaskId};
use crate::policy::{self, Fire, Step, Turn, take_turn};
use crate::schedule::{FireLabels, Schedule};
use crate::time::Timestamp;

/// How long it is remembered which message a fire was taken by: longer than
/// a planner may be frozen between looking and sending, and come back.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// A fire that waits for another comes back after so long at first.
const WAIT: Duration = Duration::from_millis(250);
/// How often a change that was not the first is tried again.
const TRIES: usize = 16;

/// What becomes of a fire.
pub(super) enum Firing {
    Run,
    /// It is acked and leaves no trace: its schedule has changed since, or
    /// another message of the same time has been taken.
    Drop(&'static str),
    /// It ends without a run, on record.
    Skip(CancelRequest),
    /// It comes back.
    Wait(Duration),
    /// The lease was lost before all was known.
    Lost,
}

impl Executor {
    /// Decides about a delivered fire. What has been started before, and is
    /// tried again, runs.
    pub(super) async fn may_fire(&self, incoming: &Incoming, fire: &FireLabels) -> Firing {
        if incoming.policy.first_attempt > 1 {
            return Firing::Run;
        }
        let schedule = match self.schedule_of(incoming, fire).await {
            Some(Ok(schedule)) => schedule,
            // A newer version has set it: the fire is for a worker of that.
            Some(Err(error)) => {
                tracing::warn!("{error}; its fire is left for another worker");
                return Firing::Wait(WAIT * 4);
            }
            None => return Firing::Lost,
        };
        match self.take(incoming, fire, schedule.as_ref()).await {
            Firing::Run => {}
            other => return other,
        }
        match schedule {
            Some(schedule) => self.turn(incoming, fire, &schedule).await,
            None => Firing::Run,
        }
    }

    pub(super) fn end_fire(&self, incoming: Incoming, firing: Firing) {
        match firing {
            Firing::Drop(why) => {
                tracing::info!(
                    task_id = %incoming.message.id,
                    task = incoming.message.task,
                    "a fire that does not run: {why}"
                );
                self.settle(incoming.delivery.receipt, Settlement::Discard);
            }
            Firing::Skip(wish) => self.cancel_unstarted(incoming, &wish),
            Firing::Wait(delay) => self.release(incoming, delay),
            Firing::Run | Firing::Lost => self.forget(incoming.delivery),
        }
    }

    /// The schedule as it is set now; the outer none if the lease was lost.
    async fn schedule_of(
        &self,
        incoming: &Incoming,
        fire: &FireLabels,
    ) -> Option<Result<Option<Schedule>>> {
        let (broker, name) = (&self.client.0.broker, fire.schedule.as_str());
        let what = format!("cannot tell yet what is set as schedule {name}");
        let receipt = &incoming.delivery.receipt;
        let ask = || broker.setting(SettingKind::Schedule, name);
        let setting: Setting = self.insist(receipt, &what, ask).await?;
        let schedule = setting.body.map(|body| Schedule::decode(name, &body));
        Some(schedule.transpose())
    }

    async fn note(&self, incoming: &Incoming, key: &str) -> Option<Note> {
        let what = format!("cannot tell yet whose turn it is ({key})");
        let broker = &self.client.0.broker;
        let receipt = &incoming.delivery.receipt;
        self.insist(receipt, &what, || broker.note(key)).await
    }

    async fn write_note(
        &self,
        incoming: &Incoming,
        key: &str,
        body: &[u8],
        expected: u64,
        keep: Option<Duration>,
    ) -> Option<bool> {
        let what = format!("cannot take a turn yet ({key})");
        let broker = &self.client.0.broker;
        let receipt = &incoming.delivery.receipt;
        let write = || broker.write_note(key, body.to_vec().into(), expected, keep);
        self.insist(receipt, &what, write).await
    }

    /// Takes the fire for this message: of all that were planned for one
    /// nominal time, one runs, as often as it has to be delivered.
    async fn take(
        &self,
        incoming: &Incoming,
        fire: &FireLabels,
        schedule: Option<&Schedule>,
    ) -> Firing {
        if fire.is_manual() {
            return Firing::Run;
        }
        let key = format!("run.{}.{}", fire.schedule, fire.nominal.as_millis());
        for _ in 0..TRIES {
            let Some(taken) = self.note(incoming, &key).await else {
                return Firing::Lost;
            };
            match taken.body {
                Some(body) if body == fire.nonce.as_bytes() => return Firing::Run,
                Some(_) => return Firing::Drop("another message of the same time has been taken"),
                None => {}
            }
            // From here on it is known not to have been started.
            let Some(schedule) = schedule else {
                return Firing::Drop("its schedule has been removed");
            };
            if let Some(why) = outdated(schedule, fire) {
                return Firing::Drop(why);
            }
            let nonce = fire.nonce.as_bytes();
            let keep = Some(REMEMBERED);
            match self
                .write_note(incoming, &key, nonce, taken.revision, keep)
                .await
            {
                None => return Firing::Lost,
                Some(true) => return self.in_time(fire, schedule, &incoming.message.id),
                Some(false) => {}
            }
        }
        Firing::Wait(WAIT)
    }

    /// Whether a fire that starts for the first time is not too late.
    fn in_time(&self, fire: &FireLabels, schedule: &Schedule, id: &TaskId) -> Firing {
        let now = self.client.0.broker.now();
        let lateness = schedule.spec.lateness();
        let due = policy::due(&schedule.name, fire.nominal, lateness.jitter);
        let Ok(calendar) = schedule.spec.calendar() else {
            return Firing::Run;
        };
        if policy::may_start(&calendar, lateness, fire.nominal, due, now) {
            return Firing::Run;
        }
        let late = taskq_syntax::format_duration(Duration::from_secs(now.since(due).as_secs()));
        Firing::Skip(skip(
            id,
            fire,
            format!("it came {late} late (misfire = \"{}\")", lateness.misfire),
            now,
        ))
    }

    /// Whether it is the turn of a fire, where two are not to run at once.
    async fn turn(&self, incoming: &Incoming, fire: &FireLabels, schedule: &Schedule) -> Firing {
        let overlap = schedule.overlap();
        if overlap == taskq_syntax::Overlap::Allow {
            return Firing::Run;
        }
        let me = Fire {
            nominal: fire.nominal,
            id: incoming.message.id.clone(),
        };
        let key = format!("turn.{}", fire.schedule);
        for _ in 0..TRIES {
            let Some(note) = self.note(incoming, &key).await else {
                return Firing::Lost;
            };
            let turn: Turn = note
                .body
                .and_then(|body| serde_json::from_slice(&body).ok())
                .unwrap_or_default();
            let others = [&turn.holder, &turn.waiting].into_iter().flatten();
            let mut living: Vec<Fire> = Vec::new();
            for other in others.filter(|other| **other != me) {
                match self.lives(incoming, &other.id).await {
                    Some(true) => living.push(other.clone()),
                    Some(false) => {}
                    None => return Firing::Lost,
                }
            }
            let step = take_turn(overlap, &me, &turn, |other| living.contains(other));
            let (next, cancel, firing) = match step {
                Step::Run(next) => (next, None, Firing::Run),
                Step::Wait { turn, cancel } => {
                    let times = incoming.delivery.receipt.deliveries.clamp(1, 3);
                    (turn, cancel, Firing::Wait(WAIT * 2u32.pow(times - 1)))
                }
                Step::Skip(why) => {
                    let now = self.client.0.broker.now();
                    let why = format!("{why} (overlap = \"{overlap}\")");
                    return Firing::Skip(skip(&me.id, fire, why, now));
                }
            };
            if let Some(next) = next {
                // Ids and times only: this cannot fail.
                let body = serde_json::to_vec(&next).unwrap_or_default();
                match self
                    .write_note(incoming, &key, &body, note.revision, None)
                    .await
                {
                    None => return Firing::Lost,
                    Some(false) => continue,
                    Some(true) => {}
                }
            }
            if let Some(id) = cancel {
                self.replace(&id, &me.id, fire).await;
            }
            return firing;
        }
        Firing::Wait(WAIT)
    }

    /// Whether a task has not ended; none if the lease was lost.
    async fn lives(&self, incoming: &Incoming, id: &TaskId) -> Option<bool> {
        let broker = &self.client.0.broker;
        let what = format!("cannot tell yet whether task {id} has ended");
        let receipt = &incoming.delivery.receipt;
        let status = self.insist(receipt, &what, || broker.status(id)).await?;
        Some(!matches!(status, Status::Done(_) | Status::Unknown))
    }

    /// Wishes that a fire makes room for a later one. Should it fail, the
    /// later one comes back and wishes again.
    async fn replace(&self, id: &TaskId, by: &TaskId, fire: &FireLabels) {
        let wish = self
            .client
            .cancel(id.clone())
            .by(format!("schedule {}", fire.schedule))
            .because(format!("replaced by {by}"));
        if let Err(error) = wish.await {
            tracing::debug!(task_id = %id, "not cancelled yet: {error}");
        }
    }
}

/// Why a fire that was not started counts no more, if it does not.
fn outdated(schedule: &Schedule, fire: &FireLabels) -> Option<&'static str> {
    let paused = schedule.paused.as_ref();
    if paused.is_some_and(|paused| paused.at < fire.nominal) {
        return Some("its schedule is paused");
    }
    // What was due before the change was due; what was not is planned anew.
    let is_of_now = schedule.epoch() == fire.epoch || fire.nominal <= schedule.since;
    (!is_of_now).then_some("its schedule has changed since it was planned")
}

fn skip(id: &TaskId, fire: &FireLabels, reason: String, at: Timestamp) -> CancelRequest {
    CancelRequest {
        id: id.clone(),
        by: format!("schedule {}", fire.schedule),
        reason: Some(reason),
        at,
    }
}
