//! Being found: every worker is a NATS service that tells what it runs.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::service::endpoint::Endpoint;
use async_nats::service::{self, ServiceExt as _};
use futures::StreamExt as _;
use tokio::sync::oneshot;

use super::{Worker, WorkerStats};
use crate::admin::{self, TaskInfo, WorkerInfo};
use crate::broker::WORKERS;
use crate::client::Client;
use crate::task::Registry;

/// Where a worker tells how it does.
const HEALTH: &str = "health";

/// Makes the worker be found until it is dropped.
pub(super) struct Presence {
    _over: oneshot::Sender<()>,
}

/// Offers the service, and warns of workers that define a task differently.
pub(super) fn announce(worker: &Worker) -> Option<Presence> {
    let nats = worker.client.0.broker.nats()?.clone();
    let client = worker.client.clone();
    let registry = Arc::clone(&worker.registry);
    let subject = client.0.namespace.worker(&worker.name);
    let schemas = client.0.namespace.worker_schema(&worker.name);
    let stats = worker.stats.clone();
    let (over, is_over) = oneshot::channel::<()>();
    let (name, queues) = (Arc::clone(&worker.name), worker.queues.clone());
    let concurrency = worker.concurrency;
    tokio::spawn(async move {
        // Here, since the schemas of many tasks take a moment.
        let info = WorkerInfo {
            worker: name.to_string(),
            namespace: client.namespace().to_owned(),
            mode: client.mode().to_string(),
            queues,
            concurrency,
            tasks: registry.tasks().into_iter().map(TaskInfo::from).collect(),
        };
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
                move |endpoint, _| match endpoint == HEALTH {
                    true => numbers(&info, &stats),
                    false => serde_json::Value::Null,
                }
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
        let asked = service.endpoint_builder().name(HEALTH).add(subject);
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
        let schemas = service.endpoint_builder().name("schema").add(schemas);
        let telling = async {
            match schemas.await {
                Ok(questions) => tell_schemas(questions, &registry, &client).await,
                Err(error) => tracing::warn!("this worker tells no schemas of its tasks: {error}"),
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = async { tokio::join!(answering, telling, warn_of_differences(&client, &info)) } => {}
            // Told, or its sender is gone.
            _ = is_over => {}
        }
        // One that is merely dropped goes on answering for as long as the
        // connection lasts.
        if let Err(error) = service.stop().await {
            tracing::debug!("this worker may still be found: {error}");
        }
    });
    Some(Presence { _over: over })
}

/// Tells what is known of a task to who asks for it by name. One at a time: a
/// schema may be large.
async fn tell_schemas(mut questions: Endpoint, registry: &Registry, client: &Client) {
    while let Some(question) = questions.next().await {
        let asked = str::from_utf8(&question.message.payload).unwrap_or_default();
        let answer = match registry.find(asked.trim()).1 {
            Some(task) => {
                let body = admin::answer_task_detail(task, client.0.broker.max_message());
                Ok(body.into())
            }
            None => Err(service::error::Error {
                code: 404,
                status: "this worker does not know the task".to_owned(),
            }),
        };
        // Who asked may be gone.
        let _ = question.respond(answer).await;
    }
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
                "two workers define task `{}` differently, here and there: {}; calls that fit \
                 one fail in the other until both run the same version",
                here.name,
                here.difference(there),
            );
        }
    }
}
