//! `taskq demo` and `taskq dev`: everything that is started ends with them.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;
use taskq_e2e::{PATIENCE, Program, is_alive, program, run};

fn taskq(args: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_taskq"));
    command.args(args);
    command
}

/// The port in a line that has an address of this machine.
fn port(line: &str) -> u16 {
    let (_, rest) = line.split_once("127.0.0.1:").unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < limit, "in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let all = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid="])
        .output()
        .unwrap();
    String::from_utf8(all.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let pid = words.next()?.parse().ok()?;
            (words.next()? == parent.to_string()).then_some(pid)
        })
        .collect()
}

#[test]
fn the_demo_ends_with_the_five_right_results() {
    let demo = run(&mut taskq(&["demo"]));
    assert_eq!(demo.code(), 0, "{demo:?}");
    let first = demo.stdout.lines().next().unwrap();
    assert!(first.starts_with("nats-server "), "{first}");
    for result in [
        "\"HELLO, WORLD\"",
        "\"hello, world\"",
        "\"dlrow ,olleh\"",
        "┆ 12 ",
        "\"hahaha\"",
        "5 of 5 tasks succeeded",
    ] {
        assert!(demo.stdout.contains(result), "{demo:?}");
    }
    assert!(!is_open(port(first)));
    assert_eq!(demo.stderr, "");
}

#[test]
fn both_workers_of_the_demo_do_work() {
    let demo = run(&mut taskq(&["demo", "--count", "200", "--json"]));
    assert_eq!(demo.code(), 0, "{}", demo.stderr);
    let lines = demo.json();
    assert_eq!(lines.len(), 201);
    let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    let mut expected = [
        "task", "id", "args", "state", "result", "error", "worker", "attempt", "ms",
    ];
    expected.sort_unstable();
    let mut keys: Vec<&str> = keys.into_iter().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, expected);
    let summary = &lines[200]["summary"];
    assert_eq!(summary["sent"], 200);
    assert_eq!(summary["succeeded"], 200);
    let by_worker = summary["by_worker"].as_object().unwrap();
    assert_eq!(by_worker.len(), 2, "{summary}");
    let ran: u64 = by_worker.values().filter_map(Value::as_u64).sum();
    assert_eq!(ran, 200);
}

#[test]
fn without_a_server_the_demo_runs_in_memory_and_says_so_first() {
    let mut command = taskq(&["demo"]);
    let demo = run(command.env("TASKQ_NATS_SERVER", "/nowhere/nats-server"));
    assert_eq!(demo.code(), 0, "{demo:?}");
    let first = demo.stdout.lines().next().unwrap();
    assert!(first.contains("Without NATS"), "{first}");
    assert!(first.contains("memory"), "{first}");
    assert!(first.contains("/nowhere/nats-server"), "{first}");
    assert!(demo.stdout.contains("5 of 5 tasks succeeded"), "{demo:?}");

    let mut command = taskq(&["demo", "--count", "200", "--json"]);
    let demo = run(command.env("TASKQ_NATS_SERVER", "/nowhere/nats-server"));
    assert_eq!(demo.json().len(), 201);
    assert!(demo.stderr.starts_with("Without NATS"), "{}", demo.stderr);
}

#[test]
fn settings_for_another_nats_do_not_reach_the_demo() {
    let mut command = taskq(&["demo"]);
    let demo = run(command
        .env("NATS_URL", "nats://127.0.0.1:1")
        .env("NATS_USER", "somebody")
        .env("TASKQ_MODE", "core")
        .env("TASKQ_NAMESPACE", "elsewhere")
        .env("TASKQ_QUEUES", "other")
        .env("TASKQ_HTTP", "127.0.0.1:1"));
    assert_eq!(demo.code(), 0, "{demo:?}");
}

#[test]
fn dev_stays_up_until_ctrl_c_and_leaves_nothing_behind() {
    let dev = Program::start(&mut taskq(&["dev", "--port", "0", "--log", "warn"]));
    let line = dev.stdout_line("export NATS_URL=");
    let url = line.split_once('=').unwrap().1.to_owned();
    let port = port(&url);
    let _ = dev.stdout_line("2 workers: worker-1, worker-2");
    let gateway = dev.stdout_line("gateway at http://");
    assert!(is_open(self::port(&gateway)), "{gateway}");

    until("both workers are found", || {
        let listed = run(&mut taskq(&["workers", "--json", "--url", &url]));
        listed.json().len() == 2
    });

    let started = children(dev.pid());
    // Two workers, and what runs the server.
    assert!(started.len() >= 3, "{started:?}");
    dev.signal("INT");
    let ended = dev.end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(!is_open(port));
    assert!(!started.into_iter().any(is_alive));
}

