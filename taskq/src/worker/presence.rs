//! Being found: every worker is a NATS service that tells what it runs.

use std::collections::HashMap;

use async_nats::service::ServiceExt as _;
use futures::StreamExt as _;
use tokio::task::JoinHandle;

use super::{Worker, WorkerStats};
use crate::admin::{self, TaskInfo, WorkerInfo};
use crate::broker::WORKERS;
use crate::client::Client;

/// Makes the worker be found until it is dropped.
pub(super) struct Presence(JoinHandle<()>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Offers the service, and warns of workers that define a task differently.
pub(super) fn announce(worker: &Worker) -> Option<Presence> {
    let nats = worker.client.0.broker.nats()?.clone();
    let client = worker.client.clone();
    let info = WorkerInfo {
        worker: worker.name.to_string(),
        namespace: client.namespace().to_owned(),
        mode: client.mode().to_string(),
        queues: worker.queues.clone(),
        concurrency: worker.concurrency,
        tasks: worker
            .registry
            .tasks()
            .into_iter()
            .map(TaskInfo::from)
            .collect(),
    };
    let subject = client.0.namespace.worker(&worker.name);
    let stats = worker.stats.clone();
    Some(Presence(tokio::spawn(async move {
        let text = match serde_json::to_string(&info) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!("this worker cannot be found by `taskq tasks`: {error}");
                return;
            }
        };
        let service = nats
            .service_builder()
            .description("runs taskq tasks")
            .metadata(HashMap::from([(admin::INFO_KEY.to_owned(), text)]))
            .stats_handler({
                let (info, stats) = (info.clone(), stats.clone());
                move |_, _| numbers(&info, &stats)
            })
            .start(WORKERS, env!("CARGO_PKG_VERSION"))
            .await;
        // Held: the service ends with it.
        let service = match service {
            Ok(service) => service,
            Err(error) => {
                tracing::warn!("this worker cannot be found by `taskq tasks`: {error}");
                return;
            }
        };
        // A service's numbers are those of its endpoints: without one there
        // are none.
        let asked = service.endpoint_builder().name("health").add(subject);
        let answering = async {
            match asked.await {
                Ok(mut requests) => {
                    while let Some(request) = requests.next().await {
                        let answer = numbers(&info, &stats).to_string();
                        // Who asked may be gone.
                        let _ = request.respond(Ok(answer.into())).await;
                    }
                }
                Err(error) => tracing::warn!("`taskq doctor` cannot ask this worker: {error}"),
            }
            std::future::pending::<()>().await;
        };
        tokio::join!(answering, warn_of_differences(&client, &info));
    })))
}

/// What a worker tells of how it does.
fn numbers(info: &WorkerInfo, stats: &WorkerStats) -> serde_json::Value {
    serde_json::json!({
        "worker": info.worker,
        "namespace": info.namespace,
        "mode": info.mode,
        "trouble": stats.trouble(),
        "started": stats.started(),
        "running": stats.running(),
        "succeeded": stats.succeeded(),
        "failed": stats.failed(),
        "retried": stats.retried(),
        "cancelled": stats.cancelled(),
        "expired": stats.expired(),
        "leases_lost": stats.leases_lost(),
        "outcomes_refused": stats.outcomes_refused(),
    })
}

async fn warn_of_differences(client: &Client, own: &WorkerInfo) {
    let Ok(workers) = admin::workers(client).await else {
        return;
    };
    for other in workers.iter().filter(|other| other.worker != own.worker) {
        for (here, there) in admin::differences(own, other) {
            tracing::warn!(
                task = here.name,
                other = other.worker,
                "two workers define task `{}` differently: {} here, {} there; calls that fit one \
                 fail in the other until both run the same version",
                here.name,
                here.signature,
                there.signature,
            );
        }
    }
}
