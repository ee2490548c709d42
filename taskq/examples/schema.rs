//! What a task takes and gives, as JSON Schema; and what is nobody's business.
//!
//! `cargo run --example schema`

use serde::{Deserialize, Serialize};
use taskq::prelude::*;
use taskq::schemars::JsonSchema;

/// Where a parcel goes.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "taskq::schemars")]
struct Address {
    street: String,
    /// Home if there is none.
    country: Option<String>,
}

/// Ships an order.
#[task]
async fn ship(
    /// The number of the order.
    order: u32,
    to: Address,
    note: Option<String>,
) -> Result<String, TaskError> {
    let _ = note;
    Ok(format!("order {order} to {}", to.street))
}

/// Nobody who looks after the queue sees the card, unless they ask for it, which is
/// recorded.
#[task]
async fn pay(#[sensitive] card: String, cents: u32) -> Result<(), TaskError> {
    Err(TaskError::permanent(format!(
        "the bank refuses {cents} cents of {} digits",
        card.len()
    )))
}

#[tokio::main]
async fn main() -> taskq::Result<()> {
    // Without NATS_URL, in the memory of this process.
    let builder = Client::builder().namespace("examples");
    let client = match std::env::var("NATS_URL") {
        Ok(url) => builder.url(url).connect().await?,
        Err(_) => builder.memory(),
    };
    println!("{:#}", ship::SCHEMA.arguments());
    println!("it returns {}", ship::SCHEMA.result()["type"]);

    let worker = Worker::builder(client.clone()).build()?;
    let mut shown = Ok(());
    let work = async { shown = show(&client).await };
    worker.run_until(work).await?;
    shown
}

async fn show(client: &Client) -> taskq::Result<()> {
    use futures::TryStreamExt as _;
    use taskq::admin::{DeadFilter, dead_letters};

    let handle = pay::enqueue(client, "4711", 500).await?;
    let _ = handle.outcome().await?;
    let filter = DeadFilter {
        id: Some(handle.id().clone()),
        ..DeadFilter::default()
    };
    let letters: Vec<_> = dead_letters(client, filter).await?.try_collect().await?;
    for mut letter in letters {
        // What `taskq dead show` and the gateway do before they show it.
        letter.hide();
        let message = letter.message.map(|message| message.get().to_owned());
        println!("{}: {}", letter.error, message.unwrap_or_default());
    }
    Ok(())
}
