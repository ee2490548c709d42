//! A call is one trace, whichever processes it goes through. The collector here
//! reads OTLP as any collector does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use taskq::admin::{self, EventFilter};
use taskq::{Event, EventKind, Mode, Timestamp};
use taskq_e2e::history::History;
use taskq_e2e::{Fixture, Program, program, run};
use tokio::net::TcpListener;

/// A span, and the service that told it.
#[derive(Clone, Debug)]
struct Told {
    service: String,
    span: Span,
}

impl Told {
    fn attribute(&self, name: &str) -> Option<String> {
        read(&self.span.attributes, name)
    }
}

fn read(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == name)?;
    match found.value.as_ref()? {
        AnyValue {
            value: Some(Value::StringValue(text)),
        } => Some(text.clone()),
        AnyValue {
            value: Some(Value::IntValue(number)),
        } => Some(number.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

/// What was sent to it.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Told>>>);

impl Collector {
    /// Listens; the address is for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v1/traces", post(collect))
            .with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }

    fn spans(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }
}

async fn collect(
    State(collector): State<Collector>,
    headers: HeaderMap,
    body: Bytes,
) -> ([(header::HeaderName, &'static str); 1], Vec<u8>) {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    assert_eq!(headers["x-key"], "secret");
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut all = collector.0.lock().unwrap();
    for resource in request.resource_spans {
        let of = resource.resource.unwrap_or_default();
        let service = read(&of.attributes, "service.name").unwrap();
        for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
            let service = service.clone();
            all.push(Told { service, span });
        }
    }
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    ([(header::CONTENT_TYPE, "application/x-protobuf")], answer)
}

fn actor(collector: &str, service: &str, url: &str, command: &str) -> Command {
    let mut actor = program(env!("CARGO_BIN_EXE_actor"));
    actor
        .args([command, "--url", url])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
        .env("OTEL_SERVICE_NAME", service)
        .env("TASKQ_LOG_FORMAT", "json");
    actor
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_its_waits_and_its_attempts_are_one_trace_over_two_processes() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    let (collector, address) = Collector::start().await;
    let history = History::new();
    let mut worker = actor(&address, "shop-worker", system.url(), "work");
    worker.arg("--notes").arg(history.path());
    let worker = Program::start(worker.args(["--name", "w1"]));
    let _ = worker.stderr_line("worker started");

    let mut sender = actor(&address, "shop", system.url(), "send");
    let sent = run(sender.args(["--failures", "2", "--millis", "20", "--ids", "order-"]));
    assert_eq!(sent.code(), 0, "{sent:?}");
    let outcome = client
        .handle::<serde_json::Value>("order-0")
        .outcome()
        .await
        .unwrap();
    assert!(outcome.is_success(), "{outcome:?}");
    let line = worker.stderr_line("\"succeeded\"");
    worker.signal("TERM");
    assert_eq!(worker.end().code(), 0);

    let spans = collector.spans();
    let of = |name: &str| -> Vec<Told> {
        let mut found: Vec<Told> = spans
            .iter()
            .filter(|it| it.span.name == name)
            .cloned()
            .collect();
        found.sort_by_key(|it| it.span.start_time_unix_nano);
        found
    };
    let [publish] = of("publish flaky").try_into().unwrap();
    let (waits, attempts) = (of("wait flaky"), of("process flaky"));
    assert_eq!((waits.len(), attempts.len()), (3, 3), "{spans:#?}");
    assert_eq!(publish.service, "shop");
    assert_eq!(publish.span.parent_span_id, [0u8; 0]);
    for span in waits.iter().chain(&attempts) {
        assert_eq!(span.service, "shop-worker");
        assert_eq!(span.span.trace_id, publish.span.trace_id);
        assert_eq!(span.span.parent_span_id, publish.span.span_id);
    }
    for span in &spans {
        assert_eq!(span.attribute("messaging.system").as_deref(), Some("nats"));
        let id = span.attribute("messaging.message.id");
        assert_eq!(id.as_deref(), Some("order-0"));
        let queue = span.attribute("messaging.destination.name");
        assert_eq!(queue.as_deref(), Some("default"));
    }
    for (number, (wait, attempt)) in (1..).zip(waits.iter().zip(&attempts)) {
        let told: String = attempt.attribute("taskq.attempt").unwrap();
        assert_eq!(told, number.to_string());
        // A wait ends where its attempt begins, and that is as long as it ran.
        assert_eq!(
            wait.span.end_time_unix_nano,
            attempt.span.start_time_unix_nano
        );
        let ran = attempt.span.end_time_unix_nano - attempt.span.start_time_unix_nano;
        assert!((20_000_000..60_000_000_000).contains(&ran), "{ran}");
        let failed = attempt.attribute("error.type").is_some();
        assert_eq!(failed, number < 3, "{attempt:?}");
    }

    // Whoever looks at the task finds the trace, and the reverse.
    let trace_id: String = publish
        .span
        .trace_id
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    assert_eq!(outcome.trace_id(), Some(&*trace_id));
    assert!(
        line.contains(&format!("\"trace_id\":\"{trace_id}\"")),
        "{line}"
    );
    // Events are told a moment after what they tell of.
    let limit = std::time::Instant::now() + taskq_e2e::PATIENCE;
    let mut kinds = BTreeSet::new();
    while !(kinds.contains("retrying") && kinds.contains("succeeded"))
        && std::time::Instant::now() < limit
    {
        tokio::task::yield_now().await;
        for event in &events(&client, "id=order-0".parse().unwrap()).await {
            assert_eq!(event.detail["trace_id"], trace_id.as_str(), "{event:?}");
            kinds.insert(event.kind.as_str());
        }
    }
    assert!(
        kinds.contains("retrying") && kinds.contains("succeeded"),
        "{kinds:?}"
    );
}

/// All that is told of a task, to its end.
async fn events(client: &taskq::Client, filter: EventFilter) -> Vec<Event> {
    use futures::StreamExt as _;
    let mut events = admin::events(client, filter, Some(Timestamp::from_millis(0)), true)
        .await
        .unwrap()
        .boxed();
    let mut found = Vec::new();
    while let Some(event) = tokio::time::timeout(taskq_e2e::PATIENCE, events.next())
        .await
        .unwrap()
    {
        let event = event.unwrap();
        let is_last = event.kind == EventKind::Succeeded;
        found.push(event);
        if is_last {
            break;
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_traceparent_is_the_parent_and_a_task_without_one_begins_a_trace() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    let (collector, address) = Collector::start().await;
    let history = History::new();
    let mut worker = actor(&address, "shop-worker", system.url(), "work");
    worker.arg("--notes").arg(history.path());
    let worker = Program::start(worker.args(["--name", "w1"]));
    let _ = worker.stderr_line("worker started");

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut ids = BTreeMap::new();
    for (name, parent) in [
        ("given", Some(format!("00-{trace}-b7ad6b7169203331-01"))),
        ("none", None),
        ("nonsense", Some("00-trace-me".to_owned())),
        ("unsampled", Some(format!("00-{trace}-b7ad6b7169203331-00"))),
    ] {
        let mut call = client.call("flaky").arg("failures", &1).arg("millis", &1);
        call = call.id(name);
        if let Some(parent) = parent {
            call = call.label("traceparent", parent);
        }
        let handle = call.enqueue(&client).await.unwrap();
        let outcome = handle.outcome().await.unwrap();
        ids.insert(name, outcome.trace_id().map(str::to_owned));
    }
    worker.signal("TERM");
    assert_eq!(worker.end().code(), 0);

    let spans = collector.spans();
    let attempts = |id: &str| -> Vec<Told> {
        let of = |it: &&Told| {
            it.attribute("messaging.message.id").as_deref() == Some(id)
                && it.span.name == "process flaky"
        };
        let mut found: Vec<Told> = spans.iter().filter(of).cloned().collect();
        found.sort_by_key(|it| it.span.start_time_unix_nano);
        found
    };
    for attempt in attempts("given") {
        assert_eq!(
            attempt.span.parent_span_id,
            [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]
        );
    }
    assert_eq!(ids["given"].as_deref(), Some(trace));
    // The first attempt begins a trace, and the second is in it.
    for name in ["none", "nonsense"] {
        let [first, second] = attempts(name).try_into().unwrap();
        assert_eq!(first.span.parent_span_id, [0u8; 0]);
        assert_eq!(second.span.parent_span_id, first.span.span_id);
        assert_eq!(second.span.trace_id, first.span.trace_id);
        let told: String = first
            .span
            .trace_id
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect();
        assert_eq!(ids[name].as_deref(), Some(&*told));
    }
    // Whoever began it did not want it kept.
    assert_eq!(attempts("unsampled").len(), 0);
}

#[test]
fn a_protocol_that_it_does_not_speak_is_told_and_tasks_run_all_the_same() {
    let system = Fixture::new(Mode::JetStream);
    let mut sender = actor("http://127.0.0.1:9", "shop", system.url(), "send");
    sender.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let sent = run(&mut sender);
    assert_eq!(sent.code(), 0, "{sent:?}");
    assert!(
        sent.stderr
            .contains("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        "{sent:?}"
    );
}
