//! Cancelling, deadlines, uniqueness, dead letters, quarantine, events and
//! progress, in every mode. Where a promise differs, the test says how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::admin::{self, DeadFilter, EventFilter, Replay};
use taskq::prelude::*;
use taskq::{
    Cancellation, DeadLetter, DeadReason, ErrorKind, Event, EventKind, FailureKind, Mode,
    OnConflict, OutcomeState, Status,
};
use taskq_e2e::{Fixture, PATIENCE, emptied, in_every_mode, until};

in_every_mode!(
    a_waiting_task_is_cancelled_and_never_runs,
    a_delayed_task_is_cancelled_out_of_its_plan,
    a_task_that_waits_for_a_retry_is_cancelled,
    a_running_task_that_listens_stops_by_itself_when_it_is_cancelled,
    a_running_task_that_does_not_listen_is_dropped_when_it_is_cancelled,
    a_task_that_finishes_in_spite_of_a_wish_has_succeeded,
    a_blocking_task_is_left_behind_when_it_is_cancelled,
    cancelling_what_has_ended_is_too_late,
    a_task_past_its_deadline_expires_without_a_run,
    a_running_task_is_stopped_at_its_deadline,
    a_batch_is_sent_all_or_none,
    a_conflict_is_refused_if_the_sender_wants_that,
    a_conflict_replaces_the_other_if_the_sender_wants_that,
    a_predicate_says_which_errors_are_retried,
    a_dead_letter_has_the_message_and_every_attempts_error,
    a_replayed_dead_letter_is_the_same_task_with_its_history,
    a_discarded_dead_letter_is_gone,
    a_failure_tells_where_it_panicked,
    progress_and_log_are_seen_while_it_runs_and_after,
    what_happens_is_told_as_events,
    a_message_that_kills_its_workers_is_put_in_quarantine,
    an_innocent_message_survives_the_crashes_of_its_neighbour,
);

/// How often each key was run.
static RUNS: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

fn count(key: &str) -> u32 {
    let mut runs = RUNS.lock().unwrap();
    let count = runs
        .get_or_insert_default()
        .entry(key.to_owned())
        .or_default();
    *count += 1;
    *count
}

fn runs(key: &str) -> u32 {
    let runs = RUNS.lock().unwrap();
    let count = runs.as_ref().and_then(|runs| runs.get(key));
    count.copied().unwrap_or(0)
}

/// A key of its own for each test.
fn key(system: &Fixture, test: &str) -> String {
    format!("{test}-{}", system.mode())
}

#[task]
async fn note(key: String) -> u32 {
    count(&key)
}

/// Runs until it is cancelled, and says so.
#[task]
async fn listen(ctx: Context, key: String) -> Result<u32, TaskError> {
    count(&key);
    ctx.cancelled().await;
    Err("told to stop".into())
}

/// Finishes what it does, cancelled or not.
#[task]
async fn insist(ctx: Context, key: String) -> u32 {
    count(&key);
    ctx.cancelled().await;
    42
}

#[task]
async fn hang(key: String) {
    count(&key);
    std::future::pending::<()>().await;
}

#[task]
fn hang_on_a_thread(ctx: Context, key: String) {
    count(&key);
    let limit = std::time::Instant::now() + PATIENCE;
    // Longer than it should be waited for.
    while std::time::Instant::now() < limit && !ctx.is_cancelled() {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_secs(8));
    count(&format!("{key}-over"));
}

async fn a_waiting_task_is_cancelled_and_never_runs(system: Fixture) {
    let client = system.client().await;
    if system.mode() == Mode::Core {
        // Nothing waits there, and nobody is there to ask.
        let error = client.cancel("1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        return;
    }
    let key = key(&system, "waiting");
    let handle = note::enqueue(&client, key.as_str()).await.unwrap();
    let wish = handle.cancel().by("ada").because("not needed");
    assert_eq!(wish.await.unwrap(), Cancellation::Cancelled);
    // Also for who waits already, and for who comes later.
    let error = handle.result().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(
        error.to_string().contains("cancelled by ada: not needed"),
        "{error}"
    );
    let outcome = client.handle::<u32>(handle.id().clone()).outcome().await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.cancelled_by.as_deref(), Some("ada"));
    assert_eq!(
        (outcome.state, outcome.attempt),
        (OutcomeState::Cancelled, 0)
    );

    let _worker = system.worker().await;
    let other = note::enqueue(&client, "other").await.unwrap();
    other.result().await.unwrap();
    assert_eq!(runs(&key), 0);
    emptied(&client, "default").await;
}

