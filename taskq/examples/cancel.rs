//! Second thoughts: a task that waits, one that runs, one that is done.
//!
//! `cargo run --example cancel`

use taskq::prelude::*;

/// Saves what it has when it is asked to stop.
#[task]
async fn crawl(ctx: Context, site: String) -> Result<u32, TaskError> {
    let mut pages = 0;
    loop {
        tokio::select! {
            () = ctx.cancelled() => {
                println!("{site}: stopped, {} saved", if pages > 0 { "some" } else { "none" });
                return Err(TaskError::permanent("stopped"));
            }
            () = tokio::time::sleep(20.millis()) => {
                pages += 1;
                ctx.progress(pages, 0, "crawling");
            }
        }
    }
}

#[task]
async fn greet(name: String) -> String {
    format!("hello {name}")
}

async fn show(client: &Client) -> taskq::Result<()> {
    // Not started yet: it is cancelled at once, and never runs.
    let call = greet::call("ada").delay(1.hour());
    let handle = call.enqueue(client).await?;
    let told = handle.cancel().by("grace").because("she knows").await?;
    println!("the one that waits: {told:?}");
    if let Err(error) = handle.result().await {
        println!("{:?}: {error}", error.kind());
    }

    // Running: its worker is told, and the outcome says what came first.
    let handle = crawl::enqueue(client, "example.com").await?;
    let mut steps = std::pin::pin!(handle.progress().await?);
    let _running = futures::StreamExt::next(&mut steps).await;
    println!("the one that runs: {:?}", handle.cancel().await?);
    let outcome = handle.outcome().await?;
    println!("it ended as {}", outcome.state);

    // Done: too late, whatever one wishes.
    let handle = greet::enqueue(client, "alan").await?;
    println!("{}", handle.result().await?);
    println!("the one that is done: {:?}", handle.cancel().await?);
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
