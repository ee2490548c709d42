//! Faults of the holders of a limited queue's places, in processes of their
//! own: docs/reliability.md.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use taskq::admin::queues;
use taskq::{ErrorKind, QueueSettings};
use taskq_e2e::Program;
use taskq_e2e::faults::{Actor, RECOVERY, connected, eventually, repeated, working};
use taskq_e2e::history::{Expected, History, What, micros};
use taskq_e2e::script::nap;
use taskq_nats_server::NatsServer;

const ACTOR: Actor = Actor(env!("CARGO_BIN_EXE_actor"));

/// A lease that makes tests short.
const LEASE: &str = "2s";
const PLACES: u32 = 3;
const TASKS: u32 = 150;
const MILLIS: u64 = 100;

fn limit(settings: &mut QueueSettings) {
    settings.concurrency = Some(PLACES);
}

/// When a worker was killed or stopped, and when it went on.
type Gaps = HashMap<String, (u128, u128)>;

/// How many ran at once at most, where what a worker ran counts until it was
/// killed or stopped, and what it began after it went on as well.
fn most_at_once(history: &History, gaps: &Gaps) -> usize {
    let notes = history.notes();
    let mut steps = Vec::new();
    for start in notes.iter().filter(|note| note.what == What::Start) {
        let finish = notes.iter().find(|note| {
            note.what == What::Finish
                && (&note.id, note.attempt, &note.worker)
                    == (&start.id, start.attempt, &start.worker)
        });
        let gap = gaps.get(&start.worker);
        let (stopped, went_on) = gap.copied().unwrap_or((u128::MAX, u128::MAX));
        assert!(
            start.micros < stopped || start.micros > went_on,
            "{start:?} began while its worker was stopped"
        );
        let ended = if start.micros < stopped {
            stopped
        } else {
            u128::MAX
        };
        let end = finish.map_or(u128::MAX, |finish| finish.micros).min(ended);
        steps.push((start.micros, 1i32));
        steps.push((end, -1));
    }
    // At one moment, what ends goes first.
    steps.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, step) in steps {
        now += step;
        most = most.max(now);
    }
    usize::try_from(most).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_29_the_places_of_dead_and_frozen_workers_come_free_and_are_never_taken_twice() {
    repeated(async || {
        let server = NatsServer::builder().start().unwrap();
        let history = History::new();
        let client = connected(server.url()).await;
        queues::update(&client, "default", "test", limit)
            .await
            .unwrap();
        let start = |name: &str| {
            let mut command = ACTOR.worker(server.url(), &history, name);
            working(command.args(["--lease", LEASE]))
        };
        let mut workers: Vec<(String, Program)> = Vec::new();
        for n in 0..3 {
            let name = format!("worker-{n}");
            let worker = start(&name);
            workers.push((name, worker));
        }
        let mut handles = Vec::new();
        for _ in 0..TASKS {
            let call = nap::call(MILLIS);
            let value = Expected::Value(MILLIS.into());
            handles.push(history.send(&client, call, value).await.unwrap());
        }
        // Killed, or frozen for longer than a place is kept, one after the
        // other, while another takes its part.
        let mut gaps = Gaps::new();
        let mut frozen = Vec::new();
        for round in 0..4 {
            let before = history.finishes(None).len();
            eventually("some more run", async || {
                (history.finishes(None).len() >= before + 8).then_some(())
            })
            .await;
            let (name, mut worker) = workers.remove(0);
            if round % 2 == 0 {
                worker.kill();
                gaps.insert(name, (micros(), u128::MAX));
            } else {
                // Before the signal: what it runs from then on is its last.
                worker.signal("STOP");
                gaps.insert(name.clone(), (micros(), u128::MAX));
                frozen.push((Instant::now(), name, worker));
            }
            let name = format!("late-{round}");
            let worker = start(&name);
            workers.push((name, worker));
        }
        for (since, name, worker) in &frozen {
            eventually("it is frozen for long enough", async || {
                (since.elapsed() > Duration::from_secs(4)).then_some(())
            })
            .await;
            if let Some(gap) = gaps.get_mut(name) {
                gap.1 = micros();
            }
            worker.signal("CONT");
        }
        let started = Instant::now();
        for handle in handles {
            history.told(handle.outcome().await.unwrap());
        }
        let most = most_at_once(&history, &gaps);
        assert_eq!(most, PLACES as usize);
        let report = history.check(&client, server.url(), RECOVERY).await;
        println!(
            "at most {most} of {PLACES} at once; all ended {:?} after the last fault; {report}",
            started.elapsed()
        );
    })
    .await;
}

