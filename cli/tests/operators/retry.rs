//! `taskq retry`

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_and_a_cancelled_task_run_again_and_what_does_not_is_told() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.send("read_file", "order-42", "mended").await;
    assert_eq!(system.ended("order-42").await, "failed");
    system.make("mended");
    let sent = system.taskq(&["retry", "order-42", "--by", "ada"]);
    assert_eq!(sent.code(), 0, "{sent:?}");
    assert!(sent.stdout.starts_with("sent again: "), "{sent:?}");
    assert_eq!(system.ended("order-42").await, "succeeded");
    let filter = ["events", "--filter", "event=replayed"];
    let told = system.until_json(&filter, |told| told.len() == 1);
    assert_eq!(told[0]["by"], "ada");

    let done = system.taskq(&["retry", "order-42"]);
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("has succeeded"), "{done:?}");
    let unknown = system.taskq(&["retry", "nobody"]);
    assert_eq!(unknown.code(), 1);
    assert!(unknown.stderr.contains("no trace"), "{unknown:?}");
    let unknown = &system.json(&["retry", "nobody"])[0];
    assert_eq!(unknown["retry"], "unknown");

    let put_off = ["enqueue", "go_on", "--delay", "1h", "--id", "late"];
    let file = format!("{{\"file\": \"{}\"}}", system.file("ran"));
    let put_off = system.taskq(&[&put_off[..], &["--kwargs", &file]].concat());
    assert_eq!(put_off.code(), 0, "{put_off:?}");
    let waits = &system.json(&["retry", "late"])[0];
    assert_eq!(
        (&waits["retry"], &waits["state"]),
        (&"not_ended".into(), &"scheduled".into())
    );
    assert_eq!(system.taskq(&["cancel", "late"]).code(), 0);
    let sent = system.taskq(&["retry", "late"]);
    assert_eq!(sent.code(), 0, "{sent:?}");
    // It was put off, and is wished for now.
    system.until_there("ran").await;
}
