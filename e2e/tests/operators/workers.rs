//! Telling workers what to do, from afar.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use taskq::admin::{self, EventFilter, WorkerWish, steer};
use taskq::prelude::*;
use taskq::{Client, ErrorKind, EventKind, Mode, OutcomeState, Status, WorkerState};
use taskq_e2e::faults::{self, eventually};
use taskq_e2e::proxy::Proxy;
use taskq_e2e::{Fixture, PATIENCE, Roles, Running, found, until};
use tokio::sync::Semaphore;

static GO: Semaphore = Semaphore::const_new(0);
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Goes on until it may end.
#[task]
async fn hold_on() -> u32 {
    BEGUN.fetch_add(1, Ordering::SeqCst);
    GO.acquire().await.unwrap().forget();
    1
}

/// Goes on for ever, where it is the first attempt.
#[task]
async fn stay(ctx: Context) -> u32 {
    if ctx.worker() == "first" {
        std::future::pending::<()>().await;
    }
    ctx.attempt()
}

#[task]
async fn add(a: u32, b: u32) -> u32 {
    a + b
}

async fn wish(client: &Client, worker: &str, wish: WorkerWish) -> (String, String) {
    let done = steer(client, worker, wish, "ada", Some("disk swap")).await;
    let done = done.unwrap();
    (done.before, done.after)
}

