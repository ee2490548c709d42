//! What makes no sense is told, and how.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::json;

use crate::{System, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_a_problem_with_a_code() {
    let system = System::new().await;
    for path in [
        "/v1/tasks?colour=red",
        "/v1/tasks?limit=0",
        "/v1/tasks?limit=many",
        "/v1/tasks?cursor=%00",
        "/v1/tasks?state=exploded",
        "/v1/tasks?since=yesterday",
        "/v1/tasks?label=nothing",
        "/v1/tasks?task=a&task=b",
        "/v1/tasks?error=***",
        "/v1/tasks?order=random",
        "/v1/tasks/x?wait=soon",
        "/v1/dead-letters?reason=boredom",
        "/v1/events?event=exploded",
        "/v1/events?after=x",
    ] {
        let answer = system.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {answer:?}");
        assert_eq!(answer.code(), "invalid");
    }
    for body in [
        json!({}),
        json!({"task": 7}),
        json!({"task": "double", "colour": "red"}),
        json!({"task": "double", "priority": "urgent"}),
        json!({"task": "double", "delay": "1s", "at": "2026-01-01T00:00:00Z"}),
        json!({"task": "double", "at": "noon"}),
        json!({"task": "double", "backoff": "sometimes"}),
        json!({"task": "double", "labels": {"taskq_attempt": "7"}}),
        json!({"task": "double", "id": ""}),
        json!({"task": "a b"}),
        json!({"task": "double", "queue": "a.b"}),
        json!(["double"]),
    ] {
        let answer = system.post("/v1/tasks", body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {answer:?}");
        assert_eq!(answer.code(), "invalid");
    }
    assert_eq!(system.get("/v2").await.code(), "not_found");
    let answer = system.ask(Method::DELETE, "/v1/tasks", None).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.code(), "method");

    let raw = |kind: &str, body: String| {
        let request = Request::post("/v1/tasks").header(header::CONTENT_TYPE, kind);
        request.body(Body::from(body)).unwrap()
    };
    let answer = read(system.send(raw("text/plain", "{}".to_owned())).await).await;
    assert_eq!(answer.code(), "not_json");
    let answer = read(system.send(raw("application/json", "{".to_owned())).await).await;
    assert_eq!(answer.code(), "invalid");
    let large = json!({"task": "double", "args": ["x".repeat(100_000)]}).to_string();
    let answer = read(system.send(raw("application/json", large)).await).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.code(), "too_large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_interface_is_described_and_its_page_needs_nothing_else() {
    let system = System::new().await;
    let api = system.get("/openapi.json").await.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, methods) in api["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "x").replace("{queue}", "default");
        let path = path.replace("{worker}", "w").replace("{task}", "t");
        for method in methods.as_object().unwrap().keys() {
            // What is described is there; what is not there says so otherwise.
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = Request::builder()
                .method(method)
                .uri(&path)
                .body(Body::empty())
                .unwrap();
            let response = system.send(request).await;
            assert_ne!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
            if response.status() == StatusCode::NOT_FOUND {
                let answer = read(response).await;
                assert!(!answer.text.contains("nothing at this address"), "{path}");
            }
        }
    }
    let page = system.get("/docs").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("/v1/tasks/{id}:cancel"));
    for foreign in ["http://", "https://", "<script", "src=", "@import"] {
        assert!(!page.text.contains(foreign), "{foreign}");
    }
}
