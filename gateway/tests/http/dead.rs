//! Dead letters over HTTP.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::{System, ids};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_found_shown_sent_again_and_discarded() {
    let system = System::new().await;
    let _worker = system.worker().await;
    let call = json!({
        "task": "break_down", "id": "doomed",
        "kwargs": {"why": "the mailbox is full", "user": {"id": 42}},
    });
    let ended = system.post("/v1/tasks?wait=60s", call).await;
    assert_eq!(ended.json()["state"], "failed", "{ended:?}");
    assert_eq!(ended.json()["dead"], "exhausted");

    let list = system
        .until("/v1/dead-letters?task=break_down", |list| {
            !ids(list).is_empty()
        })
        .await;
    assert_eq!(ids(&list), ["doomed"]);
    assert_eq!(list["items"][0]["reason"], "exhausted");
    let nothing = system.get("/v1/dead-letters?reason=crashed").await;
    assert_eq!(ids(&nothing.json()), [""; 0]);
    let letter = system.get("/v1/dead-letters/doomed").await.json();
    assert_eq!(letter["message"]["kwargs"]["user"]["id"], 42);
    assert_eq!(letter["failures"].as_array().unwrap().len(), 2);

    for (path, found) in [
        ("arg=user.id=42", true),
        ("arg=user.id=43", false),
        ("error=MAILBOX+full", true),
        ("error=mailbox&dead=true&arg=user.id=42", true),
        ("error=inbox", false),
        ("dead=false", false),
    ] {
        let expected: &[&str] = if found { &["doomed"] } else { &[] };
        system
            .until(&format!("/v1/tasks?{path}"), |list| ids(list) == expected)
            .await;
    }

    let done = system
        .ask(Method::POST, "/v1/dead-letters/doomed:replay", None)
        .await;
    assert_eq!(done.json()["outcome"], "sent", "{done:?}");
    // It fails once more, as a dead letter that knows of it.
    let list = system
        .until("/v1/dead-letters", |list| list["items"][0]["replays"] == 1)
        .await;
    assert_eq!(ids(&list), ["doomed"]);
    let done = system
        .ask(Method::POST, "/v1/dead-letters/doomed:discard", None)
        .await;
    assert_eq!(done.json()["outcome"], "discarded");
    system
        .until("/v1/dead-letters", |list| ids(list).is_empty())
        .await;
    let gone = system
        .ask(Method::POST, "/v1/dead-letters/doomed:discard", None)
        .await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(
        system.get("/v1/dead-letters/doomed").await.code(),
        "not_found"
    );
}
