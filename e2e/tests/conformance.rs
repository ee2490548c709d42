//! One suite for all transports. Where a promise differs, the test says how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::prelude::*;
use taskq::{ErrorKind, FailureKind, Mode, OutcomeState, Status};
use taskq_e2e::{Fixture, in_every_mode, until};
use tokio::sync::Semaphore;

in_every_mode!(
    a_result_comes_back,
    arguments_bind_by_position_and_by_name,
    arguments_that_do_not_fit_fail_with_their_name,
    an_error_and_a_panic_are_failed_attempts,
    a_failed_attempt_is_retried_as_the_policy_says,
    a_permanent_error_is_not_retried,
    an_attempt_goes_on_from_what_the_one_before_kept,
    an_attempt_ends_at_its_timeout,
    a_plain_fn_does_not_block_the_runtime,
    many_calls_give_their_results_in_order,
    an_outcome_is_seen_by_who_comes_later,
    without_a_worker_a_task_waits,
    an_unknown_task_is_left_for_a_worker_that_knows_it,
    what_is_above_the_brokers_limit_goes_through_where_it_can_be_kept,
    a_call_above_the_clients_limit_is_refused,
    a_drained_worker_finishes_what_runs,
    what_does_not_finish_in_the_grace_is_handed_back_uncounted,
    a_crashed_workers_tasks_run_elsewhere,
    a_delayed_task_does_not_start_early,
    the_same_id_sent_twice_is_one_task,
    a_unique_call_is_one_task_until_it_is_done,
    a_unique_call_is_one_task_for_its_window,
    a_layer_and_a_hook_see_every_task,
    a_worker_runs_no_more_than_its_concurrency,
    what_computes_leaves_the_slots_to_others,
    two_workers_share_the_work,
    a_value_that_is_too_large_to_record_is_stored_apart,
    a_result_that_does_not_come_is_a_timeout,
    the_urgent_go_first,
);

#[task]
async fn shout(text: String) -> String {
    text.to_uppercase()
}

#[task]
async fn join(left: String, right: Option<String>, times: u32) -> String {
    format!("{left}{}", right.unwrap_or_default()).repeat(times as usize)
}

async fn a_result_comes_back(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let handle = shout::enqueue(&client, "hello").await.unwrap();
    assert!(!handle.is_existing());
    assert_eq!(handle.result().await.unwrap(), "HELLO");
    // Again, and from the record.
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Succeeded);
    assert_eq!((outcome.attempt, outcome.queue.as_str()), (1, "default"));
    assert_eq!(outcome.id, *handle.id());
}

async fn arguments_bind_by_position_and_by_name(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let named = || client.call("join");
    for (call, expected) in [
        (
            named().positional("a").positional("b").positional(&2),
            "abab",
        ),
        (
            named().arg("times", &2).arg("left", "a").arg("right", "b"),
            "abab",
        ),
        (named().positional("a").arg("times", &3), "aaa"),
        (
            named()
                .arg("left", "a")
                .arg("times", &1)
                .arg("right", &None::<u8>),
            "a",
        ),
    ] {
        let handle = call.enqueue(&client).await.unwrap();
        assert_eq!(handle.result().await.unwrap(), expected);
    }
}

async fn arguments_that_do_not_fit_fail_with_their_name(system: Fixture) {
    let worker = system.worker().await;
    let client = system.client().await;
    let named = || client.call("join");
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let deep = serde_json::value::RawValue::from_string(deep).unwrap();
    for (call, told) in [
        (named().arg("left", "a"), "argument `times` is missing"),
        (
            named().arg("left", &7).arg("times", &1),
            "argument `left`: invalid type",
        ),
        (
            named().arg("left", "a").arg("tines", &1),
            "has no argument `tines`",
        ),
        (
            named().positional("a").arg("left", "b"),
            "got argument `left` twice",
        ),
        (
            named()
                .positional("a")
                .positional("b")
                .positional(&1)
                .positional(&2),
            "takes 3 arguments (`left`, `right`, `times`), got 4",
        ),
        (
            named().arg("left", &deep).arg("times", &1),
            "argument `left`",
        ),
    ] {
        // Retries would not mend it, and are not made.
        let handle = call.retries(3).enqueue(&client).await.unwrap();
        let error = handle.result().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TaskFailed);
        let failure = error.failure().unwrap();
        assert_eq!(failure.kind, FailureKind::Arguments);
        assert!(failure.message.contains(told), "{failure:?} lacks {told}");
    }
    let handle = shout::enqueue(&client, "alive").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "ALIVE");
    assert_eq!(worker.stats.failed(), 6);
}

