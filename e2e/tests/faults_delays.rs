//! Many that are put off: how fast they are sent, how late they start, and
//! that a server which is killed meanwhile loses none.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use taskq::prelude::*;
use taskq_e2e::Running;
use taskq_e2e::faults::connected;
use taskq_nats_server::NatsServer;

/// How many tasks: so many, or as many as the environment's
/// `TASKQ_DELAYED_COUNT` says.
fn count() -> usize {
    let count = std::env::var("TASKQ_DELAYED_COUNT").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(3_000)
}

/// How often each was run.
static RUNS: [AtomicU32; 200_000] = [const { AtomicU32::new(0) }; 200_000];

#[task]
async fn one_of_many(ctx: Context, n: u32) -> i64 {
    RUNS[n as usize].fetch_add(1, Ordering::Relaxed);
    let due = ctx.due().map_or(0, taskq::Timestamp::as_millis);
    ctx.started_at().as_millis() - due
}

/// Sends them, due at 1,000 a second from a moment after they are sent on, and
/// tells how late each was.
async fn run_many(first: usize, count: usize, kill: bool) -> Vec<i64> {
    let mut server = NatsServer::builder().start().unwrap();
    let client = connected(server.url()).await;
    let worker = Running::start(Worker::builder(connected(server.url()).await)).await;
    let wait = Duration::from_millis(3_000 + u64::try_from(count).unwrap() / 5);
    let from = client.server_time().await.plus(wait);
    let begun = Instant::now();
    let calls = (0..count).map(|n| {
        let due = from.plus(Duration::from_millis(u64::try_from(n).unwrap()));
        one_of_many::call(u32::try_from(first + n).unwrap()).at(due)
    });
    let handles: Vec<TaskHandle<i64>> = client.enqueue_many(calls).try_collect().await.unwrap();
    println!("{count} were sent in {:?}", begun.elapsed());
    if kill {
        let middle = from.plus(Duration::from_millis(u64::try_from(count).unwrap() / 2));
        tokio::time::sleep(middle.since(client.server_time().await)).await;
        server.kill().unwrap();
        server.restart().unwrap();
    }
    let mut late = Vec::new();
    for handle in &handles {
        let waited = handle.result_timeout(Duration::from_secs(120)).await;
        late.push(waited.unwrap());
    }
    late.sort_unstable();
    let at = |share: usize| late[(late.len() - 1) * share / 100];
    println!(
        "late by {} ms in the middle, {} ms at 99 %, {} ms at most",
        at(50),
        at(99),
        at(100)
    );
    drop(worker);
    late
}

fn ran_again(first: usize, count: usize) -> usize {
    let of_it = RUNS[first..first + count].iter();
    let runs: Vec<u32> = of_it.map(|runs| runs.load(Ordering::Relaxed)).collect();
    assert!(runs.iter().all(|runs| *runs > 0), "one did not run");
    runs.iter().filter(|runs| **runs > 1).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_a_second_that_fall_due_start_once_and_none_before_its_time() {
    let late = run_many(0, count(), false).await;
    assert!(late[0] >= 0, "{} ms", late[0]);
    assert_eq!(ran_again(0, count()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_a_second_that_fall_due_all_run_though_the_server_is_killed() {
    let late = run_many(100_000, count(), true).await;
    assert!(late[0] >= 0, "{} ms", late[0]);
    let again = ran_again(100_000, count());
    println!("{again} of {} were started again", count());
}
