//! What only JetStream mode promises, on a real server that misbehaves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::prelude::*;
use taskq::{ErrorKind, Mode, OutcomeState};
use taskq_e2e::faults::eventually;
use taskq_e2e::proxy::{Direction, Frame, Proxy, Verdict};
use taskq_e2e::{Fixture, PATIENCE, Running, emptied, until};
use taskq_nats_server::NatsServer;
use tokio::sync::Semaphore;

#[task]
async fn shout(text: String) -> String {
    text.to_uppercase()
}

static GATE: Semaphore = Semaphore::const_new(0);

#[task]
async fn hold(n: u32) -> u32 {
    GATE.acquire().await.unwrap().forget();
    n
}

async fn raw(system: &Fixture) -> async_nats::jetstream::Context {
    let client = async_nats::connect(system.url()).await.unwrap();
    async_nats::jetstream::new(client)
}

#[tokio::test]
async fn what_is_no_message_is_kept_as_a_dead_letter_and_the_worker_lives() {
    let system = Fixture::new(Mode::JetStream);
    let worker = system.worker().await;
    let js = raw(&system).await;
    let deep = format!(
        r#"{{"task_id":"5","task_name":"shout","labels":{{"x":{}{}}}}}"#,
        "[".repeat(1000),
        "]".repeat(1000)
    );
    let bad: [&[u8]; 6] = [
        b"hello",
        b"",
        b"\xff\xfe{",
        br#"{"task_id":"1"}"#,
        br#"{"task_id":1,"task_name":"shout"}"#,
        deep.as_bytes(),
    ];
    for (n, payload) in bad.iter().enumerate() {
        let subject = format!("taskq.work.default.normal.shout.bad-{n}");
        js.publish(subject, payload.to_vec().into())
            .await
            .unwrap()
            .await
            .unwrap();
    }
    until("all are seen", || worker.stats.failed() == 6).await;
    let client = system.client().await;
    let handle = shout::enqueue(&client, "alive").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "ALIVE");

    // In whichever order they are written.
    let dead = js.get_stream("TASKQ_DEAD").await.unwrap();
    let mut letters = Vec::new();
    for sequence in 1..=6 {
        let letter = eventually("a letter of each", async || {
            dead.get_raw_message(sequence).await.ok()
        });
        let letter: serde_json::Value = serde_json::from_slice(&letter.await.payload).unwrap();
        assert_eq!(letter["reason"], "undecodable");
        letters.push(letter);
    }
    let hello = letters.iter().find(|letter| letter["body"] == "aGVsbG8=");
    let hello = hello.expect("the bytes, in base64");
    assert!(
        hello["error"].as_str().unwrap().contains("expected value"),
        "{hello}"
    );
    // None comes back.
    emptied(&client, "default").await;
    assert_eq!(dead.get_info().await.unwrap().state.messages, 6);
}

#[tokio::test]
async fn a_message_of_a_python_taskiq_producer_runs() {
    let system = Fixture::new(Mode::JetStream);
    let _worker = system.worker().await;
    let js = raw(&system).await;
    let id = "6b2f5fbe5e8943db83be43283d014364";
    let payload = format!(
        r#"{{"task_id": "{id}", "task_name": "shout", "labels": {{"lbl": "5"}},
            "labels_types": {{"lbl": 2}}, "args": ["h\u00e9llo"], "kwargs": {{}}}}"#
    );
    let subject = format!("taskq.work.default.normal.shout.{id}");
    js.publish(subject, payload.into())
        .await
        .unwrap()
        .await
        .unwrap();
    let client = system.client().await;
    let outcome = client.handle::<String>(id).outcome().await.unwrap();
    assert_eq!(outcome.value::<String>().unwrap(), "HÉLLO");
    assert_eq!(outcome.labels["lbl"], "5");
}

