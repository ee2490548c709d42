//! Bursts of calls that become one task: debounced, and in batches, in every
//! mode. Where a promise differs, the test says how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use taskq::admin::{self, DelayedFilter};
use taskq::prelude::*;
use taskq::{Cancellation, ErrorKind, Mode, OutcomeState, Rescheduled, Status, TaskId, Timestamp};
use taskq_e2e::faults::connected;
use taskq_e2e::{Fixture, Running, in_every_mode, until};
use taskq_nats_server::NatsServer;

in_every_mode!(
    a_burst_of_calls_is_one_run_with_the_last_arguments,
    a_call_after_the_burst_has_fired_begins_another,
    a_steady_stream_of_calls_runs_after_its_longest_wait,
    a_call_that_comes_when_the_burst_fires_is_never_lost,
    a_failed_run_waits_for_its_retry_beside_the_next_burst,
    a_burst_is_listed_moved_and_started_now,
    a_cancelled_burst_does_not_run_and_the_next_does,
    what_makes_no_sense_with_others_is_refused,
    a_full_batch_runs_at_once,
    a_batch_that_is_not_full_runs_in_time,
    every_item_of_many_producers_is_in_exactly_one_batch,
    a_retried_batch_has_the_same_items,
    items_that_do_not_fit_begin_the_next_batch,
);

/// What each task was run with.
static RUNS: Mutex<Option<HashMap<String, Vec<u64>>>> = Mutex::new(None);

fn note(key: &str, value: u64) {
    let mut runs = RUNS.lock().unwrap();
    let of_key = runs.get_or_insert_default().entry(key.to_owned());
    of_key.or_default().push(value);
}

fn runs(key: &str) -> Vec<u64> {
    let runs = RUNS.lock().unwrap();
    let of_key = runs.as_ref().and_then(|runs| runs.get(key));
    of_key.cloned().unwrap_or_default()
}

/// A key of its own for each test.
fn key(system: &Fixture, test: &str) -> String {
    format!("{test}-{}", system.mode())
}

#[task]
async fn reindex(key: String, revision: u64) -> u64 {
    note(&key, revision);
    revision
}

#[task(retries = 1, backoff = "constant(2s, no jitter)")]
async fn second_time_lucky(ctx: Context, key: String, revision: u64) -> Result<u64, TaskError> {
    note(&key, revision);
    match ctx.attempt() {
        1 => Err("not yet".into()),
        _ => Ok(revision),
    }
}

#[task]
async fn store(items: Vec<u64>) -> Vec<u64> {
    items
}

/// Fails when it is run for the first time, with whatever items.
#[task(retries = 3, backoff = "constant(10ms)")]
async fn store_at_last(ctx: Context, items: Vec<u64>) -> Result<Vec<u64>, TaskError> {
    match ctx.attempt() {
        1 => Err("not yet".into()),
        _ => Ok(items),
    }
}

#[task(unique)]
async fn only_one(items: Vec<u64>) -> usize {
    items.len()
}

#[task]
async fn no_list(item: u64) -> u64 {
    item
}

