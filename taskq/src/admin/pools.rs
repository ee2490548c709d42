//! Pools of workers: how they do, and how many workers they are to keep.
//!
//! A pool is a program that starts worker processes, `taskq pool run`. It
//! answers for as long as it lives; nothing keeps a list of pools.
//!
//! ```no_run
//! # use taskq::prelude::*;
//! use taskq::admin::pools;
//! # async fn f(client: Client) -> taskq::Result<()> {
//! for pool in pools::list(&client).await? {
//!     println!("{}: {} of {} to {}", pool.pool, pool.target, pool.min, pool.max);
//! }
//! pools::scale(&client, "web-1", Some(4), "ada", Some("the newsletter")).await?;
//! pools::scale(&client, "web-1", None, "ada", None).await?; // as there is work
//! # Ok(()) }
//! ```

use serde::{Deserialize, Serialize};

use super::control::one;
use super::workers::ask;
use super::{QueueFilter, queued, queues};
use crate::broker::act;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, EventKind, WorkerDeath};
use crate::time::Timestamp;

/// The most messages that are looked at to find the oldest that no worker has.
const MOST_LOOKED_AT: u64 = 1000;

/// How a pool does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub pool: String,
    /// Its namespace.
    pub namespace: String,
    /// The machine it is on.
    pub host: Option<String>,
    /// The number of its process.
    pub process: u32,
    /// The version of taskq that it is built with.
    pub version: String,
    /// Since when it lives.
    pub started_at: Timestamp,
    /// The queues of its workers.
    pub queues: Vec<String>,
    /// The name of its workers' program.
    pub program: String,
    /// The fewest workers that it keeps.
    pub min: usize,
    /// The most.
    pub max: usize,
    /// Who says how many it keeps.
    pub mode: PoolMode,
    /// How many it is to keep now.
    pub target: usize,
    /// How many tasks waited in its queues when it last looked.
    pub waiting: u64,
    /// How long the oldest of them had waited, in milliseconds.
    pub oldest_ms: u64,
    /// How many slots of its workers were taken then.
    pub busy: u64,
    /// How many slots they had.
    pub slots: u64,
    /// How many workers it has started in the place of one that ended by itself.
    pub restarts: u64,
    /// Whether it is ending.
    pub stopping: bool,
    /// Why it does not get on, if it does not: its workers do not stay up, or
    /// NATS does not tell what waits.
    pub trouble: Option<String>,
    /// The last change of how many workers it keeps; none if there was none since
    /// its start.
    #[serde(default)]
    pub changed: Option<PoolChange>,
    /// The processes, the oldest first; those too that drain.
    pub workers: Vec<PoolWorker>,
    /// The last deaths, the latest first, at most ten.
    pub deaths: Vec<WorkerDeath>,
}

impl Pool {
    /// Whether one of its processes is this worker.
    #[must_use]
    pub fn has(&self, worker: &str) -> bool {
        self.workers.iter().any(|own| own.worker == worker)
    }
}

/// A worker process of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolWorker {
    /// The worker's name.
    pub worker: String,
    /// The number of its process.
    pub process: u32,
    /// `starting`, `running`, `quiet`, `draining` or `stopped`.
    pub state: String,
    /// Since when the process lives.
    pub started_at: Timestamp,
    /// How many tasks it runs.
    pub running: u64,
    /// The most memory that it was seen to hold, in bytes; none where the system
    /// does not tell.
    pub peak_memory_bytes: Option<u64>,
}

/// Who says how many workers a pool keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolMode {
    /// The pool, by what there is to do.
    Automatic,
    /// An operator.
    Fixed,
}

impl PoolMode {
    /// The mode in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Fixed => "fixed",
        }
    }
}

/// How many workers a pool is to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTarget {
    /// Who says so.
    pub mode: PoolMode,
    /// How many.
    pub target: usize,
}

/// A change of how many workers a pool keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolChange {
    /// When.
    pub at: Timestamp,
    /// What it kept before.
    pub before: PoolTarget,
    /// What it keeps since.
    pub after: PoolTarget,
    /// Why, in words: what waited, or that an operator said so. Who that was is in
    /// the audit log.
    pub why: String,
}

/// What an operator wishes of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PoolWish {
    /// To keep so many workers; to go by what there is to do, without a number.
    Scale {
        /// How many.
        count: Option<usize>,
    },
    /// To start more, and to keep them.
    Add {
        /// How many more.
        count: usize,
    },
    /// To drain a worker, and to keep one less.
    Remove {
        /// Which.
        worker: String,
    },
    /// To drain all workers, and to end.
    Stop,
}

impl PoolWish {
    const fn event(&self) -> EventKind {
        match self {
            Self::Scale { .. } | Self::Add { .. } | Self::Remove { .. } => EventKind::PoolScaled,
            Self::Stop => EventKind::PoolStopped,
        }
    }
}

/// What a pool makes of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolAnswer {
    pub(crate) before: PoolTarget,
    pub(crate) after: PoolTarget,
    /// Why it does not do so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
}