#[tokio::test]
async fn waiting_and_working_go_on_when_the_server_comes_back() {
    let mut system = Fixture::new(Mode::JetStream);
    let worker = system.worker().await;
    let client = system.client().await;
    let calls = (0..20).map(hold::call);
    let handles: Vec<TaskHandle<u32>> = client.enqueue_many(calls).try_collect().await.unwrap();
    until("all run", || worker.stats.running() == 20).await;
    let server = system.server.as_mut().unwrap();
    server.kill().unwrap();
    // They end while the server is away: nothing can be recorded, or told.
    GATE.add_permits(20);
    until("all have ended", || worker.stats.succeeded() == 20).await;
    server.restart().unwrap();
    for (n, handle) in (0u32..).zip(&handles) {
        assert_eq!(handle.result().await.unwrap(), n);
    }
    let handle = shout::enqueue(&client, "back").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "BACK");
}

#[tokio::test]
async fn an_enqueue_waits_for_a_server_that_comes_back_and_is_one_task() {
    let mut system = Fixture::new(Mode::JetStream);
    let worker = system.worker().await;
    let client = system.client().await;
    shout::enqueue(&client, "first")
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    let server = system.server.as_mut().unwrap();
    server.kill().unwrap();
    let sending = tokio::spawn({
        let client = client.clone();
        async move { shout::enqueue(&client, "through").await }
    });
    server.restart().unwrap();
    let handle = sending.await.unwrap().unwrap();
    assert_eq!(handle.result().await.unwrap(), "THROUGH");
    assert_eq!(worker.stats.succeeded(), 2);
}

static BLOCKED: AtomicU32 = AtomicU32::new(0);

/// Blocks its thread, as an async task must not.
#[task]
async fn block_the_thread(millis: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(millis));
    BLOCKED.fetch_add(1, Ordering::SeqCst) + 1
}

/// docs/reliability.md, fault 9.
#[test]
fn fault_09_a_blocked_runtime_does_not_lose_its_lease() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let system = Fixture::new(Mode::JetStream);
    let url = system.url().to_owned();
    // A worker whose whole runtime is one thread, which the task blocks for
    // three leases.
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = Client::connect(url).await.unwrap();
            let worker = Worker::builder(client).lease(Duration::from_secs(2));
            let running = Running::start(worker).await;
            ready.send(running.stats.clone()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let blocked = is_ready.recv_timeout(PATIENCE).unwrap();
    runtime.block_on(async {
        let client = system.client().await;
        let handle = block_the_thread::enqueue(&client, 6_000u64).await.unwrap();
        until("the task runs", || blocked.started() == 1).await;
        // Another worker waits for the lease to end.
        let other = system.worker().await;
        let outcome = handle.outcome().await.unwrap();
        assert_eq!((outcome.attempt, outcome.value::<u32>().unwrap()), (1, 1));
        assert_eq!(other.stats.started(), 0);
    });
}

#[tokio::test]
async fn a_second_finisher_is_refused_and_the_waiter_gets_the_recorded_outcome() {
    let system = Fixture::new(Mode::JetStream);
    let worker = system.worker().await;
    let client = system.client().await;
    let handle = hold_once::enqueue(&client, 1u32).await.unwrap();
    until("the task runs", || worker.stats.running() == 1).await;
    // Somebody else ends it first.
    let js = raw(&system).await;
    let id = handle.id();
    let record = serde_json::json!({
        "task_id": id, "task_name": "hold_once", "queue": "default", "state": "cancelled",
        "is_err": true, "return_value": null, "error": null, "execution_time": 0.0,
        "attempt": 1, "worker": "operator", "enqueued_at": "2026-01-01T00:00:00.000Z",
        "started_at": null, "finished_at": "2026-01-01T00:00:00.000Z",
    });
    let subject = format!("taskq.done.{}.{id}", id.origin());
    js.publish(subject, record.to_string().into())
        .await
        .unwrap()
        .await
        .unwrap();
    ONCE.add_permits(1);
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Cancelled);
    let recorded = client.handle::<u32>(id.clone()).outcome().await.unwrap();
    assert_eq!(recorded.worker, "operator");
    until("the worker is done with it", || {
        worker.stats.succeeded() == 1
    })
    .await;
    // And the message does not come back.
    let mut queue = js.get_stream("TASKQ_Q_default").await.unwrap();
    let limit = tokio::time::Instant::now() + PATIENCE;
    while queue.info().await.unwrap().state.messages > 0 {
        assert!(
            tokio::time::Instant::now() < limit,
            "the message is still there"
        );
    }
}

