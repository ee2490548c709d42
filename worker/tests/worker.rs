//! The worker as its users see it: flags, HTTP, signals, exit codes.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use taskq::Mode;
use taskq_e2e::{Fixture, PATIENCE, Program, program, run};
use taskq_nats_server::NatsServer;

fn worker() -> Command {
    program(env!("CARGO_BIN_EXE_worker"))
}

fn worker_of(url: &str) -> Command {
    let mut command = worker();
    command.args(["--url", url]);
    command
}

/// The address that a worker says it listens at.
fn http_address(worker: &Program) -> String {
    let line = worker.stderr_line("listening for HTTP");
    let (_, rest) = line.split_once("http://").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn told_to_stop_it_exits_0() {
    let server = NatsServer::builder().start().unwrap();
    for signal in ["TERM", "INT"] {
        let worker = Program::start(&mut worker_of(server.url()));
        let _ = worker.stderr_line("worker started with 25 tasks");
        let _ = worker.stderr_line("task repeat_string(text: String, times: u32)");
        worker.signal(signal);
        let ended = worker.end();
        assert_eq!(ended.code(), 0, "{ended:?}");
        assert!(ended.stderr.contains("stopped"), "{ended:?}");
    }
}

#[test]
fn told_to_stop_it_ends_when_nats_is_gone_too() {
    let mut server = NatsServer::builder().start().unwrap();
    let worker = Program::start(&mut worker_of(server.url()));
    let _ = worker.stderr_line("worker started");
    server.kill().unwrap();
    let _ = worker.stderr_line("the connection to NATS is gone");
    worker.signal("TERM");
    assert_eq!(worker.end().code(), 0);
}

#[tokio::test]
async fn it_tells_over_http_that_it_is_ready_and_what_it_did() {
    let fixture = Fixture::new(Mode::JetStream);
    let worker = Program::start(worker_of(fixture.url()).args(["--http", "127.0.0.1:0"]));
    let _ = worker.stderr_line("worker started");
    let address = http_address(&worker);

    let client = fixture.client().await;
    let handle = client
        .call("to_uppercase")
        .arg("text", "hello")
        .enqueue(&client)
        .await
        .unwrap();
    assert_eq!(handle.result().await.unwrap(), "HELLO");
    let _ = worker.stderr_line("succeeded");

    assert_eq!(get(&address, "/healthz").0, "200");
    assert_eq!(get(&address, "/readyz").0, "200");
    // Its slot is free a moment after it has ended.
    let limit = Instant::now() + PATIENCE;
    let (status, metrics) = loop {
        let (status, metrics) = get(&address, "/metrics");
        if metrics.contains("\ntaskq_worker_slots_used 0\n") || Instant::now() > limit {
            break (status, metrics);
        }
    };
    assert_eq!(status, "200");
    assert!(metrics.contains("\ntaskq_worker_ready 1\n"), "{metrics}");
    for line in [
        "taskq_attempts_started_total{task=\"to_uppercase\"} 1",
        "taskq_tasks_ended_total{task=\"to_uppercase\",outcome=\"succeeded\"} 1",
        "taskq_tasks_ended_total{task=\"to_uppercase\",outcome=\"failed\"} 0",
        "taskq_task_wait_seconds_count{task=\"to_uppercase\"} 1",
        "taskq_task_run_seconds_bucket{task=\"to_uppercase\",le=\"+Inf\"} 1",
        "taskq_worker_slots 64",
        "taskq_worker_slots_used 0",
        "taskq_nats_connected 1",
    ] {
        assert!(
            metrics.contains(&format!("\n{line}\n")),
            "{line}: {metrics}"
        );
    }
    #[cfg(target_os = "linux")]
    assert!(
        metrics.contains("\nprocess_resident_memory_bytes "),
        "{metrics}"
    );

    let healthy = run(worker_healthcheck(&address).env("TASKQ_HTTP", &address));
    assert_eq!(healthy.code(), 0, "{healthy:?}");
    worker.signal("TERM");
    assert_eq!(worker.end().code(), 0);
    let gone = run(&mut worker_healthcheck(&address));
    assert_eq!(gone.code(), 1);
    assert!(gone.stderr.contains(&address), "{gone:?}");
}

#[test]
fn it_is_unready_while_nats_is_frozen_and_ready_again_and_healthy_all_the_time() {
    let server = NatsServer::builder().start().unwrap();
    let worker = Program::start(worker_of(server.url()).args(["--http", "127.0.0.1:0"]));
    let _ = worker.stderr_line("worker started");
    let address = http_address(&worker);
    let until_ready_is = |status: &str| {
        let limit = Instant::now() + PATIENCE;
        loop {
            let (now, why) = get(&address, "/readyz");
            assert_eq!(get(&address, "/healthz").0, "200");
            if now == status {
                return why;
            }
            assert!(Instant::now() < limit, "{now}: {why}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until_ready_is("200");
    server.pause().unwrap();
    // Three of the server's heartbeats, and a look.
    let why = until_ready_is("503");
    assert!(why.contains("NATS has not"), "{why}");
    assert!(
        get(&address, "/metrics")
            .1
            .contains("\ntaskq_worker_ready 0\n")
    );
    server.resume().unwrap();
    until_ready_is("200");
}

fn worker_healthcheck(address: &str) -> Command {
    let mut command = worker();
    command.arg("healthcheck").env("TASKQ_HTTP", address);
    command
}

#[test]
fn without_nats_it_lives_and_is_not_ready() {
    let url = format!("nats://{}", nobody());
    let worker = Program::start(worker_of(&url).args(["--http", "127.0.0.1:0"]));
    let address = http_address(&worker);
    assert_eq!(get(&address, "/healthz").0, "200");
    let (status, why) = get(&address, "/readyz");
    assert_eq!(status, "503");
    assert!(why.contains("not connected"), "{why}");
}

#[test]
fn an_http_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(worker_of(&nobody()).env("TASKQ_HTTP", &address));
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains(&address), "{refused:?}");
    assert!(refused.stderr.contains("TASKQ_HTTP"), "{refused:?}");
}

#[test]
fn a_server_that_does_not_answer_is_told_after_the_connect_timeout() {
    let url = format!("nats://{}", nobody());
    let refused = run(worker_of(&url).args(["--connect-timeout", "1s"]));
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("trying for 1s"), "{refused:?}");
    assert!(refused.stderr.contains("within 1s"), "{refused:?}");
    assert!(refused.stderr.contains(&url), "{refused:?}");
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let server = NatsServer::builder().user("me", "right").start().unwrap();
    let refused = run(worker_of(server.url())
        .env("NATS_USER", "me")
        .env("NATS_PASSWORD", "wr0ng"));
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("refused user `me`"), "{refused:?}");
    assert!(!refused.stderr.contains("wr0ng"), "{refused:?}");
}

