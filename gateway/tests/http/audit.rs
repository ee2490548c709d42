//! What operators did is recorded, by whom and from where.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use taskq::admin::{self, InitOptions};
use taskq_e2e::Roles;
use taskq_gateway::{Access, Role, hash_password, make_token};

use crate::{System, gateway, read, send};

fn items(answer: &Value) -> Vec<Value> {
    answer["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_did_what_from_where_and_what_was_before_is_in_the_audit_log() {
    let (secret, line) = make_token("ada", Role::Admin);
    let mut system = System::with(Access::parse(&line).unwrap()).await;
    let bearer = HeaderValue::from_str(&format!("Bearer {secret}")).unwrap();
    system.headers.insert(header::AUTHORIZATION, bearer);
    system
        .headers
        .insert("x-request-id", HeaderValue::from_static("change-7"));
    for id in ["one", "two"] {
        let call = json!({"task": "double", "id": id, "kwargs": {"n": 1}, "queue": "email"});
        system.post("/v1/tasks", call).await;
    }
    let reason = json!({"reason": "the relay is down"});
    assert_eq!(
        system.post("/v1/queues/email:pause", reason).await.status,
        StatusCode::OK
    );
    system.post("/v1/tasks/one:cancel", json!({})).await;
    system.post("/v1/queues/email:purge", json!({})).await;
    system.post("/v1/queues/email:resume", json!({})).await;
    system.post("/v1/task-types/double:pause", json!({})).await;
    system.post("/v1/index:rebuild", json!({})).await;
    // Looking, and sending, is nothing that an operator did.
    let all = items(&system.get("/v1/audit").await.json());
    let actions: Vec<_> = all.iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(
        actions,
        [
            "index_rebuilt",
            "task_paused",
            "queue_resumed",
            "queue_purged",
            "cancel_requested",
            "queue_paused"
        ]
    );
    let paused = &all[5];
    assert_eq!(paused["actor"]["name"], "ada");
    assert_eq!(paused["actor"]["known_by"], "token");
    assert_eq!(paused["actor"]["via"], "gateway");
    assert_eq!(paused["actor"]["request"], "change-7");
    assert_eq!(paused["queue"], "email");
    assert_eq!(paused["reason"], "the relay is down");
    assert_eq!(paused["before"], json!({}));
    assert_eq!(paused["after"]["paused"]["by"], "ada via gateway");
    assert_eq!(all[3]["cancelled"], 1);
    assert_eq!(all[4]["task_id"], "one");
    assert_eq!(all[1]["after"], json!({"paused": true}));
    assert!(!all.iter().any(|entry| entry.to_string().contains(&secret)));

    // Filters, and a page at a time.
    let found = async |query: &str| items(&system.get(&format!("/v1/audit?{query}")).await.json());
    assert_eq!(found("queue=email").await.len(), 4);
    assert_eq!(found("id=one&by=ada").await.len(), 1);
    assert_eq!(found("action=queue_paused,queue_purged").await.len(), 2);
    assert!(found("by=bob").await.is_empty());
    assert!(found("until=2026-01-01T00:00:00Z").await.is_empty());
    let mut path = "/v1/audit?limit=4".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = system.get(&path).await.json();
        seen.extend(items(&page));
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/audit?limit=4&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    let nonsense = system.get("/v1/audit?colour=red").await;
    assert_eq!(nonsense.code(), "invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_in_one_replica_ends_the_session_in_all() {
    let people = hash_password("ada", Role::Admin, "correct horse").unwrap();
    let access = || Access::default().users_of(&people).unwrap();
    let system = System::with(access()).await;
    let other = gateway(&system.fixture, access()).await;
    let login = json!({"user": "ada", "password": "correct horse"});
    let answer = system.post("/v1/session", login).await;
    let csrf = answer.json()["csrf"].as_str().unwrap().to_owned();
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let ask = |method: Method| {
        let request = Request::builder()
            .method(method)
            .uri("/v1/session")
            .header("host", "taskq.example")
            .header("origin", "https://taskq.example")
            .header("cookie", &cookie)
            .header("x-csrf-token", &csrf);
        request.body(Body::empty()).unwrap()
    };
    let on_other = async || read(send(&other, ask(Method::GET)).await).await.status;
    assert_eq!(on_other().await, StatusCode::OK);
    let out = read(system.send(ask(Method::DELETE)).await).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    while on_other().await != StatusCode::UNAUTHORIZED {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One that begins later knows of it too.
    let third = gateway(&system.fixture, access()).await;
    while read(send(&third, ask(Method::GET)).await).await.status != StatusCode::UNAUTHORIZED {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_may_take_an_entry_out_of_the_audit_log_and_events_push_none_out() {
    let roles = Roles::start();
    let operator = roles.client("operator").await;
    admin::init(&operator, InitOptions::new().queues(["default"]))
        .await
        .unwrap();
    admin::queues::pause(&operator, "default", "ada", None)
        .await
        .unwrap();
    let viewer = roles.client("viewer").await;
    let page = admin::audit(&viewer, &admin::AuditFilter::default())
        .await
        .unwrap();
    assert_eq!(page.entries[0].action, "queue_paused");
    assert_eq!(page.entries[0].actor.name, "ada");
    for role in ["producer", "worker", "viewer"] {
        let entry = admin::AuditEntry::new("forged", admin::Actor::new("eve"));
        let refused = admin::record(&roles.client(role).await, &entry).await;
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("operator's right to record"),
            "{role}: {error}"
        );
    }
    let after = admin::audit(&viewer, &admin::AuditFilter::default())
        .await
        .unwrap();
    assert_eq!(after.entries, page.entries);
}
