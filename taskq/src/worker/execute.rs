//! One delivery, from its bytes to its settlement.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{AbortHandle, AbortRegistration, Abortable};
use serde_json::value::RawValue;
use tower::ServiceExt as _;

use super::middleware::{Execution, TaskService, TaskValue, run, unwrap_error};
use super::stats::WorkerStats;
use crate::broker::{DeadLetter, Delivery, History, Mode, Receipt, Record, Settlement, Settler};
use crate::client::Client;
use crate::error::Result;
use crate::failure::FailureKind;
use crate::message::{Label, Labels, State, TaskId, TaskMessage, labels};
use crate::policy::{Next, Policy, settle};
use crate::task::{Attempt, Invocation, Job, Registration, Registry, States, TaskError};
use crate::time::Timestamp;

/// Runs what the slots give it.
pub(super) struct Executor {
    pub(super) client: Client,
    pub(super) worker: Arc<str>,
    pub(super) registry: Arc<Registry>,
    pub(super) states: Arc<States>,
    pub(super) service: Option<TaskService>,
    pub(super) settler: Arc<dyn Settler>,
    pub(super) stats: WorkerStats,
    /// What runs now, by lease.
    pub(super) active: Mutex<HashMap<u64, Active>>,
}

/// A running attempt.
pub(super) struct Active {
    attempt: Arc<Attempt>,
    receipt: Receipt,
    refunds: u32,
    abort: AbortHandle,
}

/// An attempt that has started.
pub(super) struct Started {
    pub(super) attempt: Arc<Attempt>,
    pub(super) policy: Policy,
    pub(super) delivery: Delivery,
    pub(super) since: Instant,
}

impl Executor {
    fn active(&self) -> MutexGuard<'_, HashMap<u64, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one delivery to its settlement.
    pub(super) async fn execute(&self, delivery: Delivery) {
        let message = match TaskMessage::decode(&delivery.body) {
            Ok(message) => message,
            Err(error) => return self.bury_undecodable(delivery, &error.to_string()),
        };
        let Some(task) = self.registry.get(&message.task) else {
            return Box::pin(self.pass_on(delivery, message)).await;
        };
        // What is seldom taken is boxed: thousands of these futures live at
        // once, and all are as large as their largest part.
        let mut refunds = 0;
        if delivery.receipt.deliveries > 1 {
            match Box::pin(self.history(&message.id)).await {
                History {
                    outcome: Some(outcome),
                    ..
                } => {
                    tracing::info!(
                        task_id = %message.id,
                        task = message.task,
                        state = %outcome.state,
                        "delivered again after it had ended; acked without a run"
                    );
                    self.settler.settle(delivery.receipt, Settlement::Discard);
                    return;
                }
                history => refunds = history.refunds,
            }
        }
        let (started, job, registration) = self.start(task, message, delivery, refunds);
        let running = async {
            let job = job?;
            let attempt = Arc::clone(&started.attempt);
            match started.policy.timeout {
                None => self.call(attempt, job).await,
                Some(timeout) => Box::pin(self.call_within(timeout, attempt, job)).await,
            }
        };
        let running = AssertUnwindSafe(running).catch_unwind();
        let result = Abortable::new(running, registration).await;
        if self
            .active()
            .remove(&started.delivery.receipt.lease)
            .is_none()
        {
            // Handed back while it ran; what it gives comes too late.
            return;
        }
        match result {
            Ok(Ok(Ok(value))) => self.succeed(*started, value),
            Ok(Ok(Err(error))) => self.fail(*started, &error),
            Ok(Err(panic)) => {
                let text = panic_text(panic.as_ref());
                self.fail(
                    *started,
                    &TaskError::of_kind(FailureKind::Panic, format!("the task panicked: {text}")),
                );
            }
            Err(_aborted) => {}
        }
    }

