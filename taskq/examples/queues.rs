//! Queues that are limited, paused and resumed while their worker runs.
//!
//! `cargo run --example queues`

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use taskq::admin::queues;
use taskq::prelude::*;
use taskq::{ErrorKind, QueueSettings};

/// How many e-mails are under way, and how many were at most.
#[derive(Default)]
struct Relay {
    now: AtomicU32,
    most: AtomicU32,
}

#[task(queue = "email")]
async fn send_email(to: String, relay: State<Relay>) -> String {
    let now = relay.now.fetch_add(1, Ordering::SeqCst) + 1;
    relay.most.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    relay.now.fetch_sub(1, Ordering::SeqCst);
    format!("sent to {to}")
}

async fn show(client: &Client, relay: &Relay) -> taskq::Result<()> {
    // The relay takes two at a time, whoever asks.
    queues::update(client, "email", "ada", |email| {
        email.concurrency = Some(2);
        email.max_backlog = Some(10);
    })
    .await?;
    queues::pause(client, "email", "ada", Some("the relay is down")).await?;

    let mut waiting = Vec::new();
    let refused = loop {
        match send_email::enqueue(client, "ada@example.com").await {
            Ok(handle) => waiting.push(handle),
            Err(error) => break error,
        }
    };
    println!("{} wait", waiting.len());
    println!("full: {}", refused.kind() == ErrorKind::QueueFull);
    println!("{refused}");

    queues::resume(client, "email", "ada").await?;
    for handle in waiting {
        handle.result().await?;
    }
    println!("all sent, {} at a time", relay.most.load(Ordering::SeqCst));
    // As it was.
    let now = queues::get(client, "email").await?;
    queues::set(
        client,
        "email",
        &QueueSettings::default(),
        now.revision,
        "ada",
    )
    .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> taskq::Result<()> {
    // Without NATS_URL, in the memory of this process.
    let builder = Client::builder().namespace("examples");
    let client = match std::env::var("NATS_URL") {
        Ok(url) => builder.url(url).connect().await?,
        Err(_) => builder.memory(),
    };
    let relay = State::new(Relay::default());
    let worker = Worker::builder(client.clone())
        .shared_state(relay.clone())
        // Of three messages that wait in both, two are e-mails.
        .queues([("email", 2), ("default", 1)])
        .build()?;
    let mut shown = Ok(());
    let work = async { shown = show(&client, &relay).await };
    worker.run_until(work).await?;
    shown
}