#[task]
async fn refuse(reason: String) -> Result<u32, std::io::Error> {
    Err(std::io::Error::other(reason))
}

#[task]
async fn explode() -> u32 {
    panic!("boom")
}

#[task]
fn explode_on_the_blocking_pool() -> u32 {
    panic!("bang")
}

async fn an_error_and_a_panic_are_failed_attempts(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let call = refuse::enqueue(&client, "no route").await.unwrap();
    let error = call.result().await.unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!(failure.kind, FailureKind::Error);
    assert_eq!(failure.message, "no route");
    assert_eq!(failure.type_name, "std::io::error::Error");
    let call = explode::enqueue(&client).await.unwrap();
    let error = call.result().await.unwrap_err();
    assert_eq!(error.failure().unwrap().kind, FailureKind::Panic);
    assert!(error.to_string().contains("boom"), "{error}");
    let call = explode_on_the_blocking_pool::enqueue(&client)
        .await
        .unwrap();
    let error = call.result().await.unwrap_err();
    assert!(error.to_string().contains("bang"), "{error}");
    let handle = shout::enqueue(&client, "alive").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "ALIVE");
}

/// Fails as often as it is told.
#[task(retries = 5, backoff = "constant(300ms, no jitter)")]
async fn stumble(ctx: Context, times: u32) -> Result<u32, String> {
    if ctx.attempt() <= times {
        return Err(format!("stumbled at attempt {}", ctx.attempt()));
    }
    Ok(ctx.attempt())
}

async fn a_failed_attempt_is_retried_as_the_policy_says(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let since = Instant::now();
    let handle = stumble::enqueue(&client, 2u32).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 3);
    assert!(
        since.elapsed() >= Duration::from_millis(600),
        "{:?}",
        since.elapsed()
    );
    // The call's own number of retries counts.
    let handle = stumble::call(9u32)
        .retries(1)
        .enqueue(&client)
        .await
        .unwrap();
    let outcome = handle.outcome().await.unwrap();
    assert_eq!((outcome.state, outcome.attempt), (OutcomeState::Failed, 2));
    assert_eq!(outcome.error.unwrap().message, "stumbled at attempt 2");
}

#[task(retries = 5)]
async fn give_up() -> Result<(), TaskError> {
    Err(TaskError::permanent("no such user"))
}

async fn a_permanent_error_is_not_retried(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let outcome = give_up::enqueue(&client)
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    assert_eq!(outcome.attempt, 1);
    assert_eq!(outcome.error.unwrap().message, "no such user");
}

#[task(retries = 2, backoff = "constant(1ms)")]
async fn climb(ctx: Context, steps: u32) -> Result<Vec<u32>, TaskError> {
    let kept: Option<Vec<u32>> = ctx.last_checkpoint().await?;
    let mut seen = kept.unwrap_or_default();
    for step in seen.len()..steps as usize {
        seen.push(ctx.attempt());
        ctx.checkpoint(&seen).await?;
        if step % 2 == 1 && ctx.attempt() < 3 {
            return Err("slipped".into());
        }
    }
    Ok(seen)
}

#[task(retries = 1, backoff = "constant(1ms)")]
fn climb_on_the_blocking_pool(ctx: Context) -> Result<Option<u32>, TaskError> {
    let kept = ctx.last_checkpoint_blocking()?;
    ctx.checkpoint_blocking(&7)?;
    if ctx.attempt() == 1 {
        return Err("slipped".into());
    }
    Ok(kept)
}

#[task]
async fn keep_too_much(ctx: Context) -> Result<(), TaskError> {
    ctx.checkpoint(&"x".repeat(1 << 20)).await?;
    Ok(())
}

async fn an_attempt_goes_on_from_what_the_one_before_kept(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let climbed = climb::enqueue(&client, 5).await.unwrap().result().await;
    if system.mode() == Mode::Core {
        let error = climbed.unwrap_err();
        assert!(error.to_string().contains("core mode"), "{error}");
        return;
    }
    assert_eq!(climbed.unwrap(), [1, 1, 2, 2, 3]);
    let again = climb::enqueue(&client, 1).await.unwrap();
    assert_eq!(
        again.result().await.unwrap(),
        [1],
        "another task's is another"
    );
    let blocking = climb_on_the_blocking_pool::enqueue(&client).await.unwrap();
    assert_eq!(blocking.result().await.unwrap(), Some(7));
    let much = keep_too_much::enqueue(&client).await.unwrap();
    let error = much.result().await.unwrap_err();
    assert!(error.to_string().contains("1048578 bytes"), "{error}");
}

