//! What a worker tells over HTTP: that it lives, that it is ready, and its
//! numbers.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use anyhow::anyhow;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use taskq::{WorkerState, WorkerStats};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The worker's numbers, once there is a worker.
#[derive(Debug, Default)]
pub(crate) struct Status(OnceLock<WorkerStats>);

impl Status {
    pub(crate) fn set(&self, stats: WorkerStats) {
        // There is one worker.
        let _ = self.0.set(stats);
    }

    /// Why the worker takes no tasks, or gets on with none, if that is so.
    fn unready(&self) -> Option<String> {
        let Some(stats) = self.0.get() else {
            return Some("not connected to NATS yet".to_owned());
        };
        match stats.state() {
            WorkerState::Running => stats.trouble(),
            WorkerState::Starting => Some("not consuming yet".to_owned()),
            WorkerState::Draining => Some("stopping: finishing what runs".to_owned()),
            WorkerState::Stopped => Some("stopped".to_owned()),
        }
    }
}

/// A server that ends when it is dropped.
pub(crate) struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens at `address`, and answers until the server is dropped.
pub(crate) async fn serve(address: &str, status: Arc<Status>) -> anyhow::Result<Server> {
    let refused = |error| {
        anyhow!(
            "cannot listen for HTTP at {address}: {error}; set TASKQ_HTTP (--http) to a free \
             address, or unset it"
        )
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    tracing::info!("listening for HTTP at http://{bound} (/healthz, /readyz, /metrics)");
    if !bound.ip().is_loopback() {
        tracing::warn!(
            "whoever reaches {bound} can read this worker's numbers; keep it from the outside by a \
             firewall, or listen at 127.0.0.1"
        );
    }
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(status);
    Ok(Server(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("health checks and metrics are no longer served: {error}");
        }
    })))
}

async fn readyz(State(status): State<Arc<Status>>) -> impl IntoResponse {
    match status.unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(status): State<Arc<Status>>) -> impl IntoResponse {
    let ready = status.unready().is_none();
    let stats = status.0.get().cloned().unwrap_or_default();
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        exposition(&stats, ready),
    )
}

/// The numbers in Prometheus' [text format].
///
/// [text format]: https://prometheus.io/docs/instrumenting/exposition_formats/
fn exposition(stats: &WorkerStats, ready: bool) -> String {
    let mut text = String::with_capacity(2048);
    for (name, kind, help, value) in [
        (
            "taskq_attempts_started_total",
            "counter",
            "Attempts that this worker started.",
            stats.started(),
        ),
        (
            "taskq_tasks_succeeded_total",
            "counter",
            "Tasks that ended with a value.",
            stats.succeeded(),
        ),
        (
            "taskq_tasks_failed_total",
            "counter",
            "Tasks that ended without a value.",
            stats.failed(),
        ),
        (
            "taskq_attempts_retried_total",
            "counter",
            "Attempts that failed and are followed by another.",
            stats.retried(),
        ),
        (
            "taskq_attempts_released_total",
            "counter",
            "Attempts that were handed back when the worker stopped.",
            stats.released(),
        ),
        (
            "taskq_tasks_cancelled_total",
            "counter",
            "Tasks that were cancelled, before or while they ran here.",
            stats.cancelled(),
        ),
        (
            "taskq_tasks_expired_total",
            "counter",
            "Tasks whose deadline passed before they could start.",
            stats.expired(),
        ),
        (
            "taskq_leases_lost_total",
            "counter",
            "Messages whose lease was lost: the worker was frozen or cut off for longer than it.",
            stats.leases_lost(),
        ),
        (
            "taskq_outcomes_refused_total",
            "counter",
            "Outcomes that the server refused, because the task had one.",
            stats.outcomes_refused(),
        ),
        (
            "taskq_attempts_running",
            "gauge",
            "Attempts that run now.",
            stats.running(),
        ),
        (
            "taskq_worker_ready",
            "gauge",
            "Whether the worker takes tasks: 1 or 0.",
            u64::from(ready),
        ),
    ] {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        );
    }
    let _ = writeln!(
        text,
        "# HELP taskq_build_info The version that runs.\n# TYPE taskq_build_info gauge\n\
         taskq_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_help_and_its_type() {
        let text = exposition(&WorkerStats::default(), true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len() % 3, 0);
        for metric in lines.chunks(3) {
            let name = metric[2].split([' ', '{']).next().unwrap();
            assert!(name.starts_with("taskq_"));
            assert!(metric[0].starts_with(&format!("# HELP {name} ")));
            let kind = metric[1].strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        }
        assert!(text.contains("\ntaskq_worker_ready 1\n"));
    }

    #[test]
    fn a_worker_that_is_not_there_yet_is_not_ready() {
        let status = Status::default();
        assert!(status.unready().is_some());
        status.set(WorkerStats::default());
        assert_eq!(status.unready().as_deref(), Some("not consuming yet"));
    }
}
