//! Which workers live, and what they run.

use std::borrow::Cow;
use std::time::Duration;

use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::broker::{WORKERS, api};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::Hidden;
use crate::task::Registration;

/// Where a worker's service keeps what it tells of itself.
pub(crate) const INFO_KEY: &str = "taskq";

/// When no other worker has answered for so long, all have.
const QUIET: Duration = Duration::from_millis(150);
/// However many still answer, the list ends then.
const LIMIT: Duration = Duration::from_secs(2);

/// A living worker, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its name.
    pub worker: String,
    /// Its namespace.
    pub namespace: String,
    /// Its transport.
    pub mode: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// How many attempts it runs at once.
    pub concurrency: usize,
    /// The tasks it can run.
    pub tasks: Vec<TaskInfo>,
}

/// A task, as a worker knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskInfo {
    /// The name that crosses the wire.
    pub name: String,
    /// The name with arguments and return type.
    pub signature: String,
    /// The queue that its calls go to.
    pub queue: String,
    /// How many times a failed attempt is followed by another.
    pub retries: u32,
    /// The first paragraph of its documentation.
    pub doc: String,
    /// File and line of its function.
    pub place: String,
    /// When it recurs, if its program says so: `0 9 * * * Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// What is hidden from who does not ask for it: `*` for all, or the names of
    /// arguments with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<String>,
    /// Tells the schemas of arguments and result apart
    /// ([`TaskSchema::digest`](crate::TaskSchema::digest)); none for a worker
    /// that tells none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

impl TaskInfo {
    /// Whether calls that fit this one may not fit the other: it has another
    /// signature, or the types of the same names are others.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        let schemas = self.schema.as_ref().zip(other.schema.as_ref());
        self.signature != other.signature || schemas.is_some_and(|(one, other)| one != other)
    }

    /// What is hidden from who does not ask for it.
    #[must_use]
    pub fn hidden(&self) -> Hidden {
        self.sensitive
            .as_deref()
            .map(Hidden::parse)
            .unwrap_or_default()
    }

    /// In what the two differ, in words.
    pub(crate) fn difference(&self, other: &Self) -> String {
        if self.signature == other.signature {
            return format!(
                "both say {}, and its types are not the same (`taskq tasks show {}` shows the \
                 schemas)",
                self.signature, self.name
            );
        }
        format!("{} and {}", self.signature, other.signature)
    }
}

impl From<&Registration> for TaskInfo {
    fn from(task: &Registration) -> Self {
        Self {
            name: task.name.to_owned(),
            signature: task.signature(),
            queue: task.options.queue.to_owned(),
            retries: task.options.retries.unwrap_or(crate::task::RETRIES),
            doc: task.doc.to_owned(),
            place: task.place(),
            schedule: task.schedule.as_ref().map(ToString::to_string),
            sensitive: task.options.sensitivity().label().map(Cow::into_owned),
            schema: Some(task.schema.digest()),
        }
    }
}

/// Asks all workers of the client's namespace to describe themselves;
/// sorted by name. Takes as long as the slowest answers, at most 2 seconds.
/// None in memory mode.
///
/// # Errors
/// [`ErrorKind::Closed`] when the connection is closed.
pub async fn workers(client: &Client) -> Result<Vec<WorkerInfo>> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        metadata: std::collections::HashMap<String, String>,
    }
    let mut found: Vec<WorkerInfo> = ask(client, api::service_info(WORKERS))
        .await?
        .into_iter()
        .filter_map(|answer: Answer| {
            serde_json::from_str(answer.metadata.get(INFO_KEY)?)
                .ok()
                .filter(|info: &WorkerInfo| {
                    info.namespace == client.namespace() && info.mode == client.mode().as_str()
                })
        })
        .collect();
    found.sort_by(|one, other| one.worker.cmp(&other.worker));
    Ok(found)
}

