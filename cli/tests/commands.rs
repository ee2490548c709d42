//! The commands that talk to a running system.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::process::Command;

use serde_json::{Value, json};
use taskq::Mode;
use taskq_e2e::{Ended, Fixture, Program, Running, found, program};
// The workers run in this process.
use tasks as _;

/// The `taskq` command, for the server of the test.
fn taskq(fixture: &Fixture, args: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_taskq"));
    command
        .args(args)
        .args(["--url", fixture.url(), "--mode", fixture.mode().as_str()]);
    command
}

/// A worker that the command finds.
async fn worker(fixture: &Fixture) -> Running {
    let worker = fixture.worker().await;
    found(&fixture.client().await, 1).await;
    worker
}

/// Runs it on a thread of its own: the worker is on this one.
async fn run(fixture: &Fixture, args: &[&str]) -> Ended {
    let program = Program::start(&mut taskq(fixture, args));
    tokio::task::spawn_blocking(|| program.end()).await.unwrap()
}

#[tokio::test]
async fn a_task_goes_by_name_and_its_result_comes_back() {
    let fixture = Fixture::new(Mode::JetStream);
    let worker = worker(&fixture).await;
    let call = [
        "enqueue",
        "repeat_string",
        "--args",
        "[\"ha\"]",
        "--kwargs",
        "{\"times\": 3}",
        "--wait",
    ];
    let sent = run(&fixture, &call).await;
    assert_eq!(sent.code(), 0, "{sent:?}");
    let (id, result) = sent.stdout.trim().split_once('\n').unwrap();
    assert_eq!(result, "\"hahaha\"");
    assert_eq!(sent.stderr, "");

    assert_eq!(run(&fixture, &["status", id]).await.stdout, "succeeded\n");
    let status = run(&fixture, &["status", id, "--json"]).await.json();
    assert_eq!(status, [json!({ "id": id, "status": "succeeded" })]);
    let result = run(&fixture, &["result", id]).await;
    assert_eq!(result.stdout, "\"hahaha\"\n");
    let record = &run(&fixture, &["result", id, "--json", "--wait"])
        .await
        .json()[0];
    assert_eq!(record["task_id"], id);
    assert_eq!(record["return_value"], "hahaha");
    assert_eq!(record["worker"], *worker.name);
    assert_eq!(record["is_err"], false);
}

#[tokio::test]
async fn enqueue_in_json_has_the_producers_shape() {
    let fixture = Fixture::new(Mode::JetStream);
    let worker = worker(&fixture).await;
    let call = [
        "enqueue",
        "count_chars",
        "--kwargs",
        "{\"text\": \"straße\"}",
        "--id",
        "mine",
        "--priority",
        "high",
        "--wait",
        "--json",
    ];
    let mut lines = run(&fixture, &call).await.json();
    assert_eq!(lines.len(), 1);
    assert!(lines[0]["ms"].take().as_f64().unwrap() > 0.0);
    assert_eq!(
        lines[0],
        json!({
            "task": "count_chars", "id": "mine", "args": { "text": "straße" },
            "state": "succeeded", "result": 6, "error": null, "worker": worker.name,
            "attempt": 1, "ms": null,
        })
    );
    let again = run(&fixture, &call).await;
    assert_eq!(again.json()[0]["result"], 6);
    assert!(again.stderr.contains("there already"), "{again:?}");
}