/// All the places are a dead worker's, and nobody tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_29_a_dead_workers_places_are_free_within_its_lease() {
    repeated(async || {
        let server = NatsServer::builder().start().unwrap();
        let history = History::new();
        let client = connected(server.url()).await;
        queues::update(&client, "default", "test", limit)
            .await
            .unwrap();
        let start = |name: &str| {
            let mut command = ACTOR.worker(server.url(), &history, name);
            working(command.args(["--lease", LEASE]))
        };
        let mut victim = start("victim");
        let mut first = Vec::new();
        for _ in 0..PLACES {
            let value = Expected::Value(60_000.into());
            first.push(history.send(&client, nap::call(60_000), value).await);
        }
        eventually("all places are taken", async || {
            (history.starts(None).len() == PLACES as usize).then_some(())
        })
        .await;
        let _survivor = start("survivor");
        victim.kill();
        let killed = Instant::now();
        // They take the places over; none is lost and none is kept.
        eventually("they run again", async || {
            (history.starts(Some("survivor")).len() == PLACES as usize).then_some(())
        })
        .await;
        println!(
            "all {PLACES} run again {:?} after the kill",
            killed.elapsed()
        );
        assert!(
            killed.elapsed() < Duration::from_secs(30),
            "{:?}",
            killed.elapsed()
        );
        for handle in first {
            let handle = handle.unwrap();
            handle.cancel().await.unwrap();
        }
        eventually("the places are free again", async || {
            let value = Expected::Value(1.into());
            let next = history.send(&client, nap::call(1), value).await.unwrap();
            Some(next.result().await.unwrap())
        })
        .await;
    })
    .await;
}

/// A sender that sends without end is told so, and what was accepted is
/// safe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_30_a_flood_is_answered_by_the_backlog_cap_with_an_error() {
    repeated(async || {
        let server = NatsServer::builder().start().unwrap();
        let history = History::new();
        let client = connected(server.url()).await;
        queues::update(&client, "default", "test", |settings| {
            settings.max_backlog = Some(1000);
        })
        .await
        .unwrap();
        let started = Instant::now();
        let mut refused = 0;
        let calls = (0..3000).map(|_| nap::call(0));
        let mut sent = std::pin::pin!(client.enqueue_many(calls));
        let mut handles = Vec::new();
        while let Some(sent) = sent.next().await {
            match sent {
                Ok(handle) => {
                    history.accepted(handle.id(), Expected::Value(0.into()));
                    handles.push(handle);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::QueueFull, "{error}");
                    assert!(error.to_string().contains("1000 messages"), "{error}");
                    refused += 1;
                }
            }
        }
        println!("{refused} of 3000 refused in {:?}", started.elapsed());
        assert_eq!((handles.len(), refused), (1000, 2000));
        // No other queue is the worse for it.
        let other = nap::call(0).queue("other").enqueue(&client).await.unwrap();
        let mut worker = ACTOR.worker(server.url(), &history, "worker");
        let _worker = working(&mut worker);
        for handle in handles {
            history.told(handle.outcome().await.unwrap());
        }
        let next = nap::call(0).enqueue(&client).await.unwrap();
        history.accepted(next.id(), Expected::Value(0.into()));
        next.result().await.unwrap();
        other.cancel().await.unwrap();
        let report = history.check(&client, server.url(), RECOVERY).await;
        println!("{report}");
    })
    .await;
}