    /// Makes an attempt of a delivery. What it needs until its end is boxed,
    /// so that the futures that wait for the task stay small.
    fn start(
        &self,
        task: &'static Registration,
        message: TaskMessage,
        delivery: Delivery,
        refunds: u32,
    ) -> (Box<Started>, Result<Job, TaskError>, AbortRegistration) {
        let policy = Policy::of(&task.options, &message.labels);
        let earlier = (delivery.receipt.deliveries - 1).saturating_sub(refunds);
        let attempt = Arc::new(Attempt {
            id: message.id,
            task: task.name,
            queue: Arc::clone(&delivery.queue),
            worker: Arc::clone(&self.worker),
            number: policy.first_attempt.saturating_add(earlier),
            enqueued_at: enqueued_at(&message.labels, delivery.stored_at),
            started_at: Timestamp::now(),
            labels: message.labels,
            cancelled: OnceLock::new(),
        });
        let (abort, registration) = AbortHandle::new_pair();
        self.active().insert(
            delivery.receipt.lease,
            Active {
                attempt: Arc::clone(&attempt),
                receipt: delivery.receipt.clone(),
                refunds,
                abort,
            },
        );
        self.stats.count_start();
        let since = Instant::now();
        let invocation = Invocation {
            attempt: Arc::clone(&attempt),
            arguments: message.arguments,
            states: Arc::clone(&self.states),
        };
        // The user's code may decode, and so panic, here too.
        let job = std::panic::catch_unwind(AssertUnwindSafe(|| (task.run)(invocation)))
            .unwrap_or_else(|panic| {
                let text = panic_text(panic.as_ref());
                Err(TaskError::of_kind(
                    FailureKind::Panic,
                    format!("the task panicked before it ran: {text}"),
                ))
            });
        let started = Started {
            attempt,
            policy,
            delivery,
            since,
        };
        (Box::new(started), job, registration)
    }

    async fn call_within(
        &self,
        timeout: Duration,
        attempt: Arc<Attempt>,
        job: Job,
    ) -> Result<Box<RawValue>, TaskError> {
        let running = self.call(Arc::clone(&attempt), job);
        match tokio::time::timeout(timeout, running).await {
            Ok(returned) => returned,
            Err(_) => {
                // A blocking task cannot be stopped, only be told.
                attempt.cancelled().cancel();
                Err(TaskError::of_kind(
                    FailureKind::Timeout,
                    format!(
                        "the attempt took longer than its timeout of {}",
                        taskq_syntax::format_duration(timeout)
                    ),
                ))
            }
        }
    }

    async fn call(&self, attempt: Arc<Attempt>, job: Job) -> Result<Box<RawValue>, TaskError> {
        match &self.service {
            None => run(job).await,
            Some(service) => service
                .clone()
                .oneshot(Execution { attempt, job })
                .await
                .map(|TaskValue(value)| value)
                .map_err(unwrap_error),
        }
    }

    fn succeed(&self, started: Started, value: Box<RawValue>) {
        self.stats.count_success();
        let taken = started.since.elapsed();
        tracing::info!(
            target: "taskq::task",
            task_id = %started.attempt.id,
            task = started.attempt.task,
            attempt = started.attempt.number,
            ms = millis(taken),
            "succeeded"
        );
        let record = self.record(&started, State::Succeeded, Some(value), None);
        self.finish(started.delivery.receipt, record);
    }

    fn fail(&self, started: Started, error: &TaskError) {
        let taken = started.since.elapsed();
        let attempt = &started.attempt;
        if let Next::Retry(delay) = settle(&started.policy, error, fastrand::f64())
            && let Some(again) = self.next_attempt(&started, delay)
        {
            self.stats.count_retry();
            tracing::warn!(
                target: "taskq::task",
                task_id = %attempt.id,
                task = attempt.task,
                attempt = attempt.number,
                ms = millis(taken),
                retry_in_ms = millis(delay),
                "failed, to be tried again: {error}"
            );
            self.settler
                .settle(started.delivery.receipt, Settlement::Retry(again));
            return;
        }
        self.stats.count_failure();
        tracing::warn!(
            target: "taskq::task",
            task_id = %attempt.id,
            task = attempt.task,
            attempt = attempt.number,
            ms = millis(taken),
            "failed: {error}"
        );
        let record = self.record(&started, State::Failed, None, Some(error.failure()));
        self.finish(started.delivery.receipt, record);
    }

    fn finish(&self, receipt: Receipt, record: Record) {
        self.settler.settle(receipt, Settlement::Finish(record));
    }

