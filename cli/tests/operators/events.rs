//! `taskq events`

use taskq_e2e::Program;

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_hour_is_told_line_by_line_and_filtered() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.send("read_file", "order-42", "mended").await;
    system.ended("order-42").await;
    system.make("mended");
    system.send("read_file", "order-43", "mended").await;
    system.ended("order-43").await;
    for (kind, count) in [
        ("worker_up", 1),
        ("retrying", 1),
        ("failed", 1),
        ("dead", 1),
        ("succeeded", 1),
    ] {
        let filter = format!("event={kind}");
        system.until_json(&["events", "--filter", &filter], |told| told.len() == count);
    }

    let told = system.taskq(&["events"]);
    assert_eq!(told.code(), 0, "{told:?}");
    let line = |part: &[&str]| {
        let has = |line: &&str| part.iter().all(|part| line.contains(part));
        assert!(
            told.stdout.lines().any(|line| has(&line)),
            "{part:?}: {told:?}"
        );
    };
    line(&["worker_up", "w1"]);
    line(&[
        "retrying",
        "read_file order-42",
        "attempt 1 on w1",
        "no route",
    ]);
    line(&[
        "failed",
        "read_file order-42",
        "attempt 2 on w1",
        "no route",
    ]);
    line(&["dead", "read_file order-42", "exhausted"]);
    line(&["succeeded", "read_file order-43", "ms"]);
    assert!(!told.stdout.contains('\u{1b}'), "{told:?}");

    let filter = |terms: &str| system.json(&["events", "--filter", terms]);
    let failed = filter("event=failed,dead queue=default");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|event| event["task_id"] == "order-42"));
    assert_eq!(filter("id=order-43 event=succeeded").len(), 1);
    assert!(filter("worker=another").is_empty());
    assert!(
        system
            .json(&["events", "--since", "2100-01-01T00:00:00Z"])
            .is_empty()
    );
    let refused = system.taskq(&["events", "--filter", "colour=red"]);
    assert_eq!(refused.code(), 2, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_outlives_a_restart_of_the_server_tells_nothing_twice_and_ends_on_ctrl_c() {
    let mut system = System::new().await;
    let worker = system.worker("w1");
    system.make("mended");
    system.send("read_file", "before", "mended").await;
    let follow = [
        "events",
        "--follow",
        "--since",
        "1h",
        "--filter",
        "event=succeeded",
    ];
    let following = Program::start(&mut system.command(&follow));
    let _ = following.stdout_line("before");

    let mut server = system.fixture.server.take().unwrap();
    server.kill().unwrap();
    let _ = worker.pid();
    server.restart().unwrap();
    system.fixture.server = Some(server);
    system.send("read_file", "after", "mended").await;
    assert_eq!(system.ended("after").await, "succeeded");
    let _ = following.stdout_line("after");

    following.signal("INT");
    let ended = following.end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    for id in ["before", "after"] {
        assert_eq!(ended.stdout.matches(id).count(), 1, "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_without_a_past_tells_nothing_of_it_after_a_restart_either() {
    let mut system = System::new().await;
    let _worker = system.worker("w1");
    system.make("mended");
    system.send("read_file", "before", "mended").await;
    system.ended("before").await;
    let follow = ["events", "--follow", "--log", "debug"];
    let following = Program::start(&mut system.command(&follow));
    // Whatever is sent from then on that is seen, it follows.
    let mut server = system.fixture.server.take().unwrap();
    let _ = following.stderr_line("following");
    server.kill().unwrap();
    server.restart().unwrap();
    system.fixture.server = Some(server);
    system.send("read_file", "after", "mended").await;
    let _ = following.stdout_line("after");
    following.signal("TERM");
    let ended = following.end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(!ended.stdout.contains("before"), "{ended:?}");
}
