//! Live events.

use std::collections::BTreeSet;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use futures::StreamExt as _;
use serde_json::{Value, json};
use taskq_e2e::PATIENCE;
use taskq_gateway::{Access, Gateway};

use crate::{System, double, gateway, send};

/// Who listens to server-sent events.
struct Listener {
    body: BodyDataStream,
    text: String,
    /// The id to go on behind.
    last: String,
}

/// One event.
#[derive(Debug, PartialEq, Eq, Hash, Clone, PartialOrd, Ord)]
struct Event {
    kind: String,
    id: String,
}

impl Listener {
    async fn new(gateway: &Gateway, path: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = send(gateway, request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut listener = Self {
            body: response.into_body().into_data_stream(),
            text: String::new(),
            last: String::new(),
        };
        // The place is told before anything happens.
        while listener.last.is_empty() {
            assert!(listener.frame().await.is_none());
        }
        listener
    }

    /// The next frame; none if it is no event.
    async fn frame(&mut self) -> Option<Event> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (mut kind, mut data) = (String::new(), String::new());
                for line in frame.lines() {
                    match line.split_once(": ") {
                        Some(("event", word)) => word.clone_into(&mut kind),
                        Some(("id", id)) => id.clone_into(&mut self.last),
                        Some(("data", json)) => json.clone_into(&mut data),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                let json: Value = serde_json::from_str(&data).ok()?;
                assert_eq!(json["event"], kind);
                let id = json["task_id"].as_str().unwrap_or_default().to_owned();
                return Some(Event { kind, id });
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await;
            let chunk = chunk
                .expect("an event in time")
                .expect("a stream that goes on")
                .unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next events of a kind; those of others before them are dropped.
    async fn events(&mut self, kind: &str, most: usize) -> Vec<Event> {
        let mut found = Vec::new();
        let gather = async {
            while found.len() < most {
                if let Some(event) = self.frame().await
                    && event.kind == kind
                {
                    found.push(event);
                }
            }
        };
        // Signs of life go on where nothing more happens.
        let gathered = tokio::time::timeout(3 * PATIENCE, gather).await;
        assert!(gathered.is_ok(), "{} of {most}: {kind}", found.len());
        found
    }
}

async fn run(system: &System, from: u64, to: u64) {
    let client = system.fixture.client().await;
    let calls = (from..to).map(|n| double::call(n).id(format!("t{n:05}")));
    let handles: Vec<_> = client.enqueue_many(calls).collect().await;
    for handle in handles {
        handle.unwrap().result().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_on_in_another_replica_with_none_left_out_and_none_twice() {
    let system = System::new().await;
    let _worker = system.worker().await;
    let mut listener = Listener::new(&system.gateway, "/v1/events", None).await;
    run(&system, 0, 300).await;
    // It hears some, and is cut off in their midst.
    let mut heard = listener.events("succeeded", 150).await;
    let last = listener.last.clone();
    drop(listener);
    run(&system, 300, 500).await;

    let other = gateway(&system.fixture, Access::default()).await;
    let mut listener = Listener::new(&other, "/v1/events", Some(&last)).await;
    let live = run(&system, 500, 700);
    let (rest, ()) = tokio::join!(listener.events("succeeded", 550), live);
    heard.extend(rest);
    let mut ids: Vec<String> = heard.into_iter().map(|event| event.id).collect();
    ids.sort_unstable();
    let expected: Vec<String> = (0..700).map(|n| format!("t{n:05}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_before_the_first_event_misses_nothing() {
    let system = System::new().await;
    let _worker = system.worker().await;
    let listener = Listener::new(&system.gateway, "/v1/events", None).await;
    let last = listener.last.clone();
    drop(listener);
    run(&system, 0, 20).await;
    let mut listener =
        Listener::new(&system.gateway, "/v1/events?event=succeeded", Some(&last)).await;
    assert_eq!(listener.events("succeeded", 20).await.len(), 20);
    let path = format!("/v1/events?event=succeeded&after={last}");
    let mut listener = Listener::new(&system.gateway, &path, None).await;
    assert_eq!(listener.events("succeeded", 20).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_asked_for_is_told() {
    let system = System::new().await;
    let _worker = system.worker().await;
    let path = "/v1/events?event=failed,succeeded&task=break_down";
    let mut failures = Listener::new(&system.gateway, path, None).await;
    let mut one = Listener::new(&system.gateway, "/v1/tasks/doomed/events", None).await;
    run(&system, 0, 5).await;
    let call = json!({"task": "break_down", "id": "doomed", "kwargs": {"why": "x", "user": 1}});
    system.post("/v1/tasks?wait=60s", call).await;
    // What is read from the two streams comes in either order: its retry and
    // its dead letter from the one, the last attempt and its end from the other.
    // A short first attempt tells of itself by how it failed.
    for (listener, expected) in [
        (&mut one, &["dead", "failed", "retrying", "started"][..]),
        (&mut failures, &["failed"]),
    ] {
        let mut kinds = BTreeSet::new();
        let hear = async {
            while kinds.len() < expected.len() {
                if let Some(event) = listener.frame().await {
                    assert_eq!(event.id, "doomed");
                    kinds.insert(event.kind);
                }
            }
        };
        let heard = tokio::time::timeout(3 * PATIENCE, hear).await;
        assert!(heard.is_ok(), "{kinds:?} of {expected:?}");
        assert!(kinds.iter().eq(expected), "{kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_ends_when_the_gateway_stops() {
    let system = System::new().await;
    let mut listener = Listener::new(&system.gateway, "/v1/events", None).await;
    system.gateway.close();
    let end = async {
        while let Some(chunk) = listener.body.next().await {
            chunk.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("it ends");
}
