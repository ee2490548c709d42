//! What a worker gives its tasks: pools, settings, the client itself.
//!
//! `cargo run --example state`

use std::sync::atomic::{AtomicU32, Ordering};

use taskq::prelude::*;

/// Stands for a connection pool: made once, shared by every attempt.
#[derive(Default)]
struct Mailer {
    sent: AtomicU32,
}

/// Neither `ctx` nor `mailer` is part of the call.
#[task]
async fn send_email(ctx: Context, mailer: State<Mailer>, to: String) -> String {
    let count = mailer.sent.fetch_add(1, Ordering::Relaxed) + 1;
    format!("{} no. {count} to {to}", ctx.task())
}

/// Every worker has its own client as a state: a task may send tasks.
#[task]
async fn sign_up(client: State<Client>, name: String) -> taskq::Result<String> {
    let mail = send_email::enqueue(&client, format!("{name}@example.com")).await?;
    Ok(format!("{name} is in, the mail is task {}", mail.id()))
}

async fn show(client: &Client) -> taskq::Result<()> {
    for name in ["ada", "grace"] {
        let handle = sign_up::enqueue(client, name).await?;
        println!("{}", handle.result().await?);
    }
    let handle = send_email::enqueue(client, "alan@example.com").await?;
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
    // Told now, by name and place, and not when the first mail is due.
    if let Err(error) = Worker::builder(client.clone()).build() {
        println!("without a mailer: {error}");
    }
    let worker = Worker::builder(client.clone()).state(Mailer::default());
    let mut shown = Ok(());
    let work = async { shown = show(&client).await };
    worker.build()?.run_until(work).await?;
    shown
}
