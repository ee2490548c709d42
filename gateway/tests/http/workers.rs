//! How workers do, and telling them what to do.

use axum::http::Method;
use serde_json::json;
use taskq::WorkerState;

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_shown_with_what_it_runs_and_told_to_go_quiet_on_and_to_end() {
    let system = System::new().await;
    let worker = system
        .worker_with(|worker| worker.name("w1").concurrency(3))
        .await;
    let call = json!({"task": "linger", "kwargs": {"millis": 600_000}, "id": "long"});
    system.post("/v1/tasks", call).await;
    let shown = system
        .until("/v1/workers/w1", |worker| {
            worker["current"][0]["id"] == "long"
        })
        .await;
    assert_eq!(
        (&shown["state"], &shown["concurrency"]),
        (&json!("running"), &json!(3))
    );
    assert_eq!(
        (&shown["running"], &shown["current"][0]["attempt"]),
        (&json!(1), &json!(1))
    );
    for told in [
        "started_at",
        "version",
        "heartbeat_age_ms",
        "process",
        "host",
    ] {
        assert!(!shown[told].is_null(), "{told}: {shown}");
    }
    let listed = system.get("/v1/workers").await.json();
    assert_eq!(listed["items"][0]["running"], 1);

    let because = json!({"reason": "disk swap"});
    let quiet = system.post("/v1/workers/w1:quiet", because).await.json();
    assert_eq!(
        quiet,
        json!({"worker": "w1", "before": "running", "after": "quiet"})
    );
    system
        .until("/v1/workers/w1", |worker| worker["state"] == "quiet")
        .await;
    let resumed = system.post("/v1/workers/w1:resume", json!({})).await;
    assert_eq!(resumed.json()["after"], "running");
    let wrong = system
        .post("/v1/workers/w1:quiet", json!({"grace": "5m"}))
        .await;
    assert_eq!(wrong.code(), "invalid");
    let wrong = system.post("/v1/workers/w1:hurry", json!({})).await;
    assert_eq!(wrong.code(), "not_found");
    let nobody = system.post("/v1/workers/w2:quiet", json!({})).await;
    assert_eq!(nobody.code(), "not_found");

    let drain = system
        .post("/v1/workers/w1:drain", json!({"grace": "1h"}))
        .await;
    assert_eq!(drain.json()["after"], "draining");
    let listed = system
        .until("/v1/workers", |list| {
            list["items"][0]["state"] == "draining"
        })
        .await;
    assert_eq!(listed["items"][0]["running"], 1);
    let back = system.post("/v1/workers/w1:resume", json!({})).await;
    assert_eq!(
        (back.status.as_u16(), back.code().as_str()),
        (409, "conflict")
    );
    system.post("/v1/workers/w1:stop", json!({})).await;
    taskq_e2e::until("it ends", || worker.stats.state() == WorkerState::Stopped).await;
    // Handed back: it waits for another.
    let back = system.get("/v1/tasks/long").await.json();
    assert!(back["finished_at"].is_null(), "{back}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_pool_to_start_workers_in_and_that_is_told() {
    let system = System::new().await;
    let start = system.post("/v1/workers", json!({"count": 2})).await;
    assert_eq!(
        (start.status.as_u16(), start.code().as_str()),
        (409, "no_pool")
    );
    let remove = system.ask(Method::DELETE, "/v1/workers/w1", None).await;
    assert_eq!(
        (remove.status.as_u16(), remove.code().as_str()),
        (409, "no_pool")
    );
    assert!(remove.text.contains(":drain"), "{remove:?}");
}
