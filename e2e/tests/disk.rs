//! A store that is full: the server's limit, a stream's own, and the disk.
//! (docs/reliability.md, fault 18)
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use taskq::prelude::*;
use taskq::{ErrorKind, Status};
use taskq_e2e::{PATIENCE, Running, until};
use taskq_nats_server::NatsServer;
use tempfile::TempDir;
use tokio::sync::Semaphore;

static GATE: Semaphore = Semaphore::const_new(0);
static RETRY_GATE: Semaphore = Semaphore::const_new(0);
static DISK_GATE: Semaphore = Semaphore::const_new(0);

#[task]
async fn hold(n: u32) -> u32 {
    GATE.acquire().await.unwrap().forget();
    n
}

/// Fails once the gate is open, and then succeeds.
#[task(retries = 1, backoff = "constant(10ms)")]
async fn fail_then_pass(ctx: Context) -> Result<u32, std::io::Error> {
    if ctx.attempt() == 1 {
        RETRY_GATE.acquire().await.unwrap().forget();
        return Err(std::io::Error::other("not yet"));
    }
    Ok(ctx.attempt())
}

#[task]
async fn measure(text: String) -> usize {
    text.len()
}

#[task(queue = "later", unique)]
async fn unstarted(n: u32) -> u32 {
    n
}

#[task]
async fn hold_on_disk(text: String) -> usize {
    DISK_GATE.acquire().await.unwrap().forget();
    text.len()
}

async fn connect(server: &NatsServer) -> Client {
    Client::builder()
        .url(server.url())
        .result_timeout(PATIENCE)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn fault_18_a_full_store_refuses_at_once_and_loses_nothing() {
    let server = NatsServer::builder()
        .max_file_store(2_000_000)
        .start()
        .unwrap();
    let js = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let client = connect(&server).await;
    let worker = Running::start(Worker::builder(connect(&server).await)).await;
    let waiting = unstarted::enqueue(&client, 7u32).await.unwrap();
    let held = hold::enqueue(&client, 1u32).await.unwrap();
    let retried = fail_then_pass::enqueue(&client).await.unwrap();
    until("both run", || worker.stats.running() == 2).await;

    // Something else fills the store.
    js.create_stream(jetstream::stream::Config {
        name: "BALLAST".to_owned(),
        subjects: vec!["ballast".to_owned()],
        ..Default::default()
    })
    .await
    .unwrap();
    let lump = vec![b'x'; 50_000];
    while js
        .publish("ballast", lump.clone().into())
        .await
        .unwrap()
        .await
        .is_ok()
    {}

    let started = Instant::now();
    let now = hold::enqueue(&client, 2u32).await.unwrap_err();
    let later = hold::call(2u32).delay(Duration::from_secs(60));
    let later = later.enqueue(&client).await.unwrap_err();
    let once = unstarted::enqueue(&client, 8u32).await.unwrap_err();
    println!("three refusals took {:?}", started.elapsed());
    // One alone would be tried for 15 s.
    assert!(
        started.elapsed() < Duration::from_secs(12),
        "{:?}",
        started.elapsed()
    );
    for error in [now, later, once] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable());
        let text = error.to_string();
        assert!(
            text.contains("store is full") && text.contains("max_file_store"),
            "{text}"
        );
    }

    // What runs ends, and cannot be recorded yet; nothing is thrown away.
    GATE.add_permits(1);
    RETRY_GATE.add_permits(1);
    until("both have ended", || {
        worker.stats.succeeded() + worker.stats.retried() == 2
    })
    .await;
    for handle in [held.id(), retried.id(), waiting.id()] {
        let status = client.handle::<u32>(handle.clone()).status().await.unwrap();
        assert!(
            matches!(status, Status::Running | Status::Waiting),
            "{status}"
        );
    }
    js.delete_stream("BALLAST").await.unwrap();
    let since = Instant::now();
    assert_eq!(held.result().await.unwrap(), 1);
    assert_eq!(retried.result().await.unwrap(), 2);
    println!("recorded {:?} after there was space", since.elapsed());
    let queued = client.queues().await.unwrap();
    let later = queued.iter().find(|queue| queue.queue == "later").unwrap();
    assert_eq!(later.pending, 1);
    let again = measure::enqueue(&client, "space").await.unwrap();
    assert_eq!(again.result().await.unwrap(), 5);
    worker.drain().await;
    // Who waited for a worker is still there.
    let late = Worker::builder(connect(&server).await).queues(["later"]);
    let _late = Running::start(late).await;
    assert_eq!(waiting.result().await.unwrap(), 7);
}

