//! What is sent twice, and what cannot be sent now.

use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use taskq::Mode;
use taskq_e2e::Fixture;
use taskq_gateway::index::{Index, Retention};
use taskq_gateway::{Access, Gateway, Limits};

use crate::{Answer, System};

impl System {
    async fn keyed(&mut self, key: &str, path: &str, body: Value) -> Answer {
        self.headers.insert("idempotency-key", key.parse().unwrap());
        let answer = self.post(path, body).await;
        self.headers.clear();
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_comes_with_another_body_is_refused_wherever_its_task_is() {
    let mut system = System::new().await;
    let call = |n: u64| json!({"task": "double", "kwargs": {"n": n}, "labels": {"a": "b"}});
    let refused = |answer: Answer| {
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
        assert_eq!(answer.code(), "key_reused");
    };
    // In its queue.
    let first = system.keyed("k", "/v1/tasks", call(1)).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let again = system.keyed("k", "/v1/tasks", call(1)).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert_eq!(again.json()["existing"], true);
    refused(system.keyed("k", "/v1/tasks", call(2)).await);
    // Written otherwise it is the same.
    let other = json!({"labels": {"a": "b"}, "kwargs": {"n": 1}, "args": [], "task": "double"});
    assert_eq!(
        system.keyed("k", "/v1/tasks", other).await.status,
        StatusCode::OK
    );
    // Put off.
    let later = |n: u64| json!({"task": "double", "args": [n], "delay": "1h"});
    system.keyed("later", "/v1/tasks", later(1)).await;
    refused(system.keyed("later", "/v1/tasks", later(2)).await);
    // Ended.
    let _worker = system.worker().await;
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        system.get(&format!("/v1/tasks/{id}?wait=60s")).await.json()["result"],
        2
    );
    refused(system.keyed("k", "/v1/tasks", call(2)).await);
    let again = system.keyed("k", "/v1/tasks?wait=60s", call(1)).await;
    assert_eq!(again.json()["result"], 2, "{again:?}");
    // One of several.
    let batch = |m: u64| json!({"tasks": [{"task": "double", "args": [1]}, {"task": "double", "args": [m]}]});
    system.keyed("b", "/v1/tasks:batch", batch(1)).await;
    let sent = system.keyed("b", "/v1/tasks:batch", batch(2)).await.json();
    assert_eq!(sent["tasks"][0]["existing"], true, "{sent}");
    assert_eq!(sent["tasks"][1]["problem"]["code"], "key_reused", "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_and_a_nats_that_is_away_say_when_to_come_again() {
    let mut fixture = Fixture::new(Mode::JetStream);
    let client = fixture.builder().enqueue_timeout(Duration::from_secs(1));
    let index = Index::scratch(Retention::default()).unwrap();
    let gateway = Gateway::new(
        client.connect().await.unwrap(),
        index,
        Access::default(),
        Limits::default(),
    );
    let mut server = fixture.server.take().unwrap();
    let mut system = System {
        fixture,
        gateway,
        headers: HeaderMap::new(),
    };
    let call = json!({"task": "double", "args": [1], "queue": "small"});
    let path = "/v1/queues/small/settings";
    let tag = system.get(path).await.headers[header::ETAG].clone();
    system.headers.insert(header::IF_MATCH, tag);
    let set = system
        .ask(Method::PUT, path, Some(json!({"max_backlog": 1})))
        .await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    system.headers.clear();
    assert_eq!(
        system.post("/v1/tasks", call.clone()).await.status,
        StatusCode::CREATED
    );
    let full = system.post("/v1/tasks", call.clone()).await;
    assert_eq!(full.status, StatusCode::TOO_MANY_REQUESTS, "{full:?}");
    assert_eq!(full.code(), "queue_full");
    assert!(full.headers.contains_key(header::RETRY_AFTER));

    server.kill().unwrap();
    let away = system
        .post("/v1/tasks", json!({"task": "double", "args": [1]}))
        .await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE, "{away:?}");
    assert_eq!(away.code(), "unavailable");
    assert!(away.headers.contains_key(header::RETRY_AFTER));
}
