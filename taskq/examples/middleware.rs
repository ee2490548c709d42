//! Code round every task: a hook where it is sent, a layer where it runs.
//!
//! `cargo run --example middleware`

use std::time::Instant;

use taskq::prelude::*;
use taskq::{EnqueueHook, Execution, TaskMessage, TaskService};
use tower::layer::layer_fn;
use tower::{ServiceExt as _, service_fn};

#[task]
async fn greet(ctx: Context, name: String) -> String {
    let tenant = ctx.labels().get("tenant").and_then(|label| label.as_str());
    format!("{name} of {}", tenant.unwrap_or("nowhere"))
}

/// Sees every message before it is sent, and may change or refuse it.
struct Tenant(&'static str);

impl EnqueueHook for Tenant {
    fn before(&self, message: &mut TaskMessage) -> taskq::Result<()> {
        message.labels.set("tenant", self.0);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> taskq::Result<()> {
    // Without NATS_URL, in the memory of this process.
    let builder = Client::builder().namespace("examples").hook(Tenant("acme"));
    let client = match std::env::var("NATS_URL") {
        Ok(url) => builder.url(url).connect().await?,
        Err(_) => builder.memory(),
    };

    // Any `tower` layer goes here; this one tells how each attempt went.
    let tell = layer_fn(|inner: TaskService| {
        service_fn(move |execution: Execution| {
            let (inner, context, since) = (inner.clone(), execution.context(), Instant::now());
            async move {
                let result = inner.oneshot(execution).await;
                let (task, took) = (context.task(), since.elapsed());
                println!("{task} took {took:?}, it went well: {}", result.is_ok());
                result
            }
        })
    });
    let worker = Worker::builder(client.clone()).layer(tell).build()?;
    let mut shown = Ok(());
    let work = async { shown = show(&client).await };
    worker.run_until(work).await?;
    shown
}

async fn show(client: &Client) -> taskq::Result<()> {
    println!("{}", greet::enqueue(client, "Ada").await?.result().await?);
    Ok(())
}
