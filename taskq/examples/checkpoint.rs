//! A long task that goes on where its last attempt stopped.
//!
//! `cargo run --example checkpoint`

use taskq::prelude::*;

#[task(retries = 5, backoff = "constant(10ms)")]
async fn back_up(ctx: Context, files: Vec<String>) -> Result<String, TaskError> {
    let done: usize = ctx.last_checkpoint().await?.unwrap_or(0);
    println!("attempt {} begins with file {done}", ctx.attempt());
    for (place, file) in files.iter().enumerate().skip(done) {
        println!("  copying {file}");
        ctx.checkpoint(&(place + 1)).await?;
        if place % 2 == 1 && ctx.attempt() < 3 {
            return Err("the disk was away for a moment".into());
        }
    }
    Ok(format!(
        "{} files in {} attempts",
        files.len(),
        ctx.attempt()
    ))
}

async fn show(client: &Client) -> taskq::Result<()> {
    let files: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
    let handle = back_up::enqueue(client, files).await?;
    println!("{}", handle.result().await?);
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
