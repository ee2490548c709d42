//! Faults of attempts that should not go on: frozen, cut off, cancelled, or
//! deadly. Workers in processes of their own: docs/reliability.md.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::admin::{self, DeadFilter, EventFilter};
use taskq::{Cancellation, Client, DeadReason, Event, EventKind, OutcomeState, Timestamp};
use taskq_e2e::faults::{Actor, RECOVERY, connected, eventually, repeated, working};
use taskq_e2e::history::{Expected, History, What};
use taskq_e2e::proxy::{Direction, Frame, Proxy, Verdict};
use taskq_e2e::script::{block, crash, nap, steps};
use taskq_nats_server::NatsServer;

const ACTOR: Actor = Actor(env!("CARGO_BIN_EXE_actor"));

/// A lease that makes tests short.
const SHORT_LEASE: [&str; 2] = ["--lease", "1s"];

fn server() -> NatsServer {
    NatsServer::builder().start().unwrap()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, async || is_so().then_some(())).await;
}

/// Waits until something of this kind was told, once.
async fn told(client: &Client, kind: EventKind) -> Event {
    eventually("it is told", async || {
        let filter: EventFilter = format!("event={kind}").parse().unwrap();
        let since = Some(Timestamp::from_millis(0));
        let events = admin::events(client, filter, since, false).await.unwrap();
        let mut events: Vec<Event> = events.try_collect().await.unwrap();
        assert!(events.len() < 2, "{events:?}");
        events.pop()
    })
    .await
}

/// The queue keeps moving while one message ends worker after worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_08_a_message_that_ends_its_workers_is_quarantined_with_the_evidence() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        let deadly = crash::call(1000u32).enqueue(&client).await.unwrap();
        let mut others = Vec::new();
        for _ in 0..20 {
            let value = Expected::Value(5.into());
            let call = history.send(&client, nap::call(5u64), value);
            others.push(call.await.unwrap());
        }
        let mut names = Vec::new();
        let (outcome, _survivor) = loop {
            let name = format!("victim-{}", names.len() + 1);
            let mut command = ACTOR.worker(server.url(), &history, &name);
            let worker = working(command.args(SHORT_LEASE));
            names.push(name);
            let ended = async {
                until("the worker dies", || !taskq_e2e::is_alive(worker.pid())).await;
            };
            tokio::select! {
                outcome = deadly.outcome() => break (outcome.unwrap(), worker),
                () = ended => {}
            }
            assert!(names.len() < 8, "it is not put in quarantine");
        };
        assert_eq!(names.len(), 4, "three deaths are enough");
        assert_eq!(outcome.state, OutcomeState::Failed);
        assert_eq!(outcome.dead, Some(DeadReason::Crashed));
        history.check(&client, server.url(), RECOVERY).await;
        let letter = eventually("the letter", async || {
            let letters = admin::dead_letters(&client, DeadFilter::default()).await;
            letters.unwrap().boxed().try_next().await.unwrap()
        });
        let letter = letter.await;
        assert_eq!(&letter.id, deadly.id());
        let blamed: Vec<&str> = letter.crashes.iter().map(|it| it.worker.as_str()).collect();
        // Of the first delivery nothing is written down.
        assert_eq!(blamed, ["victim-2", "victim-3"]);
    })
    .await;
}