#[task(timeout = "100ms")]
async fn dawdle() {
    std::future::pending::<()>().await;
}

#[task(timeout = "100ms")]
fn dawdle_on_the_blocking_pool(ctx: Context) {
    while !ctx.is_cancelled() {
        std::thread::yield_now();
    }
}

async fn an_attempt_ends_at_its_timeout(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    for handle in [
        dawdle::enqueue(&client).await.unwrap(),
        dawdle_on_the_blocking_pool::enqueue(&client).await.unwrap(),
    ] {
        let error = handle.result().await.unwrap_err();
        let failure = error.failure().unwrap();
        assert_eq!(failure.kind, FailureKind::Timeout);
        assert!(failure.message.contains("100ms"), "{failure:?}");
    }
    // The label of Taskiq's own timeout, in seconds.
    let call = client
        .call("hold")
        .arg("gate", "never")
        .label("timeout", 0.1);
    let error = call
        .enqueue(&client)
        .await
        .unwrap()
        .result()
        .await
        .unwrap_err();
    assert_eq!(error.failure().unwrap().kind, FailureKind::Timeout);
}

/// Waits for its gate to open. Tests share this process, so each has a gate
/// of its own.
#[task]
async fn hold(gate: String) -> String {
    gate_of(&gate).acquire().await.unwrap().forget();
    gate
}

fn gate_of(name: &str) -> &'static Semaphore {
    static GATES: Mutex<Vec<(String, &'static Semaphore)>> = Mutex::new(Vec::new());
    let mut gates = GATES.lock().unwrap();
    if let Some((_, gate)) = gates.iter().find(|(key, _)| key == name) {
        return gate;
    }
    let gate: &'static Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    gates.push((name.to_owned(), gate));
    gate
}

fn new_gate() -> (String, &'static Semaphore) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("gate-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let gate = gate_of(&name);
    (name, gate)
}

#[task]
fn spin_until_cancelled(ctx: Context) {
    while !ctx.is_cancelled() {
        std::hint::spin_loop();
    }
}

async fn a_plain_fn_does_not_block_the_runtime(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    // More of them than the runtime has threads.
    let mut spinning = Vec::new();
    for _ in 0..4 {
        let call = spin_until_cancelled::call().timeout(Duration::from_secs(2));
        spinning.push(call.enqueue(&client).await.unwrap());
    }
    let handle = shout::enqueue(&client, "through").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "THROUGH");
    for handle in spinning {
        assert!(handle.result().await.is_err());
    }
}

#[task]
async fn square(n: u64) -> u64 {
    n * n
}

async fn many_calls_give_their_results_in_order(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let handles: Vec<TaskHandle<u64>> = client
        .enqueue_many((0..3000).map(square::call))
        .try_collect()
        .await
        .unwrap();
    let ids: HashSet<_> = handles.iter().map(|handle| handle.id().clone()).collect();
    assert_eq!(ids.len(), 3000);
    for (n, handle) in (0u64..).zip(&handles) {
        assert_eq!(handle.result().await.unwrap(), n * n);
    }
    // One that cannot be sent does not stop the others.
    let calls = [
        square::call(2u64),
        square::call(3u64).queue("no such queue!"),
        square::call(4u64),
    ];
    let sent: Vec<_> = client.enqueue_many(calls).collect().await;
    assert!(sent[0].is_ok() && sent[2].is_ok());
    assert_eq!(sent[1].as_ref().unwrap_err().kind(), ErrorKind::Invalid);
}