async fn a_delayed_task_is_cancelled_out_of_its_plan(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let key = key(&system, "delayed");
    let call = note::call(key.as_str()).delay(4.seconds());
    let handle = call.enqueue(&client).await.unwrap();
    assert_eq!(handle.status().await.unwrap(), Status::Scheduled);
    assert_eq!(handle.cancel().await.unwrap(), Cancellation::Cancelled);
    let _worker = system.worker().await;
    // One that is due later has run: the first would have, too.
    let later = note::call("later").delay(4.seconds());
    let later = later.enqueue(&client).await.unwrap();
    later.result().await.unwrap();
    assert_eq!(runs(&key), 0);
    assert_eq!(
        handle.status().await.unwrap(),
        Status::Done(OutcomeState::Cancelled)
    );
}

#[task(retries = 5, backoff = "constant(1h, no jitter)")]
async fn fail_at_first(key: String) -> Result<u32, TaskError> {
    count(&key);
    Err("not yet".into())
}

async fn a_task_that_waits_for_a_retry_is_cancelled(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "retrying");
    let handle = fail_at_first::enqueue(&client, key.as_str()).await.unwrap();
    until("it waits for its retry", || worker.stats.retried() == 1).await;
    let limit = tokio::time::Instant::now() + PATIENCE;
    while handle.status().await.unwrap() != Status::Scheduled {
        assert!(
            tokio::time::Instant::now() < limit,
            "in vain: it is planned"
        );
    }
    assert_eq!(handle.cancel().await.unwrap(), Cancellation::Cancelled);
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(
        (outcome.state, outcome.attempt),
        (OutcomeState::Cancelled, 1)
    );
    assert_eq!(outcome.attempts.len(), 1);
    assert_eq!(outcome.attempts[0].error.message, "not yet");
    assert_eq!(client.queues().await.unwrap()[0].scheduled, 0);
}

async fn a_running_task_that_listens_stops_by_itself_when_it_is_cancelled(system: Fixture) {
    let worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "listens");
    let call = listen::call(key.as_str()).retries(3);
    let handle = call.enqueue(&client).await.unwrap();
    until("it runs", || runs(&key) == 1).await;
    let wish = handle.cancel().by("ada").await.unwrap();
    // It may be quick.
    let known = [Cancellation::Requested, Cancellation::Cancelled];
    assert!(known.contains(&wish), "{wish:?}");
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(
        (outcome.state, outcome.attempt),
        (OutcomeState::Cancelled, 1)
    );
    assert_eq!(outcome.cancelled_by.as_deref(), Some("ada"));
    assert_eq!(worker.stats.cancelled(), 1);
    assert_eq!(runs(&key), 1, "stopping is no failure to try again");
}

async fn a_running_task_that_does_not_listen_is_dropped_when_it_is_cancelled(system: Fixture) {
    let set = |worker: taskq::WorkerBuilder| worker.cancel_grace(2.minutes());
    let _worker = system.worker_with(set).await;
    let client = system.client().await;
    let key = key(&system, "deaf");
    let handle = hang::enqueue(&client, key.as_str()).await.unwrap();
    until("it runs", || runs(&key) == 1).await;
    let asked = std::time::Instant::now();
    handle.cancel().await.unwrap();
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Cancelled);
    assert!(
        asked.elapsed() < Duration::from_secs(60),
        "without the grace"
    );
}

