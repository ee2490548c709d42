//! One task for many calls: by its id, by its arguments, by a key.
//!
//! `cargo run --example unique`

use taskq::prelude::*;

/// Unique until it is done: a second call with the same arguments meanwhile
/// is the same task.
#[task(unique)]
async fn rebuild_index(shop: String) -> String {
    tokio::time::sleep(1.second()).await;
    format!("the index of {shop} is built")
}

#[task]
async fn report(day: String) -> String {
    format!("the report of {day}")
}

async fn show(client: &Client) -> taskq::Result<()> {
    let first = rebuild_index::enqueue(client, "books").await?;
    let second = rebuild_index::enqueue(client, "books").await?;
    let other = rebuild_index::enqueue(client, "music").await?;
    println!("the same task twice: {}", first.id() == second.id());
    println!("other arguments, another: {}", first.id() != other.id());
    println!("{}", second.result().await?);
    println!("{}", other.result().await?);

    // For a time, whatever the arguments: the key counts.
    for day in ["monday", "tuesday"] {
        let call = report::call(day).unique_key("report");
        let handle = call.unique_for(1.minute()).enqueue(client).await?;
        println!("for {day} comes {}", handle.result().await?);
    }

    // An id of your own: sent again, it is the same task.
    for _ in 0..2 {
        let call = report::call("friday").id(format!("job-{}", std::process::id()));
        let existing = call.enqueue(client).await?.is_existing();
        println!("the id was there before: {existing}");
    }
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
