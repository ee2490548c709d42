//! Faults of producers, in processes of their own: docs/reliability.md.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use taskq::{Call, OutcomeState};
use taskq_e2e::faults::{Actor, RECOVERY, client, connected, eventually, nats, repeated, working};
use taskq_e2e::history::{Expected, History};
use taskq_e2e::proxy::{Frame, Proxy, Verdict};
use taskq_e2e::script::nap;
use taskq_e2e::{Program, run};
use taskq_nats_server::NatsServer;

const ACTOR: Actor = Actor(env!("CARGO_BIN_EXE_actor"));

fn value(value: u64) -> Expected {
    Expected::Value(value.into())
}

/// A server with the streams that a first task makes, and that task in them.
async fn used_server(history: &History) -> NatsServer {
    let server = NatsServer::builder().start().unwrap();
    let client = connected(server.url()).await;
    let first = history.send(&client, nap::call(0u64), value(0)).await;
    first.unwrap();
    server
}

/// How many messages are in the queue.
async fn waiting(client: &taskq::Client) -> u64 {
    let queues = client.queues().await.unwrap();
    queues
        .iter()
        .map(|queue| queue.pending + queue.running)
        .sum()
}

/// A producer sends a task of a chosen id and is killed at `lost`, before it
/// is told that the task is accepted; it is started again, and sends it again.
async fn die_unanswered(lost: fn(&Frame) -> bool, is_there: bool) {
    let history = History::new();
    let server = used_server(&history).await;
    let client = connected(server.url()).await;
    let proxy = Proxy::start(server.port()).unwrap();
    let count = Arc::new(AtomicU32::new(0));
    proxy.filter({
        let count = Arc::clone(&count);
        move |frame: &Frame| {
            if !lost(frame) {
                return Verdict::Pass;
            }
            count.fetch_add(1, Ordering::SeqCst);
            Verdict::Drop
        }
    });
    let mut first = Program::start(ACTOR.sender(proxy.url()).args(["--ids", "order-"]));
    eventually("it has sent", async || {
        (count.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    first.kill();
    assert_eq!(first.end().stdout, "", "it was not told");
    assert_eq!(waiting(&client).await, 1 + u64::from(is_there));
    let second = run(ACTOR.sender(server.url()).args(["--ids", "order-"]));
    let word = if is_there { "existing" } else { "new" };
    assert_eq!(
        second.stdout,
        format!("{word} order-0\n"),
        "{}",
        second.stderr
    );
    history.accepted(&"order-0".into(), value(0));
    let _worker = working(&mut ACTOR.worker(server.url(), &history, "one"));
    let report = history.check(&client, server.url(), RECOVERY).await;
    assert_eq!((report.starts, report.unknown), (2, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_01_a_producer_that_dies_before_the_ack_sends_again_and_it_is_one_task() {
    repeated(async || {
        tokio::join!(
            die_unanswered(|frame| frame.confirms("TASKQ_Q_default"), true),
            die_unanswered(|frame| frame.publishes("taskq.work."), false),
        );
    })
    .await;
}

/// A producer whose ack is lost once, so that it sends again by itself.
async fn lose_the_ack(call: Call<nap>, stream: &'static str, worker_is_there: bool) {
    let history = History::new();
    let server = used_server(&history).await;
    let direct = connected(server.url()).await;
    // Nothing may depend on the server's own memory of what it was sent.
    let js = async_nats::jetstream::new(nats(server.url()).await.unwrap());
    for stream in ["TASKQ_Q_default", "TASKQ_PLAN"] {
        let mut stream = js.get_stream(stream).await.unwrap();
        let mut config = stream.info().await.unwrap().config.clone();
        config.duplicate_window = Duration::from_millis(100);
        js.update_stream(config).await.unwrap();
    }
    let worker = || working(&mut ACTOR.worker(server.url(), &history, "one"));
    let early = worker_is_there.then(worker);
    let proxy = Proxy::start(server.port()).unwrap();
    let producer = client(proxy.url()).connect().await.unwrap();
    let lost = Arc::new(AtomicU32::new(0));
    proxy.filter({
        let lost = Arc::clone(&lost);
        move |frame: &Frame| {
            if frame.confirms(stream) && lost.fetch_add(1, Ordering::SeqCst) == 0 {
                Verdict::Drop
            } else {
                Verdict::Pass
            }
        }
    });
    let handle = history.send(&producer, call, value(0)).await.unwrap();
    assert!(lost.load(Ordering::SeqCst) > 0, "an ack was lost");
    let _late = early.is_none().then(worker);
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Succeeded);
    history.told(outcome);
    // And once more, long after: it is still the same task.
    let again = nap::call(0u64).id(handle.id().clone());
    let again = again.enqueue(&direct).await.unwrap();
    assert!(again.is_existing());
    history.told(again.outcome().await.unwrap());
    let report = history.check(&direct, server.url(), RECOVERY).await;
    assert_eq!((report.starts, report.unknown), (2, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_02_a_lost_ack_is_made_up_for_after_the_servers_own_memory_is_over() {
    repeated(async || {
        let delayed = || nap::call(0u64).delay(Duration::from_secs(7));
        tokio::join!(
            // It waits, or it has ended, when it is sent again.
            lose_the_ack(nap::call(0u64), "TASKQ_Q_default", false),
            lose_the_ack(nap::call(0u64), "TASKQ_Q_default", true),
            lose_the_ack(nap::call(0u64).id("chosen"), "TASKQ_Q_default", true),
            // It is planned.
            lose_the_ack(delayed(), "TASKQ_PLAN", true),
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_03_a_bulk_that_its_producer_dies_in_is_resumed_by_its_ids() {
    const COUNT: usize = 1_000;
    repeated(async || {
        let history = History::new();
        let server = used_server(&history).await;
        let client = connected(server.url()).await;
        let _worker = working(&mut ACTOR.worker(server.url(), &history, "one"));
        let bulk = ["--count", "1000", "--window", "256", "--ids", "bulk-"];
        // However quick it is, it does not get past the middle.
        let proxy = Proxy::start(server.port()).unwrap();
        let sent = AtomicU32::new(0);
        proxy.filter(move |frame: &Frame| {
            let is_task = frame.publishes("taskq.work.");
            if is_task && sent.fetch_add(1, Ordering::SeqCst) as usize >= COUNT / 2 {
                Verdict::Drop
            } else {
                Verdict::Pass
            }
        });
        let mut first = Program::start(ACTOR.sender(proxy.url()).args(bulk));
        first.until_stdout(|text| text.lines().count() > COUNT / 10);
        first.kill();
        let first = first.end().stdout;
        let told: Vec<_> = first
            .lines()
            .filter_map(|line| line.strip_prefix("new "))
            .collect();
        assert!(told.len() < COUNT, "it died in the middle");
        let second = run(ACTOR.sender(server.url()).args(bulk));
        assert!(second.status.success(), "{}", second.stderr);
        let existing = second
            .stdout
            .lines()
            .filter(|line| line.starts_with("existing "));
        let existing = existing.count();
        println!(
            "{} were told to the first, {existing} were there for the second",
            told.len()
        );
        assert!((told.len()..COUNT).contains(&existing));
        for n in 0..COUNT {
            history.accepted(&format!("bulk-{n}").into(), value(0));
        }
        let report = history.check(&client, server.url(), RECOVERY).await;
        assert_eq!((report.starts, report.unknown), (1 + COUNT, 0), "{report}");
    })
    .await;
}
