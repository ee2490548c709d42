//! What a gateway can do with the rights of `deploy/nats/permissions.conf`.

use axum::http::{HeaderMap, Method};
use serde_json::json;
use taskq::Worker;
use taskq_e2e::{Fixture, Roles, Running};
use taskq_gateway::index::{Index, Retention};
use taskq_gateway::{Access, Gateway, Limits};

use crate::{System, ids};

/// A gateway that is this user to NATS.
async fn of(roles: &Roles, role: &str) -> System {
    let index = Index::scratch(Retention::default()).unwrap();
    let client = roles.client(role).await;
    System {
        fixture: Fixture::new(taskq::Mode::Memory),
        gateway: Gateway::new(client, index, Access::default(), Limits::default()),
        headers: HeaderMap::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_rights_are_enough_for_all_of_it_and_a_viewers_for_looking() {
    let roles = Roles::start();
    let operator = roles.client("operator").await;
    taskq::admin::init(
        &operator,
        taskq::admin::InitOptions::new().queues(["default"]),
    )
    .await
    .unwrap();
    let system = of(&roles, "operator").await;
    let _worker = Running::start(Worker::builder(roles.client("worker").await)).await;
    let call = json!({"task": "break_down", "id": "doomed", "kwargs": {"why": "x", "user": 1}});
    let sent = system.post("/v1/tasks?wait=60s", call).await;
    assert_eq!(sent.json()["state"], "failed", "{sent:?}");
    let viewer = of(&roles, "viewer").await;
    for system in [&system, &viewer] {
        system
            .until("/v1/dead-letters", |list| ids(list) == ["doomed"])
            .await;
        system
            .until("/v1/tasks?arg=user=1", |list| ids(list) == ["doomed"])
            .await;
        for path in [
            "/v1/tasks/doomed",
            "/v1/tasks/doomed/events",
            "/v1/tasks/doomed/explain",
            "/v1/queues/default/tasks",
            "/v1/queues/default/scaling",
            "/v1/dead-letters/doomed",
            "/v1/task-types",
            "/v1/stats",
        ] {
            let answer = system.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        let readyz = system.get("/readyz").await;
        assert_eq!(readyz.text, "ready\n");
    }
    let refused = viewer
        .post("/v1/tasks", json!({"task": "double", "args": [1]}))
        .await;
    assert_eq!(refused.code(), "nats_permission");
    for verb in ["replay", "discard"] {
        let path = format!("/v1/dead-letters/doomed:{verb}");
        let done = system.ask(Method::POST, &path, None).await;
        assert_eq!(done.status, 200, "{done:?}");
        if verb == "replay" {
            system
                .until("/v1/dead-letters", |list| list["items"][0]["replays"] == 1)
                .await;
        }
    }
}
