//! Schedules, in every mode that keeps something.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use taskq::admin::{self, schedules};
use taskq::prelude::*;
use taskq::{ErrorKind, Misfire, Mode, OutcomeState, Overlap, ScheduleSource, Status, Timestamp};
use taskq_e2e::{Fixture, PATIENCE, in_every_mode, until};

in_every_mode!(
    every_time_fires_once_however_many_workers_there_are,
    what_is_planned_fires_with_nobody_left_to_plan,
    a_paused_schedule_does_not_fire_and_goes_on_from_where_it_is_resumed,
    a_removed_schedule_fires_no_more,
    a_changed_schedule_fires_once_for_each_time,
    two_versions_of_a_program_do_not_fire_twice,
    a_one_off_fires_once_and_a_past_one_is_refused,
    a_start_an_end_and_jitter_are_kept,
    a_call_keeps_its_arguments_and_its_options,
    what_is_run_by_hand_runs_at_once,
    fires_that_may_overlap_run_beside_each_other,
    a_fire_of_a_task_with_a_limit_waits_for_its_turn,
    a_fire_is_skipped_while_another_runs,
    one_fire_waits_while_another_runs,
    a_fire_replaces_the_one_that_runs,
    a_missed_fire_is_skipped_if_the_policy_says_so,
    of_missed_fires_the_latest_runs,
    all_missed_fires_within_the_window_run,
    a_declared_schedule_fires_and_an_operators_pause_outlives_a_deployment,
    an_operators_schedule_stands_in_the_place_of_a_declared_one,
    changes_are_told_as_events,
);

/// A nominal time, and whether what began for it ended.
type Moment = (i64, bool);

/// What ran, by key.
static RAN: Mutex<Option<HashMap<String, Vec<Moment>>>> = Mutex::new(None);

fn note(key: &str, ctx: &Context, end: bool) {
    let nominal = ctx.scheduled_for().map_or(0, Timestamp::as_millis);
    let mut ran = RAN.lock().unwrap();
    let of_key = ran.get_or_insert_default().entry(key.to_owned());
    of_key.or_default().push((nominal, end));
}

fn ran(key: &str) -> Vec<Moment> {
    let ran = RAN.lock().unwrap();
    let found = ran.as_ref().and_then(|ran| ran.get(key));
    found.cloned().unwrap_or_default()
}

/// The nominal times of what began.
fn fired(key: &str) -> Vec<i64> {
    let all = ran(key).into_iter();
    all.filter(|(_, end)| !end).map(|(at, _)| at).collect()
}

fn key(system: &Fixture, test: &str) -> String {
    format!("{test}-{}", system.mode())
}

#[task]
async fn mark(ctx: Context, key: String) {
    note(&key, &ctx, false);
}

#[task]
async fn hold(ctx: Context, key: String, millis: u64) {
    note(&key, &ctx, false);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    note(&key, &ctx, true);
}

/// Each second of those that were fired for, in order, once each and none
/// left out.
#[track_caller]
fn assert_each_second_once(fired: &[i64]) {
    let mut seconds = fired.to_vec();
    seconds.sort_unstable();
    for pair in seconds.windows(2) {
        assert_eq!(pair[1] - pair[0], 1000, "{seconds:?}");
    }
}

