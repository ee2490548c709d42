//! A burst of calls, and one run: with the arguments of the last.
//!
//! `cargo run --example debounce`

use taskq::prelude::*;

/// Builds the search index of a shop, as it is at a revision.
#[task]
async fn reindex(shop: String, revision: u64) -> String {
    format!("{shop} at revision {revision}")
}

async fn show(client: &Client) -> taskq::Result<()> {
    // Somebody edits, and every edit asks for a new index.
    let mut handles = Vec::new();
    for revision in 1..=20 {
        let handle = reindex::call("books", revision)
            // Once it has been quiet for so long, but no later than this after
            // the first call.
            .debounce("books", 2.seconds())
            .max_wait(10.seconds())
            .enqueue(client)
            .await?;
        handles.push(handle);
    }
    let (first, last) = (&handles[0], &handles[19]);
    println!("one task for all: {}", first.id() == last.id());
    // Whoever sent a call of the burst has the result.
    println!("indexed: {}", first.result().await?);
    let outcome = last.outcome().await?;
    println!(
        "calls that it stands for: {}",
        outcome.labels["taskq_calls"]
    );

    // It has run; the next call begins another burst.
    let next = reindex::call("books", 21).debounce("books", 2.seconds());
    let next = next.enqueue(client).await?;
    println!("another: {}", next.id() != last.id());
    println!("indexed: {}", next.result().await?);
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