fn words(before: &str, after: &str) -> (String, String) {
    (before.to_owned(), after.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_worker_finishes_what_runs_and_takes_nothing_new_until_it_is_resumed() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    let worker = system
        .worker_with(|worker| worker.name("w1").concurrency(2))
        .await;
    let running = hold_on::call().enqueue(&client).await.unwrap();
    until("it runs", || BEGUN.load(Ordering::SeqCst) == 1).await;
    let detail = admin::worker(&client, "w1").await.unwrap();
    assert_eq!((detail.state.as_str(), detail.concurrency), ("running", 2));
    assert_eq!(
        (detail.running, detail.queues),
        (1, vec!["default".to_owned()])
    );
    assert_eq!(detail.tasks[0].id, *running.id());
    assert_eq!(detail.tasks[0].task, "hold_on");
    assert!(detail.memory_bytes.is_none_or(|bytes| bytes > 1_000_000));

    let quiet = wish(&client, "w1", WorkerWish::Quiet).await;
    assert_eq!(quiet, words("running", "quiet"));
    until("it is quiet", || worker.stats.state() == WorkerState::Quiet).await;
    let waits = add::call(1, 2).enqueue(&client).await.unwrap();
    // It is found, and does not take it: not within many times what it takes
    // a worker that has room.
    eventually("it is found", async || {
        let details = admin::worker_details(&client).await.unwrap();
        let detail = details.first()?;
        assert_eq!(detail.state, "quiet");
        Some(())
    })
    .await;
    GO.add_permits(1);
    assert_eq!(running.result().await.unwrap(), 1);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    // It may have been given back, and that is no start.
    assert!(!matches!(waits.status().await.unwrap(), Status::Done(_)));
    assert_eq!(worker.stats.started(), 1);
    assert_eq!(admin::worker(&client, "w1").await.unwrap().running, 0);

    let again = wish(&client, "w1", WorkerWish::Resume).await;
    assert_eq!(again, words("quiet", "running"));
    assert_eq!(waits.result().await.unwrap(), 3);
    assert_eq!(waits.outcome().await.unwrap().attempt, 1);

    let mut filter = EventFilter::default();
    filter.kinds = vec![EventKind::WorkerQuieted, EventKind::WorkerResumed];
    let since = Some(taskq::Timestamp::from_millis(0));
    let told = eventually("both are told", async || {
        let told = admin::events(&client, filter.clone(), since, false).await;
        let told: Vec<_> = told.unwrap().map(|event| event.unwrap()).collect().await;
        assert!(told.len() <= 2, "{told:?}");
        (told.len() == 2).then_some(told)
    });
    let told = told.await;
    for (event, after) in told.iter().zip(["quiet", "running"]) {
        assert_eq!(event.worker.as_deref(), Some("w1"));
        assert_eq!(event.detail["by"], "ada");
        assert_eq!(event.detail["reason"], "disk swap");
        assert_eq!(event.detail["after"], after);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_drains_as_after_a_signal_and_a_stop_ends_its_grace() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    // Its own grace is longer than this test may take.
    let builder = Worker::builder(system.client().await)
        .name("first")
        .grace(Duration::from_secs(3600));
    let built = builder.build().unwrap();
    let stats = built.stats();
    let first = tokio::spawn(built.run());
    until("it runs", || stats.state() == WorkerState::Running).await;
    let held = stay::call().enqueue(&client).await.unwrap();
    until("it has it", || stats.running() == 1).await;
    let drain = wish(&client, "first", WorkerWish::Drain { grace: None }).await;
    assert_eq!(drain, words("running", "draining"));
    until("it drains", || stats.state() == WorkerState::Draining).await;
    // It takes nothing new, is not offered any more, and is still asked.
    found(&client, 0).await;
    assert_eq!(
        admin::worker(&client, "first").await.unwrap().state,
        "draining"
    );
    let refused = steer(&client, "first", WorkerWish::Resume, "ada", None).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);

    let _second = system.worker_with(|worker| worker.name("second")).await;
    let stop = wish(&client, "first", WorkerWish::Stop).await;
    assert_eq!(stop, words("draining", "draining"));
    let ended = tokio::time::timeout(PATIENCE, first).await.unwrap();
    ended.unwrap().unwrap();
    let outcome = held.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Succeeded);
    assert_eq!((outcome.worker.as_str(), outcome.attempt), ("second", 1));
    let gone = admin::worker(&client, "first").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_when_nothing_runs_and_its_grace_may_be_named() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    for grace in [None, Some(Duration::from_millis(10))] {
        let builder = Worker::builder(system.client().await)
            .name("first")
            .grace(Duration::from_secs(3600));
        let built = builder.build().unwrap();
        let stats = built.stats();
        let ends = tokio::spawn(built.run());
        until("it runs", || stats.state() == WorkerState::Running).await;
        if grace.is_some() {
            stay::call().enqueue(&client).await.unwrap();
            until("it has it", || stats.running() == 1).await;
        }
        wish(&client, "first", WorkerWish::Drain { grace }).await;
        let ended = tokio::time::timeout(PATIENCE, ends).await.unwrap();
        ended.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_runs_is_reached_however_slow_its_line_is() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    let proxy = Proxy::start(system.server.as_ref().unwrap().port()).unwrap();
    proxy.delay(Duration::from_millis(200));
    let far = faults::connected(proxy.url()).await;
    let worker = Running::start(Worker::builder(far).name("far")).await;
    assert_eq!(worker.stats.state(), WorkerState::Running);
    let quiet = wish(&client, "far", WorkerWish::Quiet).await;
    assert_eq!(quiet, words("running", "quiet"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_operator_may_tell_a_worker_and_a_viewer_may_look() {
    let roles = Roles::start();
    let operator = roles.client("operator").await;
    let queues = admin::InitOptions::new().queues(["default"]);
    admin::init(&operator, queues).await.unwrap();
    let builder = Worker::builder(roles.client("worker").await).name("w1");
    let worker = Running::start(builder).await;
    for role in ["producer", "worker", "viewer"] {
        let client = roles.client(role).await;
        let refused = steer(&client, "w1", WorkerWish::Stop, role, None).await;
        let refused = refused.unwrap_err();
        assert_eq!(
            refused.kind(),
            ErrorKind::PermissionDenied,
            "{role}: {refused}"
        );
        assert!(
            refused.to_string().contains("operator's right"),
            "{refused}"
        );
    }
    let viewer = roles.client("viewer").await;
    assert_eq!(admin::worker(&viewer, "w1").await.unwrap().state, "running");
    eventually("it is found", async || {
        let details = admin::worker_details(&viewer).await.unwrap();
        (details.len() == 1).then_some(())
    })
    .await;
    let quiet = wish(&operator, "w1", WorkerWish::Quiet).await;
    assert_eq!(quiet, words("running", "quiet"));
    until("it is quiet", || worker.stats.state() == WorkerState::Quiet).await;
}
