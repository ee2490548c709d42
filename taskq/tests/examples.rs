//! Every example runs, ends by itself, and shows what it says it shows: in
//! memory, and through a real nats-server.
#![cfg(feature = "worker")]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::path::PathBuf;
use std::process::{Command, Output};

use taskq_nats_server::NatsServer;

/// Each example, and what it must print.
const EXAMPLES: [(&str, &[&str]); 22] = [
    (
        "batch",
        &[
            "the first row is in a batch of 100\nthe last row is in a batch of 50",
            "250 rows in 3 batches",
        ],
    ),
    (
        "blocking",
        &[
            "pong after",
            "17984 primes",
            "longer than its timeout of 200ms",
        ],
    ),
    (
        "bulk",
        &[
            "10000 tasks, sum of squares 333283335000",
            "returned 4",
            "not sent:",
            "returned 16",
            "3 at once, sent again: true",
        ],
    ),
    (
        "cancel",
        &[
            "the one that waits: Cancelled",
            "Cancelled: task ",
            "she knows",
            "the one that runs: ",
            "example.com: stopped, some saved",
            "it ended as cancelled",
            "the one that is done: TooLate(Succeeded)",
        ],
    ),
    (
        "checkpoint",
        &[
            "attempt 1 begins with file 0\n  copying a\n  copying b\nattempt 2 begins with file 2",
            "5 files in 3 attempts",
        ],
    ),
    (
        "contract",
        &[
            "resize(url: String, width: u32) -> Result<String, TaskError>",
            "a.png?width=80",
        ],
    ),
    (
        "dead_letters",
        &[
            "exhausted: the bank is closed",
            "2 attempts, all on record",
            "Sent",
            "charged 1999 at attempt 3",
            "attempt 2 had failed: the bank is closed",
        ],
    ),
    (
        "deadline",
        &[
            "in time: sent to ada at attempt 1",
            "no time for a retry: failed at attempt 1",
            "late or stopped: true",
            "stopped: Deadline: the task's deadline passed",
        ],
    ),
    (
        "debounce",
        &[
            "one task for all: true\nindexed: books at revision 20",
            "calls that it stands for: \"20\"",
            "another: true\nindexed: books at revision 21",
        ],
    ),
    (
        "delay",
        &[
            ": scheduled",
            "all reminded: true",
            "no sooner than asked: true",
            "how late is on record: true",
            "moved: Moved\nput off: 1 of remind\nstarted now: Moved\n",
            "the plane\nonce more: TooLate(Done(Succeeded))",
        ],
    ),
    (
        "explain",
        &[
            "runs: running on ",
            "later: scheduled for ",
            "again: retry at ",
            "attempt 1 failed: the bank is closed",
            "done: it ended: succeeded at ",
        ],
    ),
    (
        "hello",
        &["it returned \"HELLO\"", "called here: \"HELLO\""],
    ),
    (
        "keys",
        &[
            "ada's ran 2 at once",
            "six pages took half a second: true",
            "500 sent before, most of them later: true",
        ],
    ),
    ("middleware", &["it went well: true", "Ada of acme"]),
    (
        "progress",
        &[
            "40 of 40: line 40",
            "imported 40",
            "its log:\nline 10 has no price\n",
        ],
    ),
    (
        "queues",
        &[
            "10 wait\nfull: true",
            "backlog cap, 10 messages,",
            "all sent, 2 at a time",
        ],
    ),
    (
        "retries",
        &[
            "http://a, at attempt 3",
            "sent to ada@example.com at attempt 2",
            "failed after 1 attempt",
            "there is no address",
        ],
    ),
    (
        "schedule",
        &[
            "tick for 20",
            "whole seconds apart: true",
            "2028-02-29 08:00:00 CET",
            "2032-02-29 08:00:00 CET",
            "do not forget: the tea",
            "tick: Every second, UTC, paused by ada",
        ],
    ),
    (
        "schema",
        &[
            "\"description\": \"The number of the order.\"",
            "it returns \"string\"",
            "the bank refuses 500 cents of 4 digits: ",
            "\"card\":\"(hidden: the task is sensitive)\"",
            "\"cents\":500",
        ],
    ),
    (
        "state",
        &[
            "without a mailer: the worker cannot be built: task `send_email`",
            "grace is in",
            " to alan@example.com",
        ],
    ),
    (
        "unique",
        &[
            "the same task twice: true",
            "other arguments, another: true",
            "for tuesday comes the report of monday",
            "before: false\nthe id was there before: true",
        ],
    ),
    (
        "untyped",
        &["\"hahaha\"\n\"hoho\"", "no argument `tines`", "\"hihi\""],
    ),
];

#[test]
fn every_example_runs_without_a_server() {
    for (name, shows) in EXAMPLES {
        check(name, shows, command(name).env_remove("NATS_URL").output());
    }
}

#[test]
fn every_example_runs_through_nats() {
    let server = NatsServer::builder().start().unwrap();
    for (name, shows) in EXAMPLES {
        check(
            name,
            shows,
            command(name).env("NATS_URL", server.url()).output(),
        );
    }
}

#[test]
fn no_example_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut there: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    there.sort();
    assert_eq!(there, EXAMPLES.map(|(name, _)| name));
}

/// The built example: cargo builds a package's examples with its tests, and
/// puts them beside.
fn command(name: &str) -> Command {
    let deps = std::env::current_exe().unwrap();
    let profile: PathBuf = deps.ancestors().nth(2).unwrap().into();
    let example = profile
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        example.exists(),
        "{} is not built; run all tests of the package, or `cargo build -p taskq --examples`",
        example.display()
    );
    Command::new(example)
}

fn check(name: &str, shows: &[&str], output: std::io::Result<Output>) {
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let cried = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{told}{cried}",
        output.status
    );
    for part in shows {
        assert!(told.contains(part), "{name} lacks {part:?}:\n{told}{cried}");
    }
}
