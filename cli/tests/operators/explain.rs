//! `taskq explain`

use std::time::Instant;

use taskq_e2e::PATIENCE;

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_task_is_not_running_is_told_in_a_sentence_and_as_json() {
    let system = System::new().await;
    system.send("go_on", "order-42", "runs").await;
    let lonely = system.taskq(&["explain", "order-42"]);
    assert_eq!(lonely.code(), 0, "{lonely:?}");
    let told = "task order-42 (go_on, queue default): no worker lives;";
    assert!(lonely.stdout.starts_with(told), "{lonely:?}");
    assert_eq!(
        system.json(&["explain", "order-42"])[0]["reason"],
        "no_worker"
    );

    let _worker = system.worker("w1");
    system.until_there("runs").await;
    let limit = Instant::now() + PATIENCE;
    let running = loop {
        let why = system.json(&["explain", "order-42"]).remove(0);
        if why["reason"] == "running" {
            break why;
        }
        assert!(Instant::now() < limit, "{why}");
    };
    assert_eq!(running["worker"], "w1");
    assert_eq!(running["attempt"], 1);
    assert_eq!(
        (&running["id"], &running["task"]),
        (&"order-42".into(), &"go_on".into())
    );

    let unknown = system.taskq(&["explain", "nothing"]);
    assert_eq!(unknown.code(), 1, "{unknown:?}");
    assert!(
        unknown.stderr.contains("no trace of task nothing"),
        "{unknown:?}"
    );
}
