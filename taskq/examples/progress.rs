//! How far a task is, and what it says for the record.
//!
//! `cargo run --example progress`

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::prelude::*;

#[task]
async fn import(ctx: Context, lines: u64) -> u64 {
    for line in 1..=lines {
        // ... import it ...
        tokio::time::sleep(15.millis()).await;
        if line % 10 == 0 {
            ctx.log(format_args!("line {line} has no price"));
        }
        // As often as you like: ten a second are told, the latest always.
        ctx.progress(line, lines, format!("line {line}"));
    }
    lines
}

async fn show(client: &Client) -> taskq::Result<()> {
    let handle = import::enqueue(client, 40).await?;
    // The stream ends with the task.
    let mut steps = handle.progress().await?.boxed();
    let mut last = 0;
    while let Some(step) = steps.try_next().await? {
        if step.done < last {
            println!("attempt {} begins anew", step.attempt);
        }
        last = step.done;
        println!("{} of {}: {}", step.done, step.total, step.message);
    }
    let outcome = handle.outcome().await?;
    println!("imported {}", outcome.value::<u64>()?);
    print!("its log:\n{}", outcome.log.unwrap_or_default());
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
