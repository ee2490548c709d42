//! Queues, workers and task types over HTTP.

use serde_json::json;

use crate::{System, ids};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_a_queue_is_listed_a_page_at_a_time() {
    let system = System::new().await;
    for n in 0..7 {
        let task = if n % 2 == 0 { "double" } else { "linger" };
        let call = json!({
            "task": task, "id": format!("t{n}"), "queue": "email", "args": [n],
            "priority": if n == 3 { "high" } else { "normal" },
        });
        system.post("/v1/tasks", call).await;
    }
    let mut found = Vec::new();
    let mut path = "/v1/queues/email/tasks?limit=3".to_owned();
    loop {
        let page = system.get(&path).await.json();
        found.extend(ids(&page));
        assert_eq!(page["items"][0]["state"], "waiting");
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/queues/email/tasks?limit=3&cursor={next}");
    }
    assert_eq!(found, ["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    let some = system
        .get("/v1/queues/email/tasks?task=linger")
        .await
        .json();
    assert_eq!(ids(&some), ["t1", "t3", "t5"]);
    assert_eq!(some["items"][1]["priority"], "high");
    assert_eq!(some["items"][1]["args"], json!([3]));
    assert_eq!(
        system.get("/v1/queues/nothing/tasks").await.code(),
        "not_found"
    );
    assert_eq!(system.get("/v1/queues/nothing").await.code(), "not_found");
    assert_eq!(system.get("/v1/queues/n*/tasks").await.code(), "invalid");

    let _worker = system
        .worker_with(|worker| worker.queues(["email"]).concurrency(4))
        .await;
    system
        .until("/v1/queues", |list| list["items"][0]["pending"] == 0)
        .await;
    // A worker is found a moment after it takes tasks.
    system
        .until("/v1/queues/email/scaling", |scaling| {
            (&scaling["workers"], &scaling["slots"]) == (&json!(1), &json!(4))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn living_workers_and_what_they_can_run_are_listed() {
    let system = System::new().await;
    assert_eq!(system.get("/v1/workers").await.json(), json!({"items": []}));
    let _worker = system
        .worker_with(|worker| worker.name("w1").concurrency(3))
        .await;
    let list = system
        .until("/v1/workers", |list| {
            list["items"][0]["tasks"][0].is_string()
        })
        .await;
    assert_eq!(list["items"][0]["worker"], "w1");
    assert_eq!(list["items"][0]["concurrency"], 3);
    let one = system.get("/v1/workers/w1").await.json();
    assert_eq!(one["tasks"], list["items"][0]["tasks"]);
    assert_eq!(one["current"], json!([]));
    let kinds = system.get("/v1/task-types").await.json();
    let names: Vec<_> = kinds["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| &k["task"])
        .collect();
    assert!(names.contains(&&json!("double")), "{names:?}");
    let kind = system.get("/v1/task-types/double").await.json();
    assert_eq!(kind["doc"], "Doubles a number.");
    assert_eq!(kind["workers"], json!(["w1"]));
    assert_eq!(
        system.get("/v1/task-types/nobody").await.code(),
        "not_found"
    );
    assert_eq!(system.get("/v1/workers/w2").await.code(), "not_found");
}
