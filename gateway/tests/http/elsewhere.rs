//! What docs/http.md says for who comes from another system.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use taskq::prelude::*;

use crate::System;

/// Calculates a little.
#[task]
async fn calculate(principal: u64, rate: u64) -> u64 {
    principal * rate / 100
}

/// What is between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Each call of the second column, with the body that follows it.
fn calls(guide: &str) -> Vec<(String, String, Option<Value>)> {
    let (_, part) = guide.split_once("## From another system\n").unwrap();
    let (part, _) = part.split_once("\n## ").unwrap();
    let mut calls: Vec<(String, String, Option<Value>)> = Vec::new();
    for row in part.lines().filter(|line| line.starts_with("| ")) {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(columns.len(), 2, "{row}");
        for code in code(columns[1]) {
            if code.starts_with('{') {
                let body = serde_json::from_str(code).unwrap_or_else(|_| panic!("{row}"));
                calls.last_mut().unwrap().2 = Some(body);
            } else if let Some((method, path)) = code.split_once(" /") {
                calls.push((method.to_owned(), format!("/{path}"), None));
            }
        }
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_that_replaces_one_of_another_system_is_answered() {
    let system = System::new().await;
    let worker = system
        .worker_with(|worker| worker.queues(["default", "email", "orders"]))
        .await;
    let call = json!({"task": "double", "args": [1], "id": "known"});
    system.post("/v1/tasks?wait=60s", call).await;
    let calls = calls(include_str!("../../../docs/http.md"));
    assert!(calls.len() > 40, "{}", calls.len());
    for (method, path, body) in calls {
        let path = path
            .replace("{id}", "known")
            .replace("{worker}", &worker.name);
        let mut request = Request::builder().method(method.as_str()).uri(&path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |json| Body::from(json.to_string()));
        let answer = system.send(request.body(body).unwrap()).await;
        // Without a socket there is no WebSocket, and without a pool nobody
        // starts workers; the calls are there, and say so.
        let starts_or_ends = path.starts_with("/v1/workers") && !path.contains(':');
        let is_there = match answer.status() {
            StatusCode::UPGRADE_REQUIRED => path.ends_with("/ws"),
            StatusCode::CONFLICT => starts_or_ends && ["POST", "DELETE"].contains(&&*method),
            status => status.is_success() && !path.ends_with("/ws"),
        };
        assert!(is_there, "{method} {path}: {}", answer.status());
    }
    let ended = system.get("/v1/tasks?task=calculate&state=succeeded").await;
    assert!(ended.json()["items"].is_array(), "{ended:?}");
}
