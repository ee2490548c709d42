//! The program, and what its guide shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

use std::process::{Command, Stdio};

use serde_json::Value;
use taskq::Mode;

use taskq_e2e::{Fixture, Program, Roles, program, run};
// Puts the tasks in the worker.
use tasks as _;

fn gateway(args: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_gateway"));
    command.args(args);
    command
}

/// Starts a gateway on a free port; its address.
fn start(system: &Fixture, more: &[&str]) -> (Program, String) {
    let mut command = gateway(&["--url", system.url(), "--http", "127.0.0.1:0"]);
    command.args(more);
    let running = Program::start(&mut command);
    let line = running.stderr_line("listening at http://");
    let (_, rest) = line.split_once("http://").unwrap();
    let address = rest.split_whitespace().next().unwrap().to_owned();
    (running, address)
}

#[test]
fn every_flag_is_told_with_its_environment_variable() {
    let help = run(&mut gateway(&["--help"]));
    assert_eq!(help.code(), 0);
    let flags = help
        .stdout
        .lines()
        .filter(|line| line.trim_start().starts_with("--") || line.contains(", --"))
        .filter(|line| !line.contains("--help") && !line.contains("--version"))
        .count();
    let variables = help.stdout.matches("[env: ").count();
    assert!(flags > 20, "{flags}");
    assert_eq!(flags, variables, "{}", help.stdout);
    assert!(!help.stdout.contains("bench-index"));
}

#[test]
fn its_health_can_be_asked_by_the_program_itself() {
    let system = Fixture::new(Mode::JetStream);
    let (running, address) = start(&system, &[]);
    let healthy = run(gateway(&["healthcheck"]).env("TASKQ_HTTP", &address));
    assert_eq!(healthy.code(), 0, "{healthy:?}");
    drop(running);
    let gone = run(gateway(&["healthcheck"]).env("TASKQ_HTTP", &address));
    assert_eq!(gone.code(), 1);
    assert!(gone.stderr.contains(&address), "{gone:?}");
}

#[test]
fn a_token_is_added_to_a_file_once_and_lets_its_owner_in() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let file = tokens.to_str().unwrap();
    let add = || {
        run(&mut gateway(&[
            "token", "ada", "--role", "admin", "--add-to", file,
        ]))
    };
    let (first, second) = (add(), add());
    assert_eq!((first.code(), second.code()), (0, 0), "{second:?}");
    assert_eq!(second.stdout, "");
    let system = Fixture::new(Mode::JetStream);
    let (_running, address) = start(&system, &["--tokens", file]);
    let header = format!("authorization: Bearer {}", first.stdout.trim());
    let url = format!("http://{address}/v1/queues");
    let asked = run(program("curl").args(["-sf", "-H", &header, &url]));
    assert_eq!(asked.code(), 0, "{asked:?}");
}

#[test]
fn it_makes_the_queues_that_it_is_to_make_before_it_listens() {
    let roles = Roles::start();
    let mut command = gateway(&["--http", "127.0.0.1:0", "--init-queues", "default,email"]);
    command
        .env("NATS_URL", roles.server.url())
        .env("NATS_USER", "operator")
        .env("NATS_PASSWORD", Roles::password("operator"))
        .env("TASKQ_INBOX_PREFIX", "_IN_operator");
    let running = Program::start(&mut command);
    let line = running.stderr_line("listening at http://");
    let address = line
        .split("http://")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let asked = run(program("curl").args(["-sf", &format!("http://{address}/v1/queues")]));
    for queue in ["\"default\"", "\"email\""] {
        assert!(asked.stdout.contains(queue), "{asked:?}");
    }
}

#[test]
fn it_listens_to_others_only_when_they_say_who_they_are() {
    let refused = run(&mut gateway(&["--http", "0.0.0.0:0"]));
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("TASKQ_TOKENS"),
        "{}",
        refused.stderr
    );

    let system = Fixture::new(Mode::JetStream);
    let token = run(&mut gateway(&["token", "ada", "--role", "admin"]));
    let (secret, line) = token.stdout.trim().split_once('\n').unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, format!("{line}\n")).unwrap();
    let mut command = gateway(&["--url", system.url(), "--http", "0.0.0.0:0"]);
    command.env("TASKQ_TOKENS", &file);
    let running = Program::start(&mut command);
    let line = running.stderr_line("listening at http://");
    let port = line
        .split("0.0.0.0:")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    for (header, status) in [
        (format!("authorization: Bearer {secret}"), "200"),
        ("authorization: Bearer x".to_owned(), "401"),
    ] {
        let asked = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &header])
            .arg(format!("http://127.0.0.1:{port}/v1/tasks"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(asked.stdout).unwrap(), status);
    }
}