#[test]
fn a_server_with_jetstream_off_is_told() {
    let server = NatsServer::builder().jetstream(false).start().unwrap();
    let refused = run(&mut worker_of(server.url()));
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("JetStream is off"), "{refused:?}");
    assert!(refused.stderr.contains("nats-server -js"), "{refused:?}");
}

/// A server that says it is of another age. No old nats-server is at hand.
fn server_of_version(version: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let info = format!(
        "INFO {{\"server_id\":\"OLD\",\"server_name\":\"old\",\"version\":\"{version}\",\
         \"proto\":1,\"host\":\"127.0.0.1\",\"port\":4222,\"headers\":true,\
         \"max_payload\":1048576,\"jetstream\":true}}\r\n"
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(info.as_bytes()).unwrap();
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                if String::from_utf8_lossy(&bytes[..count]).contains("PING") {
                    stream.write_all(b"PONG\r\n").unwrap();
                }
            }
        }
    });
    url
}

#[test]
fn a_server_that_is_too_old_is_told_with_both_versions() {
    let refused = run(&mut worker_of(&server_of_version("2.9.25")));
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("2.9.25"), "{refused:?}");
    assert!(refused.stderr.contains("2.14.0"), "{refused:?}");
}

#[test]
fn bad_usage_exits_2_and_settings_that_make_no_sense_exit_1() {
    for args in [
        &["--concurrency", "many"][..],
        &["--lease", "soon"],
        &["--log", "taskq=loud"],
        &["--user", "ada"],
        &["fly"],
    ] {
        let refused = run(worker().args(args));
        assert_eq!(refused.code(), 2, "{refused:?}");
    }
    let server = NatsServer::builder().start().unwrap();
    for (args, told) in [
        (["--queues", "a b"], "queue"),
        (["--concurrency", "0"], "concurrency"),
        (["--lease", "1ms"], "lease"),
    ] {
        let refused = run(worker_of(server.url()).args(args));
        assert_eq!(refused.code(), 1, "{refused:?}");
        assert!(refused.stderr.contains(told), "{refused:?}");
    }
}

#[test]
fn help_shows_each_flag_with_its_variable_and_default() {
    let help = run(worker().arg("--help")).stdout;
    for part in [
        "--queues",
        "TASKQ_QUEUES",
        "--http",
        "TASKQ_HTTP",
        "TASKQ_MAX_CRASHES",
        "[default: 3]",
        "TASKQ_CANCEL_GRACE",
        "[default: 5s]",
        "NATS_URL",
        "[default: nats://127.0.0.1:4222]",
        "NATS_PASSWORD",
        "TASKQ_LOG_FORMAT",
        "[default: 30s]",
    ] {
        assert!(help.contains(part), "{part} is not in {help}");
    }
}

#[test]
fn logs_are_json_where_asked() {
    let server = NatsServer::builder().start().unwrap();
    let worker = Program::start(worker_of(server.url()).env("TASKQ_LOG_FORMAT", "json"));
    let line = worker.stderr_line("worker started");
    assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
}
