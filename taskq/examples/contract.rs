//! A producer that does not link the task's code.
//!
//! Three modules stand for three crates: the contract is shared, the body is
//! the worker's, and the producer compiles without it.
//!
//! `cargo run --example contract`

use taskq::prelude::*;

/// The crate that both sides depend on: signatures and options, no code.
mod contracts {
    use taskq::prelude::*;

    /// Makes a picture small.
    #[task(queue = "cpu", retries = 2)]
    pub(super) async fn resize(url: String, width: u32) -> Result<String, TaskError>;
}

/// The worker's crate. Another signature would not compile.
mod images {
    use taskq::prelude::*;

    #[task(implements = super::contracts::resize)]
    pub(super) async fn resize(url: String, width: u32) -> Result<String, TaskError> {
        Ok(format!("{url}?width={width}"))
    }
}

/// The producer's crate.
async fn show(client: &Client) -> taskq::Result<()> {
    let handle = contracts::resize::enqueue(client, "a.png", 80).await?;
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
    let worker = Worker::builder(client.clone()).queues(["cpu"]).build()?;
    for task in worker.tasks() {
        println!("the worker has {}", task.signature());
    }
    let mut shown = Ok(());
    let work = async { shown = show(&client).await };
    worker.run_until(work).await?;
    shown
}
