//! Limits and turns by key: what holds whether or not something goes wrong.
//! What goes wrong is in `faults_gate.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::admin::{self, DeadFilter, Reason, Replay};
use taskq::prelude::*;
use taskq::{Cancellation, ErrorKind, Mode, OutcomeState, Status};
use taskq_e2e::{Fixture, emptied, until};
use tokio::sync::Semaphore;

/// Makes a test of each in each mode that has keys.
macro_rules! where_there_are_keys {
    ($($behaviour:ident),* $(,)?) => {
        mod memory { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() { super::$behaviour(super::Fixture::new(super::Mode::Memory)).await; }
        )* }
        mod jetstream { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() { super::$behaviour(super::Fixture::new(super::Mode::JetStream)).await; }
        )* }
    };
}

where_there_are_keys!(
    a_key_runs_no_more_at_once_than_its_limit,
    a_limit_without_a_key_is_the_tasks,
    tasks_that_share_a_key_share_its_limit,
    a_key_starts_no_more_often_than_its_rate,
    one_key_with_many_waiting_does_not_keep_another_waiting,
    keys_share_by_weight,
    the_urgent_of_a_key_go_first,
    a_retry_waits_for_the_turn_of_its_key_again,
    a_delayed_task_waits_for_the_turn_of_its_key_when_it_is_due,
    what_waits_for_its_turn_can_be_seen_and_cancelled,
    it_is_explained_why_a_turn_has_not_come,
    a_dead_letter_waits_for_the_turn_of_its_key_when_it_is_sent_again,
    all_or_none_and_once_for_an_id_hold_for_tasks_with_a_key,
    what_waits_is_released_to_a_worker_that_comes_later,
    a_call_by_name_keeps_the_limits_of_its_task,
);

/// What runs now, and the most that did at once, by what the tests name it.
static RUNNING: Mutex<Vec<(String, usize, usize)>> = Mutex::new(Vec::new());

/// A number that no other test has.
fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(100);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Counts one as running for as long as it is kept.
struct Run(String);

impl Run {
    fn of(what: String) -> Self {
        let mut running = RUNNING.lock().unwrap();
        match running.iter_mut().find(|(name, ..)| *name == what) {
            Some((_, now, most)) => {
                *now += 1;
                *most = (*most).max(*now);
            }
            None => running.push((what.clone(), 1, 1)),
        }
        Self(what)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap();
        for (name, now, _) in running.iter_mut() {
            if *name == self.0 {
                *now -= 1;
            }
        }
    }
}

/// The most that ran at once, of each whose name begins so.
fn most(prefix: &str) -> Vec<usize> {
    let running = RUNNING.lock().unwrap();
    let of = running.iter().filter(|(name, ..)| name.starts_with(prefix));
    of.map(|(.., most)| *most).collect()
}

