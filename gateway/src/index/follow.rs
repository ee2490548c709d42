//! Keeps an index as far as the streams are.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use serde::Serialize;
use taskq::Client;
use taskq::admin::{self, Source};
use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;

use super::{Index, IndexError, Seen};

/// How many records are taken in at once.
const BATCH: usize = 2000;
/// How often it is looked whether the source is still the one that it was,
/// and how far behind the index is.
const LOOK: Duration = Duration::from_secs(2);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The sources, and what the index calls them. Outcomes first: a dead letter
/// belongs to one.
pub(crate) const SOURCES: [(Source, &str); 3] = [
    (Source::Outcomes, "outcomes"),
    (Source::Events, "events"),
    (Source::DeadLetters, "dead_letters"),
];

/// How far behind its source the index is.
#[derive(Clone, Debug, Serialize)]
pub struct Lag {
    /// The source: `outcomes`, `events`, `dead_letters`.
    pub source: &'static str,
    /// How many records the index has not seen; none while that is not known.
    pub records: Option<u64>,
    /// The place of the last record that it has.
    pub sequence: u64,
    /// How many records it has taken in since the program began.
    pub taken: u64,
    /// Why it gets no further, if it does not.
    pub trouble: Option<String>,
}

#[derive(Debug, Default)]
struct Progress {
    seen: AtomicU64,
    taken: AtomicU64,
    /// The last place in the source when it was last looked at.
    last: AtomicU64,
    known: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl Progress {
    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Follows the streams into an index, until it is dropped.
#[derive(Debug)]
pub struct Follower {
    progress: Vec<(&'static str, Arc<Progress>)>,
    build: Arc<Build>,
    tasks: Vec<JoinHandle<()>>,
}

/// The index as it is built, one time or again.
#[derive(Debug)]
struct Build {
    client: Client,
    index: Index,
    /// How many times it was begun again.
    times: watch::Sender<u64>,
    /// Shared by who adds to it, and alone with who empties it.
    gate: RwLock<()>,
}

impl Build {
    async fn again(&self) -> Result<(), IndexError> {
        let mut firsts = Vec::new();
        for (source, name) in SOURCES {
            let extent = admin::extent(&self.client, source).await;
            let extent = extent.map_err(|error| IndexError::Invalid(error.to_string()))?;
            firsts.push((name, extent.first));
        }
        let _alone = self.gate.write().await;
        self.index.forget(&firsts).await?;
        self.times.send_modify(|times| *times += 1);
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Follower {
    /// Begins to follow, from where the index is.
    #[must_use]
    pub fn start(client: &Client, index: &Index) -> Self {
        let build = Arc::new(Build {
            client: client.clone(),
            index: index.clone(),
            times: watch::Sender::new(0),
            gate: RwLock::default(),
        });
        let mut follower = Self {
            progress: Vec::new(),
            build: Arc::clone(&build),
            tasks: Vec::new(),
        };
        for (source, name) in SOURCES {
            let progress = Arc::new(Progress::default());
            follower.progress.push((name, Arc::clone(&progress)));
            let following = Following {
                client: client.clone(),
                again: build.times.subscribe(),
                build: Arc::clone(&build),
                source,
                name,
                progress,
            };
            follower.tasks.push(tokio::spawn(following.run()));
        }
        follower
    }

    /// How far behind the index is.
    #[must_use]
    pub fn lag(&self) -> Vec<Lag> {
        self.progress
            .iter()
            .map(|(source, progress)| {
                let seen = progress.seen.load(Ordering::Acquire);
                let last = progress.last.load(Ordering::Acquire);
                let known = progress.known.load(Ordering::Acquire);
                let trouble = progress.trouble.lock();
                Lag {
                    source,
                    records: known.then(|| last.saturating_sub(seen)),
                    sequence: seen,
                    taken: progress.taken.load(Ordering::Acquire),
                    trouble: trouble.unwrap_or_else(PoisonError::into_inner).clone(),
                }
            })
            .collect()
    }

    /// Throws the index away, and builds it again from the streams.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be emptied.
    pub async fn rebuild(&self) -> Result<(), IndexError> {
        self.build.again().await
    }
}

struct Following {
    client: Client,
    build: Arc<Build>,
    source: Source,
    name: &'static str,
    progress: Arc<Progress>,
    again: watch::Receiver<u64>,
}

/// Why following ended.
enum Stop {
    /// It is to begin again.
    Again,
    /// The index is being closed, as the program ends.
    Closed,
    /// Something failed.
    Failed(String),
}

impl From<IndexError> for Stop {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Closed => Self::Closed,
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<taskq::Error> for Stop {
    fn from(error: taskq::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Following {
    async fn run(mut self) {
        loop {
            self.again.mark_unchanged();
            match self.follow().await {
                Stop::Again => {}
                // It goes on only if it was closed by mistake.
                Stop::Closed => tokio::time::sleep(PAUSE).await,
                Stop::Failed(why) => {
                    tracing::warn!("the index does not follow the {}: {why}", self.name);
                    self.progress.set_trouble(Some(why));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn follow(&mut self) -> Stop {
        let extent = match admin::extent(&self.client, self.source).await {
            Ok(extent) => extent,
            Err(error) => return error.into(),
        };
        let created = extent.created.as_millis();
        match self.build.index.lead().await {
            Ok(true) => {}
            Ok(false) => return self.stand_by().await,
            Err(error) => return error.into(),
        }
        let seen = match self.build.index.seen(self.name).await {
            Ok(seen) => seen,
            Err(error) => return error.into(),
        };
        if seen.as_ref().is_some_and(|seen| seen.created != created) {
            // The places that are known are those of a stream that is gone.
            let renewed = match self.build.index.renew(self.name).await {
                Ok(false) => self.build.again().await,
                Ok(true) => Ok(()),
                Err(error) => Err(error),
            };
            return match renewed {
                Ok(()) => Stop::Again,
                Err(error) => error.into(),
            };
        }
        let mut seen = seen.map_or(0, |seen| seen.sequence);
        self.progress.seen.store(seen, Ordering::Release);
        self.progress.last.store(extent.last, Ordering::Release);
        self.progress.known.store(true, Ordering::Release);
        let records = match admin::records(&self.client, self.source, seen).await {
            Ok(records) => records,
            Err(error) => return error.into(),
        };
        if records.stored() == 0 {
            // Nothing is stored behind what was seen: what was is gone.
            seen = seen.max(extent.last);
            let nothing = Seen {
                source: self.name,
                created,
                sequence: seen,
            };
            match self.build.index.take(Vec::new(), nothing).await {
                Ok(()) => {}
                Err(IndexError::Follows) => return Stop::Again,
                Err(error) => return error.into(),
            }
            self.progress.seen.store(seen, Ordering::Release);
        }
        self.progress.set_trouble(None);
        let mut batches = records.ready_chunks(BATCH);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                biased;
                _ = self.again.changed() => return Stop::Again,
                _ = look.tick() => match admin::extent(&self.client, self.source).await {
                    Ok(now) if now.created.as_millis() != created => {
                        return Stop::Failed("its stream is another one now".to_owned());
                    }
                    Ok(now) => {
                        self.progress.last.store(now.last, Ordering::Release);
                        self.progress.set_trouble(None);
                    }
                    Err(error) => self.progress.set_trouble(Some(error.to_string())),
                },
                batch = batches.next() => {
                    let Some(batch) = batch else {
                        return Stop::Failed("the reading ended".to_owned());
                    };
                    let batch: taskq::Result<Vec<_>> = batch.into_iter().collect();
                    let batch = match batch {
                        Ok(batch) => batch,
                        Err(error) => return error.into(),
                    };
                    let Some(last) = batch.last() else { continue };
                    let (sequence, left) = (last.sequence, last.left);
                    let taken = batch.len() as u64;
                    let seen = Seen { source: self.name, created, sequence };
                    let _shared = self.build.gate.read().await;
                    if self.again.has_changed().unwrap_or(true) {
                        return Stop::Again;
                    }
                    match self.build.index.take(batch, seen).await {
                        Ok(()) => {}
                        Err(IndexError::Follows) => return Stop::Again,
                        Err(error) => return error.into(),
                    }
                    self.progress.taken.fetch_add(taken, Ordering::AcqRel);
                    let last = self.progress.last.fetch_max(sequence, Ordering::AcqRel);
                    // Where nothing is behind the last, what was there is gone.
                    let seen = if left == 0 { sequence.max(last) } else { sequence };
                    self.progress.seen.store(seen, Ordering::Release);
                }
            }
        }
    }

    /// Watches how far another replica is, until it is gone.
    async fn stand_by(&mut self) -> Stop {
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            let seen = match self.build.index.seen(self.name).await {
                Ok(seen) => seen.map_or(0, |seen| seen.sequence),
                Err(error) => return error.into(),
            };
            let extent = match admin::extent(&self.client, self.source).await {
                Ok(extent) => extent,
                Err(error) => return error.into(),
            };
            self.progress.seen.store(seen, Ordering::Release);
            self.progress.last.store(extent.last, Ordering::Release);
            self.progress.known.store(true, Ordering::Release);
            self.progress.set_trouble(None);
            match self.build.index.lead().await {
                Ok(true) => return Stop::Again,
                Ok(false) => {}
                Err(error) => return error.into(),
            }
        }
    }
}