#[tokio::test]
async fn fault_18_a_stream_at_its_own_limit_is_a_full_queue() {
    let server = NatsServer::builder().start().unwrap();
    let client = connect(&server).await;
    measure::enqueue(&client, "one").await.unwrap();
    let js = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let mut stream = js.get_stream("TASKQ_Q_default").await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.max_messages = 2;
    js.update_stream(&config).await.unwrap();
    measure::enqueue(&client, "two").await.unwrap();
    let started = Instant::now();
    let full = measure::enqueue(&client, "three").await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(12));
    assert_eq!(full.kind(), ErrorKind::QueueFull, "{full}");
    assert!(full.to_string().contains("workers must catch up"), "{full}");
    let worker = Running::start(Worker::builder(connect(&server).await)).await;
    until("they have run", || worker.stats.succeeded() == 2).await;
    let three = loop {
        match measure::enqueue(&client, "three").await {
            Ok(handle) => break handle,
            Err(error) => assert_eq!(error.kind(), ErrorKind::QueueFull, "{error}"),
        }
        assert!(started.elapsed() < PATIENCE, "the queue stays full");
    };
    assert_eq!(three.result().await.unwrap(), 5);
}

/// A disk of 24 MB, for as long as this lives. None where this may not mount.
struct Disk(TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn fault_18_a_full_disk_is_told_as_one_and_loses_nothing() {
    let Some(disk) = Disk::mount() else {
        println!("skipped: this may not mount a small disk (it takes root, and Linux)");
        return;
    };
    let mut server = NatsServer::builder()
        .store_dir(disk.0.path().join("store"))
        // More than there is: what is full is the disk.
        .max_file_store(1_000_000_000)
        .start()
        .unwrap();
    let client = connect(&server).await;
    let worker = Running::start(Worker::builder(connect(&server).await)).await;
    let held = hold_on_disk::enqueue(&client, "held").await.unwrap();
    until("it runs", || worker.stats.running() == 1).await;

    let ballast = disk.0.path().join("ballast");
    let filled = std::fs::write(&ballast, vec![b'x'; 24 << 20]);
    assert!(filled.is_err(), "the disk is full");
    // Some fit into what the server has set aside; then none does.
    let text = "x".repeat(100_000);
    let mut accepted = Vec::new();
    let (error, took) = loop {
        let started = Instant::now();
        match measure::enqueue(&client, &text).await {
            Ok(handle) => accepted.push(handle),
            Err(error) => break (error, started.elapsed()),
        }
        assert!(accepted.len() < 1000, "the disk is never full");
    };
    println!(
        "{} were accepted; the refusal took {took:?}",
        accepted.len()
    );
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable());
    assert!(took < Duration::from_secs(30), "{took:?}");
    let says = error.to_string();
    assert!(
        says.contains("disk is full") && says.contains("start nats-server again"),
        "{says}"
    );
    DISK_GATE.add_permits(1);
    until("it has ended", || worker.stats.succeeded() >= 1).await;

    std::fs::remove_file(&ballast).unwrap();
    server.restart().unwrap();
    assert_eq!(held.result().await.unwrap(), 4);
    for handle in &accepted {
        assert_eq!(handle.result().await.unwrap(), text.len());
    }
    let again = measure::enqueue(&client, "space").await.unwrap();
    assert_eq!(again.result().await.unwrap(), 5);
    worker.drain().await;
    drop(server);
    drop(disk);
}
