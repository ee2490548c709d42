//! `taskq enqueue`, with what a call can say.

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_a_task_that_has_not_started() {
    let system = System::new().await;
    // The worker makes the queue, and is not there when it counts.
    let call = ["enqueue", "read_file", "--id", "late", "--deadline", "50ms"];
    assert_eq!(system.taskq(&call).code(), 0);
    let limit = std::time::Instant::now() + std::time::Duration::from_millis(50);
    taskq_e2e::until("the deadline", || std::time::Instant::now() > limit).await;
    let _worker = system.worker("w1");
    assert_eq!(system.ended("late").await, "expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_calls_are_one_task_and_a_conflict_is_settled_as_asked() {
    let system = System::new().await;
    let send = |id: &str, more: &[&str]| {
        let call = [
            "enqueue",
            "read_file",
            "--kwargs",
            "{\"file\": \"x\"}",
            "--id",
            id,
        ];
        system.taskq(&[&call[..], more].concat())
    };
    let first = send("1", &["--unique"]);
    assert_eq!(first.stdout, "1\n", "{first:?}");
    let same = send("2", &["--unique"]);
    assert_eq!(same.stdout, "1\n", "{same:?}");
    assert!(same.stderr.contains("there already"), "{same:?}");
    let refused = send("3", &["--unique", "--on-conflict", "reject"]);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("was refused"), "{refused:?}");
    let replaced = send("4", &["--unique", "--on-conflict", "replace"]);
    assert_eq!(replaced.stdout, "4\n", "{replaced:?}");
    assert_eq!(system.taskq(&["status", "1"]).stdout, "cancelled\n");

    assert_eq!(
        send("5", &["--unique-for", "1h", "--unique-key", "k"]).stdout,
        "5\n"
    );
    assert_eq!(
        send("6", &["--unique-for", "1h", "--unique-key", "k"]).stdout,
        "5\n"
    );
    assert_eq!(
        send("7", &["--unique-for", "1h", "--unique-key", "l"]).stdout,
        "7\n"
    );
    for bad in [
        &["--unique", "--unique-for", "1h"][..],
        &["--on-conflict", "fight"],
        &["--backoff", "sometimes"],
        &["--retries", "-1"],
        &["--deadline", "soon"],
    ] {
        assert_eq!(send("8", bad).code(), 2, "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_and_backoff_are_the_calls_own() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    let kwargs = serde_json::json!({ "file": system.file("nowhere") }).to_string();
    let call = [
        "enqueue",
        "read_file",
        "--kwargs",
        &kwargs,
        "--id",
        "1",
        "--wait",
    ];
    let policy = ["--retries", "3", "--backoff", "constant(1ms, no jitter)"];
    assert_eq!(system.taskq(&[&call[..], &policy].concat()).code(), 1);
    let record = &system.json(&["result", "1"])[0];
    assert_eq!(record["attempt"], 4, "{record}");
    assert_eq!(
        record["labels"]["taskq_backoff"],
        "constant(1ms, no jitter)"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_calls_is_one_task_and_so_is_a_batch() {
    let system = System::new().await;
    let file = system.file("last");
    system.make("last");
    let send = |name: &str, more: &[&str]| {
        let sent = system.taskq(&[&["enqueue", name][..], more].concat());
        assert_eq!(sent.code(), 0, "{sent:?}");
        sent.stdout.trim().to_owned()
    };
    let read = |file: &str| serde_json::json!({ "file": file }).to_string();
    let burst = ["--debounce", "1h", "--max-wait", "2h", "--kwargs"];
    let first = send("read_file", &[&burst[..], &[&read("nowhere")]].concat());
    let second = send("read_file", &[&burst[..], &[&read(&file)]].concat());
    assert_eq!(first, second, "one task");
    let apart = ["--burst-key", "another", "--debounce", "1h"];
    assert_ne!(send("read_file", &apart), first, "another burst");
    let _worker = system.worker("w1");
    let now = system.taskq(&["delayed", "run", &first]);
    assert_eq!(now.code(), 0, "{now:?}");
    assert_eq!(
        system.ended(&first).await,
        "succeeded",
        "the last call counts"
    );

    let batch = ["--batch", "10", "--within", "1h", "--args"];
    let one = send("index", &[&batch[..], &[r#"[["a"]]"#]].concat());
    let two = send("index", &[&batch[..], &[r#"[["b", "c"]]"#]].concat());
    assert_eq!(one, two, "one task");

    for bad in [
        &["--max-wait", "1m"][..],
        &["--batch", "10"],
        &["--batch", "0", "--within", "1s"],
        &["--within", "1s"],
        &["--debounce", "1s", "--batch", "2", "--within", "1s"],
    ] {
        let refused = system.taskq(&[&["enqueue", "index", "--args", "[[1]]"], bad].concat());
        assert!(refused.code() > 0, "{bad:?}: {refused:?}");
    }
}
