//! `taskq init`, the roles of `deploy/nats/permissions.conf` as the programs
//! take them, and secrets, which no program shows.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::collections::BTreeSet;

use serde_json::Value;
use taskq_e2e::{Ended, PATIENCE, Program, ROLES, Roles, Running, found, program, run};
use taskq_nats_server::NatsServer;
// The workers run in this process.
use tasks as _;

/// A `taskq` command of a role.
fn taskq(roles: &Roles, role: &str, args: &[&str]) -> Ended {
    run(roles
        .set(role, &mut program(env!("CARGO_BIN_EXE_taskq")))
        .args(args))
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn init_tells_what_it_did_and_a_dry_run_what_it_would() {
    let server = NatsServer::builder().start().unwrap();
    let init = |args: &[&str]| {
        let mut command = program(env!("CARGO_BIN_EXE_taskq"));
        run(command.arg("init").args(["--url", server.url()]).args(args))
    };
    let would = init(&["--queues", "default,email", "--dry-run"]);
    assert_eq!(would.code(), 0, "{would:?}");
    assert!(would.stderr.contains("nothing was done"), "{would:?}");
    let made = init(&["--queues", "default,email"]);
    assert_eq!(made.stdout, would.stdout);
    assert_eq!(made.stderr, "");
    let lines: BTreeSet<Vec<&str>> = made.stdout.lines().map(words).collect();
    for line in [
        "created stream TASKQ_PLAN",
        "created stream TASKQ_Q_email",
        "created consumer TASKQ_Q_email/w_high",
    ] {
        assert!(lines.contains(&words(line)), "{line}: {}", made.stdout);
    }
    let again = init(&["--json"]).json();
    assert_eq!(again.len(), lines.len());
    assert!(again.iter().all(|line| line["action"] == "unchanged"));
    assert_eq!(again[0]["kind"], "stream");
    assert_eq!(again[0]["dry_run"], false);

    let changed = init(&["--lease", "9s", "--json"]).json();
    let changed: Vec<&Value> = changed
        .iter()
        .filter(|line| line["action"] == "updated")
        .collect();
    assert_eq!(changed.len(), 8);
    assert_eq!(changed[0]["changes"][0], "ack_wait: 6s -> 9s");

    let bad = init(&["--queues", "a.b"]);
    assert_eq!(bad.code(), 1);
    assert!(bad.stderr.contains("a.b"), "{bad:?}");
    let refused = init(&["--replicas", "3"]);
    assert_eq!(refused.code(), 1, "a single server has no three replicas");
    assert!(refused.stderr.contains("replicas"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_what_it_is_for_with_the_real_command() {
    let roles = Roles::start();
    let denied = taskq(&roles, "worker", &["init"]);
    assert_eq!(denied.code(), 1);
    assert!(denied.stderr.contains("`taskq init`"), "{denied:?}");
    let made = taskq(&roles, "operator", &["init"]);
    assert_eq!(made.code(), 0, "{made:?}");

    let worker = roles.builder("worker").result_timeout(PATIENCE);
    let worker = taskq::Worker::builder(worker.connect().await.unwrap());
    let _running = Running::start(worker).await;
    found(&roles.client("operator").await, 1).await;
    for role in ["producer", "operator"] {
        let call = ["enqueue", "to_uppercase", "--args", "[\"x\"]"];
        let sent = taskq(
            &roles,
            role,
            &[&call[..], &["--id", role, "--wait"]].concat(),
        );
        assert_eq!(sent.code(), 0, "{sent:?}");
        assert!(sent.stdout.ends_with("\"X\"\n"), "{sent:?}");
    }
    for role in ["viewer", "operator"] {
        for (args, says) in [
            (&["tasks"][..], "to_uppercase(text: String)"),
            (&["workers"], "default"),
            (&["queues"], "default"),
            (&["status", "producer"], "succeeded"),
            (&["result", "producer"], "\"X\""),
            (&["result", "producer", "--wait"], "\"X\""),
            (&["doctor"], "ok       workers"),
        ] {
            let looked = taskq(&roles, role, args);
            assert_eq!(looked.code(), 0, "{role} {args:?}: {looked:?}");
            assert!(looked.stdout.contains(says), "{role} {args:?}: {looked:?}");
            assert!(!looked.stdout.contains("may not"), "{looked:?}");
            assert_eq!(looked.stderr, "", "{role} {args:?}");
        }
    }
    let sent = taskq(
        &roles,
        "viewer",
        &["enqueue", "to_uppercase", "--args", "[\"x\"]"],
    );
    assert_eq!(sent.code(), 1, "{sent:?}");
    assert!(sent.stderr.contains("the producer's right"), "{sent:?}");
    let one_line = sent
        .stderr
        .lines()
        .filter(|line| line.starts_with("taskq:"));
    assert_eq!(one_line.count(), 1, "{sent:?}");
}

#[test]
fn a_pool_needs_no_right_that_a_worker_has_not() {
    let roles = Roles::start();
    let made = taskq(&roles, "operator", &["init"]);
    assert_eq!(made.code(), 0, "{made:?}");
    let pool = |name| {
        let mut command = program(env!("CARGO_BIN_EXE_taskq"));
        let command = roles.set("worker", &mut command);
        command.args(["pool", "run", "--name", name, "--min", "1", "--max", "2"]);
        Program::start(command)
    };
    let first = pool("p");
    let _ = first.stderr_line("workers of queues");
    let call = ["enqueue", "to_uppercase", "--args", "[\"x\"]", "--wait"];
    let sent = taskq(&roles, "producer", &call);
    assert!(sent.stdout.ends_with("\"X\"\n"), "{sent:?}");

    let second = pool("p").end();
    assert_eq!(second.code(), 1, "{second:?}");
    assert!(second.stderr.contains("runs already"), "{second:?}");
    let seen = taskq(&roles, "viewer", &["pool", "status", "--json"]).json();
    assert_eq!(seen[0]["pool"], "p", "{seen:?}");
    let refused = taskq(&roles, "viewer", &["pool", "scale", "2"]);
    assert!(
        refused.stderr.contains("the operator's right"),
        "{refused:?}"
    );
    let scaled = taskq(&roles, "operator", &["pool", "scale", "2"]);
    assert_eq!(scaled.code(), 0, "{scaled:?}");
    let _ = first.stderr_line("-2] ");

    first.signal("TERM");
    let ended = first.end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(!ended.stderr.contains("may not"), "{ended:?}");
}

#[test]
fn no_program_shows_a_secret_whatever_it_logs() {
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let roles = Roles::start();
    let url = roles.server.url().replace("//", "//someone:s3cret-url@");
    let mut told = Vec::new();
    for role in ROLES {
        told.push(taskq(&roles, role, &["doctor", "--log", "trace"]));
    }
    for (name, value) in [
        ("NATS_PASSWORD", "s3cret-password"),
        ("NATS_TOKEN", "s3cret-token"),
        ("NATS_NKEY", SEED),
        ("NATS_URL", &*url),
    ] {
        for log in ["trace", "warn"] {
            let mut command = program(env!("CARGO_BIN_EXE_taskq"));
            command.args(["queues", "--log", log]);
            command.env("NATS_URL", roles.server.url());
            if name == "NATS_PASSWORD" {
                command.env("NATS_USER", "viewer");
            }
            let ended = run(command.env(name, value));
            assert_eq!(ended.code(), 1, "{ended:?}");
            assert!(ended.stderr.contains("refused"), "{ended:?}");
            if log == "warn" {
                assert_eq!(ended.stderr.lines().count(), 1, "one sentence: {ended:?}");
            }
            told.push(ended);
        }
    }
    for ended in told {
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        for secret in ["s3cret", SEED, "pa55-of-"] {
            let place = shown.find(secret);
            let context = place.map(|at| &shown[at.saturating_sub(200)..at]);
            assert!(place.is_none(), "shows {secret} after {context:?}");
        }
    }
}
