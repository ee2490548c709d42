//! A task that the sender knows by name only: the code is in another program,
//! or in another language.
//!
//! `cargo run --example untyped`

use taskq::prelude::*;

#[task(name = "text.repeat")]
async fn repeat(text: String, times: usize) -> String {
    text.repeat(times)
}

async fn show(client: &Client) -> taskq::Result<()> {
    // Arguments go by name, or by position, as a Python call's.
    let by_name = client
        .call("text.repeat")
        .arg("times", &3)
        .arg("text", "ha");
    let by_place = client.call("text.repeat").positional("ho").positional(&2);
    for call in [by_name, by_place] {
        let value = call.enqueue(client).await?.result().await?;
        println!("{value}");
    }

    // Nobody checks such a call before it runs, so the worker does.
    let wrong = client
        .call("text.repeat")
        .arg("text", "hm")
        .arg("tines", &2);
    if let Err(error) = wrong.enqueue(client).await?.result().await {
        println!("{error}");
    }

    // A handle is an id: another program can ask for the result.
    let id = repeat::enqueue(client, "hi", 2).await?.id().clone();
    let handle: TaskHandle<String> = client.handle(id);
    println!("{:?}, {}", handle.result().await?, handle.status().await?);
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
