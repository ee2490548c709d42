//! Planning schedules, beside the tasks. Every worker does it, and any number
//! of them may: what is planned by one is there for all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Worker;
use crate::broker::{Broker, Mode, SettingKind};
use crate::error::{ErrorKind, Result};
use crate::schedule::{self, Schedule};
use crate::task::Registration;

/// All schedules are read so often, should a change have been missed.
const READ_EVERY: Duration = Duration::from_secs(15);
/// Changes that come close together are read once.
const GATHER: Duration = Duration::from_millis(50);
/// Workers look at a schedule within this long of each other, so that mostly
/// one of them has something to do.
const APART: Duration = Duration::from_secs(3);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// So many schedules may fail in one round before the rest is put off.
const MOST_FAILURES: u32 = 2;

/// Goes on until it is dropped.
pub(super) struct Planning(JoinHandle<()>);

impl Drop for Planning {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn start(worker: &Worker) -> Option<Planning> {
    let tasks = worker.registry.tasks();
    let declared: Vec<_> = tasks
        .into_iter()
        .filter(|it| it.schedule.is_some())
        .collect();
    if worker.client.mode() == Mode::Core {
        for task in declared {
            tracing::warn!(
                schedule = task.name,
                "declared in the program and never fired: core mode keeps nothing; use jetstream \
                 mode (TASKQ_MODE=jetstream)"
            );
        }
        return None;
    }
    let mut planner = Planner {
        broker: Arc::clone(&worker.client.0.broker),
        worker: Arc::clone(&worker.name),
        declared,
        looks: HashMap::new(),
        pause: PAUSE,
    };
    Some(Planning(tokio::spawn(async move { planner.run().await })))
}

struct Planner {
    broker: Arc<dyn Broker>,
    worker: Arc<str>,
    /// Tasks whose schedule is not set yet.
    declared: Vec<&'static Registration>,
    /// When to look at each schedule again, in the epoch of the key.
    looks: HashMap<(String, String), Instant>,
    pause: Duration,
}

impl Planner {
    async fn run(&mut self) {
        let mut changes = self.changes().await;
        loop {
            let wait = match self.look().await {
                Ok(wait) => {
                    self.pause = PAUSE;
                    wait
                }
                Err(error) => self.failed(&error),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = changes.recv() => {
                    match changed {
                        Some(()) => tokio::time::sleep(GATHER).await,
                        // The connection is closed for good.
                        None => return,
                    }
                    // One is enough for all that came by now.
                    while changes.try_recv().is_ok() {}
                }
            }
        }
    }

    async fn changes(&mut self) -> mpsc::Receiver<()> {
        loop {
            match self.broker.setting_changes().await {
                Ok(changes) => return changes,
                Err(error) => {
                    let pause = self.failed(&error);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Tells what went wrong, and how long to wait.
    fn failed(&mut self, error: &crate::Error) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        // A server that is away is told of by others, and comes back.
        if pause == PAUSE || error.kind() == ErrorKind::Unavailable {
            tracing::debug!("schedules are not planned by this worker now: {error}; trying on");
        } else {
            tracing::warn!("schedules are not planned by this worker now: {error}; trying on");
        }
        pause
    }

    /// Plans what is to be planned, and tells how long nothing is.
    async fn look(&mut self) -> Result<Duration> {
        self.broker.compare_clocks().await;
        while let Some(task) = self.declared.last() {
            let declared = schedule::declare(&*self.broker, task, &self.worker).await;
            match declared {
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    tracing::error!(
                        schedule = task.name,
                        "not set, so it does not fire: {error}"
                    );
                }
                Ok(()) => {}
            }
            self.declared.pop();
        }
        let set = self.broker.settings(SettingKind::Schedule).await?;
        let mut looks = HashMap::with_capacity(set.len());
        let mut wait = READ_EVERY;
        let mut failures = 0;
        for setting in set {
            let body = setting.body.unwrap_or_default();
            let schedule = match Schedule::decode(&setting.name, &body) {
                Ok(schedule) => schedule,
                Err(error) => {
                    tracing::warn!("{error}; other workers may know it");
                    continue;
                }
            };
            if schedule.paused.is_some() {
                continue;
            }
            let key = (setting.name, schedule.epoch());
            let now = Instant::now();
            let at = match self.looks.get(&key).copied() {
                Some(at) if now < at => at,
                _ => match schedule::plan(&*self.broker, &schedule).await {
                    Ok(Some(again)) => now + again + APART.mul_f64(fastrand::f64()),
                    // It has ended.
                    Ok(None) => now + Duration::from_secs(3600),
                    // A queue may be without a leader while others are not; but
                    // where nothing works, there is no use in trying on.
                    Err(error) if error.is_retryable() && failures >= MOST_FAILURES => {
                        return Err(error);
                    }
                    Err(error) if error.is_retryable() => {
                        failures += 1;
                        tracing::debug!(schedule = key.0, "not planned yet: {error}; trying on");
                        now + PAUSE * 2
                    }
                    Err(error) => {
                        tracing::error!(schedule = key.0, "it is not planned: {error}");
                        now + LONGEST_PAUSE
                    }
                },
            };
            wait = wait.min(at.saturating_duration_since(now));
            looks.insert(key, at);
        }
        self.looks = looks;
        Ok(wait.max(Duration::from_millis(10)))
    }
}
