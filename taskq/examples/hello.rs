//! A task, a worker, and a call: the least there is.
//!
//! `cargo run --example hello`

use taskq::prelude::*;

/// Converts a string to uppercase.
#[task]
async fn to_uppercase(text: String) -> String {
    text.to_uppercase()
}

async fn show(client: &Client) -> taskq::Result<()> {
    let handle = to_uppercase::enqueue(client, "hello").await?;
    println!("task {} is sent", handle.id());
    println!("it returned {:?}", handle.result().await?);

    // It is still the function you wrote.
    println!("called here: {:?}", to_uppercase("hello".into()).await);
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
