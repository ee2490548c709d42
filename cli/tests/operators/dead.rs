//! `taskq dead`

use std::time::{Duration, Instant};

use serde_json::Value;
use taskq_e2e::PATIENCE;

use crate::System;

impl System {
    /// Sends tasks that fail for good, each when the one before has its letter: so the
    /// letters are in this order.
    async fn dead(&self, ids: &[&str]) {
        for (before, id) in ids.iter().enumerate() {
            self.send("read_file", id, "mended").await;
            assert_eq!(self.ended(id).await, "failed");
            self.letters(before + 1);
        }
    }

    /// Waits for so many letters: an outcome is told before its letter is written.
    fn letters(&self, count: usize) {
        let limit = Instant::now() + PATIENCE;
        while self.json(&["dead", "list"]).len() < count {
            assert!(Instant::now() < limit, "no letters");
        }
    }
}

fn ids(lines: &[Value]) -> Vec<&str> {
    let ids = lines.iter().filter_map(|line| line["task_id"].as_str());
    ids.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_and_shown_with_every_attempt_and_filtered() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.dead(&["a", "b"]).await;
    let bad = [
        "enqueue",
        "read_file",
        "--kwargs",
        "{\"fiel\": 1}",
        "--id",
        "c",
        "--no-check",
        "--wait",
    ];
    assert_eq!(system.taskq(&bad).code(), 1);
    system.letters(3);

    let listed = system.taskq(&["dead", "list", "--limit", "2"]);
    assert_eq!(listed.code(), 0, "{listed:?}");
    assert!(listed.stdout.contains("read_file"), "{listed:?}");
    assert!(
        listed.stdout.contains("2 dead letters: 2 exhausted"),
        "{listed:?}"
    );

    for (filter, found) in [
        (["--reason", "permanent"], &["c"][..]),
        (["--reason", "exhausted"], &["a", "b"]),
        (["--error", "NO ROUTE"], &["a", "b"]),
        (["--task", "go_on"], &[]),
        (["--queue", "default"], &["a", "b", "c"]),
        (["--since", "1h"], &["a", "b", "c"]),
        (["--until", "1h"], &[]),
        (["--since", "2100-01-01T00:00:00Z"], &[]),
        (["--limit", "1"], &["a"]),
    ] {
        let lines = system.json(&[&["dead", "list"], &filter[..]].concat());
        assert_eq!(ids(&lines), found, "{filter:?}");
    }
    let refused = system.taskq(&["dead", "list", "--since", "yesterday"]);
    assert_eq!(refused.code(), 2, "{refused:?}");

    let shown = system.taskq(&["dead", "show", "b"]);
    assert_eq!(shown.code(), 0, "{shown:?}");
    for part in [
        "task b of read_file",
        "exhausted: there is no route to the file",
        "    1. 20",
        "    2. 20",
        "on w1",
        "std::io",
        "\"task_name\": \"read_file\"",
        "1 dead letter: 1 exhausted",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    assert!(!shown.stdout.contains("taskq_errors"), "{shown:?}");
    let none = system.taskq(&["dead", "show", "nothing"]);
    assert_eq!(none.code(), 1, "{none:?}");
    assert!(none.stderr.contains("no such dead letter"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_letter_keeps_its_id_and_its_new_outcome_tells_the_failures_before() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.dead(&["order-42"]).await;

    let dry = system.taskq(&["dead", "replay", "--dry-run"]);
    assert_eq!(dry.code(), 0, "{dry:?}");
    assert!(dry.stdout.contains("order-42"), "{dry:?}");
    assert!(
        dry.stdout.contains("1 dead letter would be sent again"),
        "{dry:?}"
    );
    assert_eq!(system.taskq(&["status", "order-42"]).stdout, "failed\n");

    system.make("mended");
    let sent = system.taskq(&["dead", "replay", "order-42", "--by", "ada"]);
    assert_eq!(sent.code(), 0, "{sent:?}");
    assert!(
        sent.stdout.contains("1 of 1 dead letter sent again"),
        "{sent:?}"
    );
    let result = system.taskq(&["result", "order-42", "--wait"]);
    assert_eq!(result.stdout, "7\n", "{result:?}");
    let record = &system.json(&["result", "order-42"])[0];
    assert_eq!(record["state"], "succeeded");
    assert_eq!(record["attempt"], 3);
    let failed = record["attempts"].as_array().unwrap();
    let numbers: Vec<u64> = failed
        .iter()
        .filter_map(|it| it["attempt"].as_u64())
        .collect();
    assert_eq!(numbers, [1, 2]);
    assert!(
        failed[1]["error"].to_string().contains("no route"),
        "{record}"
    );
    assert!(system.json(&["dead", "list"]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_whose_task_is_in_its_queue_already_is_not_sent_twice() {
    let system = System::new().await;
    let worker = system.worker("w1");
    system.dead(&["1"]).await;
    worker.signal("TERM");
    assert_eq!(worker.end().code(), 0);
    // A replay that was interrupted: the message is there, and the letter too.
    let nats = async_nats::connect(system.url()).await.unwrap();
    let js = async_nats::jetstream::new(nats);
    let dead = js.get_stream("TASKQ_DEAD").await.unwrap();
    let letter = dead
        .get_last_raw_message_by_subject("taskq.dead.>")
        .await
        .unwrap();
    assert_eq!(system.taskq(&["dead", "replay", "1"]).code(), 0);
    let again = js.publish(letter.subject, letter.payload).await.unwrap();
    again.await.unwrap();

    let told = system.taskq(&["dead", "replay", "1"]);
    assert_eq!(told.code(), 0, "{told:?}");
    assert!(told.stdout.contains("in its queue already"), "{told:?}");
    assert!(told.stdout.contains("1 already sent"), "{told:?}");
    let queues = system.json(&["queues"]);
    assert_eq!(queues[0]["pending"], 1, "{queues:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_whose_task_has_ended_otherwise_is_stale() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.dead(&["1"]).await;
    let nats = async_nats::connect(system.url()).await.unwrap();
    let js = async_nats::jetstream::new(nats);
    let dead = js.get_stream("TASKQ_DEAD").await.unwrap();
    let letter = dead
        .get_last_raw_message_by_subject("taskq.dead.>")
        .await
        .unwrap();
    system.make("mended");
    assert_eq!(system.taskq(&["dead", "replay", "1"]).code(), 0);
    assert_eq!(system.ended("1").await, "succeeded");
    let again = js.publish(letter.subject, letter.payload).await.unwrap();
    again.await.unwrap();

    let told = system.json(&["dead", "replay", "1"]);
    assert_eq!(told[0]["done"], "stale", "{told:?}");
    assert_eq!(told[0]["state"], "succeeded", "{told:?}");
    assert_eq!(told[1]["summary"]["stale"], 1, "{told:?}");
    assert!(system.json(&["dead", "list"]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_keeps_to_its_rate() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.dead(&["a", "b", "c", "d", "e"]).await;
    system.make("mended");
    let begun = Instant::now();
    let sent = system.taskq(&["dead", "replay", "--rate", "5/s"]);
    assert_eq!(sent.code(), 0, "{sent:?}");
    // The first at once, then four waits.
    assert!(begun.elapsed() >= Duration::from_millis(800), "{sent:?}");
    assert!(
        sent.stdout.contains("5 of 5 dead letters sent again"),
        "{sent:?}"
    );
    let refused = system.taskq(&["dead", "replay", "--rate", "fast"]);
    assert_eq!(refused.code(), 2, "{refused:?}");
    assert!(refused.stderr.contains("50/s"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_discarded_for_good_and_all_of_them_only_by_a_yes() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.dead(&["a", "b", "c"]).await;
    let dry = system.taskq(&["dead", "discard", "--dry-run"]);
    assert!(
        dry.stdout.contains("3 dead letters would be discarded"),
        "{dry:?}"
    );
    let refused = system.taskq(&["dead", "discard"]);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    assert_eq!(system.json(&["dead", "list"]).len(), 3);

    let one = system.taskq(&["dead", "discard", "b"]);
    assert_eq!(one.code(), 0, "{one:?}");
    assert_eq!(ids(&system.json(&["dead", "list"])), ["a", "c"]);
    let rest = system.taskq(&["dead", "discard", "--yes"]);
    assert!(
        rest.stdout.contains("2 of 2 dead letters discarded"),
        "{rest:?}"
    );
    assert!(system.json(&["dead", "list"]).is_empty());
    // Its end is still on record.
    assert_eq!(system.taskq(&["status", "a"]).stdout, "failed\n");
    let gone = system.taskq(&["dead", "discard", "a"]);
    assert_eq!(gone.code(), 1, "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_is_shown_and_cannot_be_sent_again() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    let nats = async_nats::connect(system.url()).await.unwrap();
    let subject = "taskq.work.default.normal.x.1";
    let js = async_nats::jetstream::new(nats);
    js.publish(subject, "hello".into())
        .await
        .unwrap()
        .await
        .unwrap();
    let limit = Instant::now() + PATIENCE;
    while system.json(&["dead", "list"]).is_empty() {
        assert!(Instant::now() < limit, "no letter");
    }
    let shown = system.taskq(&["dead", "show", "--reason", "undecodable"]);
    assert!(shown.stdout.contains("these 5 bytes: hello"), "{shown:?}");
    let refused = system.taskq(&["dead", "replay"]);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stdout.contains("not done: "), "{refused:?}");
    assert!(
        refused
            .stdout
            .contains("0 of 1 dead letter sent again, 1 failed"),
        "{refused:?}"
    );
}