    /// What became of a message before. The answer decides whether it runs,
    /// so it is waited for; the lease is renewed meanwhile.
    async fn history(&self, id: &TaskId) -> History {
        let mut pause = Duration::from_millis(100);
        loop {
            match self.client.0.broker.history(id).await {
                Ok(history) => return history,
                Err(error) => {
                    tracing::warn!(task_id = %id, "cannot tell yet whether the task has ended: {error}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    /// How many deliveries before this one were no attempts.
    pub(super) async fn refunds(&self, delivery: &Delivery, id: &TaskId) -> u32 {
        if delivery.receipt.deliveries > 1 {
            self.history(id).await.refunds
        } else {
            0
        }
    }

    /// Leaves a task that this worker does not know to one that does.
    async fn pass_on(&self, delivery: Delivery, message: TaskMessage) {
        let deliveries = delivery.receipt.deliveries;
        let reason = format!(
            "no task `{}` is registered in this worker; it stays in the queue for a worker that \
             knows it (deploy one, or fix the name)",
            message.task
        );
        if self.client.mode() == Mode::Core {
            // Nothing stays anywhere: the sender must be told.
            let policy = Policy::of(&crate::task::TaskOptions::new(), &message.labels);
            let started = Started {
                attempt: Arc::new(Attempt {
                    id: message.id,
                    task: "unknown",
                    queue: Arc::clone(&delivery.queue),
                    worker: Arc::clone(&self.worker),
                    number: 1,
                    enqueued_at: delivery.stored_at,
                    started_at: Timestamp::now(),
                    labels: message.labels,
                    cancelled: OnceLock::new(),
                }),
                policy,
                delivery,
                since: Instant::now(),
            };
            let reason = format!("no task `{}` is registered in the worker", message.task);
            return self.fail(
                started,
                &TaskError::of_kind(FailureKind::UnknownTask, reason),
            );
        }
        // Told when it is new and then ever more seldom.
        if deliveries.is_power_of_two() {
            tracing::warn!(task_id = %message.id, task = message.task, deliveries, "{reason}");
        }
        let delay = Duration::from_millis(250) * 2u32.pow(deliveries.min(7) - 1);
        let refunds = self.refunds(&delivery, &message.id).await;
        self.settler.settle(
            delivery.receipt,
            Settlement::Release {
                delay,
                refund: Some((message.id, refunds + 1)),
            },
        );
    }

    /// Keeps what is no message, with the reason.
    fn bury_undecodable(&self, delivery: Delivery, reason: &str) {
        tracing::error!(
            queue = %delivery.queue,
            bytes = delivery.body.len(),
            "a message cannot run and is kept as a dead letter: {reason}"
        );
        self.stats.count_start();
        self.stats.count_failure();
        let letter = serde_json::json!({
            "reason": "undecodable",
            "error": reason,
            "queue": &*delivery.queue,
            "worker": &*self.worker,
            "stored_at": delivery.stored_at,
            "dead_at": Timestamp::now(),
            "body": String::from_utf8_lossy(&delivery.body),
        });
        self.settler.settle(
            delivery.receipt,
            Settlement::Bury {
                letter: DeadLetter {
                    queue: delivery.queue.to_string(),
                    task: "undecodable".to_owned(),
                    id: self.client.new_id(),
                    body: letter.to_string().into_bytes(),
                },
                record: None,
            },
        );
    }

    /// Stops everything that still runs, and settles none of it: as a crash
    /// would.
    pub(super) fn drop_running(&self) {
        let active: Vec<Active> = self.active().drain().map(|(_, active)| active).collect();
        for running in active {
            running.attempt.cancelled().cancel();
            running.abort.abort();
        }
    }

    /// Hands back everything that still runs, and tells how much that was.
    pub(super) fn abort_running(&self) -> usize {
        let active: Vec<Active> = self.active().drain().map(|(_, active)| active).collect();
        for running in &active {
            self.stats.count_release();
            tracing::warn!(
                target: "taskq::task",
                task_id = %running.attempt.id,
                task = running.attempt.task,
                attempt = running.attempt.number,
                "not finished within the grace; handed back, not counted as an attempt"
            );
            running.attempt.cancelled().cancel();
            running.abort.abort();
            self.settler.settle(
                running.receipt.clone(),
                Settlement::Release {
                    delay: Duration::ZERO,
                    refund: Some((running.attempt.id.clone(), running.refunds + 1)),
                },
            );
        }
        active.len()
    }
}

fn enqueued_at(labels: &Labels, stored_at: Timestamp) -> Timestamp {
    labels
        .get(labels::ENQUEUED_AT)
        .and_then(Label::as_i64)
        .map_or(stored_at, Timestamp::from_millis)
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a value that is no text")
}
