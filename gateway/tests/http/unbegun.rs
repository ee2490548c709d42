//! Listing what has not begun.

use serde_json::json;

use crate::{System, ids};

/// All ids of a list, by its pages.
async fn all(system: &System, path: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = system.get(&format!("{path}&limit=2{cursor}")).await.json();
        assert!(page["items"].as_array().unwrap().len() <= 2);
        found.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_listed_from_the_queues_page_by_page() {
    let system = System::new().await;
    for (id, queue, task) in [
        ("a1", "a", "double"),
        ("b1", "b", "linger"),
        ("a2", "a", "linger"),
        ("b2", "b", "double"),
        ("a3", "a", "double"),
    ] {
        let call =
            json!({"task": task, "id": id, "queue": queue, "args": [1], "labels": {"of": id}});
        system.post("/v1/tasks", call).await;
    }
    for (query, expected) in [
        ("", &["a1", "a2", "a3", "b1", "b2"][..]),
        ("&queue=b", &["b1", "b2"]),
        ("&task=double", &["a1", "a3", "b2"]),
        ("&label=of=a2", &["a2"]),
        ("&queue=none", &[]),
        ("&order=oldest", &["a1", "a2", "a3", "b1", "b2"]),
    ] {
        let path = format!("/v1/tasks?state=waiting{query}");
        assert_eq!(all(&system, &path).await, expected, "{query}");
    }
    let first = &system.get("/v1/tasks?state=waiting&limit=1").await.json()["items"][0];
    assert_eq!(
        (&first["state"], &first["attempt"]),
        (&json!("waiting"), &json!(0))
    );
    assert_eq!(first["labels"], json!({"of": "a1"}));
    assert!(
        first["enqueued_at"].is_string() && first.get("args").is_none(),
        "{first}"
    );
    for bad in [
        "state=waiting,running",
        "state=waiting&worker=w1",
        "state=waiting&order=newest",
        "state=waiting&cursor=12",
        "state=asleep",
    ] {
        assert_eq!(
            system.get(&format!("/v1/tasks?{bad}")).await.code(),
            "invalid",
            "{bad}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_off_is_listed_from_the_plan_with_the_time_it_is_due() {
    let system = System::new().await;
    for (id, queue) in [("s1", "a"), ("s2", "b"), ("s3", "a")] {
        let call = json!({"task": "double", "id": id, "queue": queue, "args": [1], "delay": "1h"});
        system.post("/v1/tasks", call).await;
    }
    assert_eq!(
        all(&system, "/v1/tasks?state=scheduled").await,
        ["s1", "s2", "s3"]
    );
    assert_eq!(
        all(&system, "/v1/tasks?state=scheduled&queue=a").await,
        ["s1", "s3"]
    );
    let page = system.get("/v1/tasks?state=scheduled&limit=1").await.json();
    assert_eq!(page["items"][0]["state"], "scheduled");
    assert!(page["items"][0]["due"].is_string(), "{page}");
    // What is moved goes to the end.
    let at = taskq::Timestamp::now().plus(std::time::Duration::from_secs(60));
    let moved = system
        .post("/v1/tasks/s1:reschedule", json!({"at": at}))
        .await;
    assert_eq!(moved.json()["outcome"], "moved", "{moved:?}");
    assert_eq!(
        all(&system, "/v1/tasks?state=scheduled").await,
        ["s2", "s3", "s1"]
    );
}