async fn a_task_that_finishes_in_spite_of_a_wish_has_succeeded(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "insists");
    let handle = insist::enqueue(&client, key.as_str()).await.unwrap();
    until("it runs", || runs(&key) == 1).await;
    let wish = handle.cancel().await.unwrap();
    // It may be quick.
    let late = Cancellation::TooLate(OutcomeState::Succeeded);
    assert!([Cancellation::Requested, late].contains(&wish), "{wish:?}");
    assert_eq!(handle.result().await.unwrap(), 42);
    if system.mode() != Mode::Core {
        let late = handle.cancel().await.unwrap();
        assert_eq!(late, Cancellation::TooLate(OutcomeState::Succeeded));
    }
}

async fn a_blocking_task_is_left_behind_when_it_is_cancelled(system: Fixture) {
    let set = |worker: taskq::WorkerBuilder| worker.cancel_grace(100.millis());
    let _worker = system.worker_with(set).await;
    let client = system.client().await;
    let key = key(&system, "thread");
    let handle = hang_on_a_thread::enqueue(&client, key.as_str()).await;
    let handle = handle.unwrap();
    until("it runs", || runs(&key) == 1).await;
    handle.cancel().await.unwrap();
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Cancelled);
    assert_eq!(runs(&format!("{key}-over")), 0, "it still runs");
}

async fn cancelling_what_has_ended_is_too_late(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let handle = note::enqueue(&client, "ended").await.unwrap();
    handle.result().await.unwrap();
    let late = handle.cancel().await.unwrap();
    assert_eq!(late, Cancellation::TooLate(OutcomeState::Succeeded));
    let error = client.cancel("nothing").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

async fn letters(client: &Client) -> Vec<DeadLetter> {
    let letters = admin::dead_letters(client, DeadFilter::default()).await;
    letters.unwrap().try_collect().await.unwrap()
}

/// A letter is written when the outcome is there, so a moment after it is
/// told of.
async fn letter(client: &Client) -> DeadLetter {
    let limit = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut found = letters(client).await;
        if let Some(letter) = found.pop() {
            assert!(found.is_empty(), "{found:?}");
            return letter;
        }
        assert!(tokio::time::Instant::now() < limit, "in vain: a letter");
    }
}

async fn a_task_past_its_deadline_expires_without_a_run(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let key = key(&system, "late");
    let call = note::call(key.as_str()).deadline(50.millis());
    let handle = call.enqueue(&client).await.unwrap();
    let intime = note::call("in time").deadline(1.hour());
    let intime = intime.enqueue(&client).await.unwrap();
    let over = tokio::time::Instant::now() + Duration::from_millis(60);
    tokio::time::sleep_until(over).await;
    let worker = system.worker().await;
    let error = handle.result().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Expired);
    intime.result().await.unwrap();
    assert_eq!((runs(&key), worker.stats.expired()), (0, 1));
    let letter = letter(&client).await;
    assert_eq!(
        (letter.reason, &letter.id),
        (DeadReason::Expired, handle.id())
    );
}

async fn a_running_task_is_stopped_at_its_deadline(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "overdue");
    let call = hang::call(key.as_str()).deadline(4.seconds()).retries(5);
    let error = call.enqueue(&client).await.unwrap().result().await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TaskFailed);
    assert_eq!(error.failure().unwrap().kind, FailureKind::Deadline);
    assert_eq!(runs(&key), 1, "no time is left for another attempt");
}

