//! Planning the fires of a schedule ahead.
//!
//! Any number of planners may be at it at once. What to plan is decided by
//! the one whose compare-and-set comes first, and written down before it is
//! done: should that one die, the others do it. A fire that is planned twice
//! all the same (its planner was frozen for a minute) runs once, since who
//! starts it takes it by compare-and-set, too.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};

use super::Schedule;
use super::record::fire_of;
use crate::broker::{Broker, Publication};
use crate::error::{Error, Result};
use crate::message::{Event, EventKind};
use crate::policy::{self, Calendar, Missed};
use crate::time::Timestamp;

/// How long whoever wrote down what to plan has to do it, before another does.
const HELP_AFTER: Duration = Duration::from_secs(2);
/// However far off the next fire is, somebody looks so often.
const SELDOM: Duration = Duration::from_secs(600);
/// So many fires that are past are remembered, to tell how they ended.
const REMEMBERED: usize = 8;
/// How many fires are sent at once.
const AT_ONCE: usize = 16;
/// How often a planner that was not the first tries again.
const TRIES: usize = 16;

/// How far a schedule is planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Of which declaration all this is.
    pub(crate) epoch: String,
    /// From when that counts.
    since: Timestamp,
    queue: String,
    task: String,
    /// All nominal times up to this one are dealt with.
    through: Timestamp,
    /// The nominal times that were planned last, and those that are to come.
    pub(crate) planned: Vec<Timestamp>,
    /// Those of them that are still to be sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pending: Vec<Timestamp>,
    /// When they were written down.
    at: Timestamp,
}

impl State {
    /// Where a declaration begins: where the one before was when it was
    /// changed. That is mostly far ahead; but it may have been changed before
    /// anybody came to plan it.
    fn of(schedule: &Schedule, before: Option<&Self>, now: Timestamp) -> Self {
        let (from, since) = (schedule.from.min(schedule.since), schedule.since);
        Self {
            epoch: schedule.epoch(),
            since,
            queue: schedule.queue().to_owned(),
            task: schedule.task().to_owned(),
            through: before.map_or(from, |before| before.through.clamp(from, since)),
            planned: Vec::new(),
            pending: Vec::new(),
            at: now,
        }
    }
}

fn key(name: &str) -> String {
    format!("plan.{name}")
}

/// How far a schedule is planned, and the revision of that.
pub(crate) async fn state(broker: &dyn Broker, name: &str) -> Result<(Option<State>, u64)> {
    let note = broker.note(&key(name)).await?;
    let state = note
        .body
        .and_then(|body| serde_json::from_slice(&body).ok());
    Ok((state, note.revision))
}

/// Plans what is to be planned of a schedule, and tells when to look again;
/// none if there is nothing left to come.
pub(crate) async fn plan(broker: &dyn Broker, schedule: &Schedule) -> Result<Option<Duration>> {
    let calendar = schedule.spec.calendar()?;
    let mut sent: Vec<Timestamp> = Vec::new();
    let mut own = false;
    let mut replaced = None;
    for _ in 0..TRIES {
        let (found, revision) = state(broker, &schedule.name).await?;
        let now = broker.now();
        let (mut state, before) = match found {
            Some(state) if state.epoch == schedule.epoch() => (state, None),
            // What was read is no longer what is set.
            Some(state) if schedule.since < state.since => return Ok(None),
            before => (State::of(schedule, before.as_ref(), now), before),
        };
        if !state.pending.is_empty() {
            if sent != state.pending {
                if !own && now.since(state.at) < HELP_AFTER {
                    return Ok(Some(HELP_AFTER));
                }
                send(broker, schedule, &state.pending).await?;
                sent.clone_from(&state.pending);
            }
            state.pending.clear();
            write(broker, schedule, &state, revision).await?;
            // Only now, so that no time is without a fire.
            if let Some(before) = replaced.take() {
                clear(broker, &schedule.name, &before).await;
            }
            continue;
        }
        if before.is_none() && !policy::is_short(&calendar, state.through, &state.planned, now) {
            return Ok(look_again(&calendar, &state, now));
        }
        let ahead = state.planned.iter().filter(|time| now < **time).count();
        let lateness = schedule.spec.lateness();
        let next = policy::plan(&calendar, lateness, state.through, ahead, now);
        state.through = next.through.unwrap_or(state.through);
        let past = state.planned.len() - ahead;
        state.planned.drain(..past.saturating_sub(REMEMBERED));
        state.planned.extend(&next.fires);
        state.pending = next.fires;
        state.at = now;
        if !write(broker, schedule, &state, revision).await? {
            continue;
        }
        own = true;
        replaced = before.or(replaced);
        if let Some(missed) = next.missed {
            tell_missed(broker, schedule, missed);
        }
        if state.pending.is_empty() {
            return Ok(look_again(&calendar, &state, now));
        }
    }
    // Others are at it all the time.
    Ok(Some(HELP_AFTER))
}