#[test]
fn what_dev_started_ends_even_when_dev_is_killed() {
    let dev = Program::start(&mut taskq(&["dev", "--port", "0"]));
    let port = port(&dev.stdout_line("export NATS_URL="));
    let started = children(dev.pid());
    assert!(started.len() >= 3, "{started:?}");
    dev.signal("KILL");
    until("all of it ends", || {
        !is_open(port) && !started.iter().any(|pid| is_alive(*pid))
    });
}

#[test]
fn the_demo_stopped_half_way_leaves_nothing_behind() {
    let demo = Program::start(&mut taskq(&["demo", "--count", "1000000"]));
    let port = port(&demo.stdout_line("nats-server "));
    let _ = demo.stdout_line("2 workers");
    let started = children(demo.pid());
    demo.signal("INT");
    let ended = demo.end();
    assert_eq!(ended.code(), 1);
    until("all of it ends", || {
        !is_open(port) && !started.iter().any(|pid| is_alive(*pid))
    });
}

#[test]
fn a_worker_of_dev_that_is_killed_is_started_again() {
    let dev = Program::start(&mut taskq(&["dev", "--port", "0", "--workers", "1"]));
    let line = dev.stdout_line("export NATS_URL=");
    let url = line.split_once('=').unwrap().1.to_owned();
    let is_worker = |pid: &u32| {
        let shown = Command::new("ps")
            .args(["-o", "args=", "-p", &pid.to_string()])
            .output();
        String::from_utf8_lossy(&shown.unwrap().stdout).contains("local-worker")
    };
    let worker = children(dev.pid()).into_iter().find(is_worker).unwrap();
    let killed = Command::new("kill")
        .args(["-s", "KILL", &worker.to_string()])
        .status();
    assert!(killed.unwrap().success());
    let _ = dev.stderr_line("worker-1 ended");
    let call = run(&mut taskq(&[
        "enqueue",
        "to_uppercase",
        "--args",
        "[\"again\"]",
        "--wait",
        "--url",
        &url,
    ]));
    assert_eq!(call.code(), 0, "{call:?}");
    assert!(call.stdout.ends_with("\"AGAIN\"\n"), "{call:?}");
}

#[test]
fn a_port_in_use_is_told_by_dev() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = run(&mut taskq(&["dev", "--port", &port]));
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains(&port), "{refused:?}");
    assert!(refused.stderr.contains("--port"), "{refused:?}");
}

#[test]
fn the_gateway_of_dev_answers_at_a_free_port_where_its_own_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port_taken = taken.local_addr().unwrap().port();
    let args = ["dev", "--port", "0", "--http-port", &port_taken.to_string()];
    let dev = Program::start(&mut taskq(&args));
    let line = dev.stdout_line("gateway at http://");
    let (_, address) = line.split_once("http://").unwrap();
    assert_ne!(port(address), port_taken);
    let call = r#"{"task": "to_uppercase", "args": ["ha"]}"#;
    let sent = run(Command::new("curl")
        .args(["-s", "-H", "content-type: application/json", "-d", call])
        .arg(format!("http://{address}/v1/tasks?wait=20s")));
    assert_eq!(sent.json()[0]["result"], "HA", "{sent:?}");
}

#[test]
fn dev_starts_no_gateway_where_none_is_wanted() {
    let args = ["dev", "--port", "0", "--workers", "0", "--no-gateway"];
    let dev = Program::start(&mut taskq(&args));
    let _ = dev.stdout_line("Ctrl-C stops it.");
    dev.signal("INT");
    let ended = dev.end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(!ended.stdout.contains("gateway"), "{ended:?}");
}

#[test]
fn the_store_of_dev_outlives_it() {
    let store = tempfile::tempdir().unwrap();
    let dev = || {
        let mut command = taskq(&["dev", "--port", "0", "--workers", "0", "--store"]);
        let dev = Program::start(command.arg(store.path()));
        let line = dev.stdout_line("export NATS_URL=");
        let url = line.split_once('=').unwrap().1.to_owned();
        (dev, url)
    };
    let (first, url) = dev();
    let sent = run(&mut taskq(&[
        "enqueue",
        "to_uppercase",
        "--args",
        "[\"x\"]",
        "--url",
        &url,
    ]));
    assert_eq!(sent.code(), 0, "{sent:?}");
    first.signal("TERM");
    assert_eq!(first.end().code(), 0);

    let (_second, url) = dev();
    let id = sent.stdout.trim();
    let status = run(&mut taskq(&["status", id, "--url", &url]));
    assert_eq!(status.stdout, "waiting\n", "{status:?}");
}
