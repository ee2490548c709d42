//! A plain `fn` is CPU work: it runs on threads of its own, so that it holds
//! up no other task.
//!
//! `cargo run --example blocking`

use std::time::Instant;

use taskq::prelude::*;

/// Counts primes the slow way. No `async`, so it may take its time.
#[task]
fn count_primes(below: u32) -> usize {
    let is_prime = |n: &u32| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    (2..below).filter(is_prime).count()
}

/// A blocking task cannot be dropped when its time is over. It has to look.
#[task(timeout = "200ms")]
fn spin(ctx: Context) {
    while !ctx.is_cancelled() {
        std::hint::spin_loop();
    }
}

#[task]
async fn ping() -> String {
    "pong".to_owned()
}

async fn show(client: &Client) -> taskq::Result<()> {
    let primes = count_primes::enqueue(client, 200_000).await?;
    let since = Instant::now();
    let pong = ping::enqueue(client).await?.result().await?;
    println!(
        "{pong} after {:?}, while primes are counted",
        since.elapsed()
    );
    println!("{} primes", primes.result().await?);

    if let Err(error) = spin::enqueue(client).await?.result().await {
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
