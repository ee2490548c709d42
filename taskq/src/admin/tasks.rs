//! What is set for task types: pausing them, in all queues.

use super::queues::{Revised, conflict};
use serde_json::json;

use crate::broker::{SettingKind, act};
use crate::client::Client;
use crate::error::Result;
use crate::message::{Event, EventKind, Paused, TaskSettings};

/// How often a change is tried again that somebody else was in the way of.
const TRIES: u32 = 16;

/// What is set for a task type.
///
/// # Errors
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when NATS does
/// not answer.
pub async fn get(client: &Client, task: &str) -> Result<Revised<TaskSettings>> {
    let setting = client.0.broker.setting(SettingKind::Task, task).await?;
    Revised::read(SettingKind::Task, setting)
}

/// What is set for all task types that anything is set for, sorted by name.
///
/// # Errors
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when NATS does
/// not answer.
pub async fn list(client: &Client) -> Result<Vec<Revised<TaskSettings>>> {
    let settings = client.0.broker.settings(SettingKind::Task).await?;
    settings
        .into_iter()
        .map(|setting| Revised::read(SettingKind::Task, setting))
        .collect()
}

/// Lets no task of a type start, in any queue, until it is resumed; what runs
/// goes on. Workers put such tasks aside, so that others of their queues do
/// not wait for them; that is no attempt. False if it was paused already.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use taskq::admin::tasks;
/// # async fn f(client: Client) -> taskq::Result<()> {
/// tasks::pause(&client, "send_email", "ada", Some("wrong template")).await?;
/// tasks::resume(&client, "send_email", "ada").await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) for a
/// user that may not; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported)
/// in core mode.
pub async fn pause(client: &Client, task: &str, by: &str, because: Option<&str>) -> Result<bool> {
    let paused = Paused {
        by: by.to_owned(),
        at: client.0.broker.now(),
        because: because.map(str::to_owned),
    };
    change(client, task, by, Some(paused)).await
}

/// Lets a task type go on, and what was put aside of it run at once. False if
/// it was not paused.
///
/// # Errors
/// As of [`pause`].
pub async fn resume(client: &Client, task: &str, by: &str) -> Result<bool> {
    let resumed = change(client, task, by, None).await?;
    // Also when it was not paused: somebody may have died between the two.
    client.0.broker.hasten(task).await?;
    Ok(resumed)
}

async fn change(client: &Client, task: &str, by: &str, paused: Option<Paused>) -> Result<bool> {
    taskq_syntax::check_task_name(task)?;
    let broker = &client.0.broker;
    for _ in 0..TRIES {
        let before = get(client, task).await?;
        if before.settings.paused.is_some() == paused.is_some() {
            return Ok(false);
        }
        let mut settings = before.settings;
        settings.paused.clone_from(&paused);
        let body = (!settings.is_empty()).then(|| settings.encode().into());
        let done = broker.set(SettingKind::Task, task, body, before.revision);
        if done.await? {
            let kind = match paused {
                Some(_) => EventKind::TaskPaused,
                None => EventKind::TaskResumed,
            };
            let event = Event {
                task: Some(task.to_owned()),
                ..Event::new(kind, broker.now())
            };
            let event = event.with("by", by);
            let because = paused.and_then(|paused| paused.because);
            let is = settings.paused.is_some();
            let event = event.with("before", json!({"paused": !is}));
            let event = event.with("after", json!({"paused": is}));
            let event = match because {
                Some(because) => event.with("reason", because),
                None => event,
            };
            act(&**broker, event).await;
            return Ok(true);
        }
    }
    Err(conflict("task", task))
}
