//! `/metrics`: how the queues are, and the gateway itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use serde_json::Value;
use taskq::admin::{self, QueueFilter, Source, WorkerInfo};
use taskq::telemetry::{Kind, OTHER, Page};
use taskq::{Client, QueueDepth, Timestamp};

use super::Shared;
use super::problem::Problem;

/// How long NATS may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked which task types there are.
const LOOK: Duration = Duration::from_secs(30);
/// So many messages of a queue are looked at for the oldest that waits; those
/// before it run.
const MOST_LOOKED_AT: usize = 1000;
/// How many queues are looked at at once.
const AT_ONCE: usize = 8;
/// The classes of how long answers take, in seconds.
const BOUNDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The gateway's numbers in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "The numbers"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let seen = Seen::now(&shared.client).await;
    let mut page = Page::new();
    seen.write(&mut page);
    index(&mut page, &shared).await;
    shared.answers.write(&mut page);
    page.client(&shared.client).process();
    (
        [(header::CONTENT_TYPE, Page::CONTENT_TYPE)],
        page.into_text(),
    )
}

/// What the server and the workers tell at a moment. What does not answer in
/// time is not there.
#[derive(Default)]
struct Seen {
    queues: Option<Vec<QueueDepth>>,
    paused: Option<Vec<String>>,
    /// When what has waited for the longest could have started, by queue.
    oldest: BTreeMap<String, Timestamp>,
    dead: Option<u64>,
    workers: Option<Vec<WorkerInfo>>,
    now: Option<Timestamp>,
}

impl Seen {
    async fn now(client: &Client) -> Self {
        let queues = async {
            let queues = client.queues().await.ok()?;
            let mut looks = Vec::new();
            for queue in &queues {
                if queue.pending > queue.held {
                    looks.push(oldest(client.clone(), queue.queue.clone()));
                }
            }
            let oldest = futures::stream::iter(looks)
                .buffer_unordered(AT_ONCE)
                .filter_map(|found| async move { found })
                .collect()
                .await;
            Some((queues, oldest))
        };
        let paused = async {
            let set = admin::queues::list(client).await.ok()?.into_iter();
            let paused = set.filter(|set| set.settings.paused.is_some());
            Some(paused.map(|set| set.name).collect())
        };
        let dead = async {
            let extent = admin::extent(client, Source::DeadLetters).await.ok()?;
            Some(extent.records)
        };
        let workers = async { admin::workers(client).await.ok() };
        let (queues, paused, dead, workers, now) = futures::join!(
            in_time(queues),
            in_time(paused),
            in_time(dead),
            in_time(workers),
            in_time(async { Some(client.server_time().await) }),
        );
        if let Some(workers) = &workers {
            know(client, workers);
        }
        let (queues, oldest) = queues.unzip();
        Self {
            queues,
            paused,
            oldest: oldest.unwrap_or_default(),
            dead,
            workers,
            now,
        }
    }

