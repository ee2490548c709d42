//! What is set for queues: looking at it, changing it, pausing, purging.
//!
//! Settings live on the server and count for all workers and senders from the
//! moment they are set. They are changed by compare-and-set, so of two who
//! change the same at once one is told.
//!
//! ```no_run
//! # use taskq::prelude::*;
//! use taskq::admin::queues;
//! # async fn f(client: Client) -> taskq::Result<()> {
//! queues::update(&client, "email", "ada", |email| {
//!     email.concurrency = Some(10);
//!     email.retries = Some(3);
//! })
//! .await?;
//! queues::pause(&client, "email", "ada", Some("the relay is down")).await?;
//! queues::resume(&client, "email", "ada").await?;
//! # Ok(()) }
//! ```

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::{Setting, SettingKind, act};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{CancelRequest, Event, EventKind, Paused, QueueSettings, TaskMessage};

/// How often a change is tried again that somebody else was in the way of.
const TRIES: u32 = 16;
/// How many waiting tasks are cancelled at once.
const PURGED_AT_ONCE: usize = 256;
/// How often a queue that is looked through is kept from giving anything.
const HALT_AGAIN: Duration = Duration::from_secs(10);

/// What is set for something, and since which change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Revised<T> {
    /// What it is set for.
    pub name: String,
    /// Greater at each change; 0 for what was never set. To change what is
    /// set, it is given back, as an `ETag` is.
    pub revision: u64,
    /// What is set.
    pub settings: T,
}

impl<T: DeserializeOwned + Default> Revised<T> {
    pub(super) fn read(kind: SettingKind, setting: Setting) -> Result<Self> {
        let settings = match &setting.body {
            None => T::default(),
            Some(body) => serde_json::from_slice(body).map_err(|error| {
                Error::new(
                    ErrorKind::Undecodable,
                    format!(
                        "what is set for {} {} cannot be read: {error}; a newer taskq may have \
                         written it",
                        kind.as_str(),
                        setting.name
                    ),
                )
                .with_source(error)
            })?,
        };
        Ok(Self {
            name: setting.name,
            revision: setting.revision,
            settings,
        })
    }
}

/// What is set for a queue.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when NATS does not answer.
pub async fn get(client: &Client, queue: &str) -> Result<Revised<QueueSettings>> {
    let setting = client.0.broker.setting(SettingKind::Queue, queue).await?;
    Revised::read(SettingKind::Queue, setting)
}

/// What is set for all queues that anything is set for, sorted by name.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when NATS does not answer.
pub async fn list(client: &Client) -> Result<Vec<Revised<QueueSettings>>> {
    let settings = client.0.broker.settings(SettingKind::Queue).await?;
    settings
        .into_iter()
        .map(|setting| Revised::read(SettingKind::Queue, setting))
        .collect()
}

/// Refuses settings that make no sense, and the name of a queue that is none,
/// without asking anybody.
///
/// # Errors
/// [`ErrorKind::Invalid`], with what to do.
pub fn check(queue: &str, settings: &QueueSettings) -> Result<()> {
    taskq_syntax::check_queue_name(queue)?;
    settings.check()
}

/// Sets all that is set for a queue, if its revision is still `expected`: 0
/// for what was never set. Tells what was set before.
///
/// # Errors
/// [`ErrorKind::Conflict`] when somebody has changed it since;
/// [`ErrorKind::Invalid`] for settings that make no sense, or the name of a
/// queue that is none; [`ErrorKind::PermissionDenied`] for a user that may
/// not; [`ErrorKind::Unsupported`] in core mode.
pub async fn set(
    client: &Client,
    queue: &str,
    settings: &QueueSettings,
    expected: u64,
    by: &str,
) -> Result<Revised<QueueSettings>> {
    check(queue, settings)?;
    let broker = &client.0.broker;
    let before = get(client, queue).await?;
    if before.revision != expected {
        return Err(conflict("queue", queue));
    }
    if before.settings != *settings {
        let body = (!settings.is_empty()).then(|| settings.encode().into());
        if !broker
            .set(SettingKind::Queue, queue, body, expected)
            .await?
        {
            return Err(conflict("queue", queue));
        }
        tell(client, queue, &before.settings, settings, by).await;
    }
    // Also of what is as it was: somebody may have died between the two.
    broker.enforce(queue, settings).await?;
    Ok(before)
}

