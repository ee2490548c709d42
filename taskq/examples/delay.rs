//! Not now: after a while, or at a time; and at another time after all.
//!
//! `cargo run --example delay`

use std::time::{Duration, Instant, SystemTime};

use futures::TryStreamExt as _;
use taskq::admin::{self, DelayedFilter};
use taskq::prelude::*;

#[task]
async fn remind(what: String) -> String {
    format!("do not forget: {what}")
}

async fn show(client: &Client) -> taskq::Result<()> {
    let since = Instant::now();
    let tea = remind::call("the tea")
        .delay(1.second())
        .enqueue(client)
        .await?;
    println!("{}: {}", tea.id(), tea.status().await?);

    // A moment is a `SystemTime` or a `taskq::Timestamp`.
    let soon = SystemTime::now() + Duration::from_millis(500);
    let train = remind::call("the train").at(soon).enqueue(client).await?;

    println!("{}", train.result().await?);
    println!("{}", tea.result().await?);
    println!("all reminded: {}", since.elapsed() >= 1.second());

    let outcome = tea.outcome().await?;
    if let Some(started) = outcome.started_at {
        let waited = started.since(outcome.enqueued_at);
        println!("started no sooner than asked: {}", waited >= 1.second());
    }
    println!("how late is on record: {}", outcome.lateness().is_some());

    // What is put off can be listed, moved, and started now.
    let call = remind::call("the plane").delay(2.hours());
    let plane = call.enqueue(client).await?;
    let later = client.server_time().await.plus(3.hours());
    println!("moved: {:?}", plane.reschedule(later).await?);
    let delayed = admin::delayed(client, DelayedFilter::default()).await?;
    let delayed: Vec<_> = delayed.try_collect().await?;
    println!("put off: {} of {}", delayed.len(), delayed[0].task);
    println!("started now: {:?}", plane.run_now().await?);
    println!("{}", plane.result().await?);
    println!("once more: {:?}", plane.run_now().await?);
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
    let worker = Worker::builder(client.clone()).build()?;
    let mut shown = Ok(());
    let work = async { shown = show(&client).await };
    worker.run_until(work).await?;
    shown
}
