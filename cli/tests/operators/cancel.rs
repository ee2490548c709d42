//! `taskq cancel`

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_no_worker_has_is_cancelled_at_once_and_the_record_says_who_and_why() {
    let system = System::new().await;
    system.send("read_file", "order-42", "x").await;
    let cancel = [
        "cancel",
        "order-42",
        "--by",
        "ada",
        "--because",
        "paid twice",
    ];
    let told = system.taskq(&cancel);
    assert_eq!(told.code(), 0, "{told:?}");
    assert!(told.stdout.starts_with("cancelled: "), "{told:?}");
    assert!(told.stdout.contains("by ada"), "{told:?}");
    let record = &system.json(&["result", "order-42"])[0];
    assert_eq!(record["state"], "cancelled");
    assert_eq!(record["cancelled_by"], "ada");
    assert!(
        record["error"].to_string().contains("paid twice"),
        "{record}"
    );

    let late = system.taskq(&["cancel", "order-42"]);
    assert_eq!(late.code(), 1);
    assert!(late.stderr.contains("too late"), "{late:?}");
    assert!(late.stderr.contains("cancelled"), "{late:?}");
    let late = &system.json(&["cancel", "order-42"])[0];
    assert_eq!(
        (&late["cancel"], &late["state"]),
        (&"too_late".into(), &"cancelled".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_runs_is_stopped_by_a_request_and_wait_tells_that_it_was() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.send("go_on", "1", "runs").await;
    system.until_there("runs").await;
    let mut cancel = system.command(&["cancel", "1", "--wait"]);
    let stopped = taskq_e2e::run(cancel.env("USER", "grace"));
    assert_eq!(stopped.code(), 0, "{stopped:?}");
    assert!(stopped.stdout.starts_with("cancelled: "), "{stopped:?}");
    // Who gives the command is known without a flag.
    assert!(stopped.stdout.contains("by grace@"), "{stopped:?}");
    assert!(stopped.stdout.contains("on w1"), "{stopped:?}");

    system.send("go_on", "2", "runs too").await;
    system.until_there("runs too").await;
    let asked = system.taskq(&["cancel", "2"]);
    assert_eq!(asked.code(), 0, "{asked:?}");
    // The worker may have stopped it before the answer came.
    let done = asked.stdout.starts_with("cancelled: ");
    assert!(done || asked.stdout.starts_with("requested: "), "{asked:?}");
    assert_eq!(system.ended("2").await, "cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_tells_that_a_task_was_done_before_it_could_be_stopped() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.send("stubborn", "1", "runs").await;
    system.until_there("runs").await;
    // It is told to stop, does not, and ends well.
    let asked = system.json(&["cancel", "1"]);
    assert_eq!(asked[0]["cancel"], "requested");
    system.make("runs.end");
    let state = system.ended("1").await;
    let told = system.taskq(&["cancel", "1", "--wait"]);
    assert_eq!(told.code(), 1, "{told:?}");
    assert!(told.stderr.contains("too late"), "{told:?}");
    assert!(told.stderr.contains(&state), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_cancel_what_nobody_sent_is_an_error() {
    let system = System::new().await;
    let unknown = system.taskq(&["cancel", "nothing"]);
    assert_eq!(unknown.code(), 1, "{unknown:?}");
    assert!(
        unknown.stderr.contains("no trace of task nothing"),
        "{unknown:?}"
    );
    let unknown = system.taskq(&["cancel", "nothing", "--json"]);
    assert_eq!(unknown.code(), 1, "{unknown:?}");
    assert_eq!(unknown.json()[0]["cancel"], "unknown");
}
