//! A consumer that gives nothing although it has something.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use futures::TryStreamExt as _;
use taskq::admin::{self, EventFilter};
use taskq::prelude::*;
use taskq::{Event, Timestamp};
use taskq_e2e::Running;
use taskq_e2e::faults::eventually;
use taskq_nats_server::NatsServer;

#[task]
async fn shout(text: String) -> String {
    text.to_uppercase()
}

async fn client(server: &NatsServer) -> Client {
    let builder = Client::builder().url(server.url());
    builder.connect().await.unwrap()
}

/// A purge by subject of messages that a worker holds makes a consumer forget
/// others, once the server restarts: they are in the stream, and neither
/// pending nor held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_19_a_consumer_that_forgot_messages_is_made_anew_and_skips_none() {
    let mut server = NatsServer::builder().start().unwrap();
    let sender = client(&server).await;
    // The consumers are there when a worker was.
    let first =
        Running::start(Worker::builder(client(&server).await).lease(Duration::from_secs(1)));
    first.await.drain().await;
    let mut handles = Vec::new();
    for n in 0..10 {
        handles.push(shout::enqueue(&sender, format!("m{n}")).await.unwrap());
    }
    let nats = async_nats::connect(server.url()).await.unwrap();
    let js = async_nats::jetstream::new(nats);
    let queue = js.get_stream("TASKQ_Q_default").await.unwrap();
    let consumer = queue
        .get_consumer::<pull::Config>("w_normal")
        .await
        .unwrap();
    let held = consumer.fetch().max_messages(10).messages().await.unwrap();
    let held: Vec<_> = held.try_collect().await.unwrap();
    assert_eq!(held.len(), 10);
    for message in &held[3..6] {
        queue
            .purge()
            .filter(message.subject.as_str())
            .await
            .unwrap();
    }
    drop(held);
    // What it forgot shows in what it remembers after a restart.
    server.stop().unwrap();
    server.restart().unwrap();
    let info = consumer.get_info().await.unwrap();
    let accounted = info.num_pending + info.num_ack_pending as u64;
    let stored = queue.get_info().await.unwrap().state.messages;
    assert!(accounted < stored, "the consumer has forgotten none");

    let worker = Running::start(Worker::builder(client(&server).await)).await;
    for (n, handle) in handles.iter().enumerate() {
        if !(3..6).contains(&n) {
            let waiting = handle.result_timeout(Duration::from_secs(90));
            assert_eq!(waiting.await.unwrap(), format!("M{n}"));
        }
    }
    let filter: EventFilter = "event=consumer_mended".parse().unwrap();
    eventually("it is told", async || {
        let since = Some(Timestamp::from_millis(0));
        let events = admin::events(&sender, filter.clone(), since, false).await;
        let events: Vec<Event> = events.unwrap().try_collect().await.unwrap();
        assert!(events.len() < 2, "once, and then left alone: {events:?}");
        (events.len() == 1).then_some(())
    })
    .await;
    drop(worker);
}

/// A consumer that is paused on purpose is not mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_19_a_paused_consumer_is_left_alone() {
    let server = NatsServer::builder().start().unwrap();
    let sender = client(&server).await;
    let worker = Running::start(Worker::builder(client(&server).await)).await;
    let nats = async_nats::connect(server.url()).await.unwrap();
    let js = async_nats::jetstream::new(nats.clone());
    let queue = js.get_stream("TASKQ_Q_default").await.unwrap();
    let mut created = Vec::new();
    for lane in ["w_critical", "w_high", "w_normal", "w_low"] {
        let pause = serde_json::json!({ "pause_until": "2100-01-01T00:00:00Z" });
        let subject = format!("$JS.API.CONSUMER.PAUSE.TASKQ_Q_default.{lane}");
        nats.request(subject, pause.to_string().into())
            .await
            .unwrap();
        let consumer = queue.get_consumer::<pull::Config>(lane).await.unwrap();
        created.push(consumer.cached_info().created);
    }
    let handle = shout::enqueue(&sender, "later").await.unwrap();
    // Longer than the watchdog's patience, twice over.
    let waited = handle.result_timeout(Duration::from_secs(25)).await;
    assert!(waited.unwrap_err().is_timeout());
    for (lane, created) in ["w_critical", "w_high", "w_normal", "w_low"]
        .iter()
        .zip(created)
    {
        let consumer = queue.get_consumer::<pull::Config>(lane).await.unwrap();
        assert_eq!(consumer.cached_info().created, created);
    }
    drop(worker);
}