/// A worker is frozen in a task until another one runs it, and goes on then:
/// it would end first.
async fn frozen(task: &str, call: taskq::Call<taskq::Untyped>) {
    let (server, history) = (server(), History::new());
    let client = connected(server.url()).await;
    let mut command = ACTOR.worker(server.url(), &history, "frozen");
    let first = working(command.args(SHORT_LEASE));
    let handle = call.enqueue(&client).await.unwrap();
    until("it runs", || history.starts(Some("frozen")).len() == 1).await;
    first.signal("STOP");
    let mut command = ACTOR.worker(server.url(), &history, "second");
    let _second = working(command.args(SHORT_LEASE));
    until("it runs again", || {
        history.starts(Some("second")).len() == 1
    })
    .await;
    first.signal("CONT");
    let lost = told(&client, EventKind::LeaseLost).await;
    assert_eq!(lost.worker.as_deref(), Some("frozen"));
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(
        outcome.worker, "second",
        "{task}: the frozen one's does not count"
    );
    assert_eq!(outcome.state, OutcomeState::Succeeded);
    // What came to the frozen one in the meantime counts, too.
    assert!(outcome.attempt >= 2);
    // A thread goes on to its end; an async task does not, and neither is
    // begun again by what came while the worker was frozen.
    let begun = history.starts(Some("frozen")).len();
    assert_eq!(
        begun,
        1,
        "{task}: {:#?}\n{}",
        history.notes(),
        first.stderr()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_10_a_frozen_workers_attempt_does_not_count_when_it_goes_on() {
    repeated(async || {
        let nap = nap::call(4000u64).untyped();
        let block = block::call(4000u64).untyped();
        tokio::join!(frozen("nap", nap), frozen("block", block));
    })
    .await;
}

/// Only the lease connection is dead: the worker could go on and record, and
/// must not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_11_a_worker_that_cannot_renew_stops_before_another_starts() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let proxy = Proxy::start(server.port()).unwrap();
        let client = connected(server.url()).await;
        let mut command = ACTOR.worker(proxy.url(), &history, "first");
        let _first = working(command.args(["--lease", "3s"]));
        let handle = nap::call(9000u64).enqueue(&client).await.unwrap();
        until("it runs", || history.starts(None).len() == 1).await;
        proxy.filter(|frame: &Frame| match frame.connection.ends_with("-lease") {
            true => Verdict::Drop,
            false => Verdict::Pass,
        });
        let dead = Instant::now();
        let mut command = ACTOR.worker(server.url(), &history, "second");
        let _second = working(command.args(["--lease", "3s"]));
        let lost = told(&client, EventKind::LeaseLost).await;
        assert_eq!(lost.worker.as_deref(), Some("first"));
        until("it runs again", || {
            !history.starts(Some("second")).is_empty()
        })
        .await;
        println!(
            "started elsewhere {:?} after the last renewal",
            dead.elapsed()
        );
        let stopped = u128::try_from(lost.at.as_millis()).unwrap() * 1000;
        let started = history.starts(Some("second"))[0].micros;
        assert!(stopped < started, "it had started elsewhere already");
        println!("{} ms after it was stopped", (started - stopped) / 1000);
        assert_eq!(handle.outcome().await.unwrap().worker, "second");
        assert!(history.finishes(Some("first")).is_empty());
    })
    .await;
}

/// Wishes to cancel at every moment of a task's life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_25_a_cancel_that_races_start_and_end_has_one_winner() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        let mut command = ACTOR.worker(server.url(), &history, "w");
        let _worker = working(command.args(["--concurrency", "4"]));
        let tasks = (0..300u64).map(|n| {
            let client = client.clone();
            async move {
                let handle = nap::call(n % 40).enqueue(&client).await.unwrap();
                // By then some wait, some run, and some have ended.
                tokio::time::sleep(Duration::from_micros(n * 61 % 9000)).await;
                let wish = handle.cancel().await.unwrap();
                let outcome = handle.outcome().await.unwrap();
                match wish {
                    Cancellation::Cancelled => {
                        assert_eq!(outcome.state, OutcomeState::Cancelled);
                    }
                    Cancellation::TooLate(state) => assert_eq!(outcome.state, state),
                    _ => {}
                }
                (handle.id().clone(), outcome)
            }
        });
        let ended: Vec<_> = futures::stream::iter(tasks)
            .buffer_unordered(40)
            .collect()
            .await;
        let of = |state| ended.iter().filter(|(_, it)| it.state == state).count();
        let (cancelled, succeeded) = (of(OutcomeState::Cancelled), of(OutcomeState::Succeeded));
        println!("{cancelled} cancelled, {succeeded} succeeded");
        assert_eq!(cancelled + succeeded, 300);
        assert!(cancelled > 0 && succeeded > 0, "nothing raced");
        // What was recorded first stays, and the queue is empty.
        for (id, outcome) in &ended {
            let again = client.handle::<u64>(id.clone()).outcome().await.unwrap();
            assert_eq!(again.encode(), outcome.encode());
        }
        eventually("the queue is empty", async || {
            let queues = client.queues().await.ok()?;
            (queues[0].pending + queues[0].running == 0).then_some(())
        })
        .await;
    })
    .await;
}