async fn an_outcome_is_seen_by_who_comes_later(system: Fixture) {
    let worker = system.worker().await;
    let client = system.client().await;
    let (gate, open) = new_gate();
    let handle = hold::enqueue(&client, gate.clone()).await.unwrap();
    // Another client, which waits before there is an outcome.
    let other = system.client().await;
    let early = other.handle::<String>(handle.id().clone());
    let mut waiting = Box::pin(early.result());
    until("the task runs", || worker.stats.running() == 1).await;
    // Long enough for it to listen: in core mode it has to, before.
    let listening = tokio::time::timeout(Duration::from_secs(1), &mut waiting).await;
    assert!(listening.is_err(), "it has not ended yet");
    open.add_permits(1);
    assert_eq!(handle.result().await.unwrap(), gate);
    assert_eq!(waiting.await.unwrap(), gate);
    let late = other.handle::<String>(handle.id().clone());
    if system.mode() == Mode::Core {
        // Nothing is kept for who comes later.
        let late = late.result_timeout(Duration::from_millis(500)).await;
        assert!(late.unwrap_err().is_timeout());
    } else {
        assert_eq!(late.result().await.unwrap(), gate);
        let status = handle.status().await.unwrap();
        assert_eq!(status, Status::Done(OutcomeState::Succeeded));
    }
}

async fn without_a_worker_a_task_waits(system: Fixture) {
    let client = system.client().await;
    let sent = shout::enqueue(&client, "later").await;
    if system.mode() == Mode::Core {
        // Nothing is kept: the producer is told at once.
        let error = sent.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoWorker);
        assert!(error.to_string().contains("queue `default`"), "{error}");
        return;
    }
    let handle = sent.unwrap();
    assert_eq!(handle.status().await.unwrap(), Status::Waiting);
    let queues = client.queues().await.unwrap();
    assert_eq!(
        (queues[0].queue.as_str(), queues[0].pending),
        ("default", 1)
    );
    let _worker = system.worker().await;
    assert_eq!(handle.result().await.unwrap(), "LATER");
}

async fn an_unknown_task_is_left_for_a_worker_that_knows_it(system: Fixture) {
    let ignorant = system
        .worker_with(|worker| worker.discover(false).task::<square>())
        .await;
    let client = system.client().await;
    let handle = shout::enqueue(&client, "patience").await.unwrap();
    if system.mode() == Mode::Core {
        // Nothing is kept, so nothing can wait.
        let error = handle.result().await.unwrap_err();
        assert_eq!(error.failure().unwrap().kind, FailureKind::UnknownTask);
        assert!(
            error.to_string().contains("no task `shout` is registered"),
            "{error}"
        );
        return;
    }
    // It has met the task when it ends another one that came after it.
    let other = square::enqueue(&client, 3u64).await.unwrap();
    assert_eq!(other.result().await.unwrap(), 9);
    let _worker = system
        .worker_with(|worker| worker.discover(false).task::<shout>())
        .await;
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Succeeded);
    assert_eq!(outcome.attempt, 1, "to be passed on is not an attempt");
    ignorant.drain().await;
}

async fn what_is_above_the_brokers_limit_goes_through_where_it_can_be_kept(system: Fixture) {
    let worker = system.worker().await;
    let client = system.client().await;
    let text = "x".repeat(2 << 20);
    let sent = shout::enqueue(&client, text.as_str()).await;
    if system.mode() == Mode::Core {
        let error = sent.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("1048576"), "{error}");
        assert_eq!(worker.stats.started(), 0);
    } else {
        let handle = sent.unwrap();
        assert_eq!(handle.result().await.unwrap(), "X".repeat(2 << 20));
        // Also for somebody who comes later, and as a whole record.
        let later = client.handle::<String>(handle.id().clone());
        let outcome = later.outcome().await.unwrap();
        assert_eq!(outcome.value::<String>().unwrap().len(), 2 << 20);
    }
    let handle = shout::enqueue(&client, "alive").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "ALIVE");
}

async fn a_call_above_the_clients_limit_is_refused(system: Fixture) {
    if system.mode() == Mode::Memory {
        // The fixture's clients of memory are one.
        return;
    }
    let client = system.builder().largest_call(3 << 20).connect().await;
    let client = client.unwrap();
    let error = shout::enqueue(&client, "x".repeat(4 << 20)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("3145728"), "{error}");
}

async fn a_drained_worker_finishes_what_runs(system: Fixture) {
    let worker = system.worker().await;
    let client = system.client().await;
    let (gate, open) = new_gate();
    let handle = hold::enqueue(&client, gate.clone()).await.unwrap();
    until("the task runs", || worker.stats.running() == 1).await;
    let stats = worker.stats.clone();
    let draining = tokio::spawn(worker.drain());
    until("it drains", || {
        stats.state() == taskq::WorkerState::Draining
    })
    .await;
    open.add_permits(1);
    draining.await.unwrap();
    assert_eq!(handle.result().await.unwrap(), gate);
    assert_eq!((stats.succeeded(), stats.released()), (1, 0));
}

