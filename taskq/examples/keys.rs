//! Limits and turns by key: a customer's tasks one at a time, a host asked so
//! often, and no customer kept waiting by another.
//!
//! `cargo run --example keys`

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use taskq::prelude::*;

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// At most two at once for each customer, over all workers.
#[task(concurrency = 2, per = "customer")]
async fn bill(customer: String, cents: u64) -> String {
    let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
    MOST.fetch_max(running, Ordering::SeqCst);
    tokio::time::sleep(100.millis()).await;
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    format!("{customer} owes {cents}")
}

/// Each host is asked ten times a second at the most.
#[task(rate = "10/s", per = "host")]
async fn fetch(host: String) -> String {
    format!("a page of {host}")
}

static ORDER: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[task]
async fn print(customer: String) {
    tokio::time::sleep(20.millis()).await;
    if let Ok(mut order) = ORDER.lock() {
        order.push(customer);
    }
}

async fn show(client: &Client) -> taskq::Result<()> {
    let mut bills = Vec::new();
    for cents in 1..=10 {
        bills.push(bill::enqueue(client, "ada", cents).await?);
    }
    for bill in bills {
        bill.result().await?;
    }
    println!("ada's ran {} at once", MOST.load(Ordering::SeqCst));

    let since = Instant::now();
    let mut pages = Vec::new();
    for _ in 0..6 {
        pages.push(fetch::enqueue(client, "example.com").await?);
    }
    for page in pages {
        page.result().await?;
    }
    let half = since.elapsed() >= 450.millis();
    println!("six pages took half a second: {half}");

    // A key of the call's own: its tasks take turns with those of others.
    let many = (0..500).map(|_| print::call("many").key("many"));
    let many = client.enqueue_many(many);
    let sent: Vec<_> = futures::StreamExt::collect(many).await;
    let few = print::call("few").key("few").enqueue(client).await?;
    few.result().await?;
    let before = ORDER.lock().map_or(0, |order| order.len());
    println!(
        "{} sent before, most of them later: {}",
        sent.len(),
        before < 400
    );
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
    let worker = Worker::builder(client.clone()).concurrency(8).build()?;
    let mut shown = Ok(());
    let work = async { shown = show(&client).await };
    worker.run_until(work).await?;
    shown
}
