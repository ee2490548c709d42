//! Workers.

use serde::{Deserialize, Serialize};
use taskq::Timestamp;
use taskq::admin::{WorkerDetail, WorkerInfo};
use utoipa::ToSchema;

/// A living worker, as it describes itself. Of one that is of an older
/// version, what it does not tell is null.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct WorkerView {
    /// Its name.
    pub(crate) worker: String,
    /// `starting`, `running`, `quiet` (takes nothing new) or `draining`.
    pub(crate) state: Option<String>,
    /// The queues it serves.
    pub(crate) queues: Vec<String>,
    /// How many attempts it runs at once: its slots.
    pub(crate) concurrency: usize,
    /// How many slots are taken.
    pub(crate) running: Option<u64>,
    /// How many messages it holds beyond those.
    pub(crate) held: Option<u64>,
    /// The names of the tasks it can run; none while it drains.
    pub(crate) tasks: Vec<String>,
    /// Since when it lives.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) started_at: Option<Timestamp>,
    /// The version of taskq that it is built with.
    pub(crate) version: Option<String>,
    /// The name of its program.
    pub(crate) program: Option<String>,
    /// The machine it is on.
    pub(crate) host: Option<String>,
    /// The number of its process.
    pub(crate) process: Option<u32>,
    /// How many processors its process kept busy in the last second or so.
    pub(crate) cpu: Option<f64>,
    /// The seconds of processor time that its process has taken.
    pub(crate) cpu_seconds: Option<f64>,
    /// The memory that its process holds.
    pub(crate) memory_bytes: Option<u64>,
    /// The age of its last heartbeat: for so long NATS has not answered its
    /// requests for messages; 0 while it asks for none.
    pub(crate) heartbeat_age_ms: Option<u64>,
    /// Why it does not get on, if it does not.
    pub(crate) trouble: Option<String>,
    /// The pool that has it; null for one that none has.
    pub(crate) pool: Option<String>,
    /// What has become of what it ran.
    pub(crate) counts: Option<WorkerCounts>,
}

/// What has become of what a worker ran, since it was started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerCounts {
    /// Attempts started.
    pub(crate) started: u64,
    /// Tasks that ended with a value.
    pub(crate) succeeded: u64,
    /// Tasks that ended without one.
    pub(crate) failed: u64,
    /// Attempts that failed and are followed by another.
    pub(crate) retried: u64,
    /// Tasks that were cancelled.
    pub(crate) cancelled: u64,
    /// Tasks whose deadline passed before they could start.
    pub(crate) expired: u64,
    /// Messages whose lease was lost.
    pub(crate) leases_lost: u64,
}

/// A worker, and what it runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerPage {
    /// What a list shows of it.
    #[serde(flatten)]
    pub(crate) worker: WorkerView,
    /// What runs, the longest first, at most 1000.
    pub(crate) current: Vec<CurrentView>,
}

/// A task that runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CurrentView {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) task: String,
    /// Its queue.
    pub(crate) queue: String,
    /// The number of its attempt.
    pub(crate) attempt: u32,
    /// Since when it runs.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: Timestamp,
    /// Whether it is being cancelled.
    pub(crate) stopping: bool,
}

/// What is wished of a worker.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Telling {
    /// Why, for the record.
    pub(crate) reason: Option<String>,
    /// Of `:drain`: how long what runs may go on, as `5m`; the worker's own
    /// grace if there is none.
    pub(crate) grace: Option<String>,
}

/// What a wish has changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SteeredView {
    /// The worker.
    pub(crate) worker: String,
    /// Its state before.
    pub(crate) before: String,
    /// Its state from now on.
    pub(crate) after: String,
}

impl WorkerView {
    /// Of what a worker tells of itself, and of what it can run.
    pub(crate) fn of(info: Option<WorkerInfo>, detail: Option<WorkerDetail>) -> Self {
        let tasks = info.as_ref().map_or_else(Vec::new, |info| {
            info.tasks.iter().map(|task| task.name.clone()).collect()
        });
        let Some(detail) = detail else {
            return info.map_or_else(Self::default, |info| Self {
                worker: info.worker,
                queues: info.queues,
                concurrency: info.concurrency,
                tasks,
                ..Self::default()
            });
        };
        Self {
            worker: detail.worker,
            state: Some(detail.state),
            queues: detail.queues,
            concurrency: detail.concurrency,
            running: Some(detail.running),
            held: Some(detail.held),
            tasks,
            started_at: Some(detail.started_at),
            version: Some(detail.version),
            program: detail.program,
            host: detail.host,
            process: Some(detail.process),
            cpu: detail.cpu,
            cpu_seconds: detail.cpu_seconds,
            memory_bytes: detail.memory_bytes,
            heartbeat_age_ms: Some(detail.silence_ms),
            trouble: detail.trouble,
            pool: None,
            counts: Some(WorkerCounts {
                started: detail.attempts_started,
                succeeded: detail.succeeded,
                failed: detail.failed,
                retried: detail.retried,
                cancelled: detail.cancelled,
                expired: detail.expired,
                leases_lost: detail.leases_lost,
            }),
        }
    }
}