/// The workers, and how many attempts each of them runs.
pub(super) async fn with_running(client: &Client) -> Result<Vec<(WorkerInfo, u64)>> {
    let (workers, numbers) = futures::future::try_join(workers(client), numbers(client)).await?;
    let runs = |worker: &WorkerInfo| {
        let own = numbers.iter().find(|own| own.worker == worker.worker);
        own.map_or(0, |own| own.running)
    };
    Ok(workers
        .into_iter()
        .map(|worker| {
            let running = runs(&worker);
            (worker, running)
        })
        .collect())
}

/// What a worker tells of how it does.
#[derive(Deserialize)]
struct Numbers {
    worker: String,
    namespace: String,
    mode: String,
    trouble: Option<String>,
    #[serde(default)]
    running: u64,
}

/// Asks all workers of the client's namespace how they do. One that NATS does
/// not reach cannot answer.
async fn numbers(client: &Client) -> Result<Vec<Numbers>> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        endpoints: Vec<Endpoint>,
    }
    #[derive(Deserialize)]
    struct Endpoint {
        data: Option<serde_json::Value>,
    }
    Ok(ask(client, api::service_stats(WORKERS))
        .await?
        .into_iter()
        .flat_map(|answer: Answer| answer.endpoints)
        .filter_map(|endpoint| serde_json::from_value(endpoint.data?).ok())
        .filter(|own: &Numbers| {
            own.namespace == client.namespace() && own.mode == client.mode().as_str()
        })
        .collect())
}

/// A worker that lives and does not get on.
pub(super) struct Troubled {
    pub(super) worker: String,
    /// Why, in its own words.
    pub(super) trouble: String,
}

/// Asks all workers of the client's namespace whether they get on. One that
/// NATS does not reach cannot answer.
pub(super) async fn troubled(client: &Client) -> Result<Vec<Troubled>> {
    let mut found: Vec<Troubled> = numbers(client)
        .await?
        .into_iter()
        .filter_map(|own| {
            Some(Troubled {
                worker: own.worker,
                trouble: own.trouble?,
            })
        })
        .collect();
    found.sort_by(|one, other| one.worker.cmp(&other.worker));
    Ok(found)
}

/// What the workers' services answer to a question. None in memory mode.
pub(super) async fn ask<A: DeserializeOwned>(client: &Client, question: String) -> Result<Vec<A>> {
    let Some(nats) = client.0.broker.nats() else {
        return Ok(Vec::new());
    };
    let closed = |source: crate::error::BoxError| {
        Error::new(ErrorKind::Closed, "the connection to NATS is closed").with_source(source)
    };
    let inbox = nats.new_inbox();
    let mut answers = nats
        .subscribe(inbox.clone())
        .await
        .map_err(|error| closed(error.into()))?;
    nats.publish_with_reply(question.clone(), inbox, "".into())
        .await
        .map_err(|error| closed(error.into()))?;
    let limit = tokio::time::Instant::now() + LIMIT;
    let mut found = Vec::new();
    // Somebody is there, or that is told: the first answer may be slow to come, and the
    // others follow closely.
    let mut quiet = LIMIT;
    loop {
        let wait = tokio::time::timeout_at(
            limit.min(tokio::time::Instant::now() + quiet),
            answers.next(),
        );
        // A refused question would look like no worker.
        let answered = match client.0.broker.denials() {
            Some(denials) => denials
                .or_denied(&[&question], wait)
                .await
                .map_err(|denial| denial.into_error("asking for workers"))?,
            None => wait.await,
        };
        let Ok(Some(answer)) = answered else { break };
        if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            break;
        }
        quiet = QUIET;
        found.extend(serde_json::from_slice::<A>(&answer.payload));
    }
    Ok(found)
}

/// The tasks that two workers define differently: each as the one and as the
/// other knows it.
#[must_use]
pub fn differences<'a>(
    one: &'a WorkerInfo,
    other: &'a WorkerInfo,
) -> Vec<(&'a TaskInfo, &'a TaskInfo)> {
    one.tasks
        .iter()
        .filter_map(|here| {
            let there = other.tasks.iter().find(|there| there.name == here.name)?;
            here.differs(there).then_some((here, there))
        })
        .collect()
}
