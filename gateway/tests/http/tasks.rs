//! Sending tasks, and finding them.

use axum::http::{Method, StatusCode, header};
use serde_json::json;

use crate::{System, ids};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_sent_waited_for_and_found() {
    let system = System::new().await;
    let _worker = system.worker().await;
    let call = json!({"task": "double", "kwargs": {"n": 21}, "labels": {"customer": "42"}});
    let ended = system.post("/v1/tasks?wait=60s", call).await;
    assert_eq!(ended.status, StatusCode::OK, "{ended:?}");
    assert_eq!(ended.json()["result"], 42);
    assert_eq!(ended.json()["state"], "succeeded");
    let id = ended.json()["id"].as_str().unwrap().to_owned();

    let task = system.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(task.json()["task"], "double");
    assert_eq!(task.json()["result"], 42);
    let result = system.get(&format!("/v1/tasks/{id}/result")).await;
    assert_eq!(
        result.json(),
        json!({
            "id": id, "state": "succeeded", "result": 42, "error": null, "sensitive": false,
        })
    );
    let attempts = system.get(&format!("/v1/tasks/{id}/attempts")).await;
    assert_eq!(attempts.json()["items"][0]["state"], "succeeded");
    let events = system.get(&format!("/v1/tasks/{id}/events")).await;
    let kinds = events.json();
    let kinds: Vec<_> = kinds["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["event"])
        .collect();
    assert_eq!(kinds, ["started", "succeeded"]);
    let why = system.get(&format!("/v1/tasks/{id}/explain")).await;
    assert_eq!(why.json()["reason"], "ended");
    assert!(why.json()["text"].as_str().is_some());

    let found = system
        .until(
            "/v1/tasks?label=customer=42&state=succeeded&task=double",
            |list| !ids(list).is_empty(),
        )
        .await;
    assert_eq!(ids(&found), [id]);
    assert_eq!(found["items"][0]["labels"], json!({"customer": "42"}));
    let none = system.get("/v1/tasks?label=customer=43").await;
    assert_eq!(none.json(), json!({"items": [], "next": null}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_not_ended_is_accepted_and_can_be_waited_for_later() {
    let system = System::new().await;
    let sent = system
        .post("/v1/tasks", json!({"task": "double", "kwargs": {"n": 1}}))
        .await;
    assert_eq!(sent.status, StatusCode::CREATED);
    let id = sent.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(sent.headers[header::LOCATION], format!("/v1/tasks/{id}"));
    let waited = system.get(&format!("/v1/tasks/{id}?wait=50ms")).await;
    assert_eq!(waited.status, StatusCode::ACCEPTED);
    assert_eq!(waited.json()["state"], "waiting");
    let result = system
        .get(&format!("/v1/tasks/{id}/result?wait=50ms"))
        .await;
    assert_eq!(result.status, StatusCode::ACCEPTED);
    let task = system.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(task.status, StatusCode::OK);
    let _worker = system.worker().await;
    let result = system.get(&format!("/v1/tasks/{id}/result?wait=60s")).await;
    assert_eq!(result.json()["result"], 2);
    assert_eq!(system.get("/v1/tasks/nobody").await.code(), "not_found");
    assert_eq!(
        system.get("/v1/tasks/nobody/result?wait=60s").await.code(),
        "not_found"
    );
    assert_eq!(
        system.get("/v1/tasks/nobody/events").await.code(),
        "not_found"
    );
    assert_eq!(
        system.get("/v1/tasks/nobody/explain").await.code(),
        "not_found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_sent_twice_is_one_task() {
    let mut system = System::new().await;
    let call = json!({"task": "double", "kwargs": {"n": 1}});
    system
        .headers
        .insert("idempotency-key", "order-1".parse().unwrap());
    let first = system.post("/v1/tasks", call.clone()).await;
    let second = system.post("/v1/tasks", call.clone()).await;
    assert_eq!(
        (first.status, second.status),
        (StatusCode::CREATED, StatusCode::OK)
    );
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_eq!(second.json()["existing"], true);
    let mut named = call.clone();
    named["id"] = "mine".into();
    assert_eq!(system.post("/v1/tasks", named).await.code(), "invalid");
    system
        .headers
        .insert("idempotency-key", "order-2".parse().unwrap());
    let other = system.post("/v1/tasks", call).await;
    assert_ne!(first.json()["id"], other.json()["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_tells_what_became_of_each_and_is_looked_at_before_any_is_sent() {
    let system = System::new().await;
    let call = |n: u64| json!({"task": "double", "kwargs": {"n": n}, "queue": "batch"});
    let batch = json!({"tasks": [call(1), call(2), {"task": "no such name!", "queue": "batch"}]});
    let sent = system.post("/v1/tasks:batch", batch).await;
    assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
    let tasks = sent.json()["tasks"].as_array().unwrap().clone();
    assert!(tasks[0]["id"].is_string() && tasks[1]["id"].is_string());
    assert_eq!(tasks[2]["problem"]["code"], "invalid");

    let batch = json!({"atomic": true, "tasks": [call(3), call(4)]});
    let sent = system.post("/v1/tasks:batch", batch).await;
    assert_eq!(sent.json()["tasks"].as_array().unwrap().len(), 2);
    let bad = json!({"tasks": [call(5), {"task": "double", "delay": "soon"}]});
    let refused = system.post("/v1/tasks:batch", bad).await;
    assert_eq!(refused.code(), "invalid");
    assert!(refused.text.contains("task 1 of the batch"), "{refused:?}");
    let queue = system.get("/v1/queues/batch").await;
    assert_eq!(queue.json()["pending"], 4);
    assert_eq!(
        system
            .post("/v1/tasks:batch", json!({"tasks": []}))
            .await
            .code(),
        "invalid"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_cancelled_while_it_waits_and_while_it_runs() {
    let system = System::new().await;
    let sent = system.post(
        "/v1/tasks",
        json!({"task": "double", "id": "a:b", "kwargs": {"n": 1}}),
    );
    assert_eq!(sent.await.status, StatusCode::CREATED);
    // An id may have the sign in it that a verb begins with.
    let done = system
        .post("/v1/tasks/a:b:cancel", json!({"reason": "a mistake"}))
        .await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    assert_eq!(done.json()["outcome"], "cancelled");
    let task = system.get("/v1/tasks/a:b").await;
    assert_eq!(task.json()["state"], "cancelled");
    assert_eq!(task.json()["cancelled_by"], "anonymous via gateway");
    let again = system.ask(Method::POST, "/v1/tasks/a:b:cancel", None).await;
    assert_eq!(again.json()["outcome"], "too_late");

    let _worker = system.worker().await;
    let sent = system.post(
        "/v1/tasks",
        json!({"task": "linger", "kwargs": {"millis": 60_000}}),
    );
    let id = sent.await.json()["id"].as_str().unwrap().to_owned();
    system
        .until(&format!("/v1/tasks/{id}"), |task| {
            task["state"] == "running"
        })
        .await;
    let done = system
        .ask(Method::POST, &format!("/v1/tasks/{id}:cancel"), None)
        .await;
    // Unless the worker is so quick that it has acted already.
    let requested = done.status == StatusCode::ACCEPTED;
    assert_eq!(requested, done.json()["outcome"] == "requested", "{done:?}");
    let ended = system.get(&format!("/v1/tasks/{id}?wait=60s")).await;
    assert_eq!(ended.json()["state"], "cancelled");
    assert_eq!(
        system
            .post("/v1/tasks/nobody:cancel", json!({}))
            .await
            .code(),
        "not_found"
    );
    assert_eq!(
        system.post("/v1/tasks/x:explode", json!({})).await.code(),
        "not_found"
    );
    assert_eq!(
        system.post("/v1/tasks/x", json!({})).await.code(),
        "not_found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_runs_is_listed_before_it_has_ended() {
    let system = System::new().await;
    let _worker = system.worker().await;
    let call = json!({"task": "linger", "kwargs": {"millis": 60_000}, "id": "slow"});
    system.post("/v1/tasks", call).await;
    let list = system
        .until("/v1/tasks?state=running", |list| !ids(list).is_empty())
        .await;
    assert_eq!(ids(&list), ["slow"]);
    assert_eq!(list["items"][0]["task"], "linger");
    let task = system.get("/v1/tasks/slow").await.json();
    assert_eq!(task["state"], "running");
    assert_eq!(task["task"], "linger");
    let attempts = system.get("/v1/tasks/slow/attempts").await.json();
    assert_eq!(attempts["items"][0]["state"], "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_has_ended_badly_runs_again_and_what_cannot_is_told_why() {
    let system = System::new().await;
    let body = json!({"task": "linger", "kwargs": {"millis": 1}, "id": "1"});
    assert_eq!(system.post("/v1/tasks", body).await.status, 201);
    let early = system.post("/v1/tasks/1:retry", json!({})).await;
    assert_eq!(
        (early.status.as_u16(), early.code().as_str()),
        (409, "not_ended")
    );
    assert_eq!(
        system.post("/v1/tasks/1:cancel", json!({})).await.status,
        200
    );
    let sent = system.post("/v1/tasks/1:retry", json!({})).await.json();
    assert_eq!(sent, json!({"id": "1", "outcome": "sent", "state": null}));
    let _worker = system.worker().await;
    let ended = system
        .until("/v1/tasks/1", |task| task["state"] == "succeeded")
        .await;
    assert_eq!(ended["result"], 1);
    let late = system.post("/v1/tasks/1:retry", json!({})).await;
    assert_eq!(
        (late.status.as_u16(), late.code().as_str()),
        (409, "succeeded")
    );

    let kwargs = json!({"why": "x", "user": {}});
    let body = json!({"task": "break_down", "kwargs": kwargs, "id": "2"});
    let failed = system.post("/v1/tasks?wait=60s", body).await.json();
    assert_eq!(failed["state"], "failed");
    system.until("/v1/dead-letters/2", |_| true).await;
    let done = system.post("/v1/dead-letters/2:discard", json!({})).await;
    assert_eq!(done.json()["outcome"], "discarded");
    let gone = system.post("/v1/tasks/2:retry", json!({})).await;
    assert_eq!(
        (gone.status.as_u16(), gone.code().as_str()),
        (410, "arguments_gone")
    );
    let nobody = system.post("/v1/tasks/nobody:retry", json!({})).await;
    assert_eq!(nobody.code(), "not_found");
}