async fn a_batch_is_sent_all_or_none(system: Fixture) {
    let client = system.client().await;
    let batch = |from: u32, to: u32| {
        let key = key(&system, "batch");
        (from..to).map(move |n| note::call(format!("{key}-{n}")).id(format!("batch-{n}")))
    };
    let sent = client.enqueue_atomic(batch(0, 500)).await;
    if system.mode() == Mode::Core {
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let handles = sent.unwrap();
    assert_eq!(client.queues().await.unwrap()[0].pending, 500);
    // One that is there keeps all others out.
    let error = client.enqueue_atomic(batch(499, 600)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Duplicate);
    assert_eq!(client.queues().await.unwrap()[0].pending, 500);
    // The same again is the same.
    let again = client.enqueue_atomic(batch(0, 500)).await.unwrap();
    assert!(again.iter().all(taskq::TaskHandle::is_existing));
    let _worker = system.worker().await;
    for handle in &handles {
        assert_eq!(handle.result().await.unwrap(), 1);
    }
    let again = client.enqueue_atomic(batch(0, 500)).await.unwrap();
    assert!(again[0].is_existing(), "though they have ended");
    for (calls, told) in [
        (
            vec![note::call("a").queue("b"), note::call("a")],
            "another queue",
        ),
        (vec![note::call("a").delay(1.hour())], "put off"),
        (vec![note::call("a").unique()], "unique"),
        ((0..1001).map(|_| note::call("a")).collect(), "too many"),
    ] {
        let error = client.enqueue_atomic(calls).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(told), "{error}");
    }
    assert!(
        client
            .enqueue_atomic(Vec::<taskq::Call<note>>::new())
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_conflict_is_refused_if_the_sender_wants_that(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let call = || note::call("same").unique().on_conflict(OnConflict::Reject);
    let first = call().enqueue(&client).await.unwrap();
    let error = call().enqueue(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Duplicate);
    assert!(error.to_string().contains(first.id().as_str()), "{error}");
    let _worker = system.worker().await;
    first.result().await.unwrap();
    // Done, so the next is another task.
    let limit = tokio::time::Instant::now() + PATIENCE;
    while call().enqueue(&client).await.is_err() {
        assert!(
            tokio::time::Instant::now() < limit,
            "in vain: the lock is free"
        );
    }
}

async fn a_conflict_replaces_the_other_if_the_sender_wants_that(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let key = key(&system, "replaced");
    let call = || {
        listen::call(key.as_str())
            .unique_key("it")
            .on_conflict(OnConflict::Replace)
    };
    // One that waits, one that is put off, and one that runs.
    let waiting = call().enqueue(&client).await.unwrap();
    let delayed = call().delay(1.hour()).enqueue(&client).await.unwrap();
    assert!(!delayed.is_existing());
    let outcome = waiting.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Cancelled);
    let told = outcome.error.unwrap().message;
    assert!(
        told.contains(&format!("replaced by {}", delayed.id())),
        "{told}"
    );
    let running = call().enqueue(&client).await.unwrap();
    let outcome = delayed.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Cancelled);
    let _worker = system.worker().await;
    until("it runs", || runs(&key) == 1).await;
    let last = call().enqueue(&client).await.unwrap();
    assert_eq!(
        running.outcome().await.unwrap().state,
        OutcomeState::Cancelled
    );
    until("the last one runs", || runs(&key) == 2).await;
    // Its lock is its own: those that were replaced have not taken it along.
    let refused = call().on_conflict(OnConflict::Reject);
    let error = refused.enqueue(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Duplicate);
    last.cancel().await.unwrap();
}

fn is_worth_it(error: &TaskError) -> bool {
    error.to_string().contains("busy")
}

#[task(retries = 3, backoff = "constant(1ms)", retry_if = is_worth_it)]
async fn call_out(key: String, error: String) -> Result<u32, TaskError> {
    count(&key);
    Err(error.into())
}

async fn a_predicate_says_which_errors_are_retried(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let (busy, wrong) = (key(&system, "busy"), key(&system, "wrong"));
    let call = call_out::enqueue(&client, busy.as_str(), "busy").await;
    call.unwrap().result().await.unwrap_err();
    let call = call_out::enqueue(&client, wrong.as_str(), "no such user").await;
    call.unwrap().result().await.unwrap_err();
    assert_eq!((runs(&busy), runs(&wrong)), (4, 1));
}

static HEALED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[task(retries = 2, backoff = "constant(1ms)")]
async fn need_healing(ctx: Context, key: String) -> Result<u32, TaskError> {
    if HEALED.lock().unwrap().contains(&key) {
        return Ok(ctx.attempt());
    }
    Err(format!("broken at {}", ctx.attempt()).into())
}