static ONCE: Semaphore = Semaphore::const_new(0);

#[task]
async fn hold_once(n: u32) -> u32 {
    ONCE.acquire().await.unwrap().forget();
    n
}

#[tokio::test]
async fn a_removed_stream_and_consumer_are_made_again() {
    let system = Fixture::new(Mode::JetStream);
    let worker = system.worker().await;
    let client = system.client().await;
    shout::enqueue(&client, "first")
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    let js = raw(&system).await;
    js.delete_stream("TASKQ_Q_default").await.unwrap();
    let handle = shout::enqueue(&client, "again").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "AGAIN");
    assert_eq!(worker.stats.succeeded(), 2);
}

#[tokio::test]
async fn each_refusal_to_connect_says_what_to_do() {
    let error = |builder: taskq::ClientBuilder| async move { builder.connect().await.unwrap_err() };
    let nobody = Client::builder().url("nats://127.0.0.1:1");
    let nobody = error(nobody.connect_timeout(Duration::from_millis(600))).await;
    assert_eq!(nobody.kind(), ErrorKind::Connect);
    assert!(
        nobody.to_string().contains("127.0.0.1:1 within 600ms"),
        "{nobody}"
    );

    let locked = NatsServer::builder().user("ada", "right").start().unwrap();
    for builder in [
        Client::builder().url(locked.url()),
        Client::builder().url(locked.url()).user("ada", "wrong"),
    ] {
        let refused = error(builder).await;
        assert_eq!(refused.kind(), ErrorKind::Unauthorized, "{refused}");
        assert!(refused.to_string().contains("NATS_PASSWORD"), "{refused}");
        assert!(!refused.to_string().contains("wrong"), "{refused}");
    }
    let inside = locked.url().replace("//", "//ada:right@");
    Client::connect(inside).await.unwrap();

    let plain = NatsServer::builder().jetstream(false).start().unwrap();
    let off = error(Client::builder().url(plain.url())).await;
    assert_eq!(off.kind(), ErrorKind::Unsupported);
    assert!(off.to_string().contains("nats-server -js"), "{off}");
    Client::builder()
        .url(plain.url())
        .mode(Mode::Core)
        .connect()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_namespace_keeps_systems_apart() {
    let system = Fixture::new(Mode::JetStream);
    let _worker = system.worker().await;
    let other = system.builder().namespace("other").connect().await.unwrap();
    let handle = shout::enqueue(&other, "hello").await.unwrap();
    let here = system.client().await;
    shout::enqueue(&here, "x")
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    assert_eq!(other.queues().await.unwrap()[0].pending, 1);
    emptied(&here, "default").await;
    let _theirs = Running::start(Worker::builder(other)).await;
    assert_eq!(handle.result().await.unwrap(), "HELLO");
}

#[tokio::test]
async fn living_workers_tell_what_they_run_and_where_they_differ() {
    let system = Fixture::new(Mode::JetStream);
    let worker = system.worker().await;
    let client = system.client().await;
    let mut workers = Vec::new();
    let limit = tokio::time::Instant::now() + PATIENCE;
    while workers.is_empty() {
        assert!(tokio::time::Instant::now() < limit, "no worker answers");
        workers = taskq::admin::workers(&client).await.unwrap();
    }
    assert_eq!(workers[0].worker, worker.name);
    let shout = workers[0]
        .tasks
        .iter()
        .find(|task| task.name == "shout")
        .unwrap();
    assert_eq!(shout.signature, "shout(text: String) -> String");
    let mut changed = workers[0].clone();
    changed.tasks[0].signature.push('?');
    assert_eq!(taskq::admin::differences(&workers[0], &changed).len(), 1);
    let findings = taskq::admin::doctor(&client).await.unwrap();
    let durability = findings
        .iter()
        .find(|finding| finding.check == "durability")
        .unwrap();
    assert!(durability.found.starts_with("default"), "{durability:?}");
}

/// A cluster that puts itself together again may lose the message that tells
/// of an outcome while every connection stands.
#[tokio::test]
async fn an_outcome_that_was_told_to_nobody_is_found_by_who_waits_for_it() {
    let system = Fixture::new(Mode::JetStream);
    let proxy = Proxy::start(system.server.as_ref().unwrap().port()).unwrap();
    let client = system.builder().url(proxy.url()).connect().await.unwrap();
    // A new connection looks for what it may have missed, at last after 13 s.
    let settled = tokio::time::Instant::now() + Duration::from_secs(14);
    let _worker = system.worker().await;
    // The first listens; what comes next is lost.
    let first = shout::enqueue(&client, "a").await.unwrap();
    assert_eq!(first.result().await.unwrap(), "A");
    proxy.filter(|frame: &Frame| {
        let tells = [".done.", ".stored."]
            .iter()
            .any(|it| frame.subject().contains(it));
        match frame.direction {
            Direction::ToClient if tells => Verdict::Drop,
            _ => Verdict::Pass,
        }
    });
    tokio::time::sleep_until(settled).await;
    let second = shout::enqueue(&client, "b").await.unwrap();
    let started = std::time::Instant::now();
    assert_eq!(second.result().await.unwrap(), "B");
    // Neither heard, nor found by the look that follows half a pair.
    let took = started.elapsed();
    assert!(took > Duration::from_secs(4), "it was told after {took:?}");
}

/// Its process, and so its connection, may go on.
#[tokio::test]
async fn a_worker_that_was_drained_is_found_no_more() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    let worker = Running::start(Worker::builder(client.clone())).await;
    let limit = tokio::time::Instant::now() + PATIENCE;
    while taskq::admin::workers(&client).await.unwrap().len() != 1 {
        assert!(tokio::time::Instant::now() < limit, "it is not found");
    }
    worker.drain().await;
    while !taskq::admin::workers(&client).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < limit, "it is still found");
    }
}