/// Changes what is set for a queue; of others' changes at the same time none
/// is lost. Tells what was set before.
///
/// # Errors
/// As of [`set`].
pub async fn update(
    client: &Client,
    queue: &str,
    by: &str,
    mut change: impl FnMut(&mut QueueSettings),
) -> Result<Revised<QueueSettings>> {
    let mut tries = 1;
    loop {
        let before = get(client, queue).await?;
        let mut settings = before.settings;
        change(&mut settings);
        match set(client, queue, &settings, before.revision, by).await {
            Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

/// Lets nothing of a queue start until it is resumed; what runs goes on.
/// Calls are accepted, and wait. False if it was paused already: then it is
/// still paused by whoever did it first.
///
/// # Errors
/// As of [`set`].
pub async fn pause(client: &Client, queue: &str, by: &str, because: Option<&str>) -> Result<bool> {
    let paused = Paused {
        by: by.to_owned(),
        at: client.0.broker.now(),
        because: because.map(str::to_owned),
    };
    let before = update(client, queue, by, |settings| {
        settings.paused.get_or_insert_with(|| paused.clone());
    });
    Ok(before.await?.settings.paused.is_none())
}

/// Lets a queue go on; false if it was not paused.
///
/// # Errors
/// As of [`set`].
pub async fn resume(client: &Client, queue: &str, by: &str) -> Result<bool> {
    let before = update(client, queue, by, |settings| settings.paused = None).await?;
    Ok(before.settings.paused.is_some())
}

/// What became of a [`purge`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Purged {
    /// So many tasks were cancelled, or would be.
    pub cancelled: u64,
    /// So many had ended, or were taken by a worker, at that moment.
    pub too_late: u64,
}

/// Cancels all that waits in a queue: each task has an outcome that says so
/// and by whom, and whoever waits for it is told. What a worker has, or had,
/// goes on, and so do delays and retries that are not due. Nothing starts
/// meanwhile. With `dry_run` it only counts.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] for a user that may not;
/// [`ErrorKind::Unavailable`] when NATS does not answer: then some are
/// cancelled, and it can be called again; [`ErrorKind::Unsupported`] in core
/// mode.
pub async fn purge(
    client: &Client,
    queue: &str,
    by: &str,
    because: Option<&str>,
    dry_run: bool,
) -> Result<Purged> {
    let broker = &client.0.broker;
    let mut purged = Purged::default();
    if dry_run {
        let mut from = Some(1);
        while let Some(place) = from {
            let (tasks, next) = broker.waiting(queue, place).await?;
            purged.cancelled += tasks.len() as u64;
            from = next;
        }
        return Ok(purged);
    }
    broker.halt(queue).await?;
    let done = cancel_waiting(client, queue, by, because, &mut purged).await;
    let settings = get(client, queue).await?.settings;
    broker.enforce(queue, &settings).await?;
    done?;
    let event = Event {
        queue: Some(queue.to_owned()),
        ..Event::new(EventKind::QueuePurged, broker.now())
    };
    let event = event.with("by", by).with("cancelled", purged.cancelled);
    let event = match because {
        Some(because) => event.with("reason", because),
        None => event,
    };
    act(&**broker, event).await;
    Ok(purged)
}

async fn cancel_waiting(
    client: &Client,
    queue: &str,
    by: &str,
    because: Option<&str>,
    purged: &mut Purged,
) -> Result<()> {
    let broker = &client.0.broker;
    let most = broker.max_message();
    let mut halted = Instant::now();
    let mut from = Some(1);
    while let Some(place) = from {
        if halted.elapsed() > HALT_AGAIN {
            broker.halt(queue).await?;
            halted = Instant::now();
        }
        let (tasks, next) = broker.waiting(queue, place).await?;
        let at = broker.now();
        let ends = tasks.iter().map(|task| async move {
            let request = CancelRequest {
                id: task.id.clone(),
                by: by.to_owned(),
                reason: because.map(str::to_owned),
                at,
            };
            let message = TaskMessage::decode(&task.body).ok();
            let record = crate::client::cancelled(&request, task, message.as_ref(), at, most);
            // The outcome first: whatever happens then, the task has ended.
            let concluded = broker.conclude(record).await?;
            broker.withdraw(task).await?;
            Ok::<_, Error>(concluded)
        });
        let ends: Vec<bool> = stream::iter(ends)
            .buffer_unordered(PURGED_AT_ONCE)
            .try_collect()
            .await?;
        let cancelled = ends.iter().filter(|concluded| **concluded).count() as u64;
        purged.cancelled += cancelled;
        purged.too_late += ends.len() as u64 - cancelled;
        from = next;
    }
    Ok(())
}

pub(super) fn conflict(what: &str, name: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "what is set for {what} {name} has been changed by another meanwhile; look at it again, \
             and try again"
        ),
    )
}

/// Tells of a change: what was set before, and is now.
async fn tell(
    client: &Client,
    queue: &str,
    before: &QueueSettings,
    after: &QueueSettings,
    by: &str,
) {
    let kind = match (&before.paused, &after.paused) {
        (None, Some(_)) => EventKind::QueuePaused,
        (Some(_), None) => EventKind::QueueResumed,
        _ => EventKind::QueueSet,
    };
    let event = Event {
        queue: Some(queue.to_owned()),
        ..Event::new(kind, client.0.broker.now())
    };
    let json = |settings| serde_json::to_value(settings).unwrap_or_default();
    let event = event
        .with("by", by)
        .with("before", json(before))
        .with("after", json(after));
    let because = after
        .paused
        .as_ref()
        .and_then(|paused| paused.because.clone());
    let event = match because {
        Some(because) if kind == EventKind::QueuePaused => event.with("reason", because),
        _ => event,
    };
    act(&*client.0.broker, event).await;
}
