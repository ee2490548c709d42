//! A task that is of no use when it is late.
//!
//! `cargo run --example deadline`

use taskq::prelude::*;

/// Sent in time, or not at all: five minutes after it was sent, nobody needs
/// the code any more.
#[task(deadline = "5m", retries = 3, backoff = "constant(1h, no jitter)")]
async fn send_code(ctx: Context, to: String) -> Result<String, TaskError> {
    match to.as_str() {
        "nobody" => Err(TaskError::from("there is no such number")),
        to => Ok(format!("sent to {to} at attempt {}", ctx.attempt())),
    }
}

#[task]
async fn slow() {
    tokio::time::sleep(1.hour()).await;
}

async fn show(client: &Client) -> taskq::Result<()> {
    let handle = send_code::enqueue(client, "ada").await?;
    println!("in time: {}", handle.result().await?);

    // The retry would come in an hour, when it is of no use: it fails now.
    let outcome = send_code::enqueue(client, "nobody")
        .await?
        .outcome()
        .await?;
    println!(
        "no time for a retry: {} at attempt {}",
        outcome.state, outcome.attempt
    );

    // Its time is over before a worker comes to it, and it does not run; or,
    // where a worker is as quick as here, just after.
    let call = slow::call().deadline(1.millis());
    let handle = call.enqueue(client).await?;
    let outcome = handle.outcome().await?;
    println!("late or stopped: {}", !outcome.is_success());

    // A task that runs is stopped when its time is over.
    let call = slow::call().deadline(2.seconds());
    let outcome = call.enqueue(client).await?.outcome().await?;
    if let Some(error) = outcome.error {
        println!("stopped: {:?}: {error}", error.kind);
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
