//! A task that fails, and what steers whether it is tried again.
//!
//! `cargo run --example retries`

use taskq::prelude::*;

/// Fails twice. Any error follows the task's policy.
#[task(retries = 5, backoff = "exponential(50ms, max 1s)")]
async fn fetch(ctx: Context, url: String) -> Result<String, std::io::Error> {
    match ctx.attempt() {
        1 | 2 => Err(std::io::Error::other(format!("{url}: no route"))),
        n => Ok(format!("{url}, at attempt {n}")),
    }
}

/// Another attempt would not mend an empty address; a busy server says when
/// to come back.
#[task(retries = 5)]
async fn send_email(ctx: Context, to: String) -> Result<String, TaskError> {
    if to.is_empty() {
        return Err(TaskError::permanent("there is no address"));
    }
    if ctx.attempt() == 1 {
        return Err(TaskError::retry_after(200.millis(), "the server is busy"));
    }
    Ok(format!("sent to {to} at attempt {}", ctx.attempt()))
}

async fn show(client: &Client) -> taskq::Result<()> {
    let handle = fetch::enqueue(client, "http://a").await?;
    println!("fetch: {}", handle.result().await?);

    let handle = send_email::enqueue(client, "ada@example.com").await?;
    println!("send_email: {}", handle.result().await?);

    let outcome = send_email::enqueue(client, "").await?.outcome().await?;
    println!("{} after {} attempt", outcome.state, outcome.attempt);
    if let Err(error) = outcome.value::<String>() {
        println!("{error}");
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
