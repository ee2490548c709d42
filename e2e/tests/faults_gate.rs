//! Faults of those who hold turns, and of those who give them:
//! docs/reliability.md.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::admin;
use taskq::{Client, ErrorKind};
use taskq_e2e::Program;
use taskq_e2e::checks::never_two_at_once;
use taskq_e2e::faults::{Actor, RECOVERY, connected, eventually, nats, repeated, working};
use taskq_e2e::history::{Expected, History, What, micros};
use taskq_e2e::script::turn;
use taskq_nats_server::NatsServer;

const ACTOR: Actor = Actor(env!("CARGO_BIN_EXE_actor"));

/// A lease that makes tests short.
const LEASE: Duration = Duration::from_secs(1);

/// How long a leader is one that is not heard of.
const LEADS: Duration = Duration::from_secs(3);

fn server() -> NatsServer {
    NatsServer::builder().start().unwrap()
}

fn worker(server: &NatsServer, history: &History, name: &str) -> Program {
    let mut command = ACTOR.worker(server.url(), history, name);
    working(command.args(["--lease", "1s", "--concurrency", "16"]))
}

/// The worker that releases the messages of the queue.
async fn leader(url: &str) -> String {
    let nats = nats(url).await.unwrap();
    eventually("somebody leads", async || {
        let query = r#"{"last_by_subj":"taskq.state.gate.default"}"#;
        let subject = "$JS.API.STREAM.MSG.GET.TASKQ_STATE";
        let answer = nats.request(subject, query.into()).await.ok()?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).ok()?;
        use base64::Engine as _;
        let data = answer["message"]["data"].as_str()?;
        let data = base64::engine::general_purpose::STANDARD
            .decode(data)
            .ok()?;
        let text = String::from_utf8(data).ok()?;
        Some(text.rsplit_once('-')?.0.to_owned())
    })
    .await
}

/// Sends so many tasks of each of so many keys; their ids begin with the key.
async fn send(client: &Client, history: &History, keys: usize, each: usize, millis: u64) {
    let calls = (0..keys * each).map(|n| {
        let key = format!("k{}", n % keys);
        let id = format!("{key}.{n}");
        history.send(
            client,
            turn::call(key, millis).id(id),
            Expected::Value(millis.into()),
        )
    });
    let sent = futures::stream::iter(calls).buffer_unordered(64);
    let sent: Vec<_> = sent.try_collect().await.unwrap();
    assert_eq!(sent.len(), keys * each);
}

/// Who has a turn and dies gives it up when its lease ends, and no sooner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_29_the_turn_of_a_dead_worker_is_free_within_the_lease() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        let mut victim = worker(&server, &history, "victim");
        let long = turn::call("k", 3_000u64).id("k.long");
        let long = history
            .send(&client, long, Expected::Value(3_000.into()))
            .await;
        let next = turn::call("k", 10u64).id("k.next");
        let next = history
            .send(&client, next, Expected::Value(10.into()))
            .await;
        eventually("the first runs", async || {
            (history.starts(Some("victim")).len() == 1).then_some(())
        })
        .await;
        let _survivor = worker(&server, &history, "survivor");
        victim.kill();
        let (killed, at) = (micros(), Instant::now());
        let again = eventually("it runs again", async || {
            history.starts(Some("survivor")).first().cloned()
        });
        assert_eq!(
            again.await.id,
            *long.as_ref().unwrap().id(),
            "the turn is still its own"
        );
        let took = at.elapsed();
        println!("it ran again after {took:?}");
        assert!(took <= LEASE + Duration::from_secs(30), "{took:?}");
        next.unwrap().outcome().await.unwrap();
        let gone = HashMap::from([("victim".to_owned(), killed)]);
        never_two_at_once(&history, &gone);
        history.check(&client, server.url(), RECOVERY).await;
    })
    .await;
}

/// Workers die one after the other, whoever leads among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_29_no_limit_is_exceeded_and_none_shrinks_while_workers_are_killed() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        let mut workers: Vec<Program> = Vec::new();
        let mut names = Vec::new();
        let mut gone = HashMap::new();
        for n in 0..3 {
            names.push(format!("w{n}"));
            workers.push(worker(&server, &history, &format!("w{n}")));
        }
        send(&client, &history, 20, 30, 20).await;
        for n in 3..7 {
            let before = history.finishes(None).len();
            let leads = leader(server.url()).await;
            // The leader, and another the next time.
            let place = names.iter().position(|name| *name == leads);
            let place = match n % 2 {
                0 => place.unwrap_or(0),
                _ => place.map_or(0, |place| (place + 1) % names.len()),
            };
            workers.remove(place).kill();
            gone.insert(names.remove(place), micros());
            names.push(format!("w{n}"));
            workers.push(worker(&server, &history, &format!("w{n}")));
            eventually("it goes on", async || {
                let done = history.finishes(None).len();
                (done >= (before + 50).min(600)).then_some(())
            })
            .await;
        }
        history.check(&client, server.url(), RECOVERY).await;
        never_two_at_once(&history, &gone);
        // All turns are free: as many run at once as there are keys.
        let all: Vec<_> = (0..20)
            .map(|n| turn::call(format!("k{n}"), 10_000u64).id(format!("k{n}.last")))
            .collect();
        for call in all {
            let sent = history.send(&client, call, Expected::Value(10_000.into()));
            sent.await.unwrap();
        }
        history.check(&client, server.url(), RECOVERY).await;
        let notes = history.notes();
        let last = notes.iter().filter(|it| it.id.as_str().ends_with(".last"));
        let (starts, ends): (Vec<_>, Vec<_>) = last.partition(|it| it.what == What::Start);
        assert_eq!((starts.len(), ends.len()), (20, 20));
        let begun = starts.iter().map(|it| it.micros).max();
        let ended = ends.iter().map(|it| it.micros).min();
        assert!(
            begun < ended,
            "the last began at {begun:?}, the first ended at {ended:?}"
        );
    })
    .await;
}

