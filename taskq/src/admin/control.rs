//! How single workers do, and what operators wish of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::workers::ask;
use crate::broker::act;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, EventKind, RunningTask};
use crate::time::Timestamp;

/// A worker that lives answers within this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an operator wishes of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkerWish {
    /// That it takes nothing new. What runs goes on; what it holds and has not
    /// started goes back.
    Quiet,
    /// That it goes on.
    Resume,
    /// That it takes nothing new, and its program ends when nothing runs any
    /// more: as after SIGTERM.
    Drain {
        /// How long what runs may go on; the worker's own grace if there is
        /// none.
        #[serde(default, with = "millis", skip_serializing_if = "Option::is_none")]
        grace: Option<Duration>,
    },
    /// That it hands back what runs, and its program ends.
    Stop,
}

impl WorkerWish {
    /// The wish in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Resume => "resume",
            Self::Drain { .. } => "drain",
            Self::Stop => "stop",
        }
    }

    const fn event(self) -> EventKind {
        match self {
            Self::Quiet => EventKind::WorkerQuieted,
            Self::Resume => EventKind::WorkerResumed,
            Self::Drain { .. } => EventKind::WorkerDrained,
            Self::Stop => EventKind::WorkerStopped,
        }
    }
}

/// A length of time in milliseconds, if there is any.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let millis = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        millis.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let millis = Option::<u64>::deserialize(deserializer)?;
        Ok(millis.map(Duration::from_millis))
    }
}

/// What a worker makes of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WishAnswer {
    /// Its state before.
    pub(crate) before: String,
    /// Its state from now on.
    pub(crate) after: String,
    /// Why it does not do so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
}

/// What a wish has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Steered {
    /// The worker's state before: `running`, `quiet` or `draining`.
    pub before: String,
    /// Its state from now on.
    pub after: String,
}

/// How a worker does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerDetail {
    /// Its name.
    pub worker: String,
    /// Its namespace.
    pub namespace: String,
    /// Its transport.
    pub mode: String,
    /// `starting`, `running`, `quiet`, `draining` or `stopped`.
    pub state: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// How many attempts it runs at once: its slots.
    pub concurrency: usize,
    /// How many slots are taken.
    pub running: u64,
    /// How many messages it holds beyond those.
    pub held: u64,
    /// Since when it lives.
    pub started_at: Timestamp,
    /// The version of taskq that it is built with.
    pub version: String,
    /// The name of its program.
    pub program: Option<String>,
    /// The number of its process.
    pub process: u32,
    /// The machine it is on.
    pub host: Option<String>,
    /// The seconds of processor time that its process has taken; none where
    /// the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// How many processors its process kept busy in the last second or so.
    pub cpu: Option<f64>,
    /// The memory that its process holds.
    pub memory_bytes: Option<u64>,
    /// The age of its last heartbeat: for so long NATS has not answered its
    /// requests for messages. 0 while it asks for none.
    pub silence_ms: u64,
    /// Why it does not get on, if it does not.
    pub trouble: Option<String>,
    /// Attempts started.
    pub attempts_started: u64,
    /// Tasks that ended with a value.
    pub succeeded: u64,
    /// Tasks that ended without one.
    pub failed: u64,
    /// Attempts that failed and are followed by another.
    pub retried: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks whose deadline passed before they could start.
    pub expired: u64,
    /// Messages whose lease was lost.
    pub leases_lost: u64,
    /// What runs, the longest first, at most 1000; empty in a list.
    #[serde(default)]
    pub tasks: Vec<RunningTask>,
}

/// How all living workers do, sorted by name: those too that are quiet or
/// drain, which [`workers`](super::workers()) does not list any more. Takes as
/// long as the slowest answers, at most 2 seconds. None in memory mode.
///
/// # Errors
/// As [`workers`](super::workers()).
pub async fn worker_details(client: &Client) -> Result<Vec<WorkerDetail>> {
    let question = client.0.namespace.all_details();
    let mut found: Vec<WorkerDetail> = ask(client, question).await?;
    found.retain(|own| own.mode == client.mode().as_str());
    found.sort_by(|one, other| one.worker.cmp(&other.worker));
    Ok(found)
}

