//! `taskq delayed`

use serde_json::Value;

use crate::System;

/// Sends a task that is put off for so long.
async fn put_off(system: &System, id: &str, delay: &str) {
    let sent = system.taskq(&[
        "enqueue",
        "read_file",
        "--id",
        id,
        "--args",
        r#"["x"]"#,
        "--delay",
        delay,
    ]);
    assert_eq!(sent.code(), 0, "{sent:?}");
}

fn ids(rows: &[Value]) -> Vec<&str> {
    let rows = rows.iter().filter_map(|row| row["task_id"].as_str());
    rows.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_off_is_listed_by_filters_the_first_to_start_first() {
    let system = System::new().await;
    for (id, delay) in [("third", "3h"), ("first", "1h"), ("second", "2h")] {
        put_off(&system, id, delay).await;
    }
    let list = |more: &[&str]| system.json(&[&["delayed", "list"], more].concat());
    assert_eq!(ids(&list(&[])), ["first", "second", "third"]);
    assert_eq!(ids(&list(&["--due-before", "90m"])), ["first"]);
    assert_eq!(
        ids(&list(&["--due-after", "90m", "--limit", "1"])),
        ["second"]
    );
    assert_eq!(ids(&list(&["--why", "retry"])), Vec::<&str>::new());
    assert_eq!(ids(&list(&["--queue", "other"])), Vec::<&str>::new());
    assert_eq!(list(&["--task", "read_file"])[0]["args"][0], "x");
    let told = system.taskq(&["delayed", "list", "--show-args"]);
    assert!(
        told.stdout.contains("3 delayed tasks: 3 delays"),
        "{told:?}"
    );
    assert!(told.stdout.contains("\"x\""), "{told:?}");
    let status = &system.json(&["status", "first"])[0];
    assert_eq!(status["status"], "scheduled");
    assert_eq!(status["due"], list(&[])[0]["due"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_off_is_moved_and_started_now() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    std::fs::write(system.file("x"), "found").unwrap();
    let path = system.file("x");
    let arguments = format!("[{path:?}]");
    let sent = system.taskq(&[
        "enqueue",
        "read_file",
        "--id",
        "a",
        "--args",
        &arguments,
        "--delay",
        "1h",
    ]);
    assert_eq!(sent.code(), 0, "{sent:?}");
    put_off(&system, "b", "1h").await;

    // Everything has to be said.
    let refused = system.taskq(&["delayed", "run"]);
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("--all"), "{refused:?}");
    let refused = system.taskq(&["delayed", "move", "a"]);
    assert_eq!(refused.code(), 2, "{refused:?}");

    let before = &system.json(&["delayed", "list"]);
    let dry = system.json(&["delayed", "move", "--all", "--later", "1h", "--dry-run"]);
    assert_eq!(dry[2]["summary"]["found"], 2);
    assert_eq!(&system.json(&["delayed", "list"]), before);
    let moved = system.json(&["delayed", "move", "--all", "--later", "1h", "--by", "ada"]);
    assert_eq!(moved[2]["summary"]["moved"], 2);
    let after = &system.json(&["delayed", "list"]);
    assert_eq!(after[0]["due"], moved[0]["due"]);
    assert_ne!(after[0]["due"], before[0]["due"]);

    let run = system.taskq(&["delayed", "run", "a"]);
    assert_eq!(run.code(), 0, "{run:?}");
    let result = &system.json(&["result", "a", "--wait"])[0];
    assert_eq!(result["state"], "succeeded");
    // How late it was is there to be read.
    assert!(result["due_at"].is_string(), "{result}");
    let again = system.taskq(&["delayed", "run", "a", "b"]);
    assert_eq!(again.code(), 1, "{again:?}");
    assert!(again.stderr.contains("task a is not put off"), "{again:?}");
}
