//! Pools of workers, and how their workers die.

use serde::{Deserialize, Serialize};
use taskq::admin::pools::{Pool, PoolScaled, PoolTarget};
use taskq::admin::{RunningTask, WorkerDeath};
use taskq::{Crash, Timestamp};
use utoipa::ToSchema;

use super::worker::CurrentView;

/// A pool of workers that lives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PoolView {
    /// Its name.
    pub(crate) pool: String,
    /// The machine it is on.
    pub(crate) host: Option<String>,
    /// The number of its process.
    pub(crate) process: u32,
    /// The version of taskq that it is built with.
    pub(crate) version: String,
    /// Since when it lives.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started_at: Timestamp,
    /// The queues of its workers.
    pub(crate) queues: Vec<String>,
    /// The name of its workers' program.
    pub(crate) program: String,
    /// The fewest workers that it keeps.
    pub(crate) min: usize,
    /// The most.
    pub(crate) max: usize,
    /// `automatic` (by what there is to do) or `fixed` (by an operator).
    pub(crate) mode: &'static str,
    /// How many it is to keep now.
    pub(crate) target: usize,
    /// How many tasks waited in its queues when it last looked.
    pub(crate) waiting: u64,
    /// How long the oldest of them had waited.
    pub(crate) oldest_ms: u64,
    /// How many slots of its workers were taken then.
    pub(crate) busy: u64,
    /// How many slots they had.
    pub(crate) slots: u64,
    /// How many workers it has started in the place of one that ended by itself.
    pub(crate) restarts: u64,
    /// Whether it is ending.
    pub(crate) stopping: bool,
    /// Why it does not get on, if it does not.
    pub(crate) trouble: Option<String>,
    /// The last change of how many workers it keeps; null if there was none since
    /// its start.
    pub(crate) changed: Option<ChangeView>,
    /// Its processes, the oldest first.
    pub(crate) workers: Vec<PoolWorkerView>,
    /// The last deaths, the latest first, at most ten.
    pub(crate) deaths: Vec<DeathView>,
}

/// A change of how many workers a pool keeps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// What it kept before.
    pub(crate) before: TargetView,
    /// What it keeps since.
    pub(crate) after: TargetView,
    /// Why, in words.
    pub(crate) why: String,
}

/// A worker process of a pool.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PoolWorkerView {
    /// The worker's name.
    pub(crate) worker: String,
    /// The number of its process.
    pub(crate) process: u32,
    /// `starting`, `running`, `quiet`, `draining` or `stopped`.
    pub(crate) state: String,
    /// Since when the process lives.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started_at: Timestamp,
    /// How many tasks it runs.
    pub(crate) running: u64,
    /// The most memory that it was seen to hold.
    pub(crate) peak_memory_bytes: Option<u64>,
}

/// The death of a worker process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeathView {
    /// The worker.
    pub(crate) worker: String,
    /// When its end was seen.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// The pool that had it.
    pub(crate) pool: String,
    /// How it ended, in words.
    pub(crate) what: String,
    /// The code that it exited with.
    pub(crate) code: Option<i32>,
    /// The number of the signal that ended it.
    pub(crate) signal: Option<i32>,
    /// That signal's name.
    pub(crate) signal_name: Option<String>,
    /// Whether the system had no memory left.
    pub(crate) out_of_memory: bool,
    /// How long it lived.
    pub(crate) lived_ms: u64,
    /// The most memory that it was seen to hold.
    pub(crate) peak_memory_bytes: Option<u64>,
    /// What it was running, the longest first.
    pub(crate) running: Vec<CurrentView>,
    /// The last lines that it wrote.
    pub(crate) log: Vec<String>,
}

/// A worker that died, or lost touch, while it ran a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CrashView {
    /// The worker.
    pub(crate) worker: String,
    /// When it started the task.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started_at: Timestamp,
    /// How its process ended; null where no pool had it.
    pub(crate) death: Option<DeathView>,
}

/// How many workers a pool is to keep.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TargetView {
    /// `automatic` or `fixed`.
    pub(crate) mode: &'static str,
    /// How many.
    pub(crate) target: usize,
}

/// What a wish has changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScaledView {
    /// The pool.
    pub(crate) pool: String,
    /// What it was to keep before.
    pub(crate) before: TargetView,
    /// What it is to keep from now on.
    pub(crate) after: TargetView,
}

/// How many workers a pool is to keep.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolScaling {
    /// How many; null for as many as there is work for.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) count: Option<usize>,
    /// Why, for the record.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// More workers.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Starting {
    /// In this pool; needed where there are several.
    pub(crate) pool: Option<String>,
    /// How many more; one if it is not said.
    #[schema(minimum = 1)]
    pub(crate) count: Option<usize>,
    /// Why, for the record.
    pub(crate) reason: Option<String>,
}

impl From<Pool> for PoolView {
    fn from(pool: Pool) -> Self {
        let workers = pool.workers.into_iter().map(|worker| PoolWorkerView {
            worker: worker.worker,
            process: worker.process,
            state: worker.state,
            started_at: worker.started_at,
            running: worker.running,
            peak_memory_bytes: worker.peak_memory_bytes,
        });
        Self {
            pool: pool.pool,
            host: pool.host,
            process: pool.process,
            version: pool.version,
            started_at: pool.started_at,
            queues: pool.queues,
            program: pool.program,
            min: pool.min,
            max: pool.max,
            mode: pool.mode.as_str(),
            target: pool.target,
            waiting: pool.waiting,
            oldest_ms: pool.oldest_ms,
            busy: pool.busy,
            slots: pool.slots,
            restarts: pool.restarts,
            stopping: pool.stopping,
            trouble: pool.trouble,
            changed: pool.changed.map(|change| ChangeView {
                at: change.at,
                before: change.before.into(),
                after: change.after.into(),
                why: change.why,
            }),
            workers: workers.collect(),
            deaths: pool.deaths.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<WorkerDeath> for DeathView {
    fn from(death: WorkerDeath) -> Self {
        Self {
            what: death.to_string(),
            worker: death.worker,
            at: death.at,
            pool: death.pool,
            code: death.code,
            signal: death.signal,
            signal_name: death.signal_name,
            out_of_memory: death.out_of_memory,
            lived_ms: death.lived_ms,
            peak_memory_bytes: death.peak_memory_bytes,
            running: death.running.into_iter().map(Into::into).collect(),
            log: death.log,
        }
    }
}

impl From<RunningTask> for CurrentView {
    fn from(task: RunningTask) -> Self {
        Self {
            id: task.id.to_string(),
            task: task.task,
            queue: task.queue,
            attempt: task.attempt,
            since: task.since,
            stopping: task.stopping,
        }
    }
}

impl From<Crash> for CrashView {
    fn from(crash: Crash) -> Self {
        Self {
            worker: crash.worker,
            started_at: crash.started_at,
            death: crash.death.map(Into::into),
        }
    }
}

impl From<PoolTarget> for TargetView {
    fn from(target: PoolTarget) -> Self {
        Self {
            mode: target.mode.as_str(),
            target: target.target,
        }
    }
}

impl From<PoolScaled> for ScaledView {
    fn from(done: PoolScaled) -> Self {
        Self {
            pool: done.pool,
            before: done.before.into(),
            after: done.after.into(),
        }
    }
}
