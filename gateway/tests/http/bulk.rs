//! One thing done to many tasks.

use axum::http::StatusCode;
use serde_json::{Value, json};
use taskq_e2e::PATIENCE;

use crate::{System, gateway, ids};

impl System {
    /// Sends tasks that nobody runs.
    async fn waiting(&self, many: usize, more: Value) {
        for n in 0..many {
            let mut body = json!({"task": "double", "kwargs": {"n": n}, "id": format!("t{n}")});
            for (name, value) in more.as_object().unwrap() {
                body[name] = value.clone();
            }
            let sent = self.post("/v1/tasks", body).await;
            assert_eq!(sent.status, StatusCode::CREATED, "{sent:?}");
        }
    }

    /// Begins an operation, and waits for its end.
    async fn bulk(&self, body: Value) -> Value {
        let begun = self.post("/v1/tasks:bulk", body).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{begun:?}");
        let place = begun.headers["location"].to_str().unwrap().to_owned();
        assert!(place.ends_with(begun.json()["id"].as_str().unwrap()));
        self.until(&place, |operation| operation["state"] != "running")
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_cancelled_by_filter_run_again_by_ids_and_counted_first() {
    let system = System::new().await;
    system.waiting(20, json!({})).await;
    let other = json!({"task": "linger", "kwargs": {"millis": 1}, "id": "other"});
    system.post("/v1/tasks", other).await;
    let filter = json!({"task": "double", "queue": "default"});
    let dry = json!({"action": "cancel", "filter": filter, "dry_run": true});
    let counted = system.post("/v1/tasks:bulk", dry).await;
    assert_eq!(
        counted.json(),
        json!({"action": "cancel", "total": 20, "more": false})
    );

    let done = system
        .bulk(json!({"action": "cancel", "filter": filter, "reason": "wrong template"}))
        .await;
    assert_eq!(
        (&done["state"], &done["done"]),
        (&json!("done"), &json!(20))
    );
    assert_eq!(done["outcomes"], json!({"cancelled": 20}), "{done}");
    assert_eq!(done["filter"], filter);
    assert_eq!(done["reason"], "wrong template");
    assert!(!done["finished_at"].is_null());
    let cancelled = system
        .until("/v1/tasks?state=cancelled", |list| ids(list).len() == 20)
        .await;
    assert_eq!(ids(&cancelled).len(), 20);

    // Again, by their ids: one of them is nobody's.
    let again = system
        .bulk(json!({"action": "retry", "ids": ["t0", "t1", "t1", "other", "nobody"]}))
        .await;
    assert_eq!(again["total"], 4);
    assert_eq!(
        again["outcomes"],
        json!({"sent": 2, "not_ended": 1, "failed": 1})
    );
    assert_eq!(again["errors"][0]["id"], "nobody");
    let _worker = system.worker().await;
    for id in ["t0", "t1", "other"] {
        let path = format!("/v1/tasks/{id}");
        system
            .until(&path, |task| task["state"] == "succeeded")
            .await;
    }
    let listed = system.get("/v1/operations").await.json();
    assert_eq!(ids(&listed).len(), 2);
    let events = system.fixture.client().await;
    let kinds = vec![
        taskq::EventKind::OperationBegun,
        taskq::EventKind::OperationDone,
    ];
    let mut filter = taskq::admin::EventFilter::default();
    filter.kinds = kinds;
    let since = Some(taskq::Timestamp::from_millis(0));
    let told = taskq::admin::events(&events, filter, since, false).await;
    assert_eq!(futures::StreamExt::count(told.unwrap()).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_off_is_moved_and_started_and_failed_tasks_run_again_or_are_discarded() {
    let system = System::new().await;
    system.waiting(5, json!({"delay": "1h"})).await;
    let at = "2100-01-01T00:00:00Z";
    let moved = system
        .bulk(json!({"action": "reschedule", "at": at, "filter": {"state": ["scheduled"]}}))
        .await;
    assert_eq!(moved["outcomes"], json!({"moved": 5}));
    assert_eq!(moved["at"], "2100-01-01T00:00:00.000Z");
    let _worker = system.worker().await;
    let run = system
        .bulk(json!({"action": "run-now", "filter": {}}))
        .await;
    assert_eq!(run["outcomes"], json!({"moved": 5}));
    system
        .until("/v1/tasks?state=succeeded", |list| ids(list).len() == 5)
        .await;

    for n in 0..4 {
        let kwargs = json!({"why": if n < 3 { "mailbox full" } else { "no route" }, "user": n});
        let body = json!({"task": "break_down", "kwargs": kwargs});
        system.post("/v1/tasks?wait=60s", body).await;
    }
    system
        .until("/v1/dead-letters", |list| ids(list).len() == 4)
        .await;
    system
        .until("/v1/tasks?state=failed", |list| ids(list).len() == 4)
        .await;
    let filter = json!({"error": "mailbox full", "state": ["failed"]});
    let again = system
        .bulk(json!({"action": "retry", "filter": filter}))
        .await;
    assert_eq!(again["outcomes"], json!({"sent": 3}));
    // They fail again, and once only.
    system
        .until("/v1/dead-letters", |list| {
            let items = list["items"].as_array().unwrap().iter();
            items.filter(|letter| letter["replays"] == 1).count() == 3
        })
        .await;
    let gone = system
        .bulk(json!({"action": "discard", "filter": {"dead": true}}))
        .await;
    assert_eq!(gone["outcomes"], json!({"discarded": 4}), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_goes_at_its_rate_and_is_cancelled_in_the_middle() {
    let system = System::new().await;
    system.waiting(40, json!({})).await;
    let begun = system
        .post(
            "/v1/tasks:bulk",
            json!({"action": "cancel", "filter": {}, "rate": "8/s"}),
        )
        .await
        .json();
    assert_eq!(begun["rate"], 8.0);
    let place = format!("/v1/operations/{}", begun["id"].as_str().unwrap());
    system
        .until(&place, |operation| operation["done"].as_u64() > Some(2))
        .await;
    let stopped = system
        .post(&format!("{place}:cancel"), json!({}))
        .await
        .json();
    assert_eq!(stopped["state"], "cancelled");
    assert!(stopped["done"].as_u64() < Some(40), "{stopped}");
    let late = system
        .post(&format!("{place}:cancel"), json!({}))
        .await
        .json();
    assert_eq!(late["state"], "cancelled");
    assert!(
        late["cancelled_by"]
            .as_str()
            .unwrap()
            .contains("via gateway")
    );
    let left = system.get("/v1/queues/default").await.json();
    assert!(left["pending"].as_u64() > Some(0), "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_replica_began_another_finishes_and_each_task_is_acted_on() {
    let mut system = System::new().await;
    system.waiting(60, json!({})).await;
    let begun = system
        .post(
            "/v1/tasks:bulk",
            json!({"action": "cancel", "filter": {}, "rate": "8/s"}),
        )
        .await
        .json();
    let place = format!("/v1/operations/{}", begun["id"].as_str().unwrap());
    let half = system
        .until(&place, |operation| operation["done"].as_u64() > Some(4))
        .await;
    let first = half["runner"].clone();
    // Its tasks end with it, as by a kill.
    let other = gateway(&system.fixture, taskq_gateway::Access::default()).await;
    drop(std::mem::replace(&mut system.gateway, other));
    let limit = tokio::time::Instant::now() + PATIENCE * 2;
    let done = loop {
        let now = system.get(&place).await.json();
        if now["state"] == "done" {
            break now;
        }
        assert!(tokio::time::Instant::now() < limit, "{now}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_ne!(done["runner"], first);
    assert_eq!(done["done"], 60);
    let outcomes = done["outcomes"].as_object().unwrap().values();
    assert_eq!(outcomes.map(|many| many.as_u64().unwrap()).sum::<u64>(), 60);
    system
        .until("/v1/tasks?state=cancelled&limit=100", |list| {
            ids(list).len() == 60
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_not_begun() {
    let system = System::new().await;
    for body in [
        json!({"action": "cancel"}),
        json!({"action": "cancel", "ids": ["a"], "filter": {}}),
        json!({"action": "explode", "ids": ["a"]}),
        json!({"action": "reschedule", "ids": ["a"]}),
        json!({"action": "cancel", "ids": ["a"], "at": "2100-01-01T00:00:00Z"}),
        json!({"action": "cancel", "ids": ["a"], "rate": "often"}),
        json!({"action": "retry", "filter": {"state": ["succeeded"]}}),
        json!({"action": "cancel", "filter": {"colour": "red"}}),
    ] {
        let refused = system.post("/v1/tasks:bulk", body.clone()).await;
        assert!(refused.status.is_client_error(), "{body}: {refused:?}");
    }
    let nothing = system
        .post("/v1/tasks:bulk", json!({"action": "cancel", "filter": {}}))
        .await;
    assert_eq!(nothing.code(), "not_found");
    assert_eq!(system.get("/v1/operations/x").await.code(), "not_found");
    assert_eq!(
        system.get("/v1/operations").await.json(),
        json!({"items": []})
    );
}
