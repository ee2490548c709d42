//! The index over HTTP: pages, and building it again.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use taskq_gateway::Access;

use crate::{System, gateway, ids};

async fn some(system: &System) {
    let calls: Vec<Value> = (0..40)
        .map(|n| {
            json!({"task": "double", "id": format!("t{n:02}"), "kwargs": {"n": n},
                   "labels": {"half": if n < 20 { "first" } else { "second" }}})
        })
        .collect();
    system
        .post("/v1/tasks:batch", json!({"tasks": calls}))
        .await;
    let call = json!({"task": "break_down", "id": "doomed", "kwargs": {"why": "x", "user": 1}});
    system.post("/v1/tasks?wait=60s", call).await;
    let all = system.until("/v1/tasks?limit=100", |list| {
        ids(list).len() == 41
            && list["items"]
                .as_array()
                .unwrap()
                .iter()
                .all(|t| t["finished_at"].is_string())
    });
    all.await;
    system
        .until("/v1/dead-letters", |list| ids(list).len() == 1)
        .await;
}

/// Pages of a list, one after the other.
async fn pages(system: &System, path: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut next = path.to_owned();
    loop {
        let page = system.get(&next).await.json();
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next"].as_str() else {
            return found;
        };
        next = format!("{path}&cursor={cursor}");
    }
}

const QUESTIONS: [&str; 6] = [
    "/v1/tasks?limit=7",
    "/v1/tasks?limit=7&order=oldest",
    "/v1/tasks?limit=7&label=half=second",
    "/v1/tasks?limit=7&state=failed",
    "/v1/tasks?limit=7&arg=user=1",
    "/v1/dead-letters?limit=7",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_built_again_gives_the_same_answers() {
    let system = System::new().await;
    let _worker = system.worker().await;
    some(&system).await;
    let mut before = Vec::new();
    for path in QUESTIONS {
        before.push(pages(&system, path).await);
    }
    let mut every: Vec<&str> = before[0]
        .iter()
        .map(|t| t["id"].as_str().unwrap())
        .collect();
    every.sort_unstable();
    every.dedup();
    assert_eq!(every.len(), 41, "each is on one page");
    let stats = system.get("/v1/stats").await.json();
    assert_eq!(
        stats["ended"]["states"],
        json!({"succeeded": 40, "failed": 1})
    );

    let answer = system.ask(Method::POST, "/v1/index:rebuild", None).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    system
        .until("/v1/tasks?limit=100", |list| ids(list).len() == 41)
        .await;
    system
        .until("/v1/tasks?arg=user=1", |list| ids(list).len() == 1)
        .await;
    system
        .until("/v1/dead-letters", |list| ids(list).len() == 1)
        .await;
    for (path, before) in QUESTIONS.iter().zip(&before) {
        assert_eq!(&pages(&system, path).await, before, "{path}");
    }
    assert_eq!(
        system.get("/v1/stats").await.json()["ended"],
        stats["ended"]
    );

    // A cursor of one replica is good in another.
    let other = System {
        gateway: gateway(&system.fixture, Access::default()).await,
        fixture: taskq_e2e::Fixture::new(taskq::Mode::Memory),
        headers: axum::http::HeaderMap::new(),
    };
    other
        .until("/v1/tasks?limit=100", |list| ids(list).len() == 41)
        .await;
    let page = system.get("/v1/tasks?limit=20").await.json();
    let path = format!(
        "/v1/tasks?limit=20&cursor={}",
        page["next"].as_str().unwrap()
    );
    assert_eq!(system.get(&path).await.text, other.get(&path).await.text);
}
