//! Many calls at once: pipelined, with a result for each; or all or none.
//!
//! `cargo run --example bulk`

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::prelude::*;

#[task]
async fn square(n: u64) -> u64 {
    n * n
}

async fn show(client: &Client) -> taskq::Result<()> {
    // Up to 1024 are on their way at once; the stream keeps their order.
    let calls = (0..10_000).map(square::call);
    let handles: Vec<TaskHandle<u64>> = client.enqueue_many(calls).try_collect().await?;
    let mut sum = 0;
    for handle in &handles {
        sum += handle.result().await?;
    }
    println!("{} tasks, sum of squares {sum}", handles.len());

    // One that cannot be sent does not stop the others.
    let calls = [
        square::call(2),
        square::call(3).queue("no such name!"),
        square::call(4),
    ];
    let mut sent = client.enqueue_many(calls);
    while let Some(sent) = sent.next().await {
        match sent {
            Ok(handle) => println!("returned {}", handle.result().await?),
            Err(error) => println!("not sent: {error}"),
        }
    }

    // All or none: these are tasks together, or none of them is. Sent again
    // under their ids, they are the same tasks.
    let order = || (1..=3).map(|n| square::call(n).id(format!("order-7-{n}")));
    let handles = client.enqueue_atomic(order()).await?;
    let again = client.enqueue_atomic(order()).await?;
    println!(
        "{} at once, sent again: {}",
        handles.len(),
        again[0].is_existing()
    );
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