#[task]
async fn which_attempt(ctx: Context, gate: String) -> u32 {
    gate_of(&gate).acquire().await.unwrap().forget();
    ctx.attempt()
}

async fn what_does_not_finish_in_the_grace_is_handed_back_uncounted(system: Fixture) {
    if system.mode() == Mode::Core {
        // Nothing is kept: what is not finished is lost, at most once.
        return;
    }
    let worker = system
        .worker_with(|worker| {
            let worker = worker.grace(Duration::from_millis(50));
            worker.lease(Duration::from_secs(120))
        })
        .await;
    let client = system.client().await;
    let (gate, open) = new_gate();
    let handle = which_attempt::enqueue(&client, gate).await.unwrap();
    until("the task runs", || worker.stats.running() == 1).await;
    worker.drain().await;
    open.add_permits(1);
    let since = Instant::now();
    let _worker = system.worker().await;
    assert_eq!(handle.result().await.unwrap(), 1, "the attempt is refunded");
    // Not when its lease ends.
    assert!(
        since.elapsed() < Duration::from_secs(60),
        "handed back at once"
    );
}

async fn a_crashed_workers_tasks_run_elsewhere(system: Fixture) {
    if system.mode() == Mode::Core {
        // Nothing is kept: what the worker had taken is lost, at most once.
        return;
    }
    let first = system
        .worker_with(|worker| worker.lease(Duration::from_secs(1)))
        .await;
    let client = system.client().await;
    let (gate, open) = new_gate();
    let handle = which_attempt::enqueue(&client, gate).await.unwrap();
    until("the task runs", || first.stats.running() == 1).await;
    first.crash().await;
    let second = system.worker().await;
    until("the task runs again", || second.stats.running() == 1).await;
    open.add_permits(2);
    let outcome = handle.outcome().await.unwrap();
    assert_eq!((outcome.attempt, outcome.worker), (2, second.name.clone()));
}

