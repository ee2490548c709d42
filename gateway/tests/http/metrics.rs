//! What Prometheus is told, and that the documentation, the alerts and the
//! dashboard tell of the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::mpsc;

use clap::Parser as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{PATIENCE, System};

/// A metric, as a page has it.
#[derive(Debug, Default)]
pub(crate) struct Metric {
    pub(crate) kind: String,
    /// The names of its labels.
    pub(crate) labels: BTreeSet<String>,
    /// Its lines: labels as written, and values.
    values: BTreeMap<String, f64>,
}

pub(crate) type Metrics = BTreeMap<String, Metric>;

/// Reads a page, and sees that each metric has its help and its kind once.
fn read(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            let metric = Metric {
                kind: kind.to_owned(),
                ..Metric::default()
            };
            assert!(metrics.insert(name.to_owned(), metric).is_none(), "{name}");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = ["_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|suffix| {
                let family = name.strip_suffix(suffix)?;
                let metric = metrics.get(family)?;
                (metric.kind == "histogram").then(|| family.to_owned())
            });
        let family = family.unwrap_or_else(|| name.to_owned());
        let metric = metrics.get_mut(&family).expect(line);
        let names = labels.trim_end_matches('}').split("\",");
        let names = names.filter_map(|label| label.split_once('='));
        let names = names.map(|(name, _)| name.to_owned());
        metric.labels.extend(names.filter(|name| name != "le"));
        let value: f64 = value.parse().expect(line);
        assert!(metric.values.insert(series.to_owned(), value).is_none());
    }
    metrics
}

impl System {
    /// The metrics of this gateway.
    async fn metrics(&self) -> Metrics {
        read(&self.get("/metrics").await.text)
    }
}

/// The ready-made worker, on a thread of its own; and where it serves HTTP.
pub(crate) struct ReadyMade {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    ended: mpsc::Receiver<()>,
    address: String,
}

impl ReadyMade {
    fn start(system: &System) -> Self {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            args: taskq_worker::Args,
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let url = system.fixture.url();
        let cli = Cli::parse_from(["worker", "--url", url, "--http", &address]);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            taskq_worker::run_until(cli.args, async {
                let _ = stopped.await;
            })
            .unwrap();
            let _ = end.send(());
        });
        Self {
            stop: Some(stop),
            ended,
            address,
        }
    }

    async fn metrics(&self) -> Metrics {
        read(&self.page().await)
    }

    pub(crate) async fn page(&self) -> String {
        let mut socket = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let request = b"GET /metrics HTTP/1.0\r\nHost: worker\r\n\r\n";
        socket.write_all(request).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        body.to_owned()
    }
}

impl Drop for ReadyMade {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

/// A gateway and a worker that have something to tell.
pub(crate) async fn busy() -> (System, ReadyMade) {
    let system = System::new().await;
    let worker = ReadyMade::start(&system);
    let sent = system
        .post(
            "/v1/tasks?wait=60s",
            json!({"task": "double", "kwargs": {"n": 1}}),
        )
        .await;
    assert_eq!(sent.json()["state"], "succeeded", "{sent:?}");
    system
        .until("/v1/stats", |stats| {
            stats["ended"]["states"]["succeeded"] == 1
        })
        .await;
    (system, worker)
}

/// All metrics of both.
pub(crate) async fn all(system: &System, worker: &ReadyMade) -> Metrics {
    let mut all = system.metrics().await;
    for (name, metric) in worker.metrics().await {
        let known = all.entry(name).or_insert_with(|| Metric {
            kind: metric.kind.clone(),
            ..Metric::default()
        });
        assert_eq!(known.kind, metric.kind);
        known.labels.extend(metric.labels);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_metrics_names_what_worker_and_gateway_tell_and_nothing_else() {
    let (system, worker) = busy().await;
    let told = all(&system, &worker).await;
    let page = include_str!("../../../docs/metrics.md");
    let (page, _) = page.split_once("## By OpenTelemetry").unwrap();
    let mut described = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let quoted = |cell: &str| -> BTreeSet<String> {
            let parts = cell.split('`').skip(1).step_by(2);
            parts.map(str::to_owned).collect()
        };
        for name in quoted(cells[1]) {
            assert!(!cells[4].is_empty(), "{name} has no meaning");
            let labels = quoted(cells[3]);
            let twice = described.insert(name, (cells[2].to_owned(), labels));
            assert!(twice.is_none(), "{line}");
        }
    }
    let told: BTreeMap<String, (String, BTreeSet<String>)> = told
        .into_iter()
        .map(|(name, metric)| (name, (metric.kind, metric.labels)))
        .collect();
    assert_eq!(described, told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_tells_how_its_queues_are() {
    let system = System::new().await;
    let value = async |series: &str| {
        let metrics = system.metrics().await;
        let family = series.split('{').next().unwrap();
        metrics[family].values.get(series).copied()
    };
    for task in ["double", "no_such_task"] {
        let sent = json!({"task": task, "kwargs": {"n": 1}});
        assert_eq!(system.post("/v1/tasks", sent).await.status, 201);
    }
    let pause = system.post("/v1/queues/default:pause", json!({})).await;
    assert_eq!(pause.status, 200, "{pause:?}");
    assert_eq!(value("taskq_jetstream_up").await, Some(1.0));
    assert_eq!(
        value("taskq_queue_pending{queue=\"default\"}").await,
        Some(2.0)
    );
    assert_eq!(
        value("taskq_queue_paused{queue=\"default\"}").await,
        Some(1.0)
    );
    assert_eq!(
        value("taskq_queue_workers{queue=\"default\"}").await,
        Some(0.0)
    );
    // It grows while nobody takes them.
    let wait = "taskq_queue_oldest_wait_seconds{queue=\"default\"}";
    let first = value(wait).await.unwrap();
    let limit = tokio::time::Instant::now() + PATIENCE;
    while value(wait).await.unwrap() <= first {
        assert!(tokio::time::Instant::now() < limit, "{first}");
    }
    // Nobody has said that there are such tasks.
    assert_eq!(
        value("taskq_tasks_enqueued_total{task=\"_OTHER\"}").await,
        Some(2.0)
    );
    let requests = "taskq_http_requests_total{route=\"/v1/tasks\",method=\"POST\",status=\"201\"}";
    assert_eq!(value(requests).await, Some(2.0));

    // With a worker there are; and what nobody has is still one of many.
    let _worker = system.worker().await;
    // It is found a moment after it has started.
    while value("taskq_workers").await != Some(1.0) {
        assert!(tokio::time::Instant::now() < limit + PATIENCE);
    }
    for task in ["double", "no_such_task"] {
        let sent = json!({"task": task, "kwargs": {"n": 1}});
        assert_eq!(system.post("/v1/tasks", sent).await.status, 201);
    }
    assert_eq!(
        value("taskq_tasks_enqueued_total{task=\"double\"}").await,
        Some(1.0)
    );
    assert_eq!(
        value("taskq_tasks_enqueued_total{task=\"_OTHER\"}").await,
        Some(3.0)
    );
    while value("taskq_queue_slots{queue=\"default\"}").await != Some(64.0) {
        assert!(tokio::time::Instant::now() < limit + PATIENCE);
    }
}