/// Who leads is frozen until another does, and goes on then: what it would
/// release the server refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_29_a_leader_that_was_frozen_releases_nothing_more() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        let first = worker(&server, &history, "first");
        send(&client, &history, 10, 30, 20).await;
        assert_eq!(leader(server.url()).await, "first");
        eventually("it is under way", async || {
            (history.finishes(None).len() > 20).then_some(())
        })
        .await;
        first.signal("STOP");
        let frozen = micros();
        let _second = worker(&server, &history, "second");
        let at = Instant::now();
        eventually("the other leads", async || {
            (leader(server.url()).await == "second").then_some(())
        })
        .await;
        println!("another led after {:?}", at.elapsed());
        assert!(
            at.elapsed() < LEADS + Duration::from_secs(30),
            "{:?}",
            at.elapsed()
        );
        first.signal("CONT");
        history.check(&client, server.url(), RECOVERY).await;
        never_two_at_once(&history, &HashMap::from([("first".to_owned(), frozen)]));
        // There is one mark in the queue's stream: the leader's.
        let nats = nats(server.url()).await.unwrap();
        let js = async_nats::jetstream::new(nats);
        let stream = js.get_stream("TASKQ_Q_default").await.unwrap();
        let marks = stream.info_with_subjects("taskq.work.default.gate").await;
        let marks: Vec<_> = marks.unwrap().try_collect().await.unwrap();
        assert_eq!(marks, [("taskq.work.default.gate".to_owned(), 1)]);
    })
    .await;
}

/// NATS is killed and started again while turns are held and given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_29_turns_outlive_the_server() {
    repeated(async || {
        let (mut server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        let _workers = [
            worker(&server, &history, "one"),
            worker(&server, &history, "two"),
        ];
        send(&client, &history, 10, 40, 20).await;
        for part in 1..3 {
            eventually("it is under way", async || {
                (history.finishes(None).len() > part * 60).then_some(())
            })
            .await;
            server.kill().unwrap();
            server.restart().unwrap();
        }
        history.check(&client, server.url(), RECOVERY).await;
        // A task whose worker could not renew its lease may run again while
        // it is being stopped; that is no second turn.
        let report = history.notes();
        assert!(!report.is_empty());
    })
    .await;
}

/// A worker that is told to stop hands over at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_drains_hands_over_at_once() {
    let (server, history) = (server(), History::new());
    let client = connected(server.url()).await;
    let first = worker(&server, &history, "first");
    send(&client, &history, 10, 20, 20).await;
    assert_eq!(leader(server.url()).await, "first");
    let _second = worker(&server, &history, "second");
    let nats = nats(server.url()).await.unwrap();
    let mut leases = nats.subscribe("taskq.state.gate.default").await.unwrap();
    nats.flush().await.unwrap();
    first.signal("TERM");
    // When the one last said that it leads, and when the other first did. Were the one to
    // leave its lease behind, it would be the lease's length at the least.
    let mut heard = Instant::now();
    let took = loop {
        let lease = tokio::time::timeout(RECOVERY, leases.next()).await;
        let lease = lease.expect("the other leads").expect("a connection");
        if lease.payload.starts_with(b"second-") {
            break heard.elapsed();
        }
        heard = Instant::now();
    };
    assert!(took < LEADS, "{took:?}");
    assert_eq!(first.end().code(), 0);
    history.check(&client, server.url(), RECOVERY).await;
    never_two_at_once(&history, &HashMap::new());
}

/// How many tasks a flood has here; by hand a million.
fn flood() -> usize {
    let size = std::env::var("TASKQ_FLOOD").ok();
    size.and_then(|size| size.parse().ok()).unwrap_or(20_000)
}

/// One key floods its queue. Another's task waits for what has been released
/// and no longer, also when nobody who saw the flood come is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_30_a_flood_of_one_key_keeps_no_other_waiting() {
    let (server, history) = (server(), History::new());
    let client = connected(server.url()).await;
    let first = worker(&server, &history, "first");
    let quiet = taskq_e2e::faults::client(server.url()).results(false);
    let quiet = quiet.connect().await.unwrap();
    let begun = Instant::now();
    let calls = (0..flood()).map(|_| turn::call("flood", 100u64));
    let mut sending = quiet.enqueue_many(calls);
    while let Some(handle) = sending.next().await {
        handle.unwrap();
    }
    println!("{} sent in {:?}", flood(), begun.elapsed());
    let other = async |name: &str| {
        let at = Instant::now();
        let call = turn::call(name, 10u64).id(format!("{name}.1"));
        call.enqueue(&client).await.unwrap().result().await.unwrap();
        at.elapsed()
    };
    let took = other("other").await;
    println!("another key's task took {took:?}");
    // One after the other the flood would take more than an hour. What another
    // key waits for is that the leader hears of it, behind the flood.
    assert!(took < Duration::from_secs(90), "{took:?}");
    // Who comes later reads all of it.
    let at = Instant::now();
    first.signal("TERM");
    let _second = worker(&server, &history, "second");
    let took = other("later").await;
    println!("and {took:?} after {:?} with another leader", at.elapsed());
    assert!(took < Duration::from_secs(90), "{took:?}");
    // A cap refuses, in a sentence that says what to do.
    admin::queues::update(&client, "default", "ada", |set| set.max_backlog = Some(100))
        .await
        .unwrap();
    let error = turn::call("flood", 1u64).enqueue(&quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueueFull, "{error}");
    assert!(error.to_string().contains("--max-backlog"), "{error}");
}
