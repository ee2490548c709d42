//! Which workers live, and what they run.

use std::time::Duration;

use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::broker::{WORKERS, api};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::task::Registration;

/// Where a worker's service keeps what it tells of itself.
pub(crate) const INFO_KEY: &str = "taskq";

/// When no worker has answered for so long, all have.
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
}

impl From<&Registration> for TaskInfo {
    fn from(task: &Registration) -> Self {
        Self {
            name: task.name.to_owned(),
            signature: task.signature(),
            queue: task.options.queue.to_owned(),
            retries: task.options.retries,
            doc: task.doc.to_owned(),
            place: task.place(),
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

/// A worker that lives and does not get on.
pub(super) struct Troubled {
    pub(super) worker: String,
    /// Why, in its own words.
    pub(super) trouble: String,
}

/// Asks all workers of the client's namespace whether they get on. One that
/// NATS does not reach cannot answer.
pub(super) async fn troubled(client: &Client) -> Result<Vec<Troubled>> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        endpoints: Vec<Endpoint>,
    }
    #[derive(Deserialize)]
    struct Endpoint {
        data: Option<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Health {
        worker: String,
        namespace: String,
        mode: String,
        trouble: Option<String>,
    }
    let mut found: Vec<Troubled> = ask(client, api::service_stats(WORKERS))
        .await?
        .into_iter()
        .flat_map(|answer: Answer| answer.endpoints)
        .filter_map(|endpoint| serde_json::from_value(endpoint.data?).ok())
        .filter(|health: &Health| {
            health.namespace == client.namespace() && health.mode == client.mode().as_str()
        })
        .filter_map(|health| {
            Some(Troubled {
                worker: health.worker,
                trouble: health.trouble?,
            })
        })
        .collect();
    found.sort_by(|one, other| one.worker.cmp(&other.worker));
    Ok(found)
}

/// What the workers' services answer to a question. None in memory mode.
async fn ask<A: DeserializeOwned>(client: &Client, question: String) -> Result<Vec<A>> {
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
    // The first answer may be slow to come, the others follow closely.
    let mut quiet = QUIET * 3;
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
            (here.signature != there.signature).then_some((here, there))
        })
        .collect()
}
