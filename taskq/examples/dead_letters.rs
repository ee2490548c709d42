//! What fails for good is kept, looked at, mended, and sent again.
//!
//! `cargo run --example dead_letters`

use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::DeadReason;
use taskq::admin::{self, DeadFilter};
use taskq::prelude::*;

/// Whether the bank is open.
#[derive(Default)]
struct Bank(AtomicBool);

#[task(retries = 1, backoff = "constant(1ms)")]
async fn charge(ctx: Context, bank: State<Bank>, cents: u64) -> Result<String, TaskError> {
    if !bank.0.load(Ordering::Relaxed) {
        return Err(TaskError::from("the bank is closed"));
    }
    Ok(format!("{cents} at attempt {}", ctx.attempt()))
}

async fn show(client: &Client, bank: &Bank) -> taskq::Result<()> {
    let handle = charge::call(1999)
        .id(format!("order-{}", std::process::id()))
        .enqueue(client)
        .await?;
    println!("{}", handle.outcome().await?.state);

    // The operator looks for what failed for this reason. `taskq dead` does
    // the same from a shell.
    let filter = || DeadFilter {
        id: Some(handle.id().clone()),
        reason: Some(DeadReason::Exhausted),
        error: Some("bank".to_owned()),
        ..DeadFilter::default()
    };
    // An outcome is told before its letter is written.
    let letter = loop {
        let mut letters = admin::dead_letters(client, filter()).await?.boxed();
        if let Some(letter) = letters.try_next().await? {
            break letter;
        }
    };
    println!("{}: {}", letter.reason, letter.error);
    println!("{} attempts, all on record", letter.attempts.len());

    // Mended: the task goes on under its id, and its past goes with it.
    bank.0.store(true, Ordering::Relaxed);
    println!("{:?}", admin::replay(client, &letter, "ada").await?);
    let again: TaskHandle<String> = client.handle(handle.id().clone());
    let outcome = again.outcome().await?;
    println!("charged {}", outcome.value::<String>()?);
    for failed in &outcome.attempts {
        println!("attempt {} had failed: {}", failed.attempt, failed.error);
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
    let bank = State::new(Bank::default());
    let worker = Worker::builder(client.clone())
        .shared_state(bank.clone())
        .build()?;
    let mut shown = Ok(());
    let work = async { shown = show(&client, &bank).await };
    worker.run_until(work).await?;
    shown
}