async fn a_dead_letter_has_the_message_and_every_attempts_error(system: Fixture) {
    let worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "letter");
    let call = need_healing::call(key.as_str()).label("tenant", "acme");
    let handle = call.enqueue(&client).await.unwrap();
    let outcome = handle.outcome().await.unwrap();
    assert_eq!((outcome.state, outcome.attempt), (OutcomeState::Failed, 3));
    assert_eq!(outcome.dead, Some(DeadReason::Exhausted));
    let earlier: Vec<&str> = outcome
        .attempts
        .iter()
        .map(|failed| failed.error.message.as_str())
        .collect();
    assert_eq!(earlier, ["broken at 1", "broken at 2"]);
    if system.mode() == Mode::Core {
        assert!(letters(&client).await.is_empty());
        return;
    }
    let letter = letter(&client).await;
    assert_eq!(
        (&letter.id, letter.task.as_str()),
        (handle.id(), "need_healing")
    );
    assert_eq!(letter.reason, DeadReason::Exhausted);
    assert_eq!(letter.error, "broken at 3");
    let attempts: Vec<(u32, &str)> = letter
        .attempts
        .iter()
        .map(|failed| (failed.attempt, failed.error.message.as_str()))
        .collect();
    assert_eq!(
        attempts,
        [(1, "broken at 1"), (2, "broken at 2"), (3, "broken at 3")]
    );
    assert!(
        letter
            .attempts
            .iter()
            .all(|failed| failed.worker == worker.name
                && failed.started_at <= failed.finished_at
                && failed.finished_at <= letter.dead_at)
    );
    let labels = letter.labels().unwrap();
    assert_eq!(labels.get("tenant").unwrap().as_str(), Some("acme"));
    // By what it is found.
    for (filter, found) in [
        (
            DeadFilter {
                task: Some("need_healing".into()),
                ..Default::default()
            },
            1,
        ),
        (
            DeadFilter {
                task: Some("other".into()),
                ..Default::default()
            },
            0,
        ),
        (
            DeadFilter {
                queue: Some("default".into()),
                ..Default::default()
            },
            1,
        ),
        (
            DeadFilter {
                id: Some(letter.id.clone()),
                ..Default::default()
            },
            1,
        ),
        (
            DeadFilter {
                reason: Some(DeadReason::Permanent),
                ..Default::default()
            },
            0,
        ),
        (
            DeadFilter {
                error: Some("BROKEN AT".into()),
                ..Default::default()
            },
            1,
        ),
        (
            DeadFilter {
                since: Some(letter.dead_at.plus(1.millis())),
                ..Default::default()
            },
            0,
        ),
        (
            DeadFilter {
                until: Some(letter.dead_at.plus(1.millis())),
                ..Default::default()
            },
            1,
        ),
    ] {
        let told = format!("{filter:?}");
        let letters = admin::dead_letters(&client, filter).await.unwrap();
        assert_eq!(letters.count().await, found, "{told}");
    }
}

async fn a_replayed_dead_letter_is_the_same_task_with_its_history(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "replayed");
    let handle = need_healing::enqueue(&client, key.as_str()).await.unwrap();
    handle.result().await.unwrap_err();
    let first = letter(&client).await;
    // Once in vain: it is a letter again, and remembers.
    let replay = admin::replay(&client, &first, "ada").await.unwrap();
    assert_eq!(replay, Replay::Sent);
    let again = client.handle::<u32>(handle.id().clone());
    assert!(again.result().await.is_err());
    let second = letter(&client).await;
    assert_eq!((&second.id, second.replays), (handle.id(), 1));
    assert_eq!(second.attempts.len(), 6);
    HEALED.lock().unwrap().push(key);
    assert_eq!(
        admin::replay(&client, &second, "ada").await.unwrap(),
        Replay::Sent
    );
    let again = client.handle::<u32>(handle.id().clone());
    let outcome = again.outcome().await.unwrap();
    assert_eq!((outcome.value::<u32>().unwrap(), outcome.attempt), (7, 7));
    assert_eq!(outcome.attempts.len(), 6);
    assert!(letters(&client).await.is_empty());
    // A letter that somebody still holds is no longer true.
    assert_eq!(
        admin::replay(&client, &second, "ada").await.unwrap(),
        Replay::Ended(OutcomeState::Succeeded)
    );
    assert_eq!(again.outcome().await.unwrap().attempt, 7);
}