/// A flood into a queue that nobody has used yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_messages_of_a_queue_make_its_stream_once() {
    let system = Fixture::new(Mode::JetStream);
    let watcher = async_nats::connect(system.url()).await.unwrap();
    let stream = "$JS.API.STREAM.*.TASKQ_Q_flooded";
    let mut asked = watcher.subscribe(stream).await.unwrap();
    watcher.flush().await.unwrap();
    let client = system.client().await;
    let calls = (0..1000).map(|n| shout::call(format!("{n}")).queue("flooded"));
    let sent: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    assert_eq!(sent.len(), 1000);
    watcher.flush().await.unwrap();
    let mut times = 0;
    while let Some(Some(_)) = futures::FutureExt::now_or_never(asked.next()) {
        times += 1;
    }
    // Looked for and made; and once more, should the first have been in vain.
    assert!((1..=4).contains(&times), "asked {times} times");
}

#[test]
fn a_first_call_needs_no_large_stack() {
    let server = NatsServer::builder().start().unwrap();
    // Half of what a thread, and so a test of a user's, has by default.
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let first = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = Client::connect(server.url()).await.unwrap();
            let (plain, later) = tokio::join!(
                shout::enqueue(&client, "now"),
                shout::call("later")
                    .delay(Duration::from_secs(60))
                    .enqueue(&client),
            );
            let _ = (plain.unwrap(), later.unwrap());
            assert_eq!(client.queues().await.unwrap()[0].pending, 1);
        });
    };
    small.spawn(first).unwrap().join().unwrap();
}
