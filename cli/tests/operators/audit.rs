//! `taskq audit`.

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_at_the_command_line_is_in_the_audit_log() {
    let system = System::new().await;
    for args in [
        &["queues", "pause", "email", "--because", "the relay is down"][..],
        &["queues", "resume", "email", "--by", "bob"],
    ] {
        let done = system.taskq(args);
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    let entries = system.json(&["audit"]);
    assert_eq!(entries.len(), 2, "{entries:?}");
    let (resumed, paused) = (&entries[0], &entries[1]);
    assert_eq!(paused["action"], "queue_paused");
    assert_eq!(paused["queue"], "email");
    assert_eq!(paused["reason"], "the relay is down");
    assert_eq!(paused["actor"]["via"], "taskq");
    assert!(paused["actor"]["name"].as_str().unwrap().contains('@'));
    // In whose name it was done, and who typed it.
    assert_eq!(resumed["by"], "bob");
    assert_eq!(resumed["actor"]["name"], paused["actor"]["name"]);
    let told = system.taskq(&["audit", "--action", "queue_paused"]);
    assert_eq!(told.stdout.lines().count(), 1, "{}", told.stdout);
    assert!(told.stdout.contains("queue_paused"), "{}", told.stdout);
    assert!(told.stdout.contains("via taskq"), "{}", told.stdout);
    assert!(system.json(&["audit", "--who", "nobody"]).is_empty());
}
