//! Pausing, purging and setting over HTTP.

use axum::http::{Method, StatusCode, header};
use serde_json::json;
use taskq::Call;

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_paused_resumed_and_purged() {
    let system = System::new().await;
    let paused = system
        .post("/v1/queues/default:pause", json!({"reason": "relay down"}))
        .await;
    assert_eq!(
        paused.json(),
        json!({"name": "default", "changed": true}),
        "{paused:?}"
    );
    let again = system
        .ask(Method::POST, "/v1/queues/default:pause", None)
        .await;
    assert_eq!(again.json()["changed"], false);
    let _worker = system.worker().await;
    system
        .post(
            "/v1/tasks",
            json!({"task": "double", "id": "a", "kwargs": {"n": 1}}),
        )
        .await;
    // It may be on its way to the worker and back for a moment.
    system
        .until("/v1/tasks/a/explain", |why| {
            why["text"].as_str().unwrap().contains("relay down")
        })
        .await;
    let counted = system
        .ask(Method::POST, "/v1/queues/default:purge?dry_run=true", None)
        .await;
    assert_eq!(counted.json()["cancelled"], 1);
    let purged = system
        .ask(Method::POST, "/v1/queues/default:purge", None)
        .await;
    assert_eq!(purged.json(), json!({"cancelled": 1, "too_late": 0}));
    assert_eq!(system.get("/v1/tasks/a").await.json()["state"], "cancelled");
    let resumed = system
        .ask(Method::POST, "/v1/queues/default:resume", None)
        .await;
    assert_eq!(resumed.json()["changed"], true);
    let ended = system.post(
        "/v1/tasks?wait=60s",
        json!({"task": "double", "kwargs": {"n": 1}}),
    );
    assert_eq!(ended.await.json()["result"], 2);
    assert_eq!(
        system.post("/v1/queues/x:purge", json!({})).await.code(),
        "not_found"
    );
    assert_eq!(
        system
            .post("/v1/queues/default:burn", json!({}))
            .await
            .code(),
        "not_found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_changed_only_as_they_were_seen() {
    let mut system = System::new().await;
    let path = "/v1/queues/email/settings";
    let seen = system.get(path).await;
    let tag = seen.headers[header::ETAG].clone();
    assert_eq!(seen.json(), json!({}));
    let put = json!({"concurrency": 10, "retries": 3});
    let answer = system.ask(Method::PUT, path, Some(put.clone())).await;
    assert_eq!(answer.status, StatusCode::PRECONDITION_REQUIRED);
    assert_eq!(answer.code(), "if_match_needed");
    system.headers.insert(header::IF_MATCH, tag);
    let set = system.ask(Method::PUT, path, Some(put.clone())).await;
    assert_eq!(set.json(), put, "{set:?}");
    let late = system.ask(Method::PUT, path, Some(json!({}))).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(late.code(), "conflict");
    assert_eq!(system.get(path).await.json(), put);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_type_and_a_schedule_are_paused_and_go_on() {
    let system = System::new().await;
    for (verb, changed) in [("pause", true), ("pause", false), ("resume", true)] {
        let path = format!("/v1/task-types/double:{verb}");
        let done = system.ask(Method::POST, &path, None).await;
        assert_eq!(done.json()["changed"], changed, "{done:?}");
    }
    let client = system.fixture.client().await;
    let call = Call::named("double").arg("n", &1);
    let nightly = client.schedule("nightly", call).cron("0 3 * * *");
    nightly.save().await.unwrap();
    let list = system.get("/v1/schedules").await.json();
    assert_eq!(list["items"][0]["name"], "nightly", "{list}");
    for (verb, changed) in [("pause", true), ("pause", false), ("resume", true)] {
        let path = format!("/v1/schedules/nightly:{verb}");
        let done = system.ask(Method::POST, &path, None).await;
        assert_eq!(done.json()["changed"], changed, "{done:?}");
    }
    let run = system
        .ask(Method::POST, "/v1/schedules/nightly:run", None)
        .await;
    assert!(run.json()["id"].is_string(), "{run:?}");
    let gone = system
        .ask(Method::DELETE, "/v1/schedules/nightly", None)
        .await;
    assert_eq!(gone.json()["changed"], true);
    assert_eq!(
        system.get("/v1/schedules/nightly").await.code(),
        "not_found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_put_off_is_moved_and_started_now() {
    let system = System::new().await;
    let _worker = system.worker().await;
    let call = json!({"task": "double", "id": "later", "kwargs": {"n": 4}, "delay": "1h"});
    system.post("/v1/tasks", call).await;
    assert_eq!(
        system.get("/v1/tasks/later").await.json()["state"],
        "scheduled"
    );
    let at = taskq::Timestamp::now().plus(std::time::Duration::from_secs(7200));
    let moved = system
        .post("/v1/tasks/later:reschedule", json!({"at": at}))
        .await;
    assert_eq!(moved.json()["outcome"], "moved", "{moved:?}");
    let bad = system
        .post("/v1/tasks/later:reschedule", json!({"at": "noon"}))
        .await;
    assert_eq!(bad.code(), "invalid");
    let now = system
        .ask(Method::POST, "/v1/tasks/later:run-now", None)
        .await;
    assert_eq!(now.json()["outcome"], "moved", "{now:?}");
    let ended = system.get("/v1/tasks/later?wait=60s").await;
    assert_eq!(ended.json()["result"], 8);
    let late = system
        .ask(Method::POST, "/v1/tasks/later:run-now", None)
        .await;
    assert_eq!(late.json()["outcome"], "too_late");
    let nobody = system
        .ask(Method::POST, "/v1/tasks/nobody:run-now", None)
        .await;
    assert_eq!(nobody.code(), "not_found");
}
