//! Why a task is not running now.

mod decide;
mod reason;

use serde::Serialize;

use self::decide::{Facts, decide};
pub use self::reason::Reason;
use super::workers::with_running;
use super::{queues, tasks};
use crate::broker::Standing;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;

/// Why a task is not running now, or where it runs, or how it ended: the one
/// reason, from the state of the server and of the worker that has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The task's id.
    pub id: TaskId,
    /// Its name; none where nobody knows it any more.
    pub task: Option<String>,
    /// Its queue.
    pub queue: Option<String>,
    /// The reason.
    #[serde(flatten)]
    pub reason: Reason,
}

impl std::fmt::Display for Explanation {
    /// One sentence for a person.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reason.fmt(f)
    }
}

/// Finds out why a task is not running now.
///
/// ```no_run
/// # async fn f(client: taskq::Client) -> taskq::Result<()> {
/// let why = taskq::admin::explain(&client, "order-42").await?;
/// println!("{why}"); // behind 12 others of priority normal
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no trace of the task: it was never
/// sent, or its record has expired; [`ErrorKind::Unavailable`] when the server
/// does not answer.
pub async fn explain(client: &Client, id: impl Into<TaskId>) -> Result<Explanation> {
    let id = id.into();
    // In memory nothing else waits, and who asks in a loop must not keep the
    // workers of the same thread from getting on.
    tokio::task::yield_now().await;
    let broker = &client.0.broker;
    broker.compare_clocks().await;
    // A message moves on while we look.
    for _ in 0..8 {
        let facts = match broker.standing(&id).await? {
            Standing::Unknown => break,
            Standing::Falling => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                continue;
            }
            standing => look(client, &id, standing).await?,
        };
        let task = facts.task_name().map(str::to_owned);
        let queue = facts.queue().map(str::to_owned);
        let reason = decide(&facts);
        return Ok(Explanation {
            id,
            task,
            queue,
            reason,
        });
    }
    Err(Error::new(
        ErrorKind::NotFound,
        format!(
            "there is no trace of task {id}: it was never sent here, or its record has expired"
        ),
    ))
}

/// All that the decision needs besides where the task is.
async fn look(client: &Client, id: &TaskId, standing: Standing) -> Result<Facts> {
    let broker = &client.0.broker;
    let mut facts = Facts::of(standing);
    if let Standing::Ended(_) = facts.standing {
        return Ok(facts);
    }
    if let Some(queue) = facts.queue() {
        let queue = queue.to_owned();
        let settings = queues::get(client, &queue).await?.settings;
        if let Some(limit) = settings.concurrency {
            let depths = client.queues().await?;
            let depth = depths.into_iter().find(|depth| depth.queue == queue);
            let is_full = depth.is_some_and(|depth| depth.running >= u64::from(limit));
            facts.queue_limit = is_full.then_some(limit.into());
        }
        facts.queue_rate_until = broker.rate_until(&queue, &settings).await?;
        facts.queue_paused = settings.paused;
    }
    if let Some(task) = facts.task_name() {
        facts.task_paused = tasks::get(client, task).await?.settings.paused;
    }
    match &facts.standing {
        Standing::Given { .. } => {
            facts.holder = broker.holder(id).await?;
            // It may be nobody's, for nobody knows it.
            if facts.holder.is_none() && broker.nats().is_some() {
                facts.workers = Some(with_running(client).await?);
            }
        }
        // In memory nobody can be asked.
        Standing::Waiting { .. } | Standing::Held { .. } if broker.nats().is_some() => {
            facts.workers = Some(with_running(client).await?);
        }
        _ => {}
    }
    Ok(facts)
}