    fn write(&self, page: &mut Page) {
        page.one(
            "taskq_jetstream_up",
            Kind::Gauge,
            "Whether JetStream answers: 1 or 0.",
            u8::from(self.queues.is_some()),
        );
        let queues = self.queues.as_deref().unwrap_or_default();
        for (name, help, of) in [
            (
                "taskq_queue_pending",
                "Tasks that wait for a worker, or for the turn of their key.",
                (|queue| queue.pending) as fn(&QueueDepth) -> u64,
            ),
            (
                "taskq_queue_held",
                "Tasks that wait for the turn of their key: a part of those that are pending.",
                |queue| queue.held,
            ),
            (
                "taskq_queue_running",
                "Tasks that a worker was given and that have not ended.",
                |queue| queue.running,
            ),
            (
                "taskq_queue_scheduled",
                "Tasks that are not due yet: delays, and waits before a retry.",
                |queue| queue.scheduled,
            ),
        ] {
            let mut family = page.family(name, Kind::Gauge, help);
            for queue in queues {
                family.value(&[("queue", &queue.queue)], of(queue));
            }
        }
        let mut oldest = page.family(
            "taskq_queue_oldest_wait_seconds",
            Kind::Gauge,
            "For how long the task has waited that waits for a worker for the longest; 0 if none does.",
        );
        for queue in queues {
            let since = self.oldest.get(&queue.queue);
            let wait = since.and_then(|since| Some(self.now?.since(*since)));
            let labels = [("queue", &*queue.queue)];
            oldest.value(&labels, wait.unwrap_or_default().as_secs_f64());
        }
        let mut paused = page.family(
            "taskq_queue_paused",
            Kind::Gauge,
            "Whether an operator has paused the queue: 1 or 0.",
        );
        for queue in queues.iter().filter(|_| self.paused.is_some()) {
            let is_paused = self
                .paused
                .iter()
                .flatten()
                .any(|name| *name == queue.queue);
            paused.value(&[("queue", &queue.queue)], u8::from(is_paused));
        }
        let serving = |queue: &QueueDepth| {
            let workers = self.workers.iter().flatten();
            let name = queue.queue.clone();
            workers.filter(move |worker| worker.queues.contains(&name))
        };
        let mut workers = page.family(
            "taskq_queue_workers",
            Kind::Gauge,
            "Living workers that serve the queue.",
        );
        for queue in queues.iter().filter(|_| self.workers.is_some()) {
            workers.value(&[("queue", &queue.queue)], serving(queue).count());
        }
        let mut slots = page.family(
            "taskq_queue_slots",
            Kind::Gauge,
            "How many attempts the workers of the queue may run at once; shared with their other queues.",
        );
        for queue in queues.iter().filter(|_| self.workers.is_some()) {
            let count: usize = serving(queue).map(|worker| worker.concurrency).sum();
            slots.value(&[("queue", &queue.queue)], count);
        }
        let mut workers = page.family("taskq_workers", Kind::Gauge, "Living workers.");
        if let Some(living) = &self.workers {
            workers.value(&[], living.len());
        }
        let mut dead = page.family(
            "taskq_dead_letters",
            Kind::Gauge,
            "Dead letters that are kept.",
        );
        if let Some(count) = self.dead {
            dead.value(&[], count);
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

/// A queue, and when what has waited in it for the longest could have started.
async fn oldest(client: Client, queue: String) -> Option<(String, Timestamp)> {
    let (mut filter, mut looked_at) = (QueueFilter::of(&queue), 0);
    loop {
        let page = admin::queued(&client, filter.clone()).await.ok()?;
        if let Some(first) = page.tasks.iter().find(|task| !task.given) {
            // Text by Taskiq's custom.
            let due = first.labels.get("taskq_due").and_then(|due| match due {
                Value::String(text) => text.parse().ok(),
                number => number.as_i64(),
            });
            return Some((queue, due.map_or(first.enqueued_at, Timestamp::from_millis)));
        }
        looked_at += page.tasks.len();
        filter.after = page.next.filter(|_| looked_at < MOST_LOOKED_AT)?;
    }
}

/// The index, and how far behind it is.
async fn index(page: &mut Page, shared: &Shared) {
    let mut tasks = page.family(
        "taskq_index_tasks",
        Kind::Gauge,
        "Ended tasks in the index, by state.",
    );
    if let Ok(counts) = shared.index.counts().await {
        for (state, count) in &counts.states {
            tasks.value(&[("state", state)], count);
        }
    }
    let lag = shared.follower.lag();
    let mut behind = page.family(
        "taskq_index_lag_records",
        Kind::Gauge,
        "Records that the index has not seen yet.",
    );
    for lag in &lag {
        if let Some(records) = lag.records {
            behind.value(&[("source", lag.source)], records);
        }
    }
    let mut taken = page.family(
        "taskq_index_records_total",
        Kind::Counter,
        "Records that the index has taken in.",
    );
    for lag in &lag {
        taken.value(&[("source", lag.source)], lag.taken);
    }
}

/// Lets calls be counted by the names of the task types that workers have:
/// those that callers send may be any.
fn know(client: &Client, workers: &[WorkerInfo]) {
    let tasks = workers.iter().flat_map(|worker| &worker.tasks);
    client.know_tasks(tasks.map(|task| &task.name));
}

/// Looks which task types there are, for as long as there is a gateway.
pub(super) fn watch_types(shared: Weak<Shared>) {
    tokio::spawn(async move {
        while let Some(client) = shared.upgrade().map(|shared| shared.client.clone()) {
            if let Ok(workers) = admin::workers(&client).await {
                know(&client, &workers);
            }
            drop(client);
            tokio::time::sleep(LOOK).await;
        }
    });
}

/// What was answered, by address, method and status; and how long that took.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<BTreeMap<String, Address>>);

#[derive(Debug, Default)]
struct Address {
    statuses: BTreeMap<(&'static str, u16), u64>,
    classes: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

impl Answers {
    fn count(&self, address: &str, method: &'static str, status: u16, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(address) {
            all.insert(address.to_owned(), Address::default());
        }
        let Some(address) = all.get_mut(address) else {
            return;
        };
        *address.statuses.entry((method, status)).or_default() += 1;
        let seconds = took.as_secs_f64();
        let class = BOUNDS.iter().position(|bound| seconds <= *bound);
        address.classes[class.unwrap_or(BOUNDS.len())] += 1;
        address.seconds += seconds;
    }

    fn write(&self, page: &mut Page) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut requests = page.family(
            "taskq_http_requests_total",
            Kind::Counter,
            "Requests that were answered, by address, method and status.",
        );
        for (route, address) in all.iter() {
            for ((method, status), count) in &address.statuses {
                let status = status.to_string();
                let labels = [("route", &**route), ("method", method), ("status", &status)];
                requests.value(&labels, count);
            }
        }
        let mut took = page.family(
            "taskq_http_request_seconds",
            Kind::Histogram,
            "How long answers took to begin, by address.",
        );
        for (route, address) in all.iter() {
            let mut count = 0;
            let classes = address.classes.iter().map(|class| {
                count += class;
                count
            });
            let buckets: Vec<(f64, u64)> = BOUNDS.into_iter().zip(classes).collect();
            let count = address.classes.iter().sum();
            took.histogram(&[("route", route)], buckets, count, address.seconds);
        }
    }
}

/// Counts what is answered. The address is that of the route, so that ids do
/// not become labels.
pub(super) async fn count(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    };
    let began = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(OTHER, MatchedPath::as_str);
    let status = response.status().as_u16();
    shared.answers.count(route, method, status, began.elapsed());
    response
}
