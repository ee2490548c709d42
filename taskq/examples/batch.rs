//! Items of many producers, and one call for many of them.
//!
//! `cargo run --example batch`

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::prelude::*;

/// Writes many rows at once, which costs hardly more than to write one.
#[task]
async fn write_rows(rows: Vec<u64>) -> usize {
    rows.len()
}

async fn show(client: &Client) -> taskq::Result<()> {
    // At most 100 together, none for longer than two seconds.
    let calls = (0..250).map(|row| write_rows::call(vec![row]).batch("rows", 100, 2.seconds()));
    let handles: Vec<TaskHandle<usize>> = client.enqueue_many(calls).try_collect().await?;

    // Each sender has the result of the batch that its row is in.
    let sizes = futures::stream::iter(&handles).then(TaskHandle::result);
    let sizes: Vec<usize> = sizes.try_collect().await?;
    println!("the first row is in a batch of {}", sizes[0]);
    println!("the last row is in a batch of {}", sizes[249]);
    let batches: std::collections::HashSet<_> = handles.iter().map(TaskHandle::id).collect();
    println!("{} rows in {} batches", handles.len(), batches.len());
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
