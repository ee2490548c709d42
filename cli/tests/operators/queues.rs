//! `taskq queues`, `taskq tasks` and `taskq apply`.

use std::time::Instant;

use serde_json::Value;
use taskq_e2e::PATIENCE;

use crate::System;

fn one(lines: Vec<Value>) -> Value {
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_set_shown_paused_and_resumed() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    let set = system.taskq(&[
        "queues",
        "set",
        "default",
        "--concurrency",
        "10",
        "--rate",
        "100/s",
        "--burst",
        "20",
        "--max-backlog",
        "100000",
        "--retries",
        "3",
        "--timeout",
        "30s",
    ]);
    assert_eq!(set.code(), 0, "{}", set.stderr);
    assert!(
        set.stdout
            .contains("queue default: concurrency: none -> 10"),
        "{}",
        set.stdout
    );
    assert!(set.stdout.contains("rate: none -> 100/s"), "{}", set.stdout);
    let shown = one(system.json(&["queues", "show", "default"]));
    assert_eq!(shown["settings"]["timeout"], "30s");
    assert_eq!(shown["settings"]["max_backlog"], 100_000);
    assert_eq!(shown["paused"], false);
    let set = one(system.json(&["queues", "set", "default", "--unset", "rate,retries"]));
    assert_eq!(set["changes"].as_array().unwrap().len(), 3);
    assert_eq!(set["settings"]["concurrency"], 10);
    let same = system.taskq(&["queues", "set", "default", "--concurrency", "10"]);
    assert_eq!(same.stdout, "queue default: unchanged\n");

    // Nonsense is bad usage, or refused with why.
    assert_eq!(system.taskq(&["queues", "set", "default"]).code(), 2);
    assert_eq!(
        system
            .taskq(&["queues", "set", "default", "--rate", "fast"])
            .code(),
        2
    );
    let refused = system.taskq(&["queues", "set", "default", "--burst", "5"]);
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("a burst is of a rate"),
        "{}",
        refused.stderr
    );
    assert_eq!(system.taskq(&["queues", "show", "nowhere"]).code(), 1);

    let because = ["--by", "ada", "--because", "the relay is down"];
    let paused = one(system.json(&[&["queues", "pause", "default"], &because[..]].concat()));
    assert_eq!(
        (&paused["changed"], &paused["paused"]["by"]),
        (&true.into(), &"ada".into())
    );
    let again = system.taskq(&["queues", "pause", "default"]);
    assert_eq!(again.stdout, "queue default was paused already, by ada\n");
    let list = system.taskq(&["queues"]);
    assert!(list.stdout.contains("PAUSED by ada"), "{}", list.stdout);
    assert!(list.stdout.contains("concurrency 10"), "{}", list.stdout);

    // The doctor says what waits, and why.
    system.make("file");
    system.send("read_file", "1", "file").await;
    let limit = Instant::now() + PATIENCE;
    loop {
        let findings = system.json(&["doctor"]);
        let found = findings.iter().find(|finding| finding["check"] == "paused");
        if let Some(found) = found {
            assert_eq!(found["severity"], "warning");
            let text = found["found"].as_str().unwrap();
            assert!(
                text.contains("ada") && text.contains("the relay is down"),
                "{text}"
            );
            assert!(
                found["mend"]
                    .as_str()
                    .unwrap()
                    .contains("queues resume default")
            );
            break;
        }
        assert!(Instant::now() < limit, "{findings:?}");
    }
    let resumed = one(system.json(&["queues", "resume", "default"]));
    assert_eq!(resumed["changed"], true);
    assert_eq!(system.ended("1").await, "succeeded");
    let filter = ["events", "--filter", "event=queue_paused,queue_resumed"];
    let events = system.until_json(&filter, |events| events.len() == 2);
    assert_eq!(events[0]["by"], "ada");
    assert_eq!(events[0]["after"]["paused"]["because"], "the relay is down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_type_is_paused_and_resumed() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.make("file");
    let paused = system.taskq(&["tasks", "pause", "read_file", "--by", "ada"]);
    assert!(
        paused
            .stdout
            .starts_with("paused: no task read_file starts"),
        "{}",
        paused.stdout
    );
    // What starts before the worker knows of it starts.
    let mut aside = String::new();
    for n in 1.. {
        aside = n.to_string();
        system.send("read_file", &aside, "file").await;
        let told = system.until_json(&["status", &aside], |told| {
            ["scheduled", "succeeded"]
                .map(Value::from)
                .contains(&told[0]["status"])
        });
        if told[0]["status"] == "scheduled" {
            break;
        }
    }
    let resumed = one(system.json(&["tasks", "resume", "read_file"]));
    assert_eq!(resumed["changed"], true);
    assert_eq!(system.ended(&aside).await, "succeeded");
    let again = system.taskq(&["tasks", "resume", "read_file"]);
    assert_eq!(again.stdout, "task type read_file was not paused\n");
    // The list is what it was.
    assert!(!system.json(&["tasks"]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_wants_to_be_meant() {
    let system = System::new().await;
    for id in ["1", "2", "3"] {
        system.send("read_file", id, "nowhere").await;
    }
    let refused = system.taskq(&["queues", "purge", "default"]);
    assert_eq!(refused.code(), 2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    let dry = one(system.json(&["queues", "purge", "default", "--dry-run"]));
    assert_eq!(
        (&dry["cancelled"], &dry["dry_run"]),
        (&3.into(), &true.into())
    );
    let purged = one(system.json(&["queues", "purge", "default", "--yes", "--by", "ada"]));
    assert_eq!(purged["cancelled"], 3);
    assert_eq!(system.ended("2").await, "cancelled");
    assert_eq!(one(system.json(&["queues"]))["pending"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_applied_as_its_dry_run_shows() {
    let system = System::new().await;
    let path = system.file("queues.yaml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let apply =
        |more: &[&str]| system.taskq(&[&["apply", "-f", &path, "--by", "ada"], more].concat());
    write(
        "queues:\n  email:\n    concurrency: 10\n    rate: 600/min\n    paused: not yet\n  \
         bulk:\n    max_backlog: 5\ntasks:\n  read_file:\n    paused: true\n",
    );
    let dry = apply(&["--dry-run"]);
    assert_eq!(dry.code(), 0, "{}", dry.stderr);
    let expected = "queue bulk: max_backlog: none -> 5\n\
                    queue email: concurrency: none -> 10\n\
                    queue email: paused: none -> by ada (not yet)\n\
                    queue email: rate: none -> 600/min\n\
                    task read_file: paused: none -> by ada\n";
    assert_eq!(dry.stdout, expected);
    assert!(system.json(&["queues"]).is_empty());
    let done = apply(&[]);
    assert_eq!(
        (done.code(), done.stdout.as_str()),
        (0, expected),
        "{}",
        done.stderr
    );
    let email = one(system.json(&["queues", "show", "email"]));
    assert_eq!(email["settings"]["rate"], "600/min");
    assert_eq!(email["settings"]["paused"]["because"], "not yet");
    // Again it changes nothing.
    let again = apply(&[]);
    assert_eq!((again.code(), again.stdout.as_str()), (0, ""));

    // What the file no longer says is unset; what it does not name stays,
    // unless that is to be pruned. Who paused something by hand is heard.
    write("queues:\n  email:\n    concurrency: 4\n");
    let lines = apply(&["--json"]).json();
    let fields: Vec<_> = lines
        .iter()
        .map(|line| line["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["concurrency", "rate"]);
    assert_eq!(
        (&lines[0]["before"], &lines[0]["after"]),
        (&10.into(), &4.into())
    );
    let email = one(system.json(&["queues", "show", "email"]));
    assert_eq!(email["paused"], true);
    let pruned = apply(&["--prune"]);
    assert_eq!(
        pruned.stdout,
        "queue bulk: max_backlog: 5 -> none\ntask read_file: paused: by ada -> none\n"
    );

    // Nothing of a file with a mistake counts, wherever the mistake is.
    write("queues:\n  email:\n    concurrency: 9\n  bulk:\n    concurency: 1\n");
    let wrong = apply(&[]);
    assert_eq!(wrong.code(), 2);
    assert!(wrong.stderr.contains("queues.yaml:5:"), "{}", wrong.stderr);
    write("queues:\n  email:\n    concurrency: 9\n  bulk:\n    burst: 1\n");
    let wrong = apply(&[]);
    assert_eq!(wrong.code(), 2);
    assert!(wrong.stderr.contains("queue bulk"), "{}", wrong.stderr);
    let email = one(system.json(&["queues", "show", "email"]));
    assert_eq!(email["settings"]["concurrency"], 4);
}
