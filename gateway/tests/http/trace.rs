//! The trace that a request is a part of.

use axum::http::HeaderValue;
use serde_json::json;

use crate::System;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_a_part_of_the_trace_of_its_request() {
    let mut system = System::new().await;
    let _worker = system.worker().await;
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let calls = json!({"tasks": [{"task": "double", "kwargs": {"n": 1}, "id": "in-a-batch"}]});
    system
        .headers
        .insert("traceparent", HeaderValue::from_str(&parent).unwrap());
    system
        .headers
        .insert("tracestate", HeaderValue::from_static("shop=1"));
    let sent = json!({"task": "double", "kwargs": {"n": 1}, "id": "alone"});
    let ended = system.post("/v1/tasks?wait=60s", sent).await.json();
    assert_eq!(ended["trace_id"], TRACE, "{ended}");
    assert_eq!(ended["labels"]["traceparent"], parent);
    assert_eq!(ended["labels"]["tracestate"], "shop=1");
    assert_eq!(system.post("/v1/tasks:batch", calls).await.status, 200);
    let task = system
        .until("/v1/tasks/in-a-batch", |task| task["state"] == "succeeded")
        .await;
    assert_eq!(task["trace_id"], TRACE, "{task}");

    // What is none is no trace, and no reason to refuse a task.
    system
        .headers
        .insert("traceparent", HeaderValue::from_static("00-trace-me"));
    let sent = json!({"task": "double", "kwargs": {"n": 1}});
    let ended = system.post("/v1/tasks?wait=60s", sent).await.json();
    assert_eq!(ended["state"], "succeeded");
    assert_eq!(ended["trace_id"], json!(null));
}