/// Whether nothing can be gathered in this mode; then that is told.
async fn refused(system: &Fixture) -> bool {
    if system.mode() != Mode::Core {
        return false;
    }
    let client = system.client().await;
    let calls = [
        store::call(vec![1]).batch("k", 2, 1.second()),
        store::call(vec![1]).debounce("k", 1.second()),
    ];
    for call in calls {
        let error = call.enqueue(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    true
}

fn call(key: &str, revision: u64, wait: Duration) -> taskq::Call<reindex> {
    reindex::call(key, revision).debounce(key, wait)
}

async fn a_burst_of_calls_is_one_run_with_the_last_arguments(system: Fixture) {
    if refused(&system).await {
        return;
    }
    let _worker = system.worker().await;
    let clients = [system.client().await, system.client().await];
    let key = key(&system, "last");
    let wait = 3.seconds();
    let mut handles = Vec::new();
    for revision in 1..=5u64 {
        let client = &clients[usize::try_from(revision % 2).unwrap()];
        let call = call(&key, revision, wait).label("revision", revision);
        handles.push(call.enqueue(client).await.unwrap());
        tokio::time::sleep(30.millis()).await;
    }
    let sent = Instant::now();
    let ids: HashSet<&TaskId> = handles.iter().map(TaskHandle::id).collect();
    assert_eq!(ids.len(), 1, "one task for all");
    let existing: Vec<bool> = handles.iter().map(TaskHandle::is_existing).collect();
    assert_eq!(existing, [false, true, true, true, true]);
    assert_eq!(handles[0].status().await.unwrap(), Status::Scheduled);
    // Each of them has the result.
    for handle in &handles {
        assert_eq!(handle.result().await.unwrap(), 5);
    }
    let waited = sent.elapsed();
    let about = wait - 100.millis()..wait + 20.seconds();
    assert!(about.contains(&waited), "{waited:?}");
    assert_eq!(runs(&key), [5]);
    let outcome = handles[0].outcome().await.unwrap();
    assert_eq!(outcome.labels["taskq_calls"], "5");
    assert_eq!(outcome.labels["revision"], "5");
    // It waited from the first to the last and then the wait.
    let from_first = outcome.due_at.unwrap().since(outcome.enqueued_at);
    assert!(from_first >= wait + 4 * 30.millis(), "{from_first:?}");
    // Another key, and another queue, is another task.
    let other = call("other", 1, 1.hour())
        .enqueue(&clients[0])
        .await
        .unwrap();
    let elsewhere = call("other", 1, 1.hour()).queue("elsewhere");
    let elsewhere = elsewhere.enqueue(&clients[0]).await.unwrap();
    assert_ne!(other.id(), elsewhere.id());
    assert!(!elsewhere.is_existing());
}

async fn a_call_after_the_burst_has_fired_begins_another(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "another");
    for revision in 1..=3 {
        let handle = call(&key, revision, 50.millis());
        let handle = handle.enqueue(&client).await.unwrap();
        assert!(!handle.is_existing());
        assert_eq!(handle.result().await.unwrap(), revision);
    }
    assert_eq!(runs(&key), [1, 2, 3]);
}

async fn a_steady_stream_of_calls_runs_after_its_longest_wait(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "steady");
    let longest = 900.millis();
    let mut sent = Vec::new();
    let begun = Instant::now();
    // Far closer to each other than the wait.
    for revision in 1..=60 {
        let call = call(&key, revision, 600.millis()).max_wait(longest);
        let handle = call.enqueue(&client).await.unwrap();
        sent.push((Timestamp::now(), handle));
        tokio::time::sleep(50.millis()).await;
    }
    let took = begun.elapsed();
    let mut bursts = HashSet::new();
    for (by, handle) in &sent {
        let outcome = handle.outcome().await.unwrap();
        bursts.insert(outcome.id.clone());
        let due = outcome.due_at.unwrap();
        // By the server's clock, as far as a busy client knows it.
        assert!(due.since(*by) <= longest + 300.millis(), "{outcome:?}");
        let late = outcome.lateness().unwrap();
        assert!(late < 10.seconds(), "{late:?}");
    }
    let seen = runs(&key);
    assert_eq!(seen.len(), bursts.len(), "a run for each burst: {seen:?}");
    // Each waited for as long as from one call to the next at the least.
    let most = took.as_millis() / 600 + 1;
    assert!(
        (2..=most).contains(&(seen.len() as u128)),
        "{seen:?} in {took:?}"
    );
    assert_eq!(seen.last(), Some(&60));
}

