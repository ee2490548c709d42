//! Pools of workers over HTTP, with a real one.

use axum::http::{HeaderMap, Method, header};
use serde_json::{Value, json};
use taskq_gateway::{Access, Role, make_token};

use crate::System;
use crate::pool::{LAST_WORDS, Pool, kill};

/// How many of its workers take tasks.
fn running(pool: &Value) -> usize {
    let workers = pool["workers"].as_array().unwrap().iter();
    workers.filter(|one| one["state"] == "running").count()
}

impl System {
    /// Waits until so many workers of the pool take tasks.
    async fn until_running(&self, many: usize) -> Value {
        let is_so = |pool: &Value| {
            running(pool) == many && pool["workers"].as_array().unwrap().len() == many
        };
        self.until("/v1/pools/p", is_so).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_a_pool_are_started_and_removed_and_who_did_it_is_recorded() {
    let system = System::new().await;
    let pool = Pool::start(system.fixture.url(), "p", &["--min", "1", "--max", "3"]).await;
    let one = system.until("/v1/pools", |list| {
        list["items"][0].is_object() && running(&list["items"][0]) == 1
    });
    let one = one.await["items"][0].clone();
    for (name, value) in [
        ("pool", json!("p")),
        ("min", json!(1)),
        ("max", json!(3)),
        ("mode", json!("automatic")),
        ("target", json!(1)),
        ("queues", json!(["default"])),
        ("changed", Value::Null),
        ("deaths", json!([])),
    ] {
        assert_eq!(one[name], value, "{name}: {one:#}");
    }

    let more = system
        .post("/v1/workers", json!({"reason": "the sale"}))
        .await;
    let before = json!({"mode": "automatic", "target": 1});
    let after = json!({"mode": "fixed", "target": 2});
    assert_eq!(
        more.json(),
        json!({"pool": "p", "before": before, "after": after})
    );
    let two = system.until_running(2).await;
    assert_eq!(two["changed"]["why"], "an operator said so", "{two:#}");
    assert_eq!(
        (&two["changed"]["before"], &two["changed"]["after"]),
        (&before, &after)
    );
    let of_pool = |list: &Value| {
        let workers = list["items"].as_array().unwrap();
        workers.len() == 2 && workers.iter().all(|worker| worker["pool"] == "p")
    };
    system.until("/v1/workers", of_pool).await;

    // What it does not do changes nothing.
    for (path, body, code) in [
        ("/v1/workers", json!({"count": 2}), "conflict"),
        ("/v1/workers", json!({"count": 0}), "invalid"),
        ("/v1/workers", json!({"pool": "q"}), "not_found"),
        ("/v1/pools/p:scale", json!({"count": 4}), "conflict"),
        ("/v1/pools/p:scale", json!({}), "invalid"),
        ("/v1/pools/q:scale", json!({"count": 2}), "not_found"),
        ("/v1/pools/p:grow", json!({}), "not_found"),
    ] {
        let refused = system.post(path, body.clone()).await;
        assert_eq!(refused.code(), code, "{path} {body}");
    }
    let scaled = system.post("/v1/pools/p:scale", json!({"count": 3})).await;
    assert_eq!(
        scaled.json()["after"],
        json!({"mode": "fixed", "target": 3})
    );
    let three = system.until_running(3).await;

    let gone = three["workers"][0]["worker"].as_str().unwrap();
    let path = format!("/v1/workers/{gone}");
    let removed = system.ask(Method::DELETE, &path, None).await;
    assert_eq!(removed.json()["after"]["target"], 2, "{removed:?}");
    let left = system.until_running(2).await;
    assert!(!left["workers"].to_string().contains(gone), "{left:#}");
    // It has ended well, and no other has taken its place.
    assert_eq!(
        (&left["restarts"], &left["deaths"]),
        (&json!(0), &json!([]))
    );

    let auto = system
        .post("/v1/pools/p:scale", json!({"count": null}))
        .await;
    assert_eq!(auto.json()["after"]["mode"], "automatic");
    let told = system.until("/v1/audit?action=pool_scaled", |list| {
        list["items"].as_array().unwrap().len() == 4
    });
    let told = told.await;
    assert_eq!(told["items"][3]["reason"], "the sale", "{told:#}");
    assert_eq!(told["items"][3]["actor"]["name"], "anonymous", "{told:#}");

    pool.end().await;
    assert_eq!(system.get("/v1/pools").await.json()["items"], json!([]));
    let nobody = system.post("/v1/workers", json!({})).await;
    assert_eq!(
        (nobody.status.as_u16(), nobody.code().as_str()),
        (409, "no_pool")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_a_pools_worker_is_told_with_its_evidence() {
    let system = System::new().await;
    let pool = Pool::start(system.fixture.url(), "p", &["--min", "1", "--max", "1"]).await;
    system.until_running(1).await;
    let call = json!({"task": "linger", "kwargs": {"millis": 600_000}, "id": "long"});
    system.post("/v1/tasks", call).await;
    let busy = system.until("/v1/pools/p", |pool| pool["workers"][0]["running"] == 1);
    let busy = busy.await;
    let worker = &busy["workers"][0];
    kill(worker["process"].as_u64().unwrap());
    let told = system.until("/v1/pools/p", |pool| {
        pool["deaths"][0].is_object() && pool["restarts"] == 1
    });
    let death = told.await["deaths"][0].clone();
    assert_eq!(death["worker"], worker["worker"], "{death:#}");
    assert_eq!(
        (&death["signal"], &death["signal_name"]),
        (&json!(9), &json!("SIGKILL"))
    );
    let ran = &death["running"][0];
    assert_eq!(
        (&ran["id"], &ran["task"]),
        (&json!("long"), &json!("linger"))
    );
    let log = death["log"].as_array().unwrap();
    assert!(log.iter().any(|line| line == LAST_WORDS), "{death:#}");
    if cfg!(target_os = "linux") {
        assert!(
            death["peak_memory_bytes"].as_u64() > Some(1 << 20),
            "{death:#}"
        );
    }
    system.until_running(1).await;
    pool.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_sees_pools_an_operator_scales_them_and_an_admin_adds_workers() {
    let people = [
        ("vera", Role::Viewer),
        ("otto", Role::Operator),
        ("ada", Role::Admin),
    ]
    .map(|(name, role)| make_token(name, role));
    let lines: Vec<&str> = people.iter().map(|(_, line)| line.as_str()).collect();
    let mut system = System::with(Access::parse(&lines.join("\n")).unwrap()).await;
    // There is no pool, so who may is told that.
    for (person, scale, start, remove) in [
        (0, "forbidden", "forbidden", "forbidden"),
        (1, "not_found", "forbidden", "forbidden"),
        (2, "not_found", "no_pool", "no_pool"),
    ] {
        let bearer = format!("Bearer {}", people[person].0).parse().unwrap();
        system.headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
        assert_eq!(system.get("/v1/pools").await.status, 200);
        let done = system.post("/v1/pools/p:scale", json!({"count": 1})).await;
        assert_eq!(done.code(), scale, "{done:?}");
        let done = system.post("/v1/workers", json!({})).await;
        assert_eq!(done.code(), start, "{done:?}");
        let done = system.ask(Method::DELETE, "/v1/workers/w", None).await;
        assert_eq!(done.code(), remove, "{done:?}");
    }
}
