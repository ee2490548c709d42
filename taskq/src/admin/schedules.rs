//! Schedules: looking at them, pausing them, running them now.

use serde::Serialize;
use serde_json::Value;

use crate::broker::{Broker, Mode, Published, SettingKind, Status, act};
use crate::client::{Client, TaskHandle};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, EventKind, Paused, TaskId};
use crate::schedule::{self, Change, Schedule, ScheduleSource, fire_of, manual_fire, store};
use crate::time::Timestamp;

/// A schedule, with what comes of it.
#[derive(Clone, Debug, Serialize)]
pub struct ScheduleInfo {
    /// The schedule.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// When it recurs, in words.
    pub in_words: String,
    /// The nominal time of its next fire; none if it is paused or has ended.
    pub next: Option<Timestamp>,
    /// Its last fire.
    pub last: Option<LastFire>,
    /// Whether a living worker's program declares it; none where that cannot
    /// be told, or does not matter.
    pub declared: Option<bool>,
}

/// The last fire of a schedule.
#[derive(Clone, Debug, Serialize)]
pub struct LastFire {
    /// The task.
    pub id: TaskId,
    /// Its nominal time.
    pub at: Timestamp,
    /// Where it is, or how it ended: `succeeded`, `waiting`, ...
    pub status: String,
}

/// All schedules, sorted by name.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use taskq::admin::schedules;
/// # async fn f(client: Client) -> taskq::Result<()> {
/// for info in schedules::list(&client).await? {
///     println!("{}: {}, next {:?}", info.schedule.name, info.in_words, info.next);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::Unsupported`] in core mode, which keeps none;
/// [`ErrorKind::Unavailable`] when NATS does not answer.
pub async fn list(client: &Client) -> Result<Vec<ScheduleInfo>> {
    supported(client)?;
    let broker = &client.0.broker;
    let set = broker.settings(SettingKind::Schedule).await?;
    broker.compare_clocks().await;
    let declared = declared(client).await;
    let mut all = Vec::with_capacity(set.len());
    for setting in set {
        let body = setting.body.unwrap_or_default();
        let schedule = Schedule::decode(&setting.name, &body)?;
        all.push(info(client, schedule, declared.as_deref()).await?);
    }
    Ok(all)
}

/// One schedule.
///
/// # Errors
/// [`ErrorKind::NotFound`] if there is none of this name; else as
/// [`list`].
pub async fn get(client: &Client, name: &str) -> Result<ScheduleInfo> {
    let schedule = find(client, name).await?;
    client.0.broker.compare_clocks().await;
    let declared = declared(client).await;
    info(client, schedule, declared.as_deref()).await
}

/// Pauses a schedule: no fire of a later time starts, and what is planned is
/// taken out of the plan. False if it was paused already. What runs goes on.
///
/// # Errors
/// As [`get`].
pub async fn pause(client: &Client, name: &str, by: &str, because: Option<&str>) -> Result<bool> {
    supported(client)?;
    let broker = &client.0.broker;
    broker.compare_clocks().await;
    let at = broker.now();
    let set = store(&**broker, name, by, |_, found| {
        let found = found.ok_or_else(|| unknown(name))?;
        Ok(match &found.paused {
            Some(_) => Change::None,
            None => Change::Set(Box::new(Schedule {
                paused: Some(Paused {
                    by: by.to_owned(),
                    at,
                    because: because.map(str::to_owned),
                }),
                ..found.clone()
            })),
        })
    });
    let set = set.await?.is_some();
    schedule::forget(&**broker, name).await;
    Ok(set)
}

/// Resumes a schedule from now on: times that passed while it was paused are
/// not missed, and not made up for. False if it was not paused.
///
/// # Errors
/// As [`get`].
pub async fn resume(client: &Client, name: &str, by: &str) -> Result<bool> {
    supported(client)?;
    let broker = &client.0.broker;
    broker.compare_clocks().await;
    let set = store(&**broker, name, by, |now, found| {
        let found = found.ok_or_else(|| unknown(name))?;
        Ok(match &found.paused {
            None => Change::None,
            Some(_) => Change::Set(Box::new(Schedule {
                paused: None,
                from: now,
                since: now,
                ..found.clone()
            })),
        })
    });
    match set.await? {
        Some(schedule) => {
            schedule::plan(&**broker, &schedule).await?;
            Ok(true)
        }
        None => Ok(false),
    }
}

