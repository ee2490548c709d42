//! What is sensitive is seen by nobody who does not ask for it.

use axum::http::{HeaderMap, StatusCode, header};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use taskq::admin::{self, EventFilter};
use taskq::prelude::*;
use taskq::{Call, Timestamp};
use taskq_gateway::{Access, Role, make_token};

use crate::System;

const SECRET: &str = "hunter2-4711";

/// Gives its password back, or fails with it.
#[task(sensitive, discover = false)]
async fn sign_in(ctx: Context, password: String, fail: bool) -> Result<String, TaskError> {
    ctx.log(format_args!("the password is {password}"));
    ctx.progress(1, 2, password.as_str());
    match fail {
        true => Err(TaskError::permanent(format!("bad password {password}"))),
        false => Ok(password),
    }
}

#[task(discover = false)]
async fn pay(#[sensitive] card: String, cents: u32) -> Result<u32, TaskError> {
    match card.is_empty() {
        true => Ok(cents),
        false => Err(TaskError::permanent("the bank is closed")),
    }
}

/// Everything that the gateway answers of a task.
async fn all_of(system: &System, id: &str) -> String {
    let mut all = String::new();
    for path in [
        format!("/v1/tasks/{id}"),
        format!("/v1/tasks/{id}/result"),
        format!("/v1/tasks/{id}/attempts"),
        format!("/v1/tasks/{id}/events"),
        format!("/v1/tasks/{id}/explain"),
        format!("/v1/dead-letters/{id}"),
        "/v1/tasks".to_owned(),
        "/v1/dead-letters".to_owned(),
    ] {
        all.push_str(&system.get(&path).await.text);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sensitive_is_hidden_until_somebody_asks_and_that_is_told() {
    let system = System::new().await;
    let client = system.fixture.client().await;
    let set = |id: &'static str, fail: bool| {
        let call = Call::named("sign_in").id(id).queue("doors");
        call.arg("password", SECRET).arg("fail", &fail)
    };
    // The one was sent by who knows the task, the other by who does not.
    sign_in::call(SECRET, true)
        .id("known")
        .queue("doors")
        .enqueue(&client)
        .await
        .unwrap();
    let waiting = system.get("/v1/queues/doors/tasks").await;
    assert!(!waiting.text.contains(SECRET), "{waiting:?}");
    assert_eq!(waiting.json()["items"][0]["sensitive"], true);
    let shown = system.post("/v1/tasks/known:reveal", json!({})).await;
    assert_eq!(shown.json()["kwargs"]["password"], SECRET, "{shown:?}");
    assert_eq!(shown.json()["state"], "waiting", "{shown:?}");
    let page = system.page("/tasks/known").await;
    assert!(page.text.contains("hidden: the task is sensitive"));
    assert!(!page.text.contains(SECRET), "{page:?}");

    set("unknown", true).enqueue(&client).await.unwrap();
    set("good", false).enqueue(&client).await.unwrap();
    let _worker = system
        .worker_with(|worker| worker.queues(["doors"]).task::<sign_in>().task::<pay>())
        .await;
    for id in ["known", "unknown", "good"] {
        let path = format!("/v1/tasks/{id}?wait=60s");
        let ended = system
            .until(&path, |task| task["finished_at"].is_string())
            .await;
        assert_eq!(ended["sensitive"], true, "{ended}");
    }
    system
        .until("/v1/dead-letters", |list| {
            list["items"].as_array().unwrap().len() == 2
        })
        .await;
    for id in ["known", "unknown", "good"] {
        let all = all_of(&system, id).await;
        assert!(!all.contains(SECRET), "{id}: {all}");
    }
    let found = system
        .get(&format!("/v1/dead-letters?arg=password={SECRET}"))
        .await;
    assert!(!found.text.contains("known"), "{found:?}");

    // To look is never enough.
    for path in [
        "/v1/tasks/good",
        "/v1/tasks/good/result",
        "/v1/tasks/known/attempts",
        "/v1/dead-letters/unknown",
        "/v1/queues/doors/tasks",
    ] {
        let refused = system.get(&format!("{path}?reveal=true")).await;
        assert_eq!(refused.code(), "invalid", "{path}: {refused:?}");
    }
    for (id, of) in [
        ("good", "/result"),
        ("known", "/error/message"),
        ("unknown", "/attempts/0/error/message"),
    ] {
        let shown = system
            .post(&format!("/v1/tasks/{id}:reveal"), json!({}))
            .await;
        let json = shown.json();
        let text = json.pointer(of).and_then(Value::as_str);
        assert!(text.is_some_and(|text| text.contains(SECRET)), "{json:#}");
        assert!(json["log"].as_str().unwrap().contains(SECRET), "{json:#}");
        assert_eq!(json["sensitive"], true, "{json:#}");
        let kept = json["kwargs"]["password"] == SECRET || json["args"][0] == SECRET;
        // Of what went well they are not kept.
        assert_eq!(kept, id != "good", "{json:#}");
        let events = system
            .until(&format!("/v1/tasks/{id}/events"), |events| {
                events["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|it| it["event"] == "revealed")
            })
            .await;
        let mut events = events["items"].as_array().unwrap().iter();
        let revealed = events.find(|it| it["event"] == "revealed").unwrap();
        assert_eq!(revealed["by"], "anonymous via gateway");
    }
    // It is in the audit log too, without what was shown.
    let audit = system.get("/v1/audit?action=revealed").await;
    let entry = &audit.json()["items"][0];
    assert_eq!(entry["actor"]["name"], "anonymous", "{entry}");
    assert!(!audit.text.contains(SECRET), "{}", audit.text);
    // Nothing that was told of it has it.
    let since = Some(Timestamp::from_millis(0));
    let events = admin::events(&client, EventFilter::default(), since, false);
    let events: Vec<taskq::Event> = events.await.unwrap().try_collect().await.unwrap();
    let text = serde_json::to_string(&events).unwrap();
    assert!(
        text.contains("\"progress\"") && !text.contains(SECRET),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensitive_argument_is_hidden_and_the_others_are_shown() {
    let system = System::new().await;
    let _worker = system.worker_with(taskq::WorkerBuilder::task::<pay>).await;
    system
        .until("/v1/task-types/pay", |kind| kind["params"].is_array())
        .await;
    let call = json!({"task": "pay", "id": "p", "kwargs": {"card": SECRET, "cents": 5}});
    system.post("/v1/tasks?wait=60s", call).await;
    let letter = system
        .until("/v1/dead-letters/p", |letter| letter["message"].is_object())
        .await;
    assert!(!letter.to_string().contains(SECRET), "{letter}");
    assert_eq!(letter["message"]["kwargs"]["cents"], 5);
    assert_eq!(letter["error"], "the bank is closed");
    // What does not fit is not told back.
    let call = json!({"task": "pay", "kwargs": {"card": [SECRET], "cents": 5}});
    let refused = system.post("/v1/tasks", call).await;
    assert_eq!(refused.code(), "invalid_arguments");
    assert!(!refused.text.contains(SECRET), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_cannot_have_it_revealed() {
    let (secret, line) = make_token("vera", Role::Viewer);
    let mut system = System::with(Access::parse(&line).unwrap()).await;
    let mut headers = HeaderMap::new();
    headers.insert(
        header::AUTHORIZATION,
        format!("Bearer {secret}").parse().unwrap(),
    );
    system.headers = headers;
    let answer = system.post("/v1/tasks/any:reveal", json!({})).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(system.get("/v1/tasks/any").await.code(), "not_found");
    let _: Value = answer.json();
}
