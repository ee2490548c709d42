//! Why is it not running? The one reason, from the state of the server.
//!
//! `cargo run --example explain`

use taskq::admin;
use taskq::prelude::*;

#[task]
async fn crawl(ctx: Context) {
    ctx.progress(1, 0, "crawling");
    ctx.cancelled().await;
}

#[task(retries = 3, backoff = "constant(1h)")]
async fn charge() -> Result<(), TaskError> {
    Err("the bank is closed".into())
}

#[task]
async fn greet() {}

async fn show(client: &Client) -> taskq::Result<()> {
    let runs = crawl::call().id("runs").enqueue(client).await?;
    let mut steps = std::pin::pin!(runs.progress().await?);
    let _running = futures::StreamExt::next(&mut steps).await;
    println!("runs: {}", admin::explain(client, "runs").await?);
    runs.cancel().await?;

    let later = greet::call().id("later").delay(1.hour());
    later.enqueue(client).await?;
    println!("later: {}", admin::explain(client, "later").await?);

    // It has failed once when it waits for its next attempt.
    charge::call().id("again").enqueue(client).await?;
    let why = loop {
        let why = admin::explain(client, "again").await?;
        if matches!(why.reason, admin::Reason::Retry { .. }) {
            break why;
        }
    };
    println!("again: {why}");

    let done = greet::call().id("done").enqueue(client).await?;
    done.result().await?;
    println!("done: {}", admin::explain(client, "done").await?);
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