#[tokio::test]
async fn an_unknown_task_is_warned_of_and_waits_and_the_worker_lives() {
    let fixture = Fixture::new(Mode::JetStream);
    let worker = worker(&fixture).await;
    let sent = run(&fixture, &["enqueue", "to_upercase", "--args", "[\"x\"]"]).await;
    assert_eq!(sent.code(), 0, "{sent:?}");
    assert!(
        sent.stderr.contains("did you mean `to_uppercase`"),
        "{sent:?}"
    );
    let id = sent.stdout.trim();
    let result = run(&fixture, &["result", id]).await;
    assert_eq!(result.code(), 1);
    assert!(result.stderr.contains("has not ended"), "{result:?}");

    let right = run(
        &fixture,
        &["enqueue", "to_uppercase", "--args", "[\"x\"]", "--wait"],
    )
    .await;
    assert!(right.stdout.ends_with("\"X\"\n"), "{right:?}");
    assert_eq!(worker.stats.failed(), 0);
    let status = run(&fixture, &["status", id]).await.stdout;
    assert!(["waiting\n", "running\n"].contains(&status.as_str()));
}

#[tokio::test]
async fn without_a_worker_enqueue_warns_and_the_task_waits() {
    let fixture = Fixture::new(Mode::JetStream);
    let sent = run(&fixture, &["enqueue", "to_uppercase", "--args", "[\"x\"]"]).await;
    assert_eq!(sent.code(), 0, "{sent:?}");
    assert!(sent.stderr.contains("no worker is running"), "{sent:?}");
    let _worker = fixture.worker().await;
    let result = run(&fixture, &["result", sent.stdout.trim(), "--wait"]).await;
    assert_eq!(result.stdout, "\"X\"\n");
}

#[tokio::test]
async fn arguments_that_do_not_fit_end_in_a_clear_failure() {
    let fixture = Fixture::new(Mode::JetStream);
    let worker = worker(&fixture).await;
    for (args, told) in [
        (["--args", "[7]"], "text"),
        (["--args", "[\"a\", \"b\"]"], "takes 1 argument"),
        (["--kwargs", "{\"txet\": \"a\"}"], "has no argument `txet`"),
        (["--args", "[]"], "text"),
    ] {
        let call = ["enqueue", "to_uppercase", "--no-check", "--wait"];
        let call = [&call[..], &args].concat();
        let failed = run(&fixture, &call).await;
        assert_eq!(failed.code(), 1, "{failed:?}");
        assert!(failed.stderr.contains(told), "{told}: {failed:?}");
        assert!(failed.stderr.contains("failed"), "{failed:?}");
        assert_eq!(failed.stderr.lines().count(), 1, "{failed:?}");

        let id = failed.stdout.trim();
        let result = run(&fixture, &["result", id]).await;
        assert_eq!(result.code(), 1);
        assert!(result.stderr.contains(told), "{told}: {result:?}");
    }
    let call = [
        "enqueue",
        "to_uppercase",
        "--args",
        "[7]",
        "--no-check",
        "--wait",
        "--json",
    ];
    let report = &run(&fixture, &call).await.json()[0];
    assert_eq!(report["state"], "failed");
    assert_eq!(report["result"], Value::Null);
    assert!(report["error"].as_str().unwrap().contains("text"));
    assert_eq!(worker.stats.failed(), 5);
}

#[tokio::test]
async fn bad_usage_exits_2_and_no_server_exits_1() {
    let fixture = Fixture::new(Mode::JetStream);
    for args in [
        &["enqueue"][..],
        &["enqueue", "x", "--args", "{}"],
        &["enqueue", "x", "--kwargs", "[1]"],
        &["enqueue", "x", "--priority", "urgent"],
        &["enqueue", "x", "--delay", "soon"],
    ] {
        let refused = run(&fixture, args).await;
        assert_eq!(refused.code(), 2, "{refused:?}");
    }
    let refused = run(&fixture, &["enqueue", "a b"]).await;
    assert_eq!(refused.code(), 1, "{refused:?}");
    let mut command = program(env!("CARGO_BIN_EXE_taskq"));
    command.args(["queues", "--url", "127.0.0.1:1", "--connect-timeout", "1s"]);
    let refused = taskq_e2e::run(&mut command);
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("within 1s"), "{refused:?}");
    assert!(refused.stderr.contains("taskq dev"), "{refused:?}");
}