/// The wish cannot reach the worker; it counts when the task comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_26_a_cancel_of_a_cut_off_workers_task_counts_at_the_leases_end() {
    repeated(async || {
        let (server, history) = (server(), History::new());
        let proxy = Proxy::start(server.port()).unwrap();
        let client = connected(server.url()).await;
        let mut command = ACTOR.worker(proxy.url(), &history, "cut off");
        let _first = working(command.args(SHORT_LEASE));
        let handle = nap::call(60_000u64).enqueue(&client).await.unwrap();
        until("it runs", || history.starts(None).len() == 1).await;
        proxy.hold(&[Direction::ToServer, Direction::ToClient]);
        let wish = handle.cancel().by("ada").await.unwrap();
        assert_eq!(wish, Cancellation::Requested);
        let asked = told(&client, EventKind::CancelRequested).await;
        assert_eq!(asked.detail["by"], "ada");
        let mut command = ACTOR.worker(server.url(), &history, "second");
        let _second = working(command.args(SHORT_LEASE));
        let outcome = handle.outcome().await.unwrap();
        assert_eq!(outcome.state, OutcomeState::Cancelled);
        assert_eq!(outcome.cancelled_by.as_deref(), Some("ada"));
        assert_eq!(history.starts(None).len(), 1, "it does not run again");
        proxy.heal();
    })
    .await;
}

/// One worker is killed, one is frozen and goes on when another has taken over:
/// no step that was kept is taken twice, and what the frozen one keeps late does
/// not count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_goes_on_from_the_checkpoint_of_a_killed_and_of_a_frozen_worker() {
    const STEPS: u64 = 60;
    repeated(async || {
        let (server, history) = (server(), History::new());
        let client = connected(server.url()).await;
        let worker = |name| working(ACTOR.worker(server.url(), &history, name).args(SHORT_LEASE));
        let steps_of = |name: &str| {
            let notes = history.notes();
            let of = |note: &&taskq_e2e::history::Note| {
                note.worker == name && matches!(note.what, What::Finish)
            };
            notes.iter().filter(of).count()
        };
        let mut killed = worker("killed");
        let handle = steps::call(STEPS, 20u64).enqueue(&client).await.unwrap();
        until("some steps are kept", || steps_of("killed") >= 5).await;
        killed.kill();
        let frozen = worker("frozen");
        until("more steps are kept", || steps_of("frozen") >= 5).await;
        frozen.signal("STOP");
        let _last = worker("last");
        until("the last goes on", || steps_of("last") >= 5).await;
        frozen.signal("CONT");
        let outcome = handle.outcome().await.unwrap();
        assert_eq!(outcome.state, OutcomeState::Succeeded, "{outcome:?}");
        assert_eq!(outcome.worker, "last");
        // The server may have offered it to the frozen one once more.
        assert!((3..=5).contains(&outcome.attempt), "{outcome:?}");
        // Each began where the one before had come to. Of each of the two a step
        // may be kept that it had no time to note.
        let begun = usize::try_from(outcome.value::<u64>().unwrap()).unwrap();
        let noted = steps_of("killed") + steps_of("frozen");
        assert!((noted..=noted + 2).contains(&begun), "{begun} of {noted}");
        assert!(begun >= 10, "{begun}");
        assert_eq!(begun + steps_of("last"), 60);
    })
    .await;
}
