//! Faults of workers, in processes of their own: docs/reliability.md.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use serde_json::json;
use taskq::{Call, ErrorKind, FailureKind, OutcomeState};
use taskq_e2e::faults::{self, Actor, RECOVERY, connected, eventually, nats, repeated, working};
use taskq_e2e::history::{Expected, History};
use taskq_e2e::proxy::{Direction, Frame, Proxy, Verdict};
use taskq_e2e::script::{big, block, crash, later, nap};
use taskq_nats_server::NatsServer;

const ACTOR: Actor = Actor(env!("CARGO_BIN_EXE_actor"));

/// A lease that makes tests short.
const SHORT_LEASE: [&str; 2] = ["--lease", "1s"];

fn server() -> NatsServer {
    NatsServer::builder().start().unwrap()
}

fn value(value: impl Into<serde_json::Value>) -> Expected {
    Expected::Value(value.into())
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, async || is_so().then_some(())).await;
}

/// A worker is killed at some moment of a task's life; another one runs it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// It was sent the message, and has not seen it yet.
    AtStart,
    InTheMiddle,
    /// The task has had its effect, and its outcome is not on the server.
    AfterTheEffect,
    /// The outcome is stored; the message is not acked.
    BeforeTheAck,
}

async fn kill_at(moment: Moment) -> taskq_e2e::history::Report {
    let (server, history) = (server(), History::new());
    let proxy = Proxy::start(server.port()).unwrap();
    let client = connected(server.url()).await;
    let reached = Arc::new(AtomicBool::new(false));
    proxy.filter({
        let reached = Arc::clone(&reached);
        move |frame: &Frame| {
            let is_it = match moment {
                Moment::AtStart => {
                    frame.direction == Direction::ToClient
                        && frame.subject().starts_with("taskq.work.")
                }
                Moment::InTheMiddle => false,
                Moment::AfterTheEffect => frame.publishes("taskq.done."),
                Moment::BeforeTheAck => frame.publishes("$JS.ACK.") && frame.message().is_empty(),
            };
            if is_it {
                reached.store(true, Ordering::SeqCst);
                return Verdict::Drop;
            }
            Verdict::Pass
        }
    });
    let mut victim = working(
        ACTOR
            .worker(proxy.url(), &history, "victim")
            .args(SHORT_LEASE),
    );
    let millis = if moment == Moment::InTheMiddle {
        1000
    } else {
        0
    };
    let call = nap::call(millis);
    let handle = history.send(&client, call, value(millis)).await.unwrap();
    until("the moment comes", || match moment {
        Moment::InTheMiddle => history.starts(None).len() == 1,
        _ => reached.load(Ordering::SeqCst),
    })
    .await;
    victim.kill();
    let survivor = working(&mut ACTOR.worker(server.url(), &history, "survivor"));
    let outcome = handle.outcome().await.unwrap();
    let by = if moment == Moment::BeforeTheAck {
        ("victim", 1)
    } else {
        ("survivor", 2)
    };
    assert_eq!((outcome.worker.as_str(), outcome.attempt), by, "{moment:?}");
    history.told(outcome);
    let report = history.check(&client, server.url(), RECOVERY).await;
    if moment == Moment::BeforeTheAck {
        let _ = survivor.stderr_line("acked without a run");
    }
    println!("killed {moment:?}: {report}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_06_a_task_outlives_a_worker_that_is_killed_at_any_moment() {
    repeated(async || {
        let (at_start, in_the_middle, after_the_effect) = tokio::join!(
            kill_at(Moment::AtStart),
            kill_at(Moment::InTheMiddle),
            kill_at(Moment::AfterTheEffect),
        );
        assert_eq!(at_start.starts, 1, "it never began in the first");
        assert_eq!((in_the_middle.starts, in_the_middle.finished_again), (2, 0));
        // At least once: nobody can see from outside that it had its effect.
        assert_eq!(
            (after_the_effect.starts, after_the_effect.finished_again),
            (2, 1)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_07_a_worker_killed_between_the_outcome_and_the_ack_causes_no_second_run() {
    repeated(async || {
        let report = kill_at(Moment::BeforeTheAck).await;
        assert_eq!(report.starts, 1);
    })
    .await;
}

/// A task that takes its process down is tried by the next worker. (That it
/// is ever taken out of the queue is fault 8, and not built.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_06_a_task_that_ends_its_process_is_tried_by_the_next_worker() {
    let (server, history) = (server(), History::new());
    let client = connected(server.url()).await;
    let first = working(
        ACTOR
            .worker(server.url(), &history, "first")
            .args(SHORT_LEASE),
    );
    let handle = history
        .send(&client, crash::call(1u32), value(1))
        .await
        .unwrap();
    assert!(!first.end().status.success());
    let _second = working(&mut ACTOR.worker(server.url(), &history, "second"));
    let outcome = handle.outcome().await.unwrap();
    assert_eq!((outcome.worker.as_str(), outcome.attempt), ("second", 2));
    history.check(&client, server.url(), RECOVERY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_09_tasks_that_block_every_thread_keep_their_leases() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        let _blocked = working(
            ACTOR
                .worker(server.url(), &history, "blocked")
                .args(SHORT_LEASE),
        );
        // As many as the process has threads for tasks, three leases long.
        for _ in 0..2 {
            let call = block::call(3_000u64);
            history.send(&client, call, value(3_000)).await.unwrap();
        }
        until("both run", || history.starts(None).len() == 2).await;
        let _other = working(&mut ACTOR.worker(server.url(), &history, "other"));
        let report = history.check(&client, server.url(), RECOVERY).await;
        assert_eq!(report.starts, 2);
        assert!(history.starts(Some("other")).is_empty());
    })
    .await;
}

/// Twenty tasks in one worker, whose acks meet what `verdict` says.
async fn with_acks_that(verdict: fn(u32) -> Verdict) {
    let (server, history) = (server(), History::new());
    let proxy = Proxy::start(server.port()).unwrap();
    let client = connected(server.url()).await;
    let seen = AtomicU32::new(0);
    proxy.filter(move |frame: &Frame| {
        // An ack is empty; a renewal is not.
        if frame.publishes("$JS.ACK.") && frame.message().is_empty() {
            verdict(seen.fetch_add(1, Ordering::SeqCst))
        } else {
            Verdict::Pass
        }
    });
    let _worker = working(ACTOR.worker(proxy.url(), &history, "one").args(SHORT_LEASE));
    let calls = (0..20u64).map(nap::call);
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    for (n, handle) in handles.iter().enumerate() {
        history.accepted(handle.id(), value(n));
        history.told(handle.outcome().await.unwrap());
    }
    let report = history.check(&client, server.url(), RECOVERY).await;
    assert_eq!(report.starts, 20, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_20_acks_that_are_lost_repeated_or_late_change_nothing() {
    repeated(async || {
        tokio::join!(
            // The first ack of each is lost; that of its second delivery not.
            with_acks_that(|n| if n < 20 { Verdict::Drop } else { Verdict::Pass }),
            with_acks_that(|_| Verdict::Twice),
            // Later than the lease ends.
            with_acks_that(|n| if n < 20 {
                Verdict::Late(Duration::from_millis(2_500))
            } else {
                Verdict::Pass
            }),
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_31_old_workers_leave_new_tasks_alone_and_refuse_new_arguments() {
    let (server, history) = (server(), History::new());
    let client = connected(server.url()).await;
    let old = working(ACTOR.worker(server.url(), &history, "old").arg("--old"));
    let unknown = history
        .send(&client, big::call(3usize), value("xxx"))
        .await
        .unwrap();
    let _ = old.stderr_line("no task `big` is registered in this worker");
    // The old worker goes on with what it knows, also beside the new one.
    let known = history
        .send(&client, nap::call(0u64), value(0))
        .await
        .unwrap();
    known.outcome().await.unwrap();
    let changed = Call::named("nap").arg("minutes", &1);
    let changed = history
        .send(&client, changed, Expected::Failure)
        .await
        .unwrap();
    let outcome = changed.outcome().await.unwrap();
    assert_eq!((outcome.attempt, outcome.worker.as_str()), (1, "old"));
    let failure = outcome.error.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Arguments);
    assert!(failure.message.contains("millis"), "{failure}");
    let new = working(&mut ACTOR.worker(server.url(), &history, "new"));
    let outcome = unknown.outcome().await;
    let outcome = outcome.unwrap_or_else(|error| {
        panic!("{error}; old: {}; new: {}", old.stderr(), new.stderr());
    });
    assert_eq!((outcome.attempt, outcome.worker.as_str()), (1, "new"));
    let report = history.check(&client, server.url(), RECOVERY).await;
    assert_eq!(report.starts, 2, "the arguments that do not fit never ran");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_32_what_does_not_fit_the_grace_is_returned_at_once_and_not_counted() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        // A lease that would be noticed, should one be waited for.
        let long_lease = ["--lease", "10m", "--grace", "300ms", "--concurrency", "3"];
        let stopped = working(
            ACTOR
                .worker(server.url(), &history, "stopped")
                .args(long_lease),
        );
        // Longer than it takes another to start.
        let call = || nap::call(8_000u64);
        for _ in 0..6 {
            history.send(&client, call(), value(8_000)).await.unwrap();
        }
        until("it is busy", || history.starts(None).len() == 3).await;
        let _other = working(&mut ACTOR.worker(server.url(), &history, "other"));
        stopped.signal("TERM");
        let ended = stopped.end();
        assert!(ended.status.success(), "{}", ended.stderr);
        let report = history.check(&client, server.url(), RECOVERY).await;
        let by_other = history.finishes(Some("other"));
        assert_eq!(by_other.len(), 6, "{report}");
        assert!(
            by_other.iter().all(|note| note.attempt == 1),
            "{by_other:?}"
        );
        assert_eq!(report.starts, 9);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_33_poison_is_refused_or_kept_with_its_reason_and_the_worker_lives() {
    let (server, history) = (server(), History::new());
    let client = connected(server.url()).await;
    let worker = working(&mut ACTOR.worker(server.url(), &history, "one"));
    let js = async_nats::jetstream::new(nats(server.url()).await.unwrap());
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let deep_label = format!(r#"{{"task_id":"3","task_name":"nap","labels":{{"x":{deep}}}}}"#);
    let poison: [&[u8]; 5] = [
        b"not JSON",
        b"\xff\xfe bad UTF-8",
        br#"{"task_id":"1"}"#,
        br#"{"task_id":"2","task_name":["nap"]}"#,
        deep_label.as_bytes(),
    ];
    for (n, payload) in poison.iter().enumerate() {
        let subject = format!("taskq.work.default.normal.nap.poison-{n}");
        let stored = js.publish(subject, payload.to_vec().into()).await.unwrap();
        stored.await.unwrap();
    }
    let dead = js.get_stream("TASKQ_DEAD").await.unwrap();
    for sequence in 1..=5 {
        let letter = eventually("a dead letter", async || {
            dead.get_raw_message(sequence).await.ok()
        })
        .await;
        let letter: serde_json::Value = serde_json::from_slice(&letter.payload).unwrap();
        assert_eq!(letter["reason"], "undecodable", "{letter}");
        assert!(!letter["error"].as_str().unwrap().is_empty(), "{letter}");
    }
    // A message, whose argument is not.
    let deep = format!(r#"{{"task_id":"deep","task_name":"nap","kwargs":{{"millis":{deep}}}}}"#);
    let stored = js
        .publish("taskq.work.default.normal.nap.deep", deep.into())
        .await;
    stored.unwrap().await.unwrap();
    history.accepted(&"deep".into(), Expected::Failure);
    let outcome = client.handle::<u64>("deep").outcome().await.unwrap();
    assert_eq!(outcome.error.unwrap().kind, FailureKind::Arguments);
    // Ten times what the server takes, both ways, and more than a producer
    // allows.
    let size = 10 * client.max_message_bytes();
    let huge = || Call::named("nap").arg("millis", &"x".repeat(size));
    let sent = history
        .send(&client, huge(), Expected::Failure)
        .await
        .unwrap();
    let outcome = sent.outcome().await.unwrap();
    assert_eq!(outcome.error.unwrap().kind, FailureKind::Arguments);
    let text = big::enqueue(&client, size).await.unwrap();
    assert_eq!(text.result().await.unwrap().len(), size);
    let careful = faults::client(server.url()).largest_call(size);
    let refused = huge()
        .enqueue(&careful.connect().await.unwrap())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge, "{refused}");
    // Labels that nobody knows go with the task.
    let labelled = nap::call(0u64).label("colour", "blue").label("weight", 1.5);
    let labelled = history.send(&client, labelled, value(0)).await.unwrap();
    let outcome = labelled.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Succeeded);
    assert_eq!(
        (&outcome.labels["colour"], &outcome.labels["weight"]),
        (&json!("blue"), &json!("1.5"))
    );
    assert!(taskq_e2e::is_alive(worker.pid()));
    history.check(&client, server.url(), RECOVERY).await;
}

/// The bar: with default settings, but for room for a hundred.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_hundred_running_tasks_start_elsewhere() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        let room = ["--concurrency", "100"];
        let mut killed = working(ACTOR.worker(server.url(), &history, "killed").args(room));
        let calls = (0..100).map(|_| nap::call(6_000u64));
        let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
        for handle in &handles {
            history.accepted(handle.id(), value(6_000));
        }
        until("all run", || history.starts(Some("killed")).len() == 100).await;
        let _other = working(ACTOR.worker(server.url(), &history, "other").args(room));
        killed.kill();
        let since = Instant::now();
        until("all run elsewhere", || {
            history.starts(Some("other")).len() == 100
        })
        .await;
        let took = since.elapsed();
        println!("all 100 tasks of a killed worker run elsewhere after {took:?}");
        let report = history.check(&client, server.url(), RECOVERY).await;
        assert_eq!((report.starts, report.finished_again), (200, 0), "{report}");
        // The bar is ten seconds, on a machine with nothing else to do.
        assert!(took < Duration::from_secs(45), "{took:?}");
    })
    .await;
}

/// The bar: a retry that waits is out of the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_waiting_retries_do_not_hold_up_a_fresh_task() {
    const WAITING: usize = 10_000;
    let (server, history) = (server(), History::new());
    let client = connected(server.url()).await;
    let _worker = working(&mut ACTOR.worker(server.url(), &history, "one"));
    let calls = (0..WAITING).map(|_| later::call(3_600u64));
    let sent: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    assert_eq!(sent.len(), WAITING);
    eventually("all wait for their retry", async || {
        let queues = client.queues().await.ok()?;
        let queue = queues.first()?;
        (queue.scheduled == WAITING as u64 && queue.pending + queue.running == 0).then_some(())
    })
    .await;
    let mut waits = Vec::new();
    for _ in 0..51 {
        let sent = taskq_e2e::history::micros();
        let handle = nap::enqueue(&client, 0u64).await.unwrap();
        handle.result().await.unwrap();
        let starts = history.starts(None);
        let start = starts.iter().find(|note| note.id == *handle.id()).unwrap();
        waits.push(Duration::from_micros(
            u64::try_from(start.micros - sent).unwrap(),
        ));
    }
    waits.sort();
    let median = waits[waits.len() / 2];
    println!("beside {WAITING} waiting retries a fresh task starts after {median:?} (median)");
    // A few milliseconds, on a machine with nothing else to do.
    assert!(median < Duration::from_secs(1), "{waits:?}");
}