async fn write(
    broker: &dyn Broker,
    schedule: &Schedule,
    state: &State,
    revision: u64,
) -> Result<bool> {
    // Texts and times only: this cannot fail.
    let body = serde_json::to_vec(state).unwrap_or_default();
    let key = key(&schedule.name);
    broker.write_note(&key, body.into(), revision, None).await
}

async fn send(broker: &dyn Broker, schedule: &Schedule, fires: &[Timestamp]) -> Result<()> {
    let fires = fires.iter().map(|nominal| schedule.planned_fire(*nominal));
    let fires: Vec<Publication> = fires.collect::<Result<_>>()?;
    // One that is there was planned by another.
    let sending: Vec<_> = fires.into_iter().map(|fire| broker.publish(fire)).collect();
    let mut sending = stream::iter(sending).buffer_unordered(AT_ONCE);
    while let Some(sent) = sending.next().await {
        sent?;
    }
    Ok(())
}

/// When fires ahead will run short.
fn look_again(calendar: &Calendar, state: &State, now: Timestamp) -> Option<Duration> {
    calendar.next(state.through)?;
    let mut wait = Duration::from_millis(500);
    while wait < SELDOM
        && !policy::is_short(calendar, state.through, &state.planned, now.plus(wait))
    {
        wait = wait * 5 / 4;
    }
    Some(wait)
}

fn tell_missed(broker: &dyn Broker, schedule: &Schedule, missed: Missed) {
    tracing::warn!(
        schedule = schedule.name,
        "{} fires were missed, from {} to {}, and are not made up for (misfire = \"{}\")",
        missed.count,
        missed.first,
        missed.last,
        schedule.misfire()
    );
    let event = Event {
        task: Some(schedule.task().to_owned()),
        queue: Some(schedule.queue().to_owned()),
        ..Event::new(EventKind::FiresMissed, broker.now())
    };
    broker.tell(
        event
            .with("schedule", schedule.name.as_str())
            .with("count", missed.count)
            .with("first", missed.first.to_string())
            .with("last", missed.last.to_string()),
    );
}

/// Takes what is planned of a schedule out of the plan. Whoever starts a fire
/// looks whether it still counts, so this is for tidiness: it may fail, and a
/// worker of the role has no right to it.
pub(crate) async fn forget(broker: &dyn Broker, name: &str) {
    match state(broker, name).await {
        Ok((Some(state), _)) => clear(broker, name, &state).await,
        Ok((None, _)) => {}
        Err(error) => told_later(name, &error),
    }
}

/// Takes what is planned in one epoch of a schedule out of the plan, as far
/// as that can be done.
pub(crate) async fn clear(broker: &dyn Broker, name: &str, state: &State) {
    let now = broker.now();
    for nominal in state.planned.iter().filter(|time| now < **time) {
        let id = fire_of(name, &state.epoch, *nominal);
        if let Err(error) = broker.unplan(&state.queue, &state.task, &id).await {
            return told_later(name, &error);
        }
    }
}