/// Removes a schedule, and what is planned of it. What waits in its queue
/// does not start any more; what runs goes on. One that the program of a
/// worker declares comes back when such a worker starts.
///
/// # Errors
/// As [`get`].
pub async fn remove(client: &Client, name: &str, by: &str) -> Result<()> {
    supported(client)?;
    let broker = &client.0.broker;
    store(&**broker, name, by, |_, found| match found {
        Some(_) => Ok(Change::Remove),
        None => Err(unknown(name)),
    })
    .await?;
    schedule::forget(&**broker, name).await;
    Ok(())
}

/// Runs a schedule's call now, whether it is paused or not, beside its own
/// fires. Its overlap policy counts.
///
/// # Errors
/// As [`get`].
pub async fn run(client: &Client, name: &str, by: &str) -> Result<TaskHandle<Value>> {
    let schedule = find(client, name).await?;
    let broker = &client.0.broker;
    broker.compare_clocks().await;
    let fire = manual_fire(&schedule, broker.now())?;
    let id = fire.id.clone();
    if let Published::Existing(id) = broker.publish(fire).await? {
        return Ok(client.handle(id));
    }
    let event = Event::of(
        EventKind::ScheduleRun,
        broker.now(),
        &id,
        schedule.task(),
        schedule.queue(),
    );
    let event = event.with("schedule", name).with("by", by);
    act(&**broker, event).await;
    Ok(client.handle(id))
}

fn supported(client: &Client) -> Result<()> {
    if client.mode() == Mode::Core {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "there are no schedules in core mode, which keeps nothing; use jetstream mode \
             (TASKQ_MODE=jetstream)",
        ));
    }
    Ok(())
}

fn unknown(name: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no schedule `{name}`; `taskq schedules list` tells which there are"),
    )
}

async fn find(client: &Client, name: &str) -> Result<Schedule> {
    supported(client)?;
    let found = client.0.broker.setting(SettingKind::Schedule, name).await?;
    match found.body {
        Some(body) => Schedule::decode(name, &body),
        None => Err(unknown(name)),
    }
}

/// The tasks whose schedules living workers declare; none where nobody can
/// be asked.
async fn declared(client: &Client) -> Option<Vec<String>> {
    client.0.broker.nats()?;
    let workers = super::workers(client).await.ok()?;
    if workers.is_empty() {
        return None;
    }
    let tasks = workers.into_iter().flat_map(|worker| worker.tasks);
    let scheduled = tasks.filter(|task| task.schedule.is_some());
    Some(scheduled.map(|task| task.name).collect())
}

async fn info(
    client: &Client,
    schedule: Schedule,
    declared: Option<&[String]>,
) -> Result<ScheduleInfo> {
    let broker = &client.0.broker;
    let now = broker.now();
    let next = match schedule.paused {
        Some(_) => None,
        None => schedule.next(now.max(schedule.since), 1).first().copied(),
    };
    let declared = match schedule.source {
        ScheduleSource::Code => declared.map(|declared| declared.contains(&schedule.name)),
        ScheduleSource::Operator => None,
    };
    Ok(ScheduleInfo {
        in_words: schedule.in_words(),
        next,
        last: last(&**broker, &schedule, now).await?,
        declared,
        schedule,
    })
}

async fn last(
    broker: &dyn Broker,
    schedule: &Schedule,
    now: Timestamp,
) -> Result<Option<LastFire>> {
    let (Some(state), _) = schedule::state(broker, &schedule.name).await? else {
        return Ok(None);
    };
    let past = state.planned.iter().rev().find(|time| **time <= now);
    let Some(at) = past.copied() else {
        return Ok(None);
    };
    let id = fire_of(&schedule.name, &state.epoch, at);
    let status = broker.status(&id).await?;
    let status = match status {
        // Paused or changed before it could start.
        Status::Unknown => "not run".to_owned(),
        status => status.to_string(),
    };
    Ok(Some(LastFire { id, at, status }))
}
