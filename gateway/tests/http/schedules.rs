//! Setting schedules.

use axum::http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{Answer, System};

impl System {
    async fn put(
        &mut self,
        path: &str,
        header: Option<(header::HeaderName, &str)>,
        body: Value,
    ) -> Answer {
        if let Some((name, value)) = header {
            self.headers.insert(name, value.parse().unwrap());
        }
        let answer = self.ask(Method::PUT, path, Some(body)).await;
        self.headers = HeaderMap::new();
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_set_with_all_that_it_can_have_and_fires() {
    let mut system = System::new().await;
    let _worker = system.worker().await;
    let path = "/v1/schedules/every-second";
    let body = json!({
        "task": "double", "kwargs": {"n": 21}, "every": "1s", "queue": "default",
        "priority": "high", "deadline": "1m", "retries": 2, "backoff": "constant(1s)",
        "overlap": "skip", "misfire": "all(10m)", "misfire_after": "5s", "jitter": "10ms",
        "start": "2026-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z", "labels": {"by": "hand"}
    });
    let set = system.put(path, None, body).await;
    assert_eq!(set.status, StatusCode::CREATED, "{set:?}");
    let set = set.json();
    for (name, value) in [
        ("overlap", "skip"),
        ("misfire", "all(10m)"),
        ("misfire_after", "5s"),
        ("jitter", "10ms"),
        ("deadline", "1m"),
        ("priority", "high"),
        ("source", "operator"),
        ("start", "2026-01-01T00:00:00.000Z"),
    ] {
        assert_eq!(set[name], value, "{set}");
    }
    assert!(set["by"].as_str().unwrap().contains("via gateway"), "{set}");
    let ended = "/v1/tasks?state=succeeded&label=by=hand";
    let page = system.until(ended, |page| !page["items"].as_array().unwrap().is_empty());
    assert_eq!(page.await["items"][0]["task"], "double");
    system.ask(Method::DELETE, path, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_made_or_replaced_only_as_it_was_seen() {
    let mut system = System::new().await;
    let path = "/v1/schedules/nightly";
    let at = |hour: u8| json!({"task": "double", "args": [1], "cron": format!("0 {hour} * * *"), "tz": "Europe/Berlin"});
    let absent = system.put(path, Some((header::IF_MATCH, "*")), at(1)).await;
    assert_eq!(
        (absent.status, absent.code().as_str()),
        (StatusCode::PRECONDITION_FAILED, "conflict")
    );
    let new = Some((header::IF_NONE_MATCH, "*"));
    let made = system.put(path, new.clone(), at(1)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let tag = made.headers[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!(system.get(path).await.headers[header::ETAG], tag.as_str());
    assert_eq!(system.put(path, new, at(2)).await.code(), "conflict");
    // Somebody has paused it meanwhile.
    system
        .ask(Method::POST, "/v1/schedules/nightly:pause", None)
        .await;
    let seen = Some((header::IF_MATCH, tag.as_str()));
    assert_eq!(system.put(path, seen, at(2)).await.code(), "conflict");
    let tag = system.get(path).await.headers[header::ETAG]
        .to_str()
        .unwrap()
        .to_owned();
    let set = system
        .put(path, Some((header::IF_MATCH, &tag)), at(2))
        .await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    assert_eq!(set.json()["when"], "0 2 * * *");
    assert!(set.json()["paused"].is_object(), "it stays paused: {set:?}");
    // Without a condition it is set whatever there was.
    assert_eq!(system.put(path, None, at(3)).await.status, StatusCode::OK);

    let path = "/v1/schedules/nightly/next?count=2&after=2026-10-24T12:00:00Z";
    let next = system.get(path).await.json();
    // The clocks go back in between.
    assert_eq!(
        next,
        json!({"items": [
            {"at": "2026-10-25T02:00:00.000Z", "clock": "2026-10-25 03:00:00 CET"},
            {"at": "2026-10-26T02:00:00.000Z", "clock": "2026-10-26 03:00:00 CET"},
        ]})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_makes_no_sense_is_refused_with_what_is_wrong() {
    let mut system = System::new().await;
    for (name, body, word) in [
        ("a", json!({"task": "double"}), "`cron`, `every` or `at`"),
        ("a", json!({"task": "double", "cron": "0 9 * *"}), "0 9 * *"),
        (
            "a",
            json!({"task": "double", "cron": "@daily", "tz": "Mars/Olympus"}),
            "Mars/Olympus",
        ),
        (
            "a",
            json!({"task": "double", "cron": "@daily", "every": "1h"}),
            "one",
        ),
        ("a", json!({"task": "double", "every": "soon"}), "every"),
        ("a", json!({"task": "double", "at": "noon"}), "at"),
        (
            "a",
            json!({"task": "double", "at": "2020-01-01T00:00:00Z"}),
            "never fire",
        ),
        (
            "a",
            json!({"task": "double", "every": "1h", "overlap": "maybe"}),
            "overlap",
        ),
        (
            "a",
            json!({"task": "double", "every": "1h", "unique": true}),
            "unique",
        ),
        (
            "a%20b",
            json!({"task": "double", "every": "1h"}),
            "name of a schedule",
        ),
    ] {
        let path = format!("/v1/schedules/{name}");
        let refused = system.put(&path, None, body.clone()).await;
        assert!(refused.status.is_client_error(), "{body}: {refused:?}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(word), "{body}: {detail}");
    }
    for query in ["count=0", "count=101", "after=noon"] {
        let path = format!("/v1/schedules/none/next?{query}");
        assert_eq!(system.get(&path).await.code(), "invalid", "{query}");
    }
    assert_eq!(
        system.get("/v1/schedules/none/next").await.code(),
        "not_found"
    );
}