async fn every_time_fires_once_however_many_workers_there_are(system: Fixture) {
    let client = system.client().await;
    let key = key(&system, "once");
    let call = mark::call(key.as_str());
    let saving = client
        .schedule("each-second", call)
        .cron("* * * * * *")
        .save();
    if system.mode() == Mode::Core {
        let error = saving.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = schedules::list(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        return;
    }
    let _workers = [
        system.worker().await,
        system.worker().await,
        system.worker().await,
    ];
    saving.await.unwrap();
    until("six seconds", || fired(&key).len() >= 6).await;
    assert_each_second_once(&fired(&key));
}

async fn what_is_planned_fires_with_nobody_left_to_plan(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let key = key(&system, "nobody");
    let call = mark::call(key.as_str());
    let saved = client.schedule("nobody", call).cron("* * * * * *").save();
    let saved = saved.await.unwrap();
    let first = saved.next(saved.since, 1)[0];
    let info = schedules::get(&client, "nobody").await.unwrap();
    assert!(info.next.is_some());
    let limit = tokio::time::Instant::now() + PATIENCE;
    loop {
        let queues = client.queues().await.unwrap();
        if queues.iter().any(|queue| queue.pending >= 3) {
            break;
        }
        assert!(tokio::time::Instant::now() < limit, "in vain: {queues:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _worker = system.worker().await;
    until("they have run", || fired(&key).len() >= 3).await;
    assert_eq!(fired(&key).iter().min(), Some(&first.as_millis()));
    assert_each_second_once(&fired(&key));
}

async fn a_paused_schedule_does_not_fire_and_goes_on_from_where_it_is_resumed(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let (client, key) = (system.client().await, key(&system, "paused"));
    let _worker = system.worker().await;
    let call = mark::call(key.as_str());
    let saving = client
        .schedule("p", call)
        .cron("* * * * * *")
        .misfire(Misfire::All(1.hour()));
    saving.save().await.unwrap();
    until("it fires", || !fired(&key).is_empty()).await;
    assert!(schedules::pause(&client, "p", "ada", None).await.unwrap());
    assert!(!schedules::pause(&client, "p", "ada", None).await.unwrap());
    let info = schedules::get(&client, "p").await.unwrap();
    let paused = info.schedule.paused.clone().unwrap();
    assert_eq!((paused.by.as_str(), info.next), ("ada", None));
    // Others that are later have fired: these would have, too.
    let other = format!("{key}-other");
    let call = mark::call(other.as_str());
    let saving = client.schedule("q", call).cron("* * * * * *");
    saving.save().await.unwrap();
    until("the other fires", || fired(&other).len() >= 3).await;
    let last = fired(&key).into_iter().max().unwrap();
    assert!(last <= paused.at.as_millis());

    assert!(schedules::resume(&client, "p", "bob").await.unwrap());
    let resumed = schedules::get(&client, "p").await.unwrap().schedule;
    until("it goes on", || fired(&key).iter().any(|at| *at > last)).await;
    let next = fired(&key)
        .into_iter()
        .filter(|at| *at > last)
        .min()
        .unwrap();
    // What passed meanwhile is not made up for.
    assert!(next > resumed.since.as_millis());
    let mut all = fired(&key);
    all.sort_unstable();
    let before = all.len();
    all.dedup();
    assert_eq!(all.len(), before);
}

async fn a_removed_schedule_fires_no_more(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let (client, key) = (system.client().await, key(&system, "removed"));
    let _worker = system.worker().await;
    let call = mark::call(key.as_str());
    let saving = client.schedule("r", call).cron("* * * * * *").save();
    saving.await.unwrap();
    until("it fires", || !fired(&key).is_empty()).await;
    schedules::remove(&client, "r", "ada").await.unwrap();
    let last = fired(&key).into_iter().max().unwrap();
    let other = format!("{key}-other");
    let call = mark::call(other.as_str());
    let saving = client.schedule("s", call).cron("* * * * * *").save();
    saving.await.unwrap();
    until("the other fires", || fired(&other).len() >= 3).await;
    // One may have been under way.
    assert!(fired(&key).into_iter().all(|at| at <= last + 1000));
    let error = schedules::get(&client, "r").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = schedules::remove(&client, "r", "ada").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

async fn a_changed_schedule_fires_once_for_each_time(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let (client, key) = (system.client().await, key(&system, "changed"));
    let _workers = [system.worker().await, system.worker().await];
    // The same times again and again, in another queue now and then.
    for round in 0..12u32 {
        let call = mark::call(key.as_str()).label("round", round);
        let saving = client.schedule("c", call).cron("* * * * * *").save();
        saving.await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let changed = fired(&key).len();
    until("it goes on", || fired(&key).len() >= changed + 2).await;
    assert!(changed >= 2, "{changed}");
    assert_each_second_once(&fired(&key));
}

async fn two_versions_of_a_program_do_not_fire_twice(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let key = key(&system, "versions");
    let _worker = system.worker().await;
    // Two that set the same schedule differently, at the same moments.
    let (one, other) = (system.client().await, system.client().await);
    for _ in 0..6 {
        let set = async |client: &Client, jitter: u64| {
            let call = mark::call(key.as_str()).label("jitter", jitter);
            let saving = client.schedule("v", call).cron("* * * * * *");
            saving.save().await.unwrap();
        };
        tokio::join!(set(&one, 1), set(&other, 2));
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let before = fired(&key).len();
    until("it goes on", || fired(&key).len() >= before + 2).await;
    assert_each_second_once(&fired(&key));
}

async fn a_one_off_fires_once_and_a_past_one_is_refused(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let (client, key) = (system.client().await, key(&system, "one-off"));
    let _worker = system.worker().await;
    let at = Timestamp::now().plus(700.millis());
    let call = || mark::call(key.as_str());
    client.schedule("o", call()).at(at).save().await.unwrap();
    until("it fires", || !fired(&key).is_empty()).await;
    assert_eq!(fired(&key), [at.as_millis()]);
    let info = schedules::get(&client, "o").await.unwrap();
    assert_eq!(info.next, None);
    let past = client.schedule("past", call()).at(at).save().await;
    let error = past.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("would never fire"), "{error}");
    for bad in [
        client.schedule("bad", call()),
        client.schedule("bad", call()).cron("* * * *"),
        client.schedule("bad", call()).cron("@daily").tz("Berlin"),
        client.schedule("bad", call()).cron("@daily").at(at),
        client
            .schedule("bad", call().delay(1.second()))
            .cron("@daily"),
        client.schedule("bad", call().id("x")).cron("@daily"),
        client.schedule("bad", call().unique()).cron("@daily"),
        client.schedule("bad name", call()).cron("@daily"),
    ] {
        let error = bad.save().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

async fn a_start_an_end_and_jitter_are_kept(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let (client, key) = (system.client().await, key(&system, "bounds"));
    let _worker = system.worker().await;
    let second = Timestamp::now().as_millis() / 1000 * 1000;
    let (start, end) = (second + 2000, second + 4000);
    let call = mark::call(key.as_str());
    let saving = client.schedule("b", call).every(1.second());
    let saving = saving
        .start(Timestamp::from_millis(start))
        .end(Timestamp::from_millis(end));
    saving.jitter(300.millis()).save().await.unwrap();
    until("it fires to its end", || fired(&key).len() >= 3).await;
    // One that fires later has.
    let other = format!("{key}-other");
    let call = mark::call(other.as_str());
    let saving = client
        .schedule("later", call)
        .at(Timestamp::from_millis(end + 1500));
    saving.save().await.unwrap();
    until("the later one", || !fired(&other).is_empty()).await;
    let mut all = fired(&key);
    all.sort_unstable();
    assert_eq!(all, [start, start + 1000, end]);
}

#[task]
async fn tell(ctx: Context, words: Vec<String>, times: u32) -> String {
    let schedule = ctx.schedule().unwrap_or("none");
    format!("{} by {schedule}", words.join(" ").repeat(times as usize))
}

async fn a_call_keeps_its_arguments_and_its_options(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let _worker = system.worker_with(|worker| worker.queues(["other"])).await;
    let words = vec!["a".to_owned(), "b".to_owned()];
    let call = tell::call(words, 2).queue("other").label("colour", "red");
    let at = Timestamp::now().plus(500.millis());
    let saved = client
        .schedule("t", call)
        .at(at)
        .by("ada")
        .save()
        .await
        .unwrap();
    assert_eq!((saved.queue(), saved.by.as_str()), ("other", "ada"));
    let limit = tokio::time::Instant::now() + PATIENCE;
    let last = loop {
        let info = schedules::get(&client, "t").await.unwrap();
        if let Some(last) = info.last.filter(|last| last.status == "succeeded") {
            break last;
        }
        assert!(tokio::time::Instant::now() < limit, "in vain: it succeeds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(last.at, at);
    let outcome = client.handle::<String>(last.id).outcome().await.unwrap();
    assert_eq!(outcome.value::<String>().unwrap(), "a ba b by t");
    assert_eq!(outcome.labels["colour"], "red");
}

async fn what_is_run_by_hand_runs_at_once(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let (client, key) = (system.client().await, key(&system, "by-hand"));
    let _worker = system.worker().await;
    let call = mark::call(key.as_str());
    client
        .schedule("h", call)
        .cron("@yearly")
        .save()
        .await
        .unwrap();
    schedules::pause(&client, "h", "ada", None).await.unwrap();
    let handle = schedules::run(&client, "h", "ada").await.unwrap();
    handle.result().await.unwrap();
    let nominal = Timestamp::from_millis(fired(&key)[0]);
    assert!(Timestamp::now().since(nominal) < PATIENCE);
    assert!(handle.id().as_str().starts_with("h@"), "{}", handle.id());
}

/// How many ran at once, at most, and how many had begun.
fn overlapped(key: &str) -> (usize, usize) {
    let (mut now, mut most, mut count) = (0usize, 0, 0);
    for (_, end) in ran(key) {
        if end {
            now -= 1;
        } else {
            now += 1;
            count += 1;
        }
        most = most.max(now);
    }
    (most, count)
}

async fn overlapping(system: &Fixture, overlap: Overlap, millis: u64) -> (Client, String) {
    let key = key(system, &format!("overlap-{overlap}"));
    let client = system.client().await;
    let call = hold::call(key.as_str(), millis);
    let saving = client
        .schedule("over", call)
        .cron("* * * * * *")
        .overlap(overlap);
    saving.save().await.unwrap();
    (client, key)
}

async fn fires_that_may_overlap_run_beside_each_other(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _workers = [system.worker().await, system.worker().await];
    let (_client, key) = overlapping(&system, Overlap::Allow, 2500).await;
    until("three at once", || overlapped(&key).0 >= 3).await;
}

#[task(concurrency = 1)]
async fn one_at_a_time(ctx: Context, key: String) {
    note(&key, &ctx, false);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    note(&key, &ctx, true);
}

async fn a_fire_of_a_task_with_a_limit_waits_for_its_turn(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _workers = [system.worker().await, system.worker().await];
    let (client, key) = (system.client().await, key(&system, "limited"));
    let call = one_at_a_time::call(key.as_str());
    let saving = client.schedule("l", call).cron("* * * * * *").save();
    saving.await.unwrap();
    until("three have run", || overlapped(&key).1 >= 3).await;
    assert_eq!(overlapped(&key).0, 1);
    assert_each_second_once(&fired(&key));
}

async fn a_fire_is_skipped_while_another_runs(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _workers = [system.worker().await, system.worker().await];
    let (client, key) = overlapping(&system, Overlap::Skip, 1500).await;
    until("three have run", || overlapped(&key).1 >= 3).await;
    assert_eq!(overlapped(&key).0, 1);
    let times = fired(&key);
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] >= 2000),
        "{times:?}"
    );
    // The one between says why it did not run.
    let epoch = schedules::get(&client, "over")
        .await
        .unwrap()
        .schedule
        .since;
    let between = Timestamp::from_millis(times[0] + 1000);
    let id = format!(
        "over@{}.{:08x}",
        between.to_string().replace(".000Z", "Z"),
        epoch.as_millis() & 0xffff_ffff
    );
    let outcome = client.handle::<()>(id).outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Cancelled);
    assert_eq!(outcome.cancelled_by.as_deref(), Some("schedule over"));
    let error = outcome.error.unwrap().message;
    assert!(
        error.contains("has not ended (overlap = \"skip\")"),
        "{error}"
    );
}

async fn one_fire_waits_while_another_runs(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _workers = [system.worker().await, system.worker().await];
    let (_client, key) = overlapping(&system, Overlap::QueueOne, 2300).await;
    until("three have run", || overlapped(&key).1 >= 3).await;
    assert_eq!(overlapped(&key).0, 1);
    let times = fired(&key);
    // The second waited from the first second on; others were skipped.
    assert_eq!(times[1] - times[0], 1000, "{times:?}");
    assert!(times[2] - times[1] >= 2000, "{times:?}");
}

async fn a_fire_replaces_the_one_that_runs(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _workers = [system.worker().await, system.worker().await];
    let (client, key) = overlapping(&system, Overlap::Replace, 60_000).await;
    until("three have begun", || overlapped(&key).1 >= 3).await;
    assert!(
        ran(&key).iter().all(|(_, end)| !end),
        "none came to its end"
    );
    let epoch = schedules::get(&client, "over")
        .await
        .unwrap()
        .schedule
        .since;
    let first = Timestamp::from_millis(fired(&key)[0]);
    let id = format!(
        "over@{}.{:08x}",
        first.to_string().replace(".000Z", "Z"),
        epoch.as_millis() & 0xffff_ffff
    );
    let outcome = client.handle::<()>(id).outcome().await.unwrap();
    assert_eq!(outcome.state, OutcomeState::Cancelled);
    let error = outcome.error.unwrap().message;
    assert!(error.contains("replaced by over@"), "{error}");
}

/// Sets a schedule of each second with nobody to run its fires for a while;
/// tells what ran when somebody came, before the moment that it came at.
async fn missing(system: &Fixture, misfire: Misfire) -> (Client, Vec<i64>, i64) {
    let key = key(system, &format!("missed-{misfire}"));
    let client = system.client().await;
    let call = mark::call(key.as_str());
    let saving = client.schedule("missed", call).cron("*/2 * * * * *");
    let saving = saving.misfire(misfire).misfire_after(500.millis());
    let since = saving.save().await.unwrap().since;
    let limit = tokio::time::Instant::now() + PATIENCE;
    while client.queues().await.unwrap()[0].pending < 4 {
        assert!(
            tokio::time::Instant::now() < limit,
            "in vain: four fires wait"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Longer after the last of them than is merely late.
    tokio::time::sleep(Duration::from_millis(900)).await;
    let came = Timestamp::now().as_millis();
    let _worker = system.worker().await;
    until("one fires in time", || {
        fired(&key).iter().any(|at| *at > came)
    })
    .await;
    let mut times: Vec<i64> = fired(&key).into_iter().filter(|at| *at <= came).collect();
    times.sort_unstable();
    (client, times, since.as_millis())
}

async fn a_missed_fire_is_skipped_if_the_policy_says_so(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let (_client, times, _) = missing(&system, Misfire::Skip).await;
    assert!(times.is_empty(), "{times:?}");
}

async fn of_missed_fires_the_latest_runs(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let (_client, times, since) = missing(&system, Misfire::Once).await;
    assert_eq!(times.len(), 1, "{times:?}");
    assert!(
        times[0] >= since + 6000,
        "the latest: {times:?} since {since}"
    );
}

async fn all_missed_fires_within_the_window_run(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let window = Duration::from_secs(5);
    let (_client, times, since) = missing(&system, Misfire::All(window)).await;
    // Of four that are 1, 3, 5 and 7 seconds old, more or less.
    assert!((2..=3).contains(&times.len()), "{times:?}");
    assert!(times[0] > since + 2000, "{times:?} since {since}");
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] == 2000),
        "{times:?}"
    );
}

#[task(schedule = "* * * * * *", overlap = "skip", discover = false)]
async fn declared(ctx: Context, mode: State<String>) {
    note(&format!("declared-{}", *mode), &ctx, false);
}

async fn a_declared_schedule_fires_and_an_operators_pause_outlives_a_deployment(system: Fixture) {
    let client = system.client().await;
    let mode = system.mode().to_string();
    let key = format!("declared-{mode}");
    let deploy = async || {
        let set = |worker: taskq::WorkerBuilder| {
            worker
                .discover(false)
                .task::<declared>()
                .state(mode.clone())
        };
        system.worker_with(set).await
    };
    if system.mode() == Mode::Core {
        // It is told in the log, and does no harm.
        deploy().await.drain().await;
        return;
    }
    let workers = [deploy().await, deploy().await];
    until("it fires", || fired(&key).len() >= 3).await;
    assert_each_second_once(&fired(&key));
    let info = schedules::get(&client, "declared").await.unwrap();
    assert_eq!(info.schedule.source, ScheduleSource::Code);
    assert_eq!(info.schedule.overlap(), Overlap::Skip);
    if system.mode() == Mode::JetStream {
        assert_eq!(info.declared, Some(true));
    }
    schedules::pause(&client, "declared", "ada", None)
        .await
        .unwrap();
    for worker in workers {
        worker.drain().await;
    }
    let since = info.schedule.since;
    let _again = deploy().await;
    let other = format!("{key}-other");
    let _marks = system.worker().await;
    let call = mark::call(other.as_str());
    let saving = client.schedule("d", call).cron("* * * * * *").save();
    saving.await.unwrap();
    until("the other fires", || fired(&other).len() >= 3).await;
    let info = schedules::get(&client, "declared").await.unwrap();
    let paused = info.schedule.paused.unwrap();
    assert_eq!((paused.by.as_str(), info.schedule.since), ("ada", since));
    assert!(
        fired(&key)
            .into_iter()
            .all(|at| at <= paused.at.as_millis())
    );
}

#[task(schedule = "0 0 1 1 *", tz = "Europe/Berlin", discover = false)]
async fn yearly() {}

async fn an_operators_schedule_stands_in_the_place_of_a_declared_one(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let set = |worker: taskq::WorkerBuilder| worker.discover(false).task::<yearly>();
    let worker = system.worker_with(set).await;
    let limit = tokio::time::Instant::now() + PATIENCE;
    while schedules::get(&client, "yearly").await.is_err() {
        assert!(tokio::time::Instant::now() < limit, "in vain: it is set");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client
        .schedule("yearly", yearly::call())
        .cron("@monthly")
        .save()
        .await
        .unwrap();
    worker.drain().await;
    let _again = system.worker_with(set).await;
    // A worker that has planned something has set what it declares.
    let key = key(&system, "stands");
    let _marks = system.worker().await;
    let call = mark::call(key.as_str());
    client
        .schedule("m", call)
        .cron("* * * * * *")
        .save()
        .await
        .unwrap();
    until("it fires", || fired(&key).len() >= 2).await;
    let stands = schedules::get(&client, "yearly").await.unwrap().schedule;
    assert_eq!(
        (stands.when().as_str(), stands.source),
        ("@monthly", ScheduleSource::Operator)
    );
}

async fn changes_are_told_as_events(system: Fixture) {
    use futures::TryStreamExt as _;
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let call = mark::call("events");
    let saving = client.schedule("e", call).cron("@yearly").by("ada");
    saving.save().await.unwrap();
    schedules::pause(&client, "e", "bob", None).await.unwrap();
    schedules::resume(&client, "e", "cyd").await.unwrap();
    let handle = schedules::run(&client, "e", "dan").await.unwrap();
    assert_eq!(handle.status().await.unwrap(), Status::Waiting);
    schedules::remove(&client, "e", "eve").await.unwrap();
    let expected = [
        ("schedule_set", "ada"),
        ("schedule_paused", "bob"),
        ("schedule_resumed", "cyd"),
        ("schedule_run", "dan"),
        ("schedule_removed", "eve"),
    ];
    let limit = tokio::time::Instant::now() + PATIENCE;
    loop {
        let start = Some(Timestamp::from_millis(0));
        let told = admin::events(&client, admin::EventFilter::default(), start, false).await;
        let told: Vec<_> = told.unwrap().try_collect().await.unwrap();
        let told: Vec<_> = told
            .iter()
            .filter(|event: &&taskq::Event| event.detail.get("schedule").is_some())
            .map(|event| {
                (
                    event.kind.as_str(),
                    event.detail["by"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        if told.len() == expected.len() {
            let told: Vec<_> = told.iter().map(|(kind, by)| (*kind, by.as_str())).collect();
            assert_eq!(told, expected);
            return;
        }
        assert!(tokio::time::Instant::now() < limit, "in vain: {told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