async fn a_discarded_dead_letter_is_gone(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let handle = need_healing::enqueue(&client, "never").await.unwrap();
    handle.result().await.unwrap_err();
    let letter = letter(&client).await;
    assert!(admin::discard(&client, &letter, "ada").await.unwrap());
    assert!(!admin::discard(&client, &letter, "ada").await.unwrap());
    assert!(letters(&client).await.is_empty());
    // The outcome is not the letter's.
    assert_eq!(
        handle.status().await.unwrap(),
        Status::Done(OutcomeState::Failed)
    );
}

#[task]
async fn explode() {
    panic!("boom")
}

#[task]
fn explode_on_a_thread() {
    panic!("bang")
}

async fn a_failure_tells_where_it_panicked(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let explode = explode::enqueue(&client).await.unwrap();
    let thread = explode_on_a_thread::enqueue(&client).await.unwrap();
    for handle in [explode, thread] {
        let error = handle.outcome().await.unwrap().error.unwrap();
        assert_eq!(error.kind, FailureKind::Panic);
        let place = error.backtrace.unwrap();
        assert!(place.contains("promises.rs:"), "{place}");
    }
}

#[task]
async fn import(ctx: Context, lines: u64) -> u64 {
    ctx.log("begun");
    for done in 1..=lines {
        ctx.progress(done, lines, format!("line {done}"));
        tokio::task::yield_now().await;
    }
    ctx.cancelled().await;
    lines
}

async fn progress_and_log_are_seen_while_it_runs_and_after(system: Fixture) {
    let _worker = system.worker().await;
    let client = system.client().await;
    let since = std::time::Instant::now();
    let handle = import::enqueue(&client, 1000).await.unwrap();
    let mut steps = handle.progress().await.unwrap().boxed();
    let mut seen = 0;
    while let Some(step) = steps.next().await {
        let step = step.unwrap();
        seen += 1;
        assert_eq!((step.total, step.attempt), (1000, 1));
        assert_eq!(step.message, format!("line {}", step.done));
        if step.done == 1000 {
            handle.cancel().await.unwrap();
        }
    }
    // At most ten a second; the last one comes in any case.
    let most = 2 + since.elapsed().as_millis() / 100;
    assert!((1..=most).contains(&seen), "{seen} steps, not {most}");
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Succeeded);
    assert_eq!(outcome.log.as_deref(), Some("begun\n"));
}

#[task(retries = 1, backoff = "constant(1ms)")]
async fn stumble(ctx: Context) -> Result<u32, TaskError> {
    match ctx.attempt() {
        1 => Err("stumbled".into()),
        n => Ok(n),
    }
}

