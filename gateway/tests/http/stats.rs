//! The totals.

use serde_json::json;

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_page_has_the_totals_of_queues_and_workers_and_of_what_has_ended() {
    let system = System::new().await;
    for queue in ["default", "later"] {
        let body = json!({"task": "double", "kwargs": {"n": 1}, "queue": queue});
        system.post("/v1/tasks", body).await;
    }
    let body = json!({"task": "double", "kwargs": {"n": 1}, "delay": "1h"});
    system.post("/v1/tasks", body).await;
    let body = json!({"task": "break_down", "kwargs": {"why": "x", "user": {}}});
    system.post("/v1/tasks", body).await;
    let _worker = system.worker_with(|worker| worker.concurrency(7)).await;
    // An outcome is there a moment before its message is gone.
    let totals = json!({"queues": 2, "pending": 1, "running": 0, "scheduled": 1});
    let stats = system
        .until("/v1/stats", |stats| {
            stats["last_hour"]["total"] == 2 && stats["totals"] == totals
        })
        .await;
    assert_eq!(stats["workers"], json!({"count": 1, "slots": 7}));
    let hour = &stats["last_hour"];
    assert_eq!(hour["states"], json!({"succeeded": 1, "failed": 1}));
    assert!((hour["per_second"].as_f64().unwrap() - 2.0 / 3600.0).abs() < 1e-9);
    assert!((hour["per_second_now"].as_f64().unwrap() - 2.0 / 60.0).abs() < 1e-9);
}
