//! `taskq bulk` and `taskq operations`

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_are_counted_cancelled_and_run_again_and_the_operations_are_listed() {
    let system = System::new().await;
    for id in ["a", "b", "c"] {
        system.send("read_file", id, "mended").await;
    }
    let unnamed = system.taskq(&["bulk", "cancel"]);
    assert_eq!(unnamed.code(), 1);
    assert!(unnamed.stderr.contains("--all"), "{unnamed:?}");
    let dry = system.taskq(&["bulk", "cancel", "--task", "read_file", "--dry-run"]);
    assert_eq!(dry.code(), 0, "{dry:?}");
    assert!(dry.stdout.contains("3 tasks would be"), "{dry:?}");

    let done = system.taskq(&["bulk", "cancel", "--all", "--by", "ada", "--rate", "100/s"]);
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stdout.contains("3 of 3: 3 cancelled"), "{done:?}");
    system.make("mended");
    let _worker = system.worker("w1");
    let again = &system.json(&["bulk", "retry", "a", "b", "nobody"])[0];
    assert_eq!((&again["done"], &again["total"]), (&3.into(), &3.into()));
    assert_eq!(again["outcomes"]["sent"], 2);
    assert_eq!(again["errors"][0]["id"], "nobody");
    for id in ["a", "b"] {
        assert_eq!(system.ended(id).await, "succeeded");
    }

    let listed = system.json(&["operations"]);
    assert_eq!(listed.len(), 2);
    let id = listed[1]["id"].as_str().unwrap();
    let shown = system.taskq(&["operations", "show", id]);
    assert!(shown.stdout.starts_with("cancel: "), "{shown:?}");

    // Left to others, it waits; whoever comes does it.
    let left = &system.json(&["bulk", "retry", "c", "--detach"])[0];
    assert_eq!(
        (&left["state"], &left["done"]),
        (&"running".into(), &0.into())
    );
    let run = system.taskq(&["operations", "run", left["id"].as_str().unwrap()]);
    assert_eq!(run.code(), 0, "{run:?}");
    assert_eq!(system.ended("c").await, "succeeded");
    let late = system.taskq(&["operations", "cancel", left["id"].as_str().unwrap()]);
    assert!(late.stdout.contains("is done"), "{late:?}");
}
