//! What is put off: how late it starts, and how it is listed, moved, started
//! now, in every mode. Where a promise differs, the test says how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use taskq::admin::{self, DelayedFilter, DelayedTask};
use taskq::prelude::*;
use taskq::{
    Cancellation, ErrorKind, EventKind, Mode, OutcomeState, Rescheduled, Status, Timestamp,
};
use taskq_e2e::faults::eventually;
use taskq_e2e::{Fixture, PATIENCE, in_every_mode, until};

in_every_mode!(
    a_lone_task_starts_at_its_time_however_short_the_delay,
    a_retry_comes_after_its_wait_however_short,
    how_late_a_task_starts_is_on_record,
    what_waits_for_a_moment_takes_no_slot,
    a_task_that_is_due_in_a_moment_is_cancelled,
    what_waits_for_a_moment_is_handed_back_by_a_worker_that_stops,
    what_is_put_off_is_listed,
    a_task_that_is_put_off_is_moved,
    a_task_that_is_put_off_is_started_now_and_once,
    a_task_that_waits_for_a_retry_is_started_now,
    a_retry_is_not_moved_past_its_deadline,
    what_is_not_put_off_is_not_moved,
    a_task_that_is_started_when_it_falls_due_runs_once,
    a_task_that_is_cancelled_and_started_has_one_end,
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

/// When it was to start, and when it did.
#[task]
async fn times(ctx: Context) -> (Option<i64>, i64) {
    let due = ctx.due().map(Timestamp::as_millis);
    (due, ctx.started_at().as_millis())
}

#[task(retries = 3, backoff = "constant(60ms)")]
async fn second_time_lucky(ctx: Context) -> Result<u32, TaskError> {
    match ctx.attempt() {
        1 => Err("not yet".into()),
        attempt => Ok(attempt),
    }
}

#[task(retries = 3, backoff = "constant(1h, no jitter)")]
async fn in_an_hour(ctx: Context, key: String) -> Result<u32, TaskError> {
    count(&key);
    match ctx.attempt() {
        1 => Err("not yet".into()),
        attempt => Ok(attempt),
    }
}

/// Waits until nothing is put off: what is moved or cancelled is there for a moment longer.
async fn until_none_is_listed(client: &Client) {
    eventually("nothing is put off", async || {
        let left = listed(client, DelayedFilter::default()).await;
        left.is_empty().then_some(())
    })
    .await;
}

/// Tries again what must be seen before a time that is a moment ahead, until this machine is
/// quick enough to see it.
async fn until_in_time(mut attempt: impl AsyncFnMut(u32) -> bool) {
    let limit = Instant::now() + PATIENCE;
    let mut time = 0;
    while !attempt(time).await {
        assert!(Instant::now() < limit, "never in time");
        time += 1;
    }
}

/// Whether nothing can be put off in this mode; then that is told.
async fn refused(system: &Fixture) -> bool {
    if system.mode() != Mode::Core {
        return false;
    }
    let client = system.client().await;
    let _worker = system.worker().await;
    let sent = note::call("core").delay(1.second()).enqueue(&client).await;
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::Unsupported);
    let moved = client.run_now("1").await;
    assert_eq!(moved.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(listed(&client, DelayedFilter::default()).await.is_empty());
    true
}

async fn listed(client: &Client, filter: DelayedFilter) -> Vec<DelayedTask> {
    let delayed = admin::delayed(client, filter).await.unwrap();
    delayed.try_collect().await.unwrap()
}

fn hour() -> Duration {
    1.hour()
}

async fn a_lone_task_starts_at_its_time_however_short_the_delay(system: Fixture) {
    if refused(&system).await {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    // The first is slow: it makes the queue.
    times::enqueue(&client)
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    for delay in [10u64, 60, 260, 480, 520, 900] {
        let mut late = Vec::new();
        for _ in 0..5 {
            let delay = Duration::from_millis(delay);
            let sent = Instant::now();
            let handle = times::call().delay(delay).enqueue(&client).await.unwrap();
            let status = handle.status().await.unwrap();
            if sent.elapsed() < delay {
                assert_eq!(status, Status::Scheduled);
            }
            let (due, started) = handle.result().await.unwrap();
            let of_it = started - due.unwrap();
            assert!(of_it >= 0, "{of_it} ms late");
            late.push(of_it);
        }
        late.sort_unstable();
        println!("{delay} ms: late by {late:?} ms");
        // Not each: the machine may be busy. What the server fires by itself would be late by
        // up to a second.
        assert!(late[0] <= 100, "{delay} ms: late by {late:?} ms");
    }
}

async fn a_retry_comes_after_its_wait_however_short(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let mut late = Vec::new();
    for _ in 0..5 {
        let handle = second_time_lucky::enqueue(&client).await.unwrap();
        assert_eq!(handle.result().await.unwrap(), 2);
        let outcome = handle.outcome().await.unwrap();
        let failed = outcome.attempts[0].finished_at;
        let due = outcome.due_at.unwrap();
        let waited = due.as_millis() - failed.as_millis();
        // With jitter, by a clock that counts whole milliseconds, on a machine that may be busy.
        assert!((0..=1000).contains(&waited), "{waited} ms");
        late.push(outcome.lateness().unwrap());
    }
    late.sort_unstable();
    println!("late by {late:?}");
    assert!(late[0] <= 100.millis(), "late by {late:?}");
}

async fn how_late_a_task_starts_is_on_record(system: Fixture) {
    if refused(&system).await {
        return;
    }
    let client = system.client().await;
    let delay = 300.millis();
    let put_off = times::call().delay(delay).enqueue(&client).await.unwrap();
    let plain = times::enqueue(&client).await.unwrap();
    // Nobody is there when it is due.
    tokio::time::sleep(700.millis()).await;
    let worker = system.worker().await;
    let (due, started) = put_off.result().await.unwrap();
    let outcome = put_off.outcome().await.unwrap();
    assert_eq!(outcome.due_at.map(Timestamp::as_millis), due);
    assert_eq!(outcome.started_at.unwrap().as_millis(), started);
    let late = outcome.lateness().unwrap();
    assert!(late >= 350.millis(), "{late:?}");
    assert_eq!(plain.result().await.unwrap().0, None);
    assert_eq!(plain.outcome().await.unwrap().lateness(), None);
    let told = worker.stats.lateness();
    assert_eq!((told.count, told.max, told.sum), (1, late, late));
    let within = |bound: Duration| {
        let of_bound = told.buckets.iter().find(|(it, _)| *it == bound);
        of_bound.unwrap().1
    };
    assert_eq!((within(200.millis()), within(600.seconds())), (0, 1));
}

async fn what_waits_for_a_moment_takes_no_slot(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker_with(|worker| worker.concurrency(1)).await;
    let client = system.client().await;
    note::enqueue(&client, key(&system, "first"))
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    let key = key(&system, "slot");
    until_in_time(async |time| {
        let key = format!("{key}-{time}");
        let due = Instant::now() + 450.millis();
        let put_off = note::call(key.as_str()).delay(450.millis());
        let put_off = put_off.enqueue(&client).await.unwrap();
        let urgent = note::enqueue(&client, key.as_str()).await.unwrap();
        let first = urgent.result().await.unwrap();
        let in_time = Instant::now() < due;
        let then = put_off.result().await.unwrap();
        if in_time {
            assert_eq!((first, then), (1, 2));
        }
        in_time
    })
    .await;
}

async fn a_task_that_is_due_in_a_moment_is_cancelled(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let key = key(&system, "moment");
    until_in_time(async |time| {
        let key = format!("{key}-{time}");
        let due = Instant::now() + 450.millis();
        let call = note::call(key.as_str()).delay(450.millis());
        let handle = call.enqueue(&client).await.unwrap();
        let told = handle.cancel().await.unwrap();
        let in_time = Instant::now() < due;
        // A worker that has it acts upon the wish when it is due.
        let outcome = handle.outcome().await.unwrap();
        if !in_time {
            return false;
        }
        assert!(
            matches!(told, Cancellation::Cancelled | Cancellation::Requested),
            "{told:?}"
        );
        assert_eq!(outcome.state, OutcomeState::Cancelled);
        assert_eq!(runs(&key), 0);
        true
    })
    .await;
}

async fn what_waits_for_a_moment_is_handed_back_by_a_worker_that_stops(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let worker = || system.worker_with(|worker| worker.lease(2.minutes()));
    let key = key(&system, "handed-back");
    until_in_time(async |time| {
        let key = format!("{key}-{time}");
        let one = worker().await;
        note::enqueue(&client, format!("{key}-warm"))
            .await
            .unwrap()
            .result()
            .await
            .unwrap();
        let due = Instant::now() + 480.millis();
        let call = note::call(key.as_str()).delay(480.millis());
        let handle = call.enqueue(&client).await.unwrap();
        // It has it by now, and keeps it for its time.
        tokio::time::sleep(50.millis()).await;
        one.drain().await;
        let in_time = Instant::now() < due;
        let other = worker().await;
        let other_name = other.name.clone();
        let outcome = handle.outcome().await.unwrap();
        other.drain().await;
        if in_time {
            // Not counted as an attempt.
            let name = outcome.worker.as_str();
            assert_eq!((outcome.attempt, name), (1, other_name.as_str()));
            // Far less than a lease.
            assert!(outcome.lateness().unwrap() < 30.seconds(), "{outcome:?}");
            assert_eq!(runs(&key), 1);
        }
        in_time
    })
    .await;
}

async fn what_is_put_off_is_listed(system: Fixture) {
    if refused(&system).await {
        return;
    }
    let client = system.client().await;
    let _worker = system.worker().await;
    let key = key(&system, "listed");
    let mut ids = Vec::new();
    for hours in 1..=3 {
        let call = note::call(key.as_str()).delay(hours.hours());
        ids.push(call.enqueue(&client).await.unwrap().id().clone());
    }
    let elsewhere = note::call(key.as_str())
        .queue("elsewhere")
        .priority(Priority::High)
        .delay(hour());
    let elsewhere = elsewhere.enqueue(&client).await.unwrap();
    let retried = in_an_hour::enqueue(&client, key.as_str()).await.unwrap();
    while retried.status().await.unwrap() != Status::Scheduled {}

    let all = listed(&client, DelayedFilter::default()).await;
    assert_eq!(all.len(), 5);
    let of_queue = DelayedFilter {
        queue: Some("elsewhere".to_owned()),
        ..DelayedFilter::default()
    };
    let of_queue = listed(&client, of_queue).await;
    assert_eq!(of_queue.len(), 1);
    let one = &of_queue[0];
    assert_eq!((&one.id, one.attempt), (elsewhere.id(), 1));
    assert_eq!((one.task.as_str(), one.priority.as_str()), ("note", "high"));
    assert_eq!(one.kwargs["key"], key.as_str());
    let left = one.due.as_millis() - one.enqueued_at.as_millis();
    assert_eq!(left, 3_600_000);
    let of_task = DelayedFilter {
        task: Some("in_an_hour".to_owned()),
        ..DelayedFilter::default()
    };
    let of_task = listed(&client, of_task).await;
    assert_eq!((&of_task[0].id, of_task[0].attempt), (retried.id(), 2));
    let error = of_task[0].error.as_ref().unwrap();
    assert_eq!(error.error.message, "not yet");
    let soon = DelayedFilter {
        queue: Some("default".to_owned()),
        due_before: Some(Timestamp::now().plus(90.minutes())),
        retries: Some(false),
        ..DelayedFilter::default()
    };
    let soon = listed(&client, soon).await;
    assert_eq!(soon.iter().map(|it| &it.id).collect::<Vec<_>>(), [&ids[0]]);
    let late = DelayedFilter {
        due_after: Some(Timestamp::now().plus(90.minutes())),
        ..DelayedFilter::default()
    };
    assert_eq!(listed(&client, late).await.len(), 2);
    let by_id = DelayedFilter {
        id: Some(ids[1].clone()),
        ..DelayedFilter::default()
    };
    assert_eq!(listed(&client, by_id).await[0].id, ids[1]);
}

async fn a_task_that_is_put_off_is_moved(system: Fixture) {
    if refused(&system).await {
        return;
    }
    let client = system.client().await;
    let _worker = system.worker().await;
    let call = times::call().delay(hour()).priority(Priority::High);
    let handle = call
        .deadline(1.minute())
        .label("customer", "ada")
        .enqueue(&client)
        .await
        .unwrap();
    // Later, and then earlier; whoever moved it last counts.
    let later = Timestamp::now().plus(2.hours());
    assert_eq!(handle.reschedule(later).await.unwrap(), Rescheduled::Moved);
    let plan = &listed(&client, DelayedFilter::default()).await[0];
    assert_eq!((plan.due, plan.priority.as_str()), (later, "high"));
    let soon = Timestamp::now().plus(5.seconds());
    assert_eq!(handle.reschedule(soon).await.unwrap(), Rescheduled::Moved);
    assert_eq!(handle.status().await.unwrap(), Status::Scheduled);
    let (due, started) = handle.result().await.unwrap();
    assert_eq!(due, Some(soon.as_millis()));
    assert!(started >= soon.as_millis());
    let outcome = handle.outcome().await.unwrap();
    assert_eq!(outcome.labels["customer"], "ada");
    assert!(outcome.lateness().unwrap() < 30.seconds(), "{outcome:?}");
    // A moment ahead goes as exactly.
    let handle = times::call().delay(hour()).enqueue(&client).await.unwrap();
    let soon = Timestamp::now().plus(150.millis());
    assert_eq!(handle.reschedule(soon).await.unwrap(), Rescheduled::Moved);
    let (due, started) = handle.result().await.unwrap();
    assert_eq!(due, Some(soon.as_millis()));
    assert!(started >= soon.as_millis());
    // It is told.
    let since = Some(Timestamp::from_millis(0));
    let mut filter = admin::EventFilter::default();
    filter.kinds = vec![EventKind::Rescheduled];
    eventually("all three moves are told", async || {
        let events = admin::events(&client, filter.clone(), since, false).await;
        let told: Vec<_> = events.unwrap().try_collect().await.unwrap();
        assert!(told.len() <= 3, "{told:?}");
        (told.len() == 3).then_some(())
    })
    .await;
}

async fn a_task_that_is_put_off_is_started_now_and_once(system: Fixture) {
    if refused(&system).await {
        return;
    }
    let (client, other) = (system.client().await, system.client().await);
    let _worker = system.worker().await;
    for time in 0..10 {
        let key = format!("{}-{time}", key(&system, "now"));
        let call = note::call(key.as_str()).delay(hour());
        let handle = call.enqueue(&client).await.unwrap();
        let id = handle.id();
        let (one, two, three) = tokio::join!(
            client.run_now(id.clone()),
            other.run_now(id.clone()),
            other.run_now(id.clone()),
        );
        let told = [one, two, three].map(|told| told.unwrap());
        let moved = told.iter().filter(|told| **told == Rescheduled::Moved);
        assert_eq!(moved.count(), 1, "{told:?}");
        assert_eq!(handle.result().await.unwrap(), 1);
        assert!(handle.outcome().await.unwrap().lateness().unwrap() < 30.seconds());
        let again = client.run_now(id.clone()).await.unwrap();
        let done = Status::Done(OutcomeState::Succeeded);
        assert_eq!(again, Rescheduled::TooLate(done));
        assert_eq!(runs(&key), 1);
    }
}

async fn a_task_that_waits_for_a_retry_is_started_now(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let _worker = system.worker().await;
    let key = key(&system, "retry-now");
    let handle = in_an_hour::enqueue(&client, key.as_str()).await.unwrap();
    while handle.status().await.unwrap() != Status::Scheduled {}
    assert_eq!(handle.run_now().await.unwrap(), Rescheduled::Moved);
    assert_eq!(handle.result().await.unwrap(), 2);
    assert_eq!(runs(&key), 2);
    // Its history is kept.
    assert_eq!(handle.outcome().await.unwrap().attempts.len(), 1);
}

async fn a_retry_is_not_moved_past_its_deadline(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let _worker = system.worker().await;
    let call = in_an_hour::call(key(&system, "deadline")).deadline(2.hours());
    let handle = call.enqueue(&client).await.unwrap();
    while handle.status().await.unwrap() != Status::Scheduled {}
    let moved = handle.reschedule(Timestamp::now().plus(3.hours())).await;
    let error = moved.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("must have ended by"), "{error}");
}

async fn what_is_not_put_off_is_not_moved(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let handle = note::enqueue(&client, key(&system, "waiting"))
        .await
        .unwrap();
    let told = handle.run_now().await.unwrap();
    assert_eq!(told, Rescheduled::TooLate(Status::Waiting));
    let unknown = client.reschedule("nobody", Timestamp::now()).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
}

/// The wish comes when the server is about to act by itself.
async fn a_task_that_is_started_when_it_falls_due_runs_once(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let _worker = system.worker().await;
    let key = key(&system, "race");
    let due = Timestamp::now().plus(1.second());
    let calls = (0..60).map(|n| note::call(format!("{key}-{n}")).at(due));
    let handles: Vec<TaskHandle<u32>> = client.enqueue_many(calls).try_collect().await.unwrap();
    let wishes = handles.iter().enumerate().map(|(n, handle)| async move {
        // From a tenth of a second before it to a twentieth after.
        let early = 100 - i64::try_from(n).unwrap() * 5 / 2;
        let at = Timestamp::from_millis(due.as_millis() - early);
        tokio::time::sleep(at.since(Timestamp::now())).await;
        match n % 2 {
            0 => handle.run_now().await.unwrap(),
            _ => {
                let later = due.plus(300.millis());
                handle.reschedule(later).await.unwrap()
            }
        }
    });
    let told = futures::future::join_all(wishes).await;
    let moved = told.iter().filter(|told| **told == Rescheduled::Moved);
    println!("{} of 60 were moved, the rest were too late", moved.count());
    for handle in &handles {
        assert_eq!(handle.result().await.unwrap(), 1);
    }
    // Nothing is left that could run once more.
    until("nothing is left", || {
        (0..60).all(|n| runs(&format!("{key}-{n}")) == 1)
    })
    .await;
    until_none_is_listed(&client).await;
    tokio::time::sleep(600.millis()).await;
    assert!((0..60).all(|n| runs(&format!("{key}-{n}")) == 1));
}

async fn a_task_that_is_cancelled_and_started_has_one_end(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let (client, other) = (system.client().await, system.client().await);
    let _worker = system.worker().await;
    for time in 0..20 {
        let key = format!("{}-{time}", key(&system, "cancel"));
        let call = note::call(key.as_str()).delay(hour());
        let handle = call.enqueue(&client).await.unwrap();
        let (wish, started) = tokio::join!(
            async { client.cancel(handle.id().clone()).await.unwrap() },
            async { other.run_now(handle.id().clone()).await },
        );
        let outcome = handle.outcome().await.unwrap();
        match outcome.state {
            OutcomeState::Cancelled => {}
            OutcomeState::Succeeded => assert_eq!(runs(&key), 1, "{wish:?} {started:?}"),
            state => panic!("{state}: {wish:?} {started:?}"),
        }
        assert!(runs(&key) <= 1);
        if wish == Cancellation::Cancelled {
            assert_eq!(outcome.state, OutcomeState::Cancelled);
        }
    }
    until_none_is_listed(&client).await;
}