/// What a wish has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolScaled {
    /// The pool.
    pub pool: String,
    /// What it was to keep before.
    pub before: PoolTarget,
    /// What it is to keep from now on.
    pub after: PoolTarget,
}

/// All pools that live, sorted by name. None in memory mode.
///
/// # Errors
/// [`ErrorKind::Closed`] when the connection is closed.
pub async fn list(client: &Client) -> Result<Vec<Pool>> {
    let mut found: Vec<Pool> = ask(client, client.0.namespace.all_pools()).await?;
    found.sort_by(|one, other| one.pool.cmp(&other.pool));
    Ok(found)
}

/// How a pool does.
///
/// # Errors
/// [`ErrorKind::NotFound`] when no pool of this name answers.
pub async fn get(client: &Client, pool: &str) -> Result<Pool> {
    let subject = client.0.namespace.pool(pool);
    one(client, &of(pool), subject, Vec::new()).await
}

/// The pool that has a worker; none if none has.
///
/// # Errors
/// As of [`list`].
pub async fn of_worker(client: &Client, worker: &str) -> Result<Option<Pool>> {
    let pools = list(client).await?;
    Ok(pools.into_iter().find(|pool| pool.has(worker)))
}

/// Has a pool keep so many workers; without a number, as many as there is work
/// for.
///
/// # Errors
/// [`ErrorKind::NotFound`] when no pool of this name answers,
/// [`ErrorKind::Conflict`] for a number beyond its limits, or when it is ending,
/// [`ErrorKind::PermissionDenied`] for a user that may not.
pub async fn scale(
    client: &Client,
    pool: &str,
    count: Option<usize>,
    by: &str,
    because: Option<&str>,
) -> Result<PoolScaled> {
    wish(client, pool, PoolWish::Scale { count }, by, because).await
}

/// Tells a pool what is wished of it, for the record by somebody and for a
/// reason. It holds for as long as the pool lives.
///
/// # Errors
/// As of [`scale`].
pub async fn wish(
    client: &Client,
    pool: &str,
    wish: PoolWish,
    by: &str,
    because: Option<&str>,
) -> Result<PoolScaled> {
    let subject = client.0.namespace.pool_control(pool);
    // Words and numbers: this does not fail.
    let body = serde_json::to_vec(&wish).unwrap_or_default();
    let answer: PoolAnswer = one(client, &of(pool), subject, body).await?;
    if let Some(refused) = answer.refused {
        let sentence = format!("pool `{pool}` does not do so: {refused}");
        return Err(Error::new(ErrorKind::Conflict, sentence));
    }
    let json = |target: PoolTarget| serde_json::to_value(target).unwrap_or_default();
    let broker = &client.0.broker;
    let mut event = Event::new(wish.event(), broker.now())
        .with("by", by)
        .with("pool", pool)
        .with("before", json(answer.before))
        .with("after", json(answer.after));
    if let PoolWish::Remove { worker } = &wish {
        event.worker = Some(worker.clone());
    }
    if let Some(because) = because {
        event = event.with("reason", because);
    }
    act(&**broker, event).await;
    Ok(PoolScaled {
        pool: pool.to_owned(),
        before: answer.before,
        after: answer.after,
    })
}

/// Has the pool that has a worker drain it and keep one less; none if no pool
/// has it.
///
/// # Errors
/// As of [`scale`].
pub async fn remove(
    client: &Client,
    worker: &str,
    by: &str,
    because: Option<&str>,
) -> Result<Option<PoolScaled>> {
    let Some(pool) = of_worker(client, worker).await? else {
        return Ok(None);
    };
    let gone = PoolWish::Remove {
        worker: worker.to_owned(),
    };
    wish(client, &pool.pool, gone, by, because).await.map(Some)
}

fn of(pool: &str) -> String {
    format!("pool `{pool}`")
}

/// What waits in some queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// How many tasks wait for a worker: not those of paused queues, and not
    /// those that wait for the turn of their key, which no more workers hasten.
    pub tasks: u64,
    /// Since when the first of them waits.
    pub since: Option<Timestamp>,
}

/// What waits in these queues. It costs the server little, however much that is.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when NATS does not answer.
pub async fn waiting(client: &Client, names: &[String]) -> Result<Waiting> {
    let broker = &client.0.broker;
    let mut found = Waiting::default();
    for name in names {
        let depth = broker.due_depth(name).await?;
        let waiting = depth.pending.saturating_sub(depth.held);
        if waiting == 0 || queues::get(client, name).await?.settings.paused.is_some() {
            continue;
        }
        found.tasks += waiting;
        let mut filter = QueueFilter::of(name.as_str());
        // Those that workers have are mostly the first.
        let most = (depth.running + 1).min(MOST_LOOKED_AT);
        filter.most = usize::try_from(most).unwrap_or(usize::MAX);
        let page = queued(client, filter).await?;
        let first = page.tasks.iter().find(|task| !task.given);
        let since = first.map(|task| task.enqueued_at);
        found.since = match (found.since, since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    Ok(found)
}