/// How a worker does, and what it runs.
///
/// ```no_run
/// # async fn f(client: taskq::Client) -> taskq::Result<()> {
/// let worker = taskq::admin::worker(&client, "w1").await?;
/// println!("{}: {} of {} slots", worker.state, worker.running, worker.concurrency);
/// for task in worker.tasks {
///     println!("{} {} since {}", task.id, task.task, task.since);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::NotFound`] when no worker of this name answers.
pub async fn worker(client: &Client, name: &str) -> Result<WorkerDetail> {
    let subject = client.0.namespace.worker_detail(name);
    one(client, &of(name), subject, Vec::new()).await
}

/// Tells a worker what is wished of it, for the record by somebody and for a
/// reason; it does so at once, and not for longer than it lives: a worker that
/// is started again runs.
///
/// ```no_run
/// # async fn f(client: taskq::Client) -> taskq::Result<()> {
/// use taskq::admin::{WorkerWish, steer};
/// steer(&client, "w1", WorkerWish::Quiet, "ada", Some("disk swap")).await?;
/// steer(&client, "w1", WorkerWish::Resume, "ada", None).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::NotFound`] when no worker of this name answers,
/// [`ErrorKind::Conflict`] when it is stopping and is to go on,
/// [`ErrorKind::PermissionDenied`] for a user that may not.
pub async fn steer(
    client: &Client,
    name: &str,
    wish: WorkerWish,
    by: &str,
    because: Option<&str>,
) -> Result<Steered> {
    let subject = client.0.namespace.control(name);
    // A word and a number: this does not fail.
    let body = serde_json::to_vec(&wish).unwrap_or_default();
    let answer: WishAnswer = one(client, &of(name), subject, body).await?;
    if let Some(refused) = answer.refused {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "worker `{name}` does not {}, {refused}; it is {}",
                wish.as_str(),
                answer.before
            ),
        ));
    }
    let broker = &client.0.broker;
    let event = Event {
        worker: Some(name.to_owned()),
        ..Event::new(wish.event(), broker.now())
    };
    let event = event
        .with("by", by)
        .with("before", answer.before.as_str())
        .with("after", answer.after.as_str());
    let event = match because {
        Some(because) => event.with("reason", because),
        None => event,
    };
    act(&**broker, event).await;
    Ok(Steered {
        before: answer.before,
        after: answer.after,
    })
}

fn of(worker: &str) -> String {
    format!("worker `{worker}`")
}

/// What a worker, or a pool of them, answers.
pub(super) async fn one<A: serde::de::DeserializeOwned>(
    client: &Client,
    who: &str,
    subject: String,
    body: Vec<u8>,
) -> Result<A> {
    let silent = || {
        let all = if who.starts_with("pool") {
            "pool status"
        } else {
            "workers"
        };
        Error::new(
            ErrorKind::NotFound,
            format!("no {who} answers; `taskq {all}` lists those that do"),
        )
    };
    let Some(nats) = client.0.broker.nats() else {
        return Err(silent());
    };
    let asked = tokio::time::timeout(PATIENCE, nats.request(subject.clone(), body.into()));
    let asked = match client.0.broker.denials() {
        Some(denials) => denials
            .or_denied(&[&subject], asked)
            .await
            .map_err(|denial| denial.into_error(&format!("asking {who}")))?,
        None => asked.await,
    };
    match asked {
        Ok(Ok(answer)) => serde_json::from_slice(&answer.payload).map_err(|error| {
            Error::new(
                ErrorKind::Undecodable,
                format!("{who} answers what this version cannot read: {error}"),
            )
            .with_source(error)
        }),
        Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => {
            Err(silent())
        }
        Ok(Err(error)) => Err(Error::new(
            ErrorKind::Unavailable,
            format!("asking {who} failed: {error}"),
        )
        .with_source(error)),
        Err(_) => Err(silent()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_crosses_as_json() {
        for (wish, json) in [
            (WorkerWish::Quiet, r#"{"wish":"quiet"}"#),
            (WorkerWish::Drain { grace: None }, r#"{"wish":"drain"}"#),
            (
                WorkerWish::Drain {
                    grace: Some(Duration::from_secs(2)),
                },
                r#"{"wish":"drain","grace":2000}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&wish).unwrap(), json);
            assert_eq!(serde_json::from_str::<WorkerWish>(json).unwrap(), wish);
        }
    }
}
