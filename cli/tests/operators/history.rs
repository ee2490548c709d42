//! `taskq history`.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use serde_json::Value;
use taskq::TaskHandle;
use taskq_e2e::Program;

use crate::System;

/// What the entries are of: task ids, actions, events of workers.
fn names(entries: &[Value]) -> Vec<&str> {
    let name = |entry: &Value| match entry["kind"].as_str() {
        Some("task") => "task_id",
        Some("audit") => "action",
        _ => "event",
    };
    entries
        .iter()
        .map(|entry| entry[name(entry)].as_str().unwrap())
        .collect()
}

fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

impl System {
    /// One task of each end that the filters tell apart, and two actions.
    async fn with_a_past(&self) -> Program {
        let worker = self.worker("w1");
        self.make("mended");
        let call = |task: &str, id: &str, file: &str| {
            let call = self.client.call(task).id(id);
            call.arg("file", &self.file(file))
        };
        let sent = [
            call("read_file", "succeeds", "mended")
                .label("customer", 42)
                .key("acme"),
            call("read_file", "fails", "missing"),
            self.client
                .call("sign_in")
                .id("secret")
                .arg("password", "hunter2"),
            call("go_on", "is-cancelled", "going"),
        ];
        for call in sent {
            call.enqueue(&self.client).await.unwrap();
        }
        self.until_there("going").await;
        let done = self.taskq(&["cancel", "is-cancelled", "--wait", "--because", "enough"]);
        assert_eq!(done.code(), 0, "{done:?}");
        for id in ["succeeds", "fails", "secret"] {
            self.ended(id).await;
        }
        let paused = self.taskq(&["queues", "pause", "email", "--because", "the relay is down"]);
        assert_eq!(paused.code(), 0, "{paused:?}");
        worker
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_filter_finds_what_it_says_and_the_filters_hold_together() {
    let system = System::new().await;
    let _worker = system.with_a_past().await;
    let revealed = system.taskq(&["result", "secret", "--reveal", "--json"]);
    assert!(revealed.stdout.contains("hunter2"), "{revealed:?}");
    let found = |args: &[&str]| {
        let entries = system.json(&[&["history"], args].concat());
        let names = names(&entries).into_iter().map(str::to_owned);
        names.collect::<BTreeSet<_>>()
    };
    let all = ["succeeds", "fails", "secret", "is-cancelled"];
    for (args, expected) in [
        (&["--kind", "tasks"][..], &all[..]),
        (&["--kind", "workers"], &["worker_up"]),
        (
            &["--kind", "audit"],
            &["cancel_requested", "queue_paused", "revealed"],
        ),
        (
            &["--kind", "audit,workers", "--worker", "w1"],
            &["worker_up"],
        ),
        (&["--id", "fails"], &["fails"]),
        (&["--id", "secret"], &["secret", "revealed"]),
        (
            &["--id", "is-cancelled"],
            &["is-cancelled", "cancel_requested"],
        ),
        (
            &["--task", "read_file", "--kind", "tasks"],
            &["succeeds", "fails"],
        ),
        (&["--state", "failed"], &["fails", "secret"]),
        (
            &["--state", "succeeded,cancelled"],
            &["succeeds", "is-cancelled"],
        ),
        (&["--queue", "email"], &["queue_paused"]),
        (
            &["--queue", "default", "--kind", "tasks,workers"],
            &["succeeds", "fails", "secret", "is-cancelled", "worker_up"],
        ),
        (&["--kind", "tasks", "--worker", "w1"], &all),
        (&["--worker", "w2"], &[]),
        (&["--task-key", "acme"], &["succeeds"]),
        (&["--label", "customer=42"], &["succeeds"]),
        (&["--label", "customer=4"], &[]),
        (&["--error", "ROUTE, file"], &["fails"]),
        (&["--error", "hunter2"], &[]),
        (&["--dead"], &["fails", "secret"]),
        (&["--dead", "--task", "read_file"], &["fails"]),
        (
            &["--since", "1h", "--state", "cancelled"],
            &["is-cancelled"],
        ),
        (&["--until", "1h"], &[]),
        (&["--since", "2100-01-01T00:00:00Z"], &[]),
    ] {
        let is: BTreeSet<_> = expected.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(found(args), is, "{args:?}");
    }
    let file = format!("file={}", system.file("mended"));
    assert_eq!(found(&["--arg", &file]).len(), 1);

    let refused = system.taskq(&["history", "--state", "exploded"]);
    assert_eq!(refused.code(), 2, "{refused:?}");
    let refused = system.taskq(&["history", "--label", "customer"]);
    assert_eq!(refused.code(), 2, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_has_the_whole_record_of_each_task_and_nothing_that_is_hidden() {
    let system = System::new().await;
    let _worker = system.with_a_past().await;
    let tasks = system.json(&["history", "--kind", "tasks"]);
    assert_eq!(tasks.len(), 4, "{tasks:?}");
    for mut task in tasks {
        let id = task["task_id"].as_str().unwrap().to_owned();
        // `result` exits with 1 for what did not succeed, and prints it.
        let record = system.taskq(&["result", &id, "--json"]).json().remove(0);
        assert_eq!(task["at"], record["finished_at"]);
        let fields = task.as_object_mut().unwrap();
        assert_eq!(fields.remove("kind"), Some("task".into()));
        assert!(fields.remove("sequence").unwrap().as_u64() > Some(0));
        fields.remove("at");
        assert_eq!(task, record, "{id}");
    }
    let all = system.taskq(&["history", "--json"]);
    assert!(!all.stdout.contains("hunter2"), "{all:?}");
    let paused = &system.json(&["history", "--kind", "audit", "--queue", "email"])[0];
    let audited = &system.json(&["audit", "--queue", "email"])[0];
    for (name, value) in audited.as_object().unwrap() {
        assert_eq!(paused[name], *value, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_says_when_what_how_it_ended_where_how_long_and_why() {
    let system = System::new().await;
    let _worker = system.with_a_past().await;
    let told = system.taskq(&["history"]);
    assert_eq!(told.code(), 0, "{told:?}");
    let line = |parts: &[&str]| {
        let has = |line: &&str| parts.iter().all(|part| line.contains(part));
        assert!(
            told.stdout.lines().any(|line| has(&line)),
            "{parts:?}: {told:?}"
        );
    };
    line(&["Z  succeeded", "read_file succeeds", "on w1", "ms"]);
    line(&[
        "failed",
        "read_file fails, attempt 2 on w1",
        "ms",
        "no route",
    ]);
    line(&["cancelled", "go_on is-cancelled", "enough"]);
    line(&["queue_paused", "email", "by ", "the relay is down"]);
    line(&["worker_up", "w1"]);
    // The newest first, and as many as were asked for.
    assert!(told.stdout.lines().next().unwrap().contains("queue_paused"));
    let two = system.taskq(&["history", "--limit", "2"]);
    assert_eq!(two.stdout.lines().count(), 2, "{two:?}");
    assert!(two.stderr.contains("--all"), "{two:?}");
    let oldest = system.taskq(&["history", "--oldest-first", "--limit", "1"]);
    assert!(oldest.stdout.contains("worker_up"), "{oldest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_seen_enough_closes_the_pipe_and_hears_no_complaint() {
    let system = System::new().await;
    let _worker = system.with_a_past().await;
    let mut command = system.command(&["history", "--json"]);
    // Nobody reads from it.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = command.stdout(writer).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(done.stderr.is_empty(), "{done:?}");
}

/// More than what is read at once: it is the same from both ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_is_whole_from_either_end() {
    const COUNT: usize = 600;
    let system = System::new().await;
    system.make("mended");
    let _worker = system.worker("w1");
    let file = system.file("mended");
    let calls = (0..COUNT).map(|number| {
        let call = system.client.call("read_file").id(format!("task-{number}"));
        call.arg("file", &file)
    });
    let sent = system.client.enqueue_many(calls);
    let sent: Vec<TaskHandle<Value>> = sent.try_collect().await.unwrap();
    for handle in sent {
        handle.outcome().await.unwrap();
    }
    let newest = system.json(&["history", "--all"]);
    let oldest = system.json(&["history", "--all", "--oldest-first"]);
    let tasks = |entries: &[Value]| {
        let tasks = entries.iter().filter(|entry| entry["kind"] == "task");
        let tasks = tasks.map(|entry| entry["task_id"].as_str().unwrap().to_owned());
        tasks.collect::<Vec<_>>()
    };
    assert_eq!(
        sorted(tasks(&newest).iter().map(String::as_str)).len(),
        COUNT
    );
    let mut reversed = tasks(&oldest);
    reversed.reverse();
    assert_eq!(tasks(&newest), reversed);
    // One of many, from either end.
    for order in [&["--oldest-first"][..], &[]] {
        let found = system.json(&[&["history", "--id", "task-3"], order].concat());
        assert_eq!(names(&found), ["task-3"]);
    }
    let since = newest[COUNT / 2]["at"].as_str().unwrap();
    let since_then = system.json(&["history", "--all", "--since", since]);
    let as_recent = newest
        .iter()
        .filter(|entry| entry["at"].as_str().unwrap() >= since);
    assert_eq!(since_then.len(), as_recent.count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_outlives_kill_9_of_the_server_of_the_workers_and_of_everything() {
    let mut system = System::new().await;
    let mut worker = system.with_a_past().await;
    let before = system.json(&["history"]);
    assert!(before.len() >= 7, "{before:?}");
    let is_kept = |system: &System| {
        let now = system.json(&["history"]);
        let lost: Vec<_> = before.iter().filter(|entry| !now.contains(entry)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}; there is: {now:?}");
    };

    // The workers.
    worker.kill();
    let mut worker = system.worker("w2");
    is_kept(&system);

    // The server.
    let mut server = system.fixture.server.take().unwrap();
    server.kill().unwrap();
    server.restart().unwrap();
    system.fixture.server = Some(server);
    is_kept(&system);

    // Everything.
    let mut server = system.fixture.server.take().unwrap();
    worker.kill();
    server.kill().unwrap();
    server.restart().unwrap();
    system.fixture.server = Some(server);
    is_kept(&system);

    // And it goes on.
    let _worker = system.worker("w3");
    system.send("read_file", "afterwards", "mended").await;
    assert_eq!(system.ended("afterwards").await, "succeeded");
    is_kept(&system);
    let found = system.json(&["history", "--id", "afterwards"]);
    assert_eq!(names(&found), ["afterwards"]);
    assert_eq!(found[0]["worker"], "w3");
    let up = system.json(&["history", "--kind", "workers", "--oldest-first"]);
    let up: Vec<_> = up.iter().map(|event| &event["worker"]).collect();
    assert_eq!(up, ["w1", "w2", "w3"]);
}