#[task(concurrency = 2, per = "customer")]
async fn bill(customer: String, millis: u64) {
    let _run = Run::of(customer);
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

async fn a_key_runs_no_more_at_once_than_its_limit(system: Fixture) {
    let _workers = (system.worker().await, system.worker().await);
    let client = system.client().await;
    let prefix = format!("{}-", unique());
    let calls = (0..200).map(|n| bill::call(format!("{prefix}{}", n % 10), 10u64));
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    for handle in handles {
        handle.result().await.unwrap();
    }
    assert_eq!(most(&prefix), [2; 10]);
}

#[task(concurrency = 1)]
async fn alone(what: String) {
    let _run = Run::of(what);
    tokio::time::sleep(Duration::from_millis(5)).await;
}

async fn a_limit_without_a_key_is_the_tasks(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let what = format!("alone-{}", unique());
    let calls = (0..30).map(|_| alone::call(what.as_str()));
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    for handle in handles {
        handle.result().await.unwrap();
    }
    assert_eq!(most(&what), [1]);
}

async fn tasks_that_share_a_key_share_its_limit(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let what = format!("shared-{}", unique());
    let mut calls = Vec::new();
    for _ in 0..15 {
        calls.push(alone::call(what.as_str()).key("host").untyped());
        let other = bill::call(what.as_str(), 5u64).label("taskq_concurrency", 1);
        calls.push(other.key("host").untyped());
    }
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    for handle in handles {
        handle.result().await.unwrap();
    }
    assert_eq!(most(&what), [1]);
}

static STARTS: Mutex<Vec<(String, Instant)>> = Mutex::new(Vec::new());

#[task(rate = "20/s", burst = 3, per = "host")]
async fn fetch(host: String) {
    STARTS.lock().unwrap().push((host, Instant::now()));
}

async fn a_key_starts_no_more_often_than_its_rate(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let hosts = [1, 2].map(|_| format!("host-{}", unique()));
    let since = Instant::now();
    let calls = (0..40).map(|n| fetch::call(hosts[n % 2].as_str()));
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    for handle in handles {
        handle.result().await.unwrap();
    }
    // 20 of each: 3 at once and 17 at 50 ms each. Whoever begins to lead has
    // no burst to spend.
    assert!(since.elapsed() < Duration::from_secs(20), "both at once");
    for host in hosts {
        let starts = STARTS.lock().unwrap();
        let mut times: Vec<Instant> = starts
            .iter()
            .filter(|(name, _)| *name == host)
            .map(|(_, at)| *at)
            .collect();
        times.sort();
        assert_eq!(times.len(), 20);
        // From the server to the task takes a while, and not always the same; but it takes
        // no time away: by each moment so many may have started at the most.
        for (n, at) in (1u32..).zip(&times) {
            let least = n.saturating_sub(3) * Duration::from_millis(50);
            let took = *at - since + Duration::from_millis(5);
            assert!(took >= least, "{n} had started after {took:?}");
        }
    }
}

/// The order in which tasks ran.
static ORDER: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn order(prefix: &str) -> Vec<String> {
    let order = ORDER.lock().unwrap();
    let of = order.iter().filter_map(|name| name.strip_prefix(prefix));
    of.map(str::to_owned).collect()
}

#[task]
async fn note(what: String, millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    ORDER.lock().unwrap().push(what);
}

async fn one_key_with_many_waiting_does_not_keep_another_waiting(system: Fixture) {
    let client = system.client().await;
    let prefix = format!("{}-", unique());
    let flood = (0..2000).map(|_| note::call(format!("{prefix}flood"), 2u64).key("flood"));
    let flood: Vec<_> = client.enqueue_many(flood).try_collect().await.unwrap();
    let _worker = system.worker_with(|it| it.concurrency(4)).await;
    until("the flood runs", || order(&prefix).len() > 20).await;
    let late = note::call(format!("{prefix}late"), 0u64).key("late");
    let late = late.enqueue(&client).await.unwrap();
    let sent = order(&prefix).len();
    late.result().await.unwrap();
    let place = order(&prefix).iter().position(|it| it == "late").unwrap();
    let before = place.saturating_sub(sent);
    assert!(before < 1000, "{before} of the flood ran before it");
    drop(flood);
}

async fn keys_share_by_weight(system: Fixture) {
    let client = system.client().await;
    let prefix = format!("{}-", unique());
    let calls = (0..600).flat_map(|_| {
        let call = |key: &str, weight| {
            let call = note::call(format!("{prefix}{key}"), 1u64);
            call.key(format!("{prefix}{key}")).weight(weight)
        };
        [call("one", 1), call("three", 3)]
    });
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    let _worker = system.worker_with(|it| it.concurrency(2)).await;
    until("many have run", || order(&prefix).len() > 400).await;
    let ran = order(&prefix);
    let of_three = ran[..400].iter().filter(|it| *it == "three").count();
    assert!((290..=310).contains(&of_three), "{of_three} of 400");
    drop(handles);
}

async fn the_urgent_of_a_key_go_first(system: Fixture) {
    let client = system.client().await;
    let prefix = format!("{}-", unique());
    let call = |name: &str| {
        let call = note::call(format!("{prefix}{name}"), 0u64).key("k");
        call.label("taskq_concurrency", 1)
    };
    let mut handles = Vec::new();
    for _ in 0..10 {
        handles.push(call("normal").enqueue(&client).await.unwrap());
    }
    let urgent = call("critical").priority(Priority::Critical);
    handles.push(urgent.enqueue(&client).await.unwrap());
    let _worker = system.worker().await;
    for handle in handles {
        handle.result().await.unwrap();
    }
    let place = order(&prefix).iter().position(|it| it == "critical");
    assert!(place.unwrap() < 3, "{place:?}");
}

#[task(
    concurrency = 1,
    per = "customer",
    retries = 3,
    backoff = "constant(100ms)"
)]
async fn stumble(ctx: Context, customer: String) -> Result<u32, String> {
    let _run = Run::of(customer);
    tokio::time::sleep(Duration::from_millis(20)).await;
    if ctx.attempt() < 3 {
        return Err("stumbled".to_owned());
    }
    Ok(ctx.attempt())
}

async fn a_retry_waits_for_the_turn_of_its_key_again(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let customer = format!("stumble-{}", unique());
    let calls = (0..10).map(|_| stumble::call(customer.as_str()));
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    for handle in handles {
        assert_eq!(handle.result().await.unwrap(), 3);
    }
    assert_eq!(most(&customer), [1]);
}

