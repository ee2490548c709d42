//! What a worker tells over HTTP: that it lives, that it is ready, and its
//! numbers.

use std::sync::{Arc, OnceLock};

use anyhow::anyhow;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use taskq::telemetry::{Kind, Page};
use taskq::{Client, WorkerState, WorkerStats};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The worker's numbers, once there is a worker.
#[derive(Debug, Default)]
pub(crate) struct Status(OnceLock<(WorkerStats, Client)>);

impl Status {
    pub(crate) fn set(&self, stats: WorkerStats, client: Client) {
        // There is one worker.
        let _ = self.0.set((stats, client));
    }

    /// Why the worker takes no tasks, or gets on with none, if that is so.
    fn unready(&self) -> Option<String> {
        let Some((stats, _)) = self.0.get() else {
            return Some("not connected to NATS yet".to_owned());
        };
        match stats.state() {
            WorkerState::Running => stats.trouble(),
            WorkerState::Starting => Some("not consuming yet".to_owned()),
            WorkerState::Draining => Some("stopping: finishing what runs".to_owned()),
            WorkerState::Stopped => Some("stopped".to_owned()),
            WorkerState::Quiet => {
                Some("quiet, as an operator wishes: taking nothing new".to_owned())
            }
        }
    }

    /// The metrics.
    fn page(&self) -> String {
        let mut page = Page::new();
        if let Some((stats, client)) = self.0.get() {
            page.worker(stats).client(client);
        }
        let ready = u8::from(self.unready().is_none());
        page.one(
            "taskq_worker_ready",
            Kind::Gauge,
            "Whether the worker takes tasks: 1 or 0.",
            ready,
        )
        .process();
        page.into_text()
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
    ([(header::CONTENT_TYPE, Page::CONTENT_TYPE)], status.page())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_not_there_yet_is_not_ready() {
        let status = Status::default();
        assert!(status.unready().is_some());
        status.set(WorkerStats::default(), Client::memory());
        assert_eq!(status.unready().as_deref(), Some("not consuming yet"));
        assert!(status.page().contains("\ntaskq_worker_ready 0\n"));
    }
}