#[tokio::test]
async fn a_task_that_nobody_sent_is_told() {
    let fixture = Fixture::new(Mode::JetStream);
    for command in ["status", "result"] {
        let refused = run(&fixture, &[command, "no-such-id"]).await;
        assert_eq!(refused.code(), 1, "{refused:?}");
        assert!(refused.stderr.contains("no trace of"), "{refused:?}");
    }
    let status = run(&fixture, &["status", "no-such-id", "--json"]).await;
    assert_eq!(status.json()[0]["status"], "unknown");
}

#[tokio::test]
async fn the_listings_show_what_there_is() {
    let fixture = Fixture::new(Mode::JetStream);
    let none = run(&fixture, &["tasks", "--json"]).await;
    assert_eq!(none.code(), 0);
    assert!(none.stderr.contains("no worker answers"), "{none:?}");
    let built_in = none.json();
    assert_eq!(built_in.len(), 25);
    assert_eq!(built_in[0]["source"], "program");
    assert_eq!(built_in[0]["workers"], json!([]));
    assert_eq!(run(&fixture, &["workers", "--json"]).await.stdout, "");

    let worker = worker(&fixture).await;
    let tasks = run(&fixture, &["tasks", "--json"]).await.json();
    assert_eq!(tasks.len(), 25);
    let repeat = tasks
        .iter()
        .find(|task| task["name"] == "repeat_string")
        .unwrap();
    assert_eq!(repeat["source"], "worker");
    assert_eq!(repeat["workers"], json!([worker.name]));
    assert_eq!(repeat["queue"], "default");
    assert_eq!(repeat["conflict"], false);
    let shown = run(&fixture, &["tasks"]).await.stdout;
    assert!(
        shown.contains("repeat_string(text: String, times: u32)"),
        "{shown}"
    );

    let workers = run(&fixture, &["workers", "--json"]).await.json();
    assert_eq!(workers[0]["worker"], *worker.name);
    assert_eq!(workers[0]["queues"], json!(["default"]));
    assert!(
        run(&fixture, &["workers"])
            .await
            .stdout
            .contains(&worker.name)
    );

    let call = ["enqueue", "to_uppercase", "--args", "[\"a\"]", "--queue"];
    run(
        &fixture,
        &[&call[..], &["default", "--delay", "1h"]].concat(),
    )
    .await;
    run(&fixture, &[&call[..], &["other"]].concat()).await;
    let queues = run(&fixture, &["queues", "--json"]).await.json();
    assert_eq!(
        queues,
        [
            json!({
                "queue": "default", "pending": 0, "running": 0, "scheduled": 1, "held": 0,
                "paused": false, "revision": 0, "settings": {},
            }),
            json!({
                "queue": "other", "pending": 1, "running": 0, "scheduled": 0, "held": 0,
                "paused": false, "revision": 0, "settings": {},
            }),
        ]
    );
}

#[tokio::test]
async fn the_doctor_tells_what_does_not_work_and_exits_1() {
    let fixture = Fixture::new(Mode::JetStream);
    let _worker = worker(&fixture).await;
    let well = run(&fixture, &["doctor"]).await;
    assert_eq!(well.code(), 0, "{well:?}");
    assert!(well.stdout.contains("nats-server"), "{well:?}");

    let call = ["enqueue", "to_uppercase", "--args", "[\"a\"]", "--queue"];
    run(&fixture, &[&call[..], &["lonely"]].concat()).await;
    let ill = run(&fixture, &["doctor", "--json"]).await;
    assert_eq!(ill.code(), 1, "{ill:?}");
    let findings = ill.json();
    let wrong: Vec<&Value> = findings
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .collect();
    assert_eq!(wrong.len(), 1, "{findings:?}");
    assert!(wrong[0]["found"].as_str().unwrap().contains("lonely"));
    assert!(wrong[0]["mend"].as_str().unwrap().contains("TASKQ_QUEUES"));
}
