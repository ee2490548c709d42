//! What living workers know of tasks, kept for a while: calls are checked
//! against it before they are sent, and few of them should wait for an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use taskq::admin::{self, ArgumentCheck, TaskType, WorkerInfo};
use taskq::{Client, Hidden, Result};

/// How old what is kept may be where a call is checked. Whoever asks later waits
/// for no answer, and has the next call checked against a newer one.
pub(crate) const AGE: Duration = Duration::from_secs(10);
/// What is older than this is of no use.
const TOO_OLD: Duration = Duration::from_secs(60);
/// A task that no worker knew so long ago may be known by now.
const UNKNOWN: Duration = Duration::from_secs(2);
/// How many tasks are kept.
const MOST: usize = 2000;

/// The tasks of the living workers.
#[derive(Clone, Debug)]
pub(crate) struct TaskTypes(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    client: Client,
    listed: Mutex<Option<Listed>>,
    known: Mutex<HashMap<String, Found>>,
    /// Held by the one who asks, so that all others wait for the same answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Listed {
    at: Instant,
    workers: Arc<Vec<WorkerInfo>>,
}

/// What was found of a task.
#[derive(Clone, Debug)]
struct Found {
    /// Among these workers.
    among: Arc<Vec<WorkerInfo>>,
    known: Option<Arc<Known>>,
}

/// A task that a living worker knows.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) task_type: TaskType,
    /// None if what a worker tells is no schema.
    pub(crate) check: Option<ArgumentCheck>,
    /// What is hidden of its calls.
    pub(crate) hidden: Hidden,
}

impl TaskTypes {
    pub(crate) fn new(client: Client) -> Self {
        Self(Arc::new(Kept {
            client,
            listed: Mutex::default(),
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// The living workers, as they were no longer ago than this.
    pub(crate) async fn workers(&self, age: Duration) -> Result<Arc<Vec<WorkerInfo>>> {
        if let Some(listed) = self.listed(age) {
            return Ok(listed.workers);
        }
        let _asking = self.0.asking.lock().await;
        // Somebody may have asked meanwhile.
        if let Some(listed) = self.listed(age) {
            return Ok(listed.workers);
        }
        let workers = Arc::new(admin::workers(&self.0.client).await?);
        *lock(&self.0.listed) = Some(Listed {
            at: Instant::now(),
            workers: Arc::clone(&workers),
        });
        Ok(workers)
    }

    fn listed(&self, age: Duration) -> Option<Listed> {
        let listed = lock(&self.0.listed).clone();
        listed.filter(|listed| listed.at.elapsed() <= age)
    }

    /// A task as workers knew it no longer ago than this; none if no worker knew
    /// it.
    pub(crate) async fn known(&self, task: &str, age: Duration) -> Result<Option<Arc<Known>>> {
        let workers = self.workers(age).await?;
        self.of(&workers, task).await
    }

    /// A task as workers knew it lately, to check a call by.
    pub(crate) async fn lately(&self, task: &str) -> Result<Option<Arc<Known>>> {
        let workers = match self.listed(TOO_OLD) {
            Some(listed) => {
                if listed.at.elapsed() > AGE {
                    let types = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = types.workers(AGE).await {
                            tracing::debug!("what workers know of tasks grows old: {error}");
                        }
                    });
                }
                listed.workers
            }
            None => self.workers(AGE).await?,
        };
        if let Some(known) = self.of(&workers, task).await? {
            return Ok(Some(known));
        }
        // Its worker may have come since.
        let workers = self.workers(UNKNOWN).await?;
        self.of(&workers, task).await
    }

    async fn of(&self, workers: &Arc<Vec<WorkerInfo>>, task: &str) -> Result<Option<Arc<Known>>> {
        let before = lock(&self.0.known).get(task).cloned();
        if let Some(before) = &before
            && Arc::ptr_eq(&before.among, workers)
        {
            return Ok(before.known.clone());
        }
        let before = before.and_then(|before| before.known);
        let now = admin::definitions(workers, task);
        let same = before.filter(|before| {
            let told = before.task_type.definitions.iter();
            let told = told.map(|one| (&one.workers, &one.detail.info));
            told.eq(now.iter().map(|one| (&one.workers, &one.detail)))
        });
        let known = match same {
            Some(same) => Some(same),
            None => self.ask(workers, task).await?,
        };
        let mut kept = lock(&self.0.known);
        if kept.len() >= MOST {
            kept.clear();
        }
        let found = Found {
            among: Arc::clone(workers),
            known: known.clone(),
        };
        kept.insert(task.to_owned(), found);
        Ok(known)
    }

    async fn ask(&self, workers: &[WorkerInfo], task: &str) -> Result<Option<Arc<Known>>> {
        let Some(task_type) = admin::task_type(&self.0.client, workers, task).await? else {
            return Ok(None);
        };
        let check = ArgumentCheck::new(&task_type)
            .inspect_err(|error| tracing::warn!(task, "calls are not checked: {error}"));
        let hidden = task_type.definitions.iter();
        let mut hidden = hidden.map(|one| one.detail.info.hidden());
        Ok(Some(Arc::new(Known {
            check: check.ok(),
            hidden: hidden.find(Hidden::is_any).unwrap_or_default(),
            task_type,
        })))
    }
}

/// Nothing here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
