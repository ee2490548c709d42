//! Under a path that a proxy gives it.

use axum::http::{HeaderMap, Method, StatusCode, header};
use serde_json::json;
use taskq::Mode;
use taskq_e2e::Fixture;
use taskq_gateway::index::{Index, Retention};
use taskq_gateway::{Access, Gateway, Limits};

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_prefix_every_address_is_answered_with_it_and_without() {
    let fixture = Fixture::new(Mode::JetStream);
    let limits = Limits {
        prefix: "/ops/taskq".parse().unwrap(),
        ..Limits::default()
    };
    let index = Index::scratch(Retention::default()).unwrap();
    let gateway = Gateway::new(fixture.client().await, index, Access::default(), limits);
    let system = System {
        fixture,
        gateway,
        headers: HeaderMap::new(),
    };
    for path in [
        "/ops/taskq/healthz",
        "/healthz",
        "/ops/taskq/v1/tasks?limit=1",
    ] {
        assert_eq!(system.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/ops/taskqs/healthz", "/ops/healthz", "/ops/taskq/nowhere"] {
        assert_eq!(system.get(path).await.code(), "not_found", "{path}");
    }
    // What is told to clients has the prefix.
    let call = json!({"task": "double", "args": [1], "id": "one"});
    let sent = system.post("/ops/taskq/v1/tasks", call).await;
    assert_eq!(sent.headers[header::LOCATION], "/ops/taskq/v1/tasks/one");
    let api = system.get("/ops/taskq/openapi.json").await.json();
    assert_eq!(api["servers"][0]["url"], "/ops/taskq");
    // Links are relative to the folder.
    let folder = system.ask(Method::GET, "/ops/taskq?a=b", None).await;
    assert_eq!(folder.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(folder.headers[header::LOCATION], "/ops/taskq/?a=b");
}
