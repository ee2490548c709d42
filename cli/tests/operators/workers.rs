//! `taskq workers`

use serde_json::json;

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_are_shown_told_to_go_quiet_and_end_with_code_0_when_drained() {
    let system = System::new().await;
    let worker = system.worker("w1");
    system.send("stubborn", "order-42", "begun").await;
    system.until_there("begun").await;
    let shown = system.taskq(&["workers", "show", "w1"]);
    assert_eq!(shown.code(), 0, "{shown:?}");
    for part in [
        "w1 is running since",
        "1 of ",
        "stubborn",
        "order-42",
        "taskq 0.",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    let detail = &system.json(&["workers", "show", "w1"])[0];
    assert_eq!(detail["tasks"][0]["task_id"], "order-42");

    let quiet = system.taskq(&["workers", "quiet", "w1", "--by", "ada"]);
    assert_eq!(quiet.code(), 0, "{quiet:?}");
    assert!(quiet.stdout.starts_with("quiet: w1"), "{quiet:?}");
    system.until_json(&["workers"], |listed| {
        listed.len() == 1 && listed[0]["state"] == "quiet"
    });
    let listed = system.taskq(&["workers"]);
    assert!(listed.stdout.contains("quiet"), "{listed:?}");
    let resumed = &system.json(&["workers", "resume", "w1", "--by", "ada"])[0];
    assert_eq!(
        *resumed,
        json!({"worker": "w1", "before": "quiet", "after": "running", "by": "ada"})
    );
    let drain = system.taskq(&["workers", "drain", "w1", "--grace", "1h"]);
    assert_eq!(drain.code(), 0, "{drain:?}");
    let refused = system.taskq(&["workers", "resume", "w1"]);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("stopping"), "{refused:?}");
    // What runs is done, and the process ends well.
    system.make("begun.end");
    assert_eq!(system.ended("order-42").await, "succeeded");
    assert_eq!(worker.end().code(), 0);
    let filter = ["events", "--filter", "event=worker_quieted,worker_drained"];
    let told = system.until_json(&filter, |told| told.len() == 2);
    let kinds: Vec<_> = told.iter().map(|event| &event["event"]).collect();
    assert_eq!(kinds, ["worker_quieted", "worker_drained"]);
    let gone = system.taskq(&["workers", "quiet", "w1"]);
    assert_eq!(gone.code(), 1, "{gone:?}");
    assert!(gone.stderr.contains("no worker `w1` answers"), "{gone:?}");
}
