//! The producer as its users see it: what it prints, and its exit codes.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::process::Command;

use serde_json::{Value, json};
use taskq::Mode;
use taskq_e2e::{Fixture, Program, program, run};
// The worker runs in this process.
use tasks as _;

fn producer(fixture: &Fixture) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_producer"));
    command.args(["--url", fixture.url()]);
    command
}

/// Runs it on a thread of its own: the worker is on this one.
async fn ran(command: &mut Command) -> taskq_e2e::Ended {
    let program = Program::start(command);
    tokio::task::spawn_blocking(|| program.end()).await.unwrap()
}

#[tokio::test]
async fn it_shows_the_five_tasks_with_their_results() {
    let fixture = Fixture::new(Mode::JetStream);
    let worker = fixture.worker().await;
    let shown = ran(&mut producer(&fixture)).await;
    assert_eq!(shown.code(), 0, "{shown:?}");
    for result in [
        "\"HELLO, WORLD\"",
        "\"hello, world\"",
        "\"dlrow ,olleh\"",
        "12",
        "\"hahaha\"",
    ] {
        assert!(shown.stdout.contains(result), "{shown:?}");
    }
    let last = shown.stdout.lines().last().unwrap();
    assert!(last.starts_with("5 of 5 tasks succeeded"), "{last}");
    assert!(last.ends_with(&format!("5 on {}", worker.name)), "{last}");
}

#[tokio::test]
async fn in_json_each_task_is_a_line_and_the_summary_is_the_last() {
    let fixture = Fixture::new(Mode::JetStream);
    let worker = fixture.worker().await;
    let lines = ran(producer(&fixture).arg("--json")).await.json();
    assert_eq!(lines.len(), 6);
    let tasks: Vec<&Value> = lines.iter().map(|line| &line["task"]).collect();
    assert_eq!(
        json!(tasks[..5]),
        json!([
            "to_uppercase",
            "to_lowercase",
            "reverse_string",
            "count_chars",
            "repeat_string"
        ])
    );
    let first = &lines[0];
    assert_eq!(first["args"], json!({ "text": "hello, world" }));
    assert_eq!(first["state"], "succeeded");
    assert_eq!(first["result"], "HELLO, WORLD");
    assert_eq!(first["error"], Value::Null);
    assert_eq!(first["worker"], *worker.name);
    assert_eq!(first["attempt"], 1);
    assert!(first["ms"].as_f64().unwrap() > 0.0);
    assert_eq!(first["id"].as_str().unwrap().len(), 36);
    let summary = &lines[5]["summary"];
    assert_eq!(summary["sent"], 5);
    assert_eq!(summary["succeeded"], 5);
    assert_eq!(summary["failed"], 0);
    assert_eq!(summary["by_worker"], json!({ worker.name.as_str(): 5 }));
    assert!(summary["seconds"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn many_tasks_return_what_they_should() {
    let fixture = Fixture::new(Mode::JetStream);
    let _worker = fixture.worker().await;
    let ended = ran(producer(&fixture).args(["--count", "500", "--json"])).await;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let lines = ended.json();
    assert_eq!(lines.len(), 501);
    assert_eq!(lines[500]["summary"]["succeeded"], 500);
    let told = ran(producer(&fixture).args(["--count", "12"])).await;
    assert!(
        told.stdout.starts_with("12 of 12 tasks succeeded"),
        "{told:?}"
    );
}

#[test]
fn it_need_not_wait() {
    let fixture = Fixture::new(Mode::JetStream);
    let ended = run(producer(&fixture).args(["--no-wait", "--json"]));
    assert_eq!(ended.code(), 0, "{ended:?}");
    let lines = ended.json();
    assert!(lines[..5].iter().all(|line| line["state"] == "sent"));
    assert_eq!(lines[5]["summary"]["sent"], 5);
    let told = run(producer(&fixture).args(["--no-wait", "--count", "7"]));
    assert!(told.stdout.starts_with("7 tasks sent"), "{told:?}");
}

#[test]
fn without_a_worker_it_says_so_and_fails_in_the_end() {
    let fixture = Fixture::new(Mode::JetStream);
    let waiting = Program::start(producer(&fixture).args(["--timeout", "5s", "--json"]));
    let _ = waiting.stderr_line("no worker is running");
    let ended = waiting.end();
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("5 of 5 tasks failed"), "{ended:?}");
    assert_eq!(ended.json()[0]["state"], "timeout");
}

#[test]
fn a_call_that_nobody_takes_is_an_error_in_core_mode() {
    let fixture = Fixture::new(Mode::Core);
    let ended = run(producer(&fixture).args(["--mode", "core", "--json"]));
    assert_eq!(ended.code(), 1);
    let first = &ended.json()[0];
    assert_eq!(first["state"], "unsent");
    assert_eq!(first["id"], Value::Null);
    assert!(first["error"].as_str().unwrap().contains("no worker"));
}

#[tokio::test]
async fn as_a_service_it_goes_on_until_it_is_told_to_stop() {
    let fixture = Fixture::new(Mode::JetStream);
    let _worker = fixture.worker().await;
    let service = Program::start(producer(&fixture).args(["--every", "20ms", "--count", "7"]));
    let ended = tokio::task::spawn_blocking(|| {
        let line = service.stdout_line("text: \"hello 0\"");
        service.until_stdout(|text| text.matches("text: \"hello 0\"").count() > 2);
        service.signal("TERM");
        (line, service.end())
    });
    let (line, ended) = ended.await.unwrap();
    assert!(line.contains(" ms"), "{line}");
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .lines()
            .last()
            .unwrap()
            .contains("tasks succeeded"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_of_the_catalogue_is_sent_at_a_steady_rate_and_all_of_it_succeeds() {
    let fixture = Fixture::new(Mode::JetStream);
    let _worker = fixture.worker().await;
    let mix = [
        "--mix",
        "catalogue",
        "--rate",
        "60",
        "--seconds",
        "3",
        "--json",
    ];
    let lines = ran(producer(&fixture).args(mix)).await.json();
    assert_eq!(lines.len(), 181);
    let last = &lines[180];
    assert_eq!(last["summary"]["succeeded"], 180, "{last}");
    let seconds = last["summary"]["seconds"].as_f64().unwrap();
    assert!(seconds > 2.9, "{seconds}");
    let kinds = last["by_task"].as_object().unwrap();
    assert!(kinds.len() > 10, "{kinds:?}");
    let shown = ran(producer(&fixture).args(["--rate", "50", "--seconds", "1"])).await;
    assert_eq!(shown.code(), 0, "{shown:?}");
    assert!(shown.stdout.contains("p99 ms"), "{shown:?}");
    let refused = ran(producer(&fixture).args(["--mix", "catalogue"])).await;
    assert_eq!(refused.code(), 2, "{refused:?}");
}