async fn a_call_that_comes_when_the_burst_fires_is_never_lost(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "race");
    let mut sent = Vec::new();
    for revision in 1..=40u64 {
        let call = call(&key, revision, 260.millis());
        sent.push((revision, call.enqueue(&client).await.unwrap()));
        // Round about when it fires.
        tokio::time::sleep(Duration::from_millis(256 + revision * 7 % 12)).await;
    }
    let mut of_burst: BTreeMap<TaskId, (u64, u64)> = BTreeMap::new();
    for (revision, handle) in &sent {
        let ran_with = handle.result().await.unwrap();
        let of_id = of_burst.entry(handle.id().clone()).or_default();
        *of_id = (ran_with, of_id.1.max(*revision));
    }
    println!("{} calls were {} tasks", sent.len(), of_burst.len());
    for (id, (ran_with, last)) in &of_burst {
        assert_eq!(ran_with, last, "the last call of {id} counts");
    }
    assert_eq!(runs(&key).len(), of_burst.len(), "each ran once");
}

async fn a_failed_run_waits_for_its_retry_beside_the_next_burst(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "beside");
    let call = |revision| {
        let call = second_time_lucky::call(key.as_str(), revision);
        call.debounce(key.as_str(), 300.millis())
    };
    let first = call(1).enqueue(&client).await.unwrap();
    until("it has failed once", || runs(&key) == [1]).await;
    let second = call(2).enqueue(&client).await.unwrap();
    assert_ne!(first.id(), second.id());
    assert_eq!(first.result().await.unwrap(), 1);
    assert_eq!(second.result().await.unwrap(), 2);
    let mut seen = runs(&key);
    seen.sort_unstable();
    assert_eq!(seen, [1, 1, 2, 2]);
}

async fn a_burst_is_listed_moved_and_started_now(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "moved");
    let first = call(&key, 1, 1.hour()).enqueue(&client).await.unwrap();
    call(&key, 2, 1.hour()).enqueue(&client).await.unwrap();
    let delayed = admin::delayed(&client, DelayedFilter::default()).await;
    let delayed: Vec<_> = delayed.unwrap().try_collect().await.unwrap();
    assert_eq!(delayed.len(), 1);
    assert_eq!((&delayed[0].id, delayed[0].calls), (first.id(), Some(2)));
    assert_eq!(delayed[0].kwargs["revision"], 2);
    let later = Timestamp::now().plus(2.hours());
    assert_eq!(first.reschedule(later).await.unwrap(), Rescheduled::Moved);
    // It is still the burst of its key.
    let third = call(&key, 3, 1.hour()).enqueue(&client).await.unwrap();
    assert_eq!(third.id(), first.id());
    assert_eq!(third.run_now().await.unwrap(), Rescheduled::Moved);
    assert_eq!(first.result().await.unwrap(), 3);
    let next = call(&key, 4, 1.hour()).enqueue(&client).await.unwrap();
    assert!(!next.is_existing());
    assert_eq!(runs(&key), [3]);
}

async fn a_cancelled_burst_does_not_run_and_the_next_does(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "cancelled");
    let first = call(&key, 1, 1.hour()).enqueue(&client).await.unwrap();
    assert_eq!(first.cancel().await.unwrap(), Cancellation::Cancelled);
    let next = call(&key, 2, 1.second()).enqueue(&client).await.unwrap();
    assert_ne!(next.id(), first.id());
    let outcome = first.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Cancelled);
    assert_eq!(next.result().await.unwrap(), 2);
    assert_eq!(runs(&key), [2]);
}