#[test]
fn bad_usage_and_what_cannot_be_done_have_their_exit_codes() {
    assert_eq!(run(&mut gateway(&["--colour", "red"])).code(), 2);
    assert_eq!(run(&mut gateway(&["--index-age", "soon"])).code(), 2);
    let args = [
        "--url",
        "nats://127.0.0.1:1",
        "--http",
        "127.0.0.1:0",
        "--connect-timeout",
        "1s",
    ];
    let unreached = run(&mut gateway(&args));
    assert_eq!(unreached.code(), 1);
    assert!(
        unreached.stderr.contains("gateway: "),
        "{}",
        unreached.stderr
    );
    let memory = run(&mut gateway(&["--mode", "memory", "--http", "127.0.0.1:0"]));
    assert_eq!(memory.code(), 1);
    assert!(memory.stderr.contains("jetstream"), "{}", memory.stderr);
}

#[test]
fn it_stops_with_a_stream_of_events_open_and_says_that_all_is_well() {
    let system = Fixture::new(Mode::JetStream);
    let (running, address) = start(&system, &[]);
    let mut listener = Command::new("curl")
        .args(["-sN", &format!("http://{address}/v1/events")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    std::io::Read::read_exact(listener.stdout.as_mut().unwrap(), &mut first).unwrap();
    let pid = running.pid().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ended = running.end();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(listener.wait().unwrap().success());
}

/// Runs what docs/http.md shows, in its order, and compares what is answered
/// with what is shown: the same fields.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_shows_what_happens() {
    let system = Fixture::new(Mode::JetStream);
    let (_running, address) = start(&system, &[]);
    let _worker = system.worker().await;
    taskq_e2e::found(&system.client().await, 1).await;
    let guide = include_str!("../../docs/http.md");
    let mut shown = 0;
    for block in guide.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for example in block.split("$ ").skip(1) {
            let (command, answer) = example.split_once('\n').unwrap();
            if !command.starts_with("curl") {
                continue;
            }
            let command = command.replace("localhost:8080", &address);
            let answered = taskq_e2e::run(program("sh").args(["-c", &command]));
            assert_eq!(answered.code(), 0, "{command}\n{}", answered.stderr);
            if let Ok(wanted) = serde_json::from_str::<Value>(answer.trim()) {
                let got: Value = serde_json::from_str(&answered.stdout)
                    .unwrap_or_else(|_| panic!("{command}: {}", answered.stdout));
                assert_eq!(fields(&got), fields(&wanted), "{command}\n{got}");
            }
            shown += 1;
        }
    }
    assert!(shown >= 8, "{shown}");
}

/// The names in an object, and in those within it.
fn fields(json: &Value) -> Vec<String> {
    let mut names = Vec::new();
    if let Value::Object(fields_of) = json {
        for (name, value) in fields_of {
            names.push(name.clone());
            names.extend(
                fields(value)
                    .into_iter()
                    .map(|inner| format!("{name}.{inner}")),
            );
        }
    }
    names.sort();
    names
}

/// The table of roles in the guide is the one that the gateway goes by.
/// `TASKQ_UPDATE_DOCS=1` writes it.
#[test]
fn the_guide_has_the_table_of_actions() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let (before, rest) = guide.split_once("<!-- actions -->\n").unwrap();
    let (shown, after) = rest.split_once("<!-- end -->").unwrap();
    let table = taskq_gateway::access::table();
    if std::env::var_os("TASKQ_UPDATE_DOCS").is_some() {
        let guide = format!("{before}<!-- actions -->\n{table}<!-- end -->{after}");
        std::fs::write(path, guide).unwrap();
        return;
    }
    assert_eq!(shown, table, "TASKQ_UPDATE_DOCS=1 writes it");
}

#[test]
fn a_password_is_read_from_stdin_and_logs_its_owner_in() {
    let system = Fixture::new(Mode::JetStream);
    let hashed = run(program("sh").args([
        "-c",
        &format!(
            "echo 'correct horse' | {} hash-password ada --role operator",
            env!("CARGO_BIN_EXE_gateway")
        ),
    ]));
    assert!(hashed.stdout.starts_with("ada operator $argon2id$"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, hashed.stdout).unwrap();
    let (_running, address) = start(&system, &["--users", file.to_str().unwrap()]);
    for (password, status) in [("correct horse", "200"), ("wrong horse", "401")] {
        let login = format!("{{\"user\":\"ada\",\"password\":\"{password}\"}}");
        let asked = run(program("curl").args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            "content-type: application/json",
            "-d",
            &login,
            &format!("http://{address}/v1/session"),
        ]));
        assert_eq!(asked.stdout, status);
    }
}
