//! How this worker does, for who asks.

use std::sync::Arc;
use std::time::Instant;

use super::execute::Executor;
use super::slots::Slots;
use super::{Worker, WorkerStats};
use crate::admin::{RunningTask, WorkerDetail};
use crate::broker::Pulse;
use crate::telemetry::Process;
use crate::time::Timestamp;

/// The most running tasks that are told: a message has its limits.
const MOST_TASKS: usize = 1000;

/// Describes a worker.
pub(super) struct Describe {
    /// What does not change.
    fixed: WorkerDetail,
    executor: Arc<Executor>,
    slots: Arc<Slots>,
    pulse: Arc<Pulse>,
    stats: WorkerStats,
}

impl Describe {
    pub(super) fn new(
        worker: &Worker,
        executor: &Arc<Executor>,
        slots: &Arc<Slots>,
        pulse: &Arc<Pulse>,
    ) -> Self {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(std::path::Path::file_name);
        Self {
            fixed: WorkerDetail {
                worker: worker.name.to_string(),
                namespace: worker.client.namespace().to_owned(),
                mode: worker.client.mode().to_string(),
                state: String::new(),
                queues: worker.queues.clone(),
                concurrency: worker.concurrency,
                running: 0,
                held: 0,
                started_at: worker.client.0.broker.now(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                program: program.map(|name| name.to_string_lossy().into_owned()),
                process: std::process::id(),
                host: super::builder::host(),
                cpu_seconds: None,
                cpu: None,
                memory_bytes: None,
                silence_ms: 0,
                trouble: None,
                attempts_started: 0,
                succeeded: 0,
                failed: 0,
                retried: 0,
                cancelled: 0,
                expired: 0,
                leases_lost: 0,
                tasks: Vec::new(),
            },
            executor: Arc::clone(executor),
            slots: Arc::clone(slots),
            pulse: Arc::clone(pulse),
            stats: worker.stats(),
        }
    }

    /// How the worker does now; with what runs, or without.
    pub(super) fn detail(&self, tasks: bool) -> WorkerDetail {
        let (stats, process) = (&self.stats, Process::this());
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let (running, held) = (count(self.slots.running()), count(self.slots.held()));
        let silence = self.pulse.silence(Instant::now()).as_millis();
        WorkerDetail {
            state: stats.state().as_str().to_owned(),
            running,
            held: held.saturating_sub(running),
            cpu_seconds: process.map(|process| process.cpu.as_secs_f64()),
            cpu: stats.cpu(),
            memory_bytes: process.map(|process| process.resident),
            silence_ms: u64::try_from(silence).unwrap_or(u64::MAX),
            trouble: stats.trouble(),
            attempts_started: stats.started(),
            succeeded: stats.succeeded(),
            failed: stats.failed(),
            retried: stats.retried(),
            cancelled: stats.cancelled(),
            expired: stats.expired(),
            leases_lost: stats.leases_lost(),
            tasks: if tasks { self.tasks() } else { Vec::new() },
            ..self.fixed.clone()
        }
    }

    /// What runs, the longest first.
    fn tasks(&self) -> Vec<RunningTask> {
        let now = self.executor.client.0.broker.now();
        let active = self.executor.active();
        let mut tasks: Vec<RunningTask> = active
            .values()
            .map(|active| {
                let ran = i64::try_from(active.since.elapsed().as_millis()).unwrap_or(i64::MAX);
                let attempt = &active.attempt;
                let since = Timestamp::from_millis(now.as_millis().saturating_sub(ran));
                RunningTask {
                    stopping: active.wish.is_some(),
                    ..RunningTask::new(
                        attempt.id.clone(),
                        attempt.task,
                        &attempt.queue,
                        attempt.number,
                        since,
                    )
                }
            })
            .collect();
        drop(active);
        tasks.sort_by_key(|task| task.since);
        tasks.truncate(MOST_TASKS);
        tasks
    }
}