async fn what_makes_no_sense_with_others_is_refused(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let batch = |items: Vec<u64>| store::call(items).batch("k", 3, 1.second());
    for (call, told) in [
        (batch(vec![1]).id("mine"), "remove `id`"),
        (batch(vec![1]).unique(), "remove `unique`"),
        (batch(vec![1]).delay(1.second()), "remove `delay`"),
        (batch(vec![]), "a list of at least one item"),
        (store::call(vec![1]).batch("k", 0, 1.second()), "0 items"),
        (store::call(vec![1]).max_wait(1.second()), "set `debounce`"),
    ] {
        let error = call.enqueue(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    let unique = only_one::call(vec![1]).batch("k", 3, 1.second());
    let error = unique.enqueue(&client).await.unwrap_err();
    assert!(error.to_string().contains("task's options"), "{error}");
    let no_list = no_list::call(1).batch("k", 3, 1.second());
    let error = no_list.enqueue(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let at_once = client.enqueue_atomic([batch(vec![1])]).await;
    assert!(at_once.unwrap_err().to_string().contains("enqueue_many"));
    let most = client.max_message_bytes();
    let large = reindex::call("x".repeat(most), 1).debounce("k", 1.second());
    let error = large.enqueue(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}

async fn a_full_batch_runs_at_once(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let mut handles = Vec::new();
    for item in 0..3 {
        let call = store::call(vec![item]).batch("full", 3, 1.hour());
        handles.push(call.enqueue(&client).await.unwrap());
    }
    for handle in &handles {
        assert_eq!(handle.result().await.unwrap(), [0, 1, 2]);
    }
    // A call that is a batch by itself waits for nobody.
    let call = store::call(vec![7, 8, 9]).batch("full", 3, 1.hour());
    let handle = call.enqueue(&client).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), [7, 8, 9]);
}

async fn a_batch_that_is_not_full_runs_in_time(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let since = Instant::now();
    let within = 4.seconds();
    let mut handles = Vec::new();
    for item in 0..3 {
        let call = store::call(vec![item]).batch("late", 100, within);
        handles.push(call.enqueue(&client).await.unwrap());
        tokio::time::sleep(100.millis()).await;
    }
    assert_eq!(handles[2].result().await.unwrap(), [0, 1, 2]);
    // From the first, not from the last.
    let took = since.elapsed();
    assert!(took >= within && took < within + 20.seconds(), "{took:?}");
    let outcome = handles[0].outcome().await.unwrap();
    let waited = outcome.due_at.unwrap().since(outcome.enqueued_at);
    assert_eq!(waited, within);
}

/// Sends items one by one, many at a time, and tells the outcomes of their
/// batches by id, and how many calls each handle was given for.
async fn send_all(
    client: &Client,
    items: impl Iterator<Item = u64>,
    call: impl Fn(u64) -> taskq::Call<store>,
) -> Vec<(u64, TaskHandle<Vec<u64>>)> {
    stream::iter(items)
        .map(|item| {
            let call = call(item);
            async move { (item, call.enqueue(client).await.unwrap()) }
        })
        .buffer_unordered(20)
        .collect()
        .await
}

/// Each item is in the batch that its sender was told of, and in no other.
async fn check(sent: &[(u64, TaskHandle<Vec<u64>>)], max: usize) -> usize {
    let mut batches: BTreeMap<TaskId, Vec<u64>> = BTreeMap::new();
    for (item, handle) in sent {
        let items = handle.result().await.unwrap();
        assert!(items.contains(item), "{item} is not in {items:?}");
        assert!(items.len() <= max, "{items:?}");
        batches.insert(handle.id().clone(), items);
    }
    let all: Vec<u64> = batches.values().flatten().copied().collect();
    let once: HashSet<u64> = all.iter().copied().collect();
    assert_eq!(all.len(), sent.len(), "an item is in two batches, or lost");
    assert_eq!(once.len(), sent.len());
    batches.len()
}

async fn every_item_of_many_producers_is_in_exactly_one_batch(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let clients = [
        system.client().await,
        system.client().await,
        system.client().await,
    ];
    let since = Instant::now();
    let sends = clients.iter().zip(0u64..).map(|(client, n)| {
        let items = n * 100..(n + 1) * 100;
        send_all(client, items, |item| {
            store::call(vec![item]).batch("many", 7, 300.millis())
        })
    });
    let sent = futures::future::join_all(sends).await.concat_all();
    let batches = check(&sent, 7).await;
    println!("300 items were {batches} batches, in {:?}", since.elapsed());
}

trait ConcatAll<T> {
    fn concat_all(self) -> Vec<T>;
}

impl<T> ConcatAll<T> for Vec<Vec<T>> {
    fn concat_all(self) -> Vec<T> {
        self.into_iter().flatten().collect()
    }
}

async fn a_retried_batch_has_the_same_items(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let mut handles = Vec::new();
    for item in 0..4 {
        let call = store_at_last::call(vec![item]).batch("again", 2, 1.hour());
        handles.push(call.enqueue(&client).await.unwrap());
    }
    assert_eq!(handles[1].result().await.unwrap(), [0, 1]);
    assert_eq!(handles[2].result().await.unwrap(), [2, 3]);
    assert_eq!(handles[2].outcome().await.unwrap().attempt, 2);
}

async fn items_that_do_not_fit_begin_the_next_batch(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let send = async |items: &[u64]| {
        let call = store::call(items.to_vec()).batch("fit", 4, 700.millis());
        call.enqueue(&client).await.unwrap()
    };
    let (one, other) = (send(&[1, 2, 3]).await, send(&[4, 5]).await);
    // At once, for it is full.
    assert_eq!(one.result().await.unwrap(), [1, 2, 3]);
    assert_eq!(other.result().await.unwrap(), [4, 5]);
}

/// Everything dies while batches are filled: the server, and the worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_item_is_lost_or_in_two_batches_whatever_is_killed() {
    let mut server = NatsServer::builder().start().unwrap();
    let url = server.url().to_owned();
    let clients = [connected(&url).await, connected(&url).await];
    let sending = clients.clone().into_iter().zip(0u64..).map(|(client, n)| {
        tokio::spawn(async move {
            let mut sent = Vec::new();
            for item in n * 1000..n * 1000 + 300 {
                let call = store::call(vec![item]).batch("deadly", 10, 600.millis());
                sent.push((item, call.enqueue(&client).await.unwrap()));
                tokio::time::sleep(8.millis()).await;
            }
            sent
        })
    });
    let sending: Vec<_> = sending.collect();
    let start = async || Running::start(Worker::builder(connected(&url).await)).await;
    let mut worker = start().await;
    for _ in 0..3 {
        tokio::time::sleep(500.millis()).await;
        server.kill().unwrap();
        tokio::time::sleep(100.millis()).await;
        server.restart().unwrap();
        tokio::time::sleep(200.millis()).await;
        worker.crash().await;
        worker = start().await;
    }
    let mut sent = Vec::new();
    for sender in sending {
        sent.extend(sender.await.unwrap());
    }
    let batches = check(&sent, 10).await;
    println!("600 items were {batches} batches");
    drop(worker);
}

/// The server dies while calls are debounced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_survives_its_server_and_its_worker() {
    let mut server = NatsServer::builder().start().unwrap();
    let url = server.url().to_owned();
    let client = connected(&url).await;
    let key = "survives";
    let mut sent = Vec::new();
    let start = async || Running::start(Worker::builder(connected(&url).await)).await;
    let mut worker = start().await;
    for revision in 1..=60u64 {
        if revision % 20 == 10 {
            server.kill().unwrap();
            server.restart().unwrap();
        }
        if revision % 20 == 15 {
            worker.crash().await;
            worker = start().await;
        }
        let call = call(key, revision, 400.millis()).max_wait(2.seconds());
        sent.push((revision, call.enqueue(&client).await.unwrap()));
        tokio::time::sleep(60.millis()).await;
    }
    let mut last: BTreeMap<TaskId, u64> = BTreeMap::new();
    for (revision, handle) in &sent {
        last.insert(handle.id().clone(), *revision);
    }
    for (revision, handle) in &sent {
        let ran_with = handle.result().await.unwrap();
        assert!(ran_with >= *revision, "{revision} ran as {ran_with}");
        assert_eq!(ran_with, last[handle.id()]);
    }
    println!("60 calls were {} tasks", last.len());
    drop(worker);
}