async fn a_delayed_task_does_not_start_early(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let delay = 4.seconds();
    let since = Instant::now();
    let sent = shout::call("later").delay(delay).enqueue(&client).await;
    if system.mode() == Mode::Core {
        // Nothing is kept, so nothing can be put off.
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let handle = sent.unwrap();
    assert_eq!(handle.status().await.unwrap(), Status::Scheduled);
    assert_eq!(client.queues().await.unwrap()[0].scheduled, 1);
    let outcome = handle.outcome().await.unwrap();
    let took = since.elapsed();
    assert!(
        took >= delay && took < delay + Duration::from_secs(30),
        "{took:?}"
    );
    let waited = outcome.started_at.unwrap().since(outcome.enqueued_at);
    assert!(waited >= delay, "{waited:?}");
}

async fn the_same_id_sent_twice_is_one_task(system: Fixture) {
    if system.mode() == Mode::Core {
        // Nothing is kept to recognise it by.
        return;
    }
    let client = system.client().await;
    let send = async || {
        square::call(7u64)
            .id("order-42")
            .enqueue(&client)
            .await
            .unwrap()
    };
    let first = send().await;
    let waiting = send().await;
    assert!(!first.is_existing() && waiting.is_existing());
    let worker = system.worker().await;
    assert_eq!(first.result().await.unwrap(), 49);
    assert_eq!(waiting.result().await.unwrap(), 49);
    let done = send().await;
    assert!(done.is_existing());
    assert_eq!(done.result().await.unwrap(), 49);
    assert_eq!(worker.stats.started(), 1);
}

async fn a_unique_call_is_one_task_until_it_is_done(system: Fixture) {
    let worker = system.worker().await;
    let client = system.client().await;
    let (gate, open) = new_gate();
    let send = async || hold::call(gate.clone()).unique().enqueue(&client).await;
    if system.mode() == Mode::Core {
        assert_eq!(send().await.unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let first = send().await.unwrap();
    let second = send().await.unwrap();
    assert!(second.is_existing());
    assert_eq!(first.id(), second.id());
    let (other_gate, other_open) = new_gate();
    let other = hold::call(other_gate)
        .unique()
        .enqueue(&client)
        .await
        .unwrap();
    assert!(!other.is_existing(), "other arguments are another task");
    other_open.add_permits(1);
    open.add_permits(2);
    assert_eq!(second.result().await.unwrap(), gate);
    let third = send().await.unwrap();
    assert!(!third.is_existing(), "it was done");
    assert_eq!(third.result().await.unwrap(), gate);
    other.result().await.unwrap();
    assert_eq!(worker.stats.started(), 3);
}

async fn a_unique_call_is_one_task_for_its_window(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let worker = system.worker().await;
    let client = system.client().await;
    let send = async |n: u64| {
        let call = square::call(n).unique_key("report");
        call.unique_for(8.seconds()).enqueue(&client).await.unwrap()
    };
    let first = send(2).await;
    assert_eq!(first.result().await.unwrap(), 4);
    let second = send(3).await;
    assert!(second.is_existing(), "within the window, though done");
    assert_eq!(second.result().await.unwrap(), 4);
    let limit = Instant::now() + taskq_e2e::PATIENCE;
    let third = loop {
        let next = send(5).await;
        if !next.is_existing() {
            break next;
        }
        assert!(Instant::now() < limit, "the window never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(third.result().await.unwrap(), 25);
    assert_eq!(worker.stats.started(), 2);
}

#[derive(Clone)]
struct Count(std::sync::Arc<AtomicU32>);

impl<S> tower::Layer<S> for Count {
    type Service = Counting<S>;
    fn layer(&self, inner: S) -> Counting<S> {
        let count = self.clone();
        Counting { inner, count }
    }
}

#[derive(Clone)]
struct Counting<S> {
    inner: S,
    count: Count,
}

impl<S: tower::Service<taskq::Execution>> tower::Service<taskq::Execution> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;
    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, execution: taskq::Execution) -> S::Future {
        let context = execution.context();
        assert_eq!(
            context.labels().get("tenant").unwrap().as_str(),
            Some("acme")
        );
        self.count.0.fetch_add(1, Ordering::Relaxed);
        self.inner.call(execution)
    }
}

struct Tenant;

impl taskq::EnqueueHook for Tenant {
    fn before(&self, message: &mut taskq::TaskMessage) -> taskq::Result<()> {
        message.labels.set("tenant", "acme");
        Ok(())
    }
}

async fn a_layer_and_a_hook_see_every_task(system: Fixture) {
    let client = match system.mode() {
        Mode::Memory => Client::builder().hook(Tenant).memory(),
        _ => system.builder().hook(Tenant).connect().await.unwrap(),
    };
    let count = Count(std::sync::Arc::default());
    // A layer of tower's own too: its error is a boxed one.
    let worker = Worker::builder(client.clone())
        .layer(count.clone())
        .layer(tower::timeout::TimeoutLayer::new(taskq_e2e::PATIENCE));
    let _worker = taskq_e2e::Running::start(worker).await;
    for n in 0..3u64 {
        let handle = square::enqueue(&client, n).await.unwrap();
        assert_eq!(handle.result().await.unwrap(), n * n);
    }
    let call = explode::enqueue(&client).await.unwrap();
    let error = call.result().await.unwrap_err();
    assert!(error.to_string().contains("boom"));
    assert_eq!(count.0.load(Ordering::Relaxed), 4);
}

static RUNNING: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
static MOST: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

#[task]
async fn count_running(place: usize) {
    let now = RUNNING[place].fetch_add(1, Ordering::SeqCst) + 1;
    MOST[place].fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(5)).await;
    RUNNING[place].fetch_sub(1, Ordering::SeqCst);
}

async fn a_worker_runs_no_more_than_its_concurrency(system: Fixture) {
    let place = system.mode() as usize;
    let _worker = system.worker_with(|worker| worker.concurrency(3)).await;
    let client = system.client().await;
    let calls = (0..60).map(|_| count_running::call(place));
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    for handle in handles {
        handle.result().await.unwrap();
    }
    assert_eq!(MOST[place].load(Ordering::SeqCst), 3);
}

/// Those that compute now, the most that did, and whether they may end; by
/// mode.
static COMPUTING: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
static MOST_COMPUTING: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
static COMPUTED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

#[task]
fn compute(place: usize) {
    let now = COMPUTING[place].fetch_add(1, Ordering::SeqCst) + 1;
    MOST_COMPUTING[place].fetch_max(now, Ordering::SeqCst);
    while !COMPUTED[place].load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    COMPUTING[place].fetch_sub(1, Ordering::SeqCst);
}

async fn what_computes_leaves_the_slots_to_others(system: Fixture) {
    let place = system.mode() as usize;
    let _worker = system
        .worker_with(|worker| {
            let queues = ["deep", "default"];
            worker.queues(queues).concurrency(4).computing(2)
        })
        .await;
    let client = system.client().await;
    let calls = (0..20).map(|_| compute::call(place).queue("deep"));
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    until("two compute", || {
        COMPUTING[place].load(Ordering::SeqCst) == 2
    })
    .await;
    // Many more than there are slots.
    for _ in 0..20 {
        let call = shout::enqueue(&client, "meanwhile").await.unwrap();
        assert_eq!(call.result().await.unwrap(), "MEANWHILE");
    }
    // Who waits for a turn that is not to come does not wait for it.
    let mut handles = handles;
    for unwanted in handles.split_off(18).into_iter().chain(handles.drain(5..7)) {
        unwanted.cancel().await.unwrap();
        let outcome = unwanted.outcome().await.unwrap();
        assert_eq!(outcome.state, OutcomeState::Cancelled);
    }
    assert_eq!(COMPUTING[place].load(Ordering::SeqCst), 2);
    COMPUTED[place].store(true, Ordering::SeqCst);
    for handle in handles {
        handle.result().await.unwrap();
    }
    assert_eq!(MOST_COMPUTING[place].load(Ordering::SeqCst), 2);
}

async fn two_workers_share_the_work(system: Fixture) {
    let one = system.worker_with(|worker| worker.concurrency(4)).await;
    let two = system.worker_with(|worker| worker.concurrency(4)).await;
    let client = system.client().await;
    let calls = (0..200).map(|_| shout::call("x"));
    let handles: Vec<_> = client.enqueue_many(calls).try_collect().await.unwrap();
    let mut by_worker = HashSet::new();
    for handle in handles {
        by_worker.insert(handle.outcome().await.unwrap().worker);
    }
    assert_eq!(
        by_worker,
        HashSet::from([one.name.clone(), two.name.clone()])
    );
    assert_eq!(one.stats.succeeded() + two.stats.succeeded(), 200);
}

#[task]
async fn bloat() -> String {
    "x".repeat(2 << 20)
}

async fn a_value_that_is_too_large_to_record_is_stored_apart(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let call = bloat::enqueue(&client).await.unwrap();
    if system.mode() == Mode::Core {
        let error = call.result().await.unwrap_err();
        assert_eq!(error.failure().unwrap().kind, FailureKind::ReturnValue);
        assert!(error.to_string().contains("return a reference"), "{error}");
        return;
    }
    assert!(call.result().await.unwrap().len() > 1 << 20);
}

async fn a_result_that_does_not_come_is_a_timeout(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let handle = hold::enqueue(&client, "never opened").await.unwrap();
    let error = handle.result_timeout(100.millis()).await.unwrap_err();
    assert!(error.is_timeout());
    assert!(error.to_string().contains("within 100ms"), "{error}");
}

static ORDER: [Mutex<Vec<u32>>; 3] = [const { Mutex::new(Vec::new()) }; 3];

#[task]
async fn note(place: usize, n: u32) {
    ORDER[place].lock().unwrap().push(n);
}

async fn the_urgent_go_first(system: Fixture) {
    if system.mode() == Mode::Core {
        // Nothing waits, so nothing can be overtaken.
        return;
    }
    let place = system.mode() as usize;
    let client = system.client().await;
    let mut handles = Vec::new();
    let priorities = [
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ];
    for (n, priority) in (0u32..).zip(priorities.into_iter().cycle().take(80)) {
        let call = note::call(place, n % 4).priority(priority);
        handles.push(call.enqueue(&client).await.unwrap());
    }
    let _worker = system.worker_with(|worker| worker.concurrency(1)).await;
    for handle in handles {
        handle.result().await.unwrap();
    }
    let order = ORDER[place].lock().unwrap().clone();
    // On average, where each priority stood in the order of running.
    let mean = |n: u32| {
        let places = order.iter().enumerate().filter(|(_, seen)| **seen == n);
        places.map(|(place, _)| place).sum::<usize>() / 20
    };
    assert!(
        mean(3) < mean(2) && mean(2) < mean(1) && mean(1) < mean(0),
        "{order:?}"
    );
}
