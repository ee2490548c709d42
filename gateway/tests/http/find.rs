//! Finding tasks by what they were called with, in every state.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{System, ids};

async fn send(system: &System, call: Value) {
    let answer = system.post("/v1/tasks", call).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
}

async fn until_found(system: &System, path: &str, expected: &[&str]) -> Value {
    system.until(path, |list| ids(list) == expected).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_every_state_are_found_by_argument_label_key_and_error() {
    let system = System::new().await;
    let worker = system.worker().await;
    let labels = json!({"customer": "42"});
    // Ended well, badly, and by a cancel before any worker had it.
    let call = |task: &str, id: &str, kwargs: Value| {
        json!({"task": task, "id": id, "kwargs": kwargs, "labels": labels,
               "unique_key": format!("key of {id}")})
    };
    send(&system, call("double", "well", json!({"n": 21}))).await;
    let user = json!({"why": "mailbox 5 is full", "user": {"id": 7, "tags": ["x", "new"]}});
    send(&system, call("break_down", "badly", user)).await;
    until_found(&system, "/v1/tasks?arg=n=21", &["well"]).await;
    until_found(&system, "/v1/tasks?arg=user.id=7&state=failed", &["badly"]).await;
    let found = until_found(
        &system,
        "/v1/tasks?arg=user.tags.1=new&error=FULL+mailbox",
        &["badly"],
    );
    assert_eq!(found.await["items"][0]["key"], "key of badly");
    until_found(
        &system,
        "/v1/tasks?label=customer=42&state=succeeded",
        &["well"],
    )
    .await;
    until_found(&system, "/v1/tasks?key=key+of+well", &["well"]).await;
    until_found(&system, "/v1/tasks?arg=n=22", &[]).await;

    // Running: told after a while.
    send(&system, call("linger", "slow", json!({"millis": 600_000}))).await;
    until_found(
        &system,
        "/v1/tasks?state=running&arg=millis=600000",
        &["slow"],
    )
    .await;
    until_found(
        &system,
        "/v1/tasks?state=running&label=customer=42",
        &["slow"],
    )
    .await;
    until_found(&system, "/v1/tasks?key=key+of+slow&task=linger", &["slow"]).await;
    let answer = system.post("/v1/tasks/slow:cancel", json!({})).await;
    assert!(answer.status.is_success(), "{answer:?}");
    until_found(
        &system,
        "/v1/tasks?state=cancelled&arg=millis=600000",
        &["slow"],
    )
    .await;

    // Between two attempts.
    let mut retried = call(
        "break_down",
        "again",
        json!({"why": "no route", "user": "ada"}),
    );
    retried["backoff"] = json!("constant(1h, no jitter)");
    send(&system, retried).await;
    for filter in [
        "arg=user=ada",
        "label=customer=42",
        "error=route",
        "key=key+of+again",
    ] {
        let path = format!("/v1/tasks?state=retrying&{filter}");
        until_found(&system, &path, &["again"]).await;
    }

    // Cancelled before a worker had it.
    drop(worker);
    let mut early = call("double", "early", json!({"n": 5}));
    early["delay"] = json!("1h");
    send(&system, early).await;
    let answer = system.post("/v1/tasks/early:cancel", json!({})).await;
    assert!(answer.status.is_success(), "{answer:?}");
    until_found(&system, "/v1/tasks?state=cancelled&arg=n=5", &["early"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_are_long_sensitive_or_not_to_be_kept_are_not_found() {
    let system = System::new().await;
    let worker = system.worker().await;
    let long = json!({"task": "break_down", "id": "long", "retries": 0,
                      "kwargs": {"why": "x".repeat(2000), "user": "ada"}});
    // A dead letter has them all the same.
    send(&system, long).await;
    until_found(&system, "/v1/tasks?arg=user=ada", &["long"]).await;
    let long =
        json!({"task": "count", "id": "counted", "kwargs": {"text": "x".repeat(2000), "of": 7}});
    send(&system, long).await;
    let call = json!({"task": "count", "id": "short", "kwargs": {"text": "x", "of": 7}});
    send(&system, call).await;
    until_found(&system, "/v1/tasks?task=count", &["short", "counted"]).await;
    until_found(&system, "/v1/tasks?arg=of=7", &["short"]).await;
    worker.drain().await;

    let _worker = system.worker_with(|worker| worker.keep_arguments(0)).await;
    let call = json!({"task": "count", "id": "unkept", "kwargs": {"text": "x", "of": 7}});
    send(&system, call).await;
    until_found(&system, "/v1/tasks?task=count&limit=1", &["unkept"]).await;
    until_found(&system, "/v1/tasks?arg=of=7", &["short"]).await;
}
