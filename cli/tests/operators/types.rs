//! `taskq tasks show`, calls that are checked by it, and what is hidden.

use std::time::Instant;

use serde_json::Value;
use taskq_e2e::PATIENCE;

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_type_is_shown_and_calls_are_checked_by_its_schema() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    let limit = Instant::now() + PATIENCE;
    let mut shown = system.taskq(&["tasks", "show", "read_file"]);
    // It is found a moment after it has started.
    while shown.code() != 0 && Instant::now() < limit {
        shown = system.taskq(&["tasks", "show", "read_file"]);
    }
    assert_eq!(shown.code(), 0, "{shown:?}");
    for text in [
        "read_file(file: String)",
        "retries = 1",
        "schema of the arguments",
    ] {
        assert!(shown.stdout.contains(text), "{text}: {shown:?}");
    }
    let json = system.taskq(&["tasks", "show", "read_file", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let schema = &json["definitions"][0]["arguments"];
    assert_eq!(schema["properties"]["file"]["type"], "string");
    let guess = system.taskq(&["tasks", "show", "read_fiel"]);
    assert_eq!(guess.code(), 1, "{guess:?}");
    assert!(
        guess.stderr.contains("did you mean `read_file`?"),
        "{guess:?}"
    );

    let bad = ["enqueue", "read_file", "--args", "[7]", "--id", "bad"];
    let refused = system.taskq(&bad);
    assert_eq!(refused.code(), 1, "{refused:?}");
    let text = "/args/0: 7 is not of type \"string\"";
    assert!(refused.stderr.contains(text), "{refused:?}");
    assert_ne!(system.taskq(&["status", "bad"]).code(), 0);
    let sent = system.taskq(&[&bad[..], &["--no-check"]].concat());
    assert_eq!(sent.code(), 0, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sensitive_is_shown_to_who_asks_and_that_is_told() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    let secret = "hunter2-4711";
    let call = format!("{{\"password\": \"{secret}\"}}");
    let call = [
        "enqueue",
        "sign_in",
        "--kwargs",
        &call,
        "--id",
        "s",
        "--no-check",
    ];
    assert_eq!(system.taskq(&call).code(), 0);
    assert_eq!(system.ended("s").await, "failed");
    system.until_json(&["dead", "list"], |letters| letters.len() == 1);
    for asked in [
        &["dead", "show", "s"][..],
        &["dead", "list"],
        &["result", "s"],
        &["explain", "s"],
    ] {
        let shown = system.taskq(asked);
        let text = format!("{}{}", shown.stdout, shown.stderr);
        assert!(!text.contains(secret), "{asked:?}: {text}");
    }
    let shown = system.taskq(&["dead", "show", "s", "--reveal"]);
    assert!(shown.stdout.contains(secret), "{shown:?}");
    let limit = Instant::now() + PATIENCE;
    let events = loop {
        let events = system.taskq(&["events", "--since", "1h", "--json"]);
        if events.stdout.contains("\"revealed\"") || Instant::now() > limit {
            break events;
        }
    };
    assert!(events.stdout.contains("\"revealed\""), "{events:?}");
    assert!(!events.stdout.contains(secret), "{events:?}");
}