fn told_later(name: &str, error: &Error) {
    tracing::debug!(
        schedule = name,
        "its plans stay until they are due: {error}"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use taskq_syntax::Misfire;

    use super::super::record::tests::schedule;
    use super::*;
    use crate::broker::open_memory;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ago(minutes: u32) -> Timestamp {
        let now = Timestamp::now().as_millis();
        Timestamp::from_millis(now - i64::from(minutes) * 60_000)
    }

    /// A schedule of each minute that nobody has planned for a while.
    fn neglected(misfire: Misfire) -> Schedule {
        let mut schedule = schedule("every 1m", None);
        schedule.spec.misfire = misfire;
        schedule.spec.misfire_after = Some(Duration::ZERO);
        schedule.since = ago(10);
        schedule.from = schedule.since;
        schedule
    }

    /// How many fires wait, and how many are planned.
    async fn depth(broker: &Arc<dyn Broker>) -> (u64, u64) {
        let queues = broker.queues().await.unwrap();
        queues
            .first()
            .map_or((0, 0), |it| (it.pending, it.scheduled))
    }

    #[tokio::test]
    async fn what_nobody_planned_is_made_up_for_once_however_many_come_to_plan_it() {
        for (misfire, made_up) in [
            (Misfire::Skip, 0),
            (Misfire::Once, 1),
            (Misfire::All(5 * MINUTE), 5),
        ] {
            let broker = open_memory();
            let schedule = neglected(misfire);
            let planners = (0..8).map(|_| plan(&*broker, &schedule));
            for planned in futures::future::join_all(planners).await {
                assert!(planned.unwrap().is_some());
            }
            // Just then a minute may have come to its end.
            let (pending, scheduled) = depth(&broker).await;
            assert!(pending <= made_up + 1, "{misfire}: {pending}");
            assert_eq!(pending + scheduled, made_up + 2, "{misfire}");
        }
    }

    #[tokio::test]
    async fn what_a_dead_planner_wrote_down_is_done_by_another() {
        let broker = open_memory();
        let schedule = neglected(Misfire::All(5 * MINUTE));
        plan(&*broker, &schedule).await.unwrap();
        let (state, revision) = state(&*broker, &schedule.name).await.unwrap();
        let state = state.unwrap();
        forget(&*broker, &schedule.name).await;
        assert_eq!(depth(&broker).await.1, 0);
        let mut interrupted = State {
            pending: state.planned.clone(),
            at: Timestamp::now(),
            ..state
        };
        assert!(
            write(&*broker, &schedule, &interrupted, revision)
                .await
                .unwrap()
        );
        // It may still be at it.
        let again = plan(&*broker, &schedule).await.unwrap();
        assert_eq!((again, depth(&broker).await.1), (Some(HELP_AFTER), 0));
        let (_, revision) = self::state(&*broker, &schedule.name).await.unwrap();
        interrupted.at = ago(1);
        assert!(
            write(&*broker, &schedule, &interrupted, revision)
                .await
                .unwrap()
        );
        plan(&*broker, &schedule).await.unwrap();
        let (pending, scheduled) = depth(&broker).await;
        // And those that were there are there once.
        assert_eq!(pending + scheduled, 7);
        let (state, _) = self::state(&*broker, &schedule.name).await.unwrap();
        assert!(state.unwrap().pending.is_empty());
    }

    #[tokio::test]
    async fn an_older_declaration_does_not_take_the_place_of_a_newer() {
        let broker = open_memory();
        let older = neglected(Misfire::Skip);
        let mut newer = neglected(Misfire::Skip);
        newer.since = ago(1);
        plan(&*broker, &newer).await.unwrap();
        let before = state(&*broker, &newer.name).await.unwrap();
        assert_eq!(plan(&*broker, &older).await.unwrap(), None);
        assert_eq!(state(&*broker, &newer.name).await.unwrap(), before);
    }
}