async fn what_happens_is_told_as_events(system: Fixture) {
    let client = system.client().await;
    let events = |filter: &str, follow: bool| {
        let filter: EventFilter = filter.parse().unwrap();
        let since = (!follow).then(|| taskq::Timestamp::from_millis(0));
        admin::events(&client, filter, since, follow)
    };
    let live = events("", true).await.unwrap();
    let worker = system.worker().await;
    let (name, stats) = (worker.name.clone(), worker.stats.clone());
    let handle = stumble::enqueue(&client).await.unwrap();
    handle.result().await.unwrap();
    worker.drain().await;
    assert_eq!(stats.retried(), 1);
    let mut seen: Vec<Event> = Vec::new();
    let mut live = live.boxed();
    // Outcomes come another way than the rest, so their order may differ. A start that was
    // over before it was told is in the outcome, and the first attempt may leave none.
    let expected = [
        EventKind::WorkerUp,
        EventKind::Retrying,
        EventKind::Started,
        EventKind::Succeeded,
        EventKind::WorkerDown,
    ];
    let has = |seen: &[Event], kind| seen.iter().any(|event| event.kind == kind);
    while !expected.iter().all(|kind| has(&seen, *kind)) {
        let next = tokio::time::timeout(PATIENCE, live.next()).await;
        seen.push(next.unwrap().unwrap().unwrap());
    }
    let of = |kind| seen.iter().filter(|event| event.kind == kind).count();
    assert_eq!(of(EventKind::WorkerUp), 1, "{seen:?}");
    assert_eq!(of(EventKind::Retrying), 1, "{seen:?}");
    assert_eq!(of(EventKind::Succeeded), 1, "{seen:?}");
    assert!(
        seen.iter()
            .all(|event| event.worker.as_deref() == Some(name.as_str()))
    );
    let retrying = seen.iter().find(|event| event.kind == EventKind::Retrying);
    let retrying = retrying.unwrap();
    assert_eq!(retrying.id.as_ref(), Some(handle.id()));
    assert_eq!(retrying.detail["error"], "stumbled");
    if system.mode() == Mode::Core {
        return;
    }
    // And afterwards, from what is kept.
    let past = events("event=retrying,succeeded task=stumble", false).await;
    let past: Vec<Event> = past.unwrap().try_collect().await.unwrap();
    let kinds: Vec<EventKind> = past.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Retrying, EventKind::Succeeded]);
    let none = events("task=other", false).await.unwrap();
    assert_eq!(none.count().await, 0);
}

/// A worker that notices soon when another is gone.
fn quick(worker: taskq::WorkerBuilder) -> taskq::WorkerBuilder {
    worker.lease(2.seconds())
}

async fn a_message_that_kills_its_workers_is_put_in_quarantine(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let key = key(&system, "killer");
    let handle = hang::enqueue(&client, key.as_str()).await.unwrap();
    let mut killed = Vec::new();
    for death in 1..=3 {
        let worker = system.worker_with(quick).await;
        until("it runs", || runs(&key) == death).await;
        killed.push(worker.name.clone());
        worker.crash().await;
    }
    let worker = system.worker_with(quick).await;
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Failed);
    let error = outcome.error.unwrap();
    assert_eq!(error.kind, FailureKind::Crashed);
    assert_eq!(runs(&key), 3, "the fourth worker does not run it");
    let letter = letter(&client).await;
    assert_eq!(letter.reason, DeadReason::Crashed);
    let blamed: Vec<&str> = letter.crashes.iter().map(|it| it.worker.as_str()).collect();
    // Of the first delivery nothing is written down.
    assert_eq!(blamed, [&killed[1], &killed[2]]);
    // The queue keeps moving.
    let alive = note::enqueue(&client, "alive").await.unwrap();
    alive.result().await.unwrap();
    drop(worker);
}

/// Long enough to be there when its neighbour strikes.
#[task]
async fn linger(key: String) {
    count(&key);
    tokio::time::sleep(Duration::from_millis(200)).await;
}

async fn an_innocent_message_survives_the_crashes_of_its_neighbour(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let (killer, innocent) = (key(&system, "guilty"), key(&system, "innocent"));
    let killing = hang::enqueue(&client, killer.as_str()).await.unwrap();
    let mut others = Vec::new();
    for n in 0..5 {
        let call = linger::enqueue(&client, format!("{innocent}-{n}")).await;
        others.push(call.unwrap());
    }
    for death in 1.. {
        let worker = system.worker_with(quick).await;
        let dead = tokio::select! {
            outcome = killing.outcome() => Some(outcome.unwrap()),
            () = until("it runs", || runs(&killer) == death) => None,
        };
        match dead {
            None => worker.crash().await,
            Some(outcome) => {
                let error = outcome.error.unwrap();
                assert_eq!(error.kind, FailureKind::Crashed);
                for other in &others {
                    other.result().await.unwrap();
                }
                return;
            }
        }
        assert!(death < 6, "it is not put in quarantine");
    }
}