async fn a_delayed_task_waits_for_the_turn_of_its_key_when_it_is_due(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let what = format!("delayed-{}", unique());
    let since = Instant::now();
    let call = || alone::call(what.as_str()).delay(Duration::from_secs(5));
    let mut handles = Vec::new();
    for _ in 0..10 {
        handles.push(call().enqueue(&client).await.unwrap());
    }
    assert_eq!(handles[0].status().await.unwrap(), Status::Scheduled);
    for handle in handles {
        handle.result().await.unwrap();
    }
    assert!(since.elapsed() >= Duration::from_secs(5));
    assert_eq!(most(&what), [1]);
}

static GATE: Semaphore = Semaphore::const_new(0);

#[task(concurrency = 1, per = "key")]
async fn hold_on(key: String) -> String {
    GATE.acquire().await.unwrap().forget();
    key
}

async fn what_waits_for_its_turn_can_be_seen_and_cancelled(system: Fixture) {
    let worker = system.worker().await;
    let client = system.client().await;
    let key = format!("seen-{}", unique());
    let call = || hold_on::call(key.as_str()).queue("seen");
    let worker_of = system.worker_with(|it| it.queues(["seen"])).await;
    let first = call().enqueue(&client).await.unwrap();
    until("it runs", || worker_of.stats.running() == 1).await;
    let second = call().enqueue(&client).await.unwrap();
    let third = call().enqueue(&client).await.unwrap();
    assert_eq!(second.status().await.unwrap(), Status::Waiting);
    // What was released is counted where it waited for a moment longer.
    let counted = async |expected: (u64, u64, u64)| loop {
        let depth = client.queues().await.unwrap();
        let depth = depth.iter().find(|it| it.queue == "seen").unwrap();
        if (depth.pending, depth.held, depth.running) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let limit = taskq_e2e::PATIENCE;
    let in_time = tokio::time::timeout(limit, counted((2, 2, 1))).await;
    in_time.expect("two wait and one runs");
    assert_eq!(second.cancel().await.unwrap(), Cancellation::Cancelled);
    assert_eq!(
        second.outcome().await.unwrap().state,
        OutcomeState::Cancelled
    );
    let in_time = tokio::time::timeout(limit, counted((1, 1, 1))).await;
    in_time.expect("one waits and one runs");
    GATE.add_permits(2);
    assert_eq!(first.result().await.unwrap(), key);
    assert_eq!(third.result().await.unwrap(), key);
    assert_eq!(
        worker_of.stats.finished(),
        2,
        "the cancelled one did not run"
    );
    drop(worker);
}

static EXPLAINED: Semaphore = Semaphore::const_new(0);

#[task(concurrency = 1, per = "key", queue = "explained")]
async fn hold_on_to(key: String) -> String {
    EXPLAINED.acquire().await.unwrap().forget();
    key
}

#[task(rate = "1/h", per = "key", queue = "explained")]
async fn seldom(key: String) -> String {
    key
}

async fn it_is_explained_why_a_turn_has_not_come(system: Fixture) {
    let client = system.client().await;
    let why = async |id: &taskq::TaskId| admin::explain(&client, id.clone()).await.unwrap().reason;
    let first = hold_on_to::enqueue(&client, "k").await.unwrap();
    let second = hold_on_to::enqueue(&client, "k").await.unwrap();
    let last = hold_on_to::enqueue(&client, "k").await.unwrap();
    if system.mode() == Mode::JetStream {
        assert!(matches!(why(last.id()).await, Reason::NoWorker { .. }));
    } else {
        let key = Some("hold_on_to:k".to_owned());
        let is = why(last.id()).await;
        assert!(
            matches!(&is, Reason::Behind { count: 2, key: of, .. } if *of == key),
            "{is:?}"
        );
    }
    let worker = system.worker_with(|it| it.queues(["explained"])).await;
    until("it runs", || worker.stats.running() == 1).await;
    let mut is = why(second.id()).await;
    while matches!(is, Reason::Behind { .. }) {
        is = why(second.id()).await;
    }
    let limit = Reason::KeyLimit {
        key: "hold_on_to:k".to_owned(),
        limit: 1,
        held_by: vec![first.id().to_string()],
    };
    assert_eq!(is, limit);
    let slow = seldom::enqueue(&client, "s").await.unwrap();
    let mut slower = None;
    for _ in 0..2 {
        slower = Some(seldom::enqueue(&client, "s").await.unwrap());
    }
    let slower = slower.unwrap();
    let mut is = why(slower.id()).await;
    // Until the first has had its turn.
    while matches!(is, Reason::Behind { .. }) {
        is = why(slower.id()).await;
    }
    let Reason::RateLimit { key, until } = is else {
        panic!("{is:?}")
    };
    assert_eq!(key.as_deref(), Some("seldom:s"));
    assert!(until.unwrap() > taskq::Timestamp::now());
    EXPLAINED.add_permits(3);
    assert_eq!(last.result().await.unwrap(), "k");
    drop(slow);
}

#[task(concurrency = 1, per = "key")]
async fn fail_once(ctx: Context, key: String) -> Result<String, String> {
    match ctx.attempt() {
        1 => Err("not yet".to_owned()),
        _ => Ok(key),
    }
}

async fn a_dead_letter_waits_for_the_turn_of_its_key_when_it_is_sent_again(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let handle = fail_once::enqueue(&client, "k").await.unwrap();
    handle.result().await.unwrap_err();
    let mut letter = None;
    while letter.is_none() {
        let letters = admin::dead_letters(&client, DeadFilter::default()).await;
        letter = letters.unwrap().boxed().try_next().await.unwrap();
    }
    let letter = letter.unwrap();
    let again = admin::replay(&client, &letter, "ada").await.unwrap();
    assert_eq!(again, Replay::Sent);
    let handle = client.handle::<String>(letter.id.clone());
    assert_eq!(handle.result().await.unwrap(), "k");
}

async fn all_or_none_and_once_for_an_id_hold_for_tasks_with_a_key(system: Fixture) {
    let client = system.client().await;
    let calls = || (0..5).map(|n| bill::call("batch", 1u64).id(format!("b{n}")));
    let handles = client.enqueue_atomic(calls()).await.unwrap();
    let again = client.enqueue_atomic(calls()).await.unwrap();
    assert!(again.iter().all(taskq::TaskHandle::is_existing));
    let one = bill::call("batch", 1u64).id("b1").enqueue(&client).await;
    assert!(one.unwrap().is_existing());
    let mixed = [
        bill::call("x", 1u64).untyped(),
        note::call("x", 1u64).untyped(),
    ];
    let error = client.enqueue_atomic(mixed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let unique = || bill::call("unique", 1u64).unique();
    let first = unique().enqueue(&client).await.unwrap();
    let second = unique().enqueue(&client).await.unwrap();
    assert!(second.is_existing());
    assert_eq!(first.id(), second.id());
    let worker = system.worker().await;
    for handle in handles {
        handle.result().await.unwrap();
    }
    first.result().await.unwrap();
    until("all have run", || worker.stats.finished() == 6).await;
}

async fn what_waits_is_released_to_a_worker_that_comes_later(system: Fixture) {
    let client = system.client().await;
    let handle = bill::enqueue(&client, "early", 1u64).await.unwrap();
    assert_eq!(handle.status().await.unwrap(), Status::Waiting);
    let first = system.worker().await;
    handle.result().await.unwrap();
    first.drain().await;
    let handle = bill::enqueue(&client, "late", 1u64).await.unwrap();
    let _second = system.worker().await;
    handle.result().await.unwrap();
}

async fn a_call_by_name_keeps_the_limits_of_its_task(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let prefix = format!("named-{}", unique());
    let mut handles = Vec::new();
    for n in 0..30 {
        let customer = format!("{prefix}-{}", n % 3);
        let call = client.call("bill");
        let call = match n % 2 {
            0 => call.positional(&customer).positional(&300),
            _ => call.arg("customer", &customer).arg("millis", &300),
        };
        handles.push(call.enqueue(&client).await.unwrap());
    }
    for handle in handles {
        let outcome = handle.outcome().await.unwrap();
        assert_eq!(
            (outcome.state, outcome.attempt),
            (OutcomeState::Succeeded, 1)
        );
        assert!(outcome.labels.contains_key("taskq_key"));
    }
    assert_eq!(most(&prefix), [2; 3]);
}

/// Nothing waits in core mode, so nothing can wait for a turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_mode_refuses_a_key_and_says_why() {
    let system = Fixture::new(Mode::Core);
    let _worker = system.worker().await;
    let client = system.client().await;
    let error = bill::enqueue(&client, "x", 1u64).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("use jetstream mode"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_tasks_and_their_counts_know_nothing_of_it() {
    let system = Fixture::new(Mode::JetStream);
    let worker = system.worker().await;
    let client = system.client().await;
    let handle = bill::enqueue(&client, "x", 1u64).await.unwrap();
    handle.result().await.unwrap();
    note::enqueue(&client, "plain", 0u64)
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    until("both have ended", || worker.stats.finished() == 2).await;
    emptied(&client, "default").await;
    let queues = client.queues().await.unwrap();
    let depth = queues.iter().find(|it| it.queue == "default").unwrap();
    assert_eq!((depth.running, depth.scheduled), (0, 0));
    assert_eq!(depth.pending, depth.held, "no mark is counted");
}
