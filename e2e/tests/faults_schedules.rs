//! Faults of schedules: docs/reliability.md, faults 23 and 24. The clocks of
//! a zone are in the library's own tests; here they are those of machines.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use taskq::admin::schedules;
use taskq::prelude::*;
use taskq::{Misfire, OutcomeState, Timestamp};
use taskq_e2e::Program;
use taskq_e2e::checks::{assert_one_fire_each, fires};
use taskq_e2e::faults::{Actor, client, connected, eventually, repeated, working};
use taskq_e2e::history::{History, What};
use taskq_e2e::script::nap;
use taskq_nats_server::NatsServer;

const ACTOR: Actor = Actor(env!("CARGO_BIN_EXE_actor"));

fn draw(state: &mut u64, below: u64) -> u64 {
    // xorshift: that it is told at the start is all that is asked of it.
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// How long the workers are killed for: `TASKQ_LONG=1` makes it the five
/// minutes of the bar.
fn how_long() -> Duration {
    match std::env::var_os("TASKQ_LONG") {
        Some(_) => Duration::from_secs(300),
        None => Duration::from_secs(15),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_23_three_workers_that_are_killed_and_frozen_fire_each_second_once() {
    let (server, history) = (NatsServer::builder().start().unwrap(), History::new());
    let client = connected(server.url()).await;
    let start = |name: &str| -> Program {
        let mut command = ACTOR.worker(server.url(), &history, name);
        working(command.args(["--lease", "2s"]))
    };
    let names = ["one", "two", "three"];
    let mut workers: Vec<Program> = names.iter().map(|name| start(name)).collect();
    let saving = client
        .schedule("tick", nap::call(20u64))
        .cron("* * * * * *");
    let schedule = saving.save().await.unwrap();
    let mut seed = Timestamp::now().as_millis().unsigned_abs() | 1;
    println!("seed {seed}");
    let until = Instant::now() + how_long();
    let (mut kills, mut freezes) = (0, 0);
    while Instant::now() < until {
        let pause = 300 + draw(&mut seed, 1500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let place = draw(&mut seed, 3) as usize;
        if draw(&mut seed, 4) == 0 {
            freezes += 1;
            workers[place].signal("STOP");
            let pause = 500 + draw(&mut seed, 4000);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            workers[place].signal("CONT");
        } else {
            kills += 1;
            workers[place].kill();
            workers[place] = start(names[place]);
        }
    }
    // All that fell due has ended, on record, once.
    let last = Timestamp::now().as_millis() / 1000 * 1000;
    eventually("the last second has run", async || {
        let fires = fires(&history, "tick");
        fires.keys().any(|nominal| *nominal >= last).then_some(())
    })
    .await;
    schedules::pause(&client, "tick", "test", None)
        .await
        .unwrap();
    let expected: Vec<Timestamp> = schedule
        .next(schedule.since, 100_000)
        .into_iter()
        .take_while(|nominal| nominal.as_millis() <= last)
        .collect();
    let epoch = schedule.since.as_millis() & 0xffff_ffff;
    for nominal in &expected {
        let id = format!(
            "tick@{}.{epoch:08x}",
            nominal.to_string().replace(".000Z", "Z")
        );
        let outcome = client.handle::<u64>(id).outcome().await.unwrap();
        assert_eq!(outcome.state, OutcomeState::Succeeded, "{outcome:?}");
    }
    let fires = fires(&history, "tick");
    assert_one_fire_each(&fires, 1000);
    let missing: Vec<_> = expected
        .iter()
        .filter(|nominal| !fires.contains_key(&nominal.as_millis()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let mut late: Vec<u128> = Vec::new();
    let mut seen = BTreeSet::new();
    for note in history.notes() {
        if note.what == What::Start && seen.insert(note.id.clone()) {
            let time = note.id.as_str().split(['@', '.']).nth(1).unwrap();
            let nominal: Timestamp = time.parse().unwrap();
            let nominal = u128::from(nominal.as_millis().unsigned_abs());
            late.push((note.micros / 1000).saturating_sub(nominal));
        }
    }
    late.sort_unstable();
    let again: usize = fires
        .values()
        .flat_map(BTreeMap::values)
        .filter(|count| **count > 1)
        .count();
    println!(
        "{} seconds, one fire each; {kills} workers killed, {freezes} frozen; {again} fires ran \
         again after their worker's death; late by {} ms (median), {} ms (p99), {} ms (most)",
        expected.len(),
        late[late.len() / 2],
        late[late.len() * 99 / 100],
        late[late.len() - 1]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_23_times_that_fall_in_an_outage_are_made_up_for_as_each_policy_says() {
    repeated(async || {
        let (mut server, history) = (NatsServer::builder().start().unwrap(), History::new());
        let connecting = client(server.url()).connect();
        let client = connecting.await.unwrap();
        let start = |name: &str| working(&mut ACTOR.worker(server.url(), &history, name));
        let _workers = [start("one"), start("two")];
        let policies = [
            ("skip", Misfire::Skip),
            ("once", Misfire::Once),
            ("all", Misfire::All(1.hour())),
        ];
        // Three times, all while there is no server, and none after.
        let now = Timestamp::now().as_millis();
        let times = [4_000, 7_000, 10_000].map(|later| now / 1000 * 1000 + later);
        let [start, _, end] = times.map(Timestamp::from_millis);
        for (name, misfire) in policies {
            let saving = client.schedule(name, nap::call(0u64)).every(3.seconds());
            let saving = saving.start(start).end(end).misfire(misfire);
            saving.misfire_after(900.millis()).save().await.unwrap();
        }
        server.kill().unwrap();
        let down = Duration::from_millis((times[2] + 1_500 - now).unsigned_abs());
        tokio::time::sleep(down).await;
        server.restart().unwrap();
        eventually("all that were missed run", async || {
            (fires(&history, "all").len() == 3).then_some(())
        })
        .await;
        let id_of = |name: &str, nominal: i64, since: Timestamp| {
            let nominal = Timestamp::from_millis(nominal).to_string();
            let epoch = since.as_millis() & 0xffff_ffff;
            format!("{name}@{}.{epoch:08x}", nominal.replace(".000Z", "Z"))
        };
        for (name, misfire) in policies {
            let set = schedules::get(&client, name).await.unwrap().schedule;
            let ran = match misfire {
                Misfire::Skip => vec![],
                Misfire::Once => vec![times[2]],
                Misfire::All(_) => times.to_vec(),
            };
            for nominal in times {
                let id = id_of(name, nominal, set.since);
                let outcome = client.handle::<u64>(id).outcome().await.unwrap();
                let state = match ran.contains(&nominal) {
                    true => OutcomeState::Succeeded,
                    false => OutcomeState::Cancelled,
                };
                assert_eq!(outcome.state, state, "{outcome:?}");
            }
            let all = fires(&history, name);
            assert_eq!(all.keys().copied().collect::<Vec<_>>(), ran, "{name}");
            for (nominal, ids) in &all {
                assert_eq!(ids.len(), 1, "{name} at {nominal}: {ids:?}");
            }
        }
    })
    .await;
}

/// The same command with a clock that is off by so many seconds.
fn skewed(command: &mut Command, seconds: i32) {
    let told = Command::new("faketime")
        .args(["--exclude-monotonic", "-f", &format!("{seconds:+}s"), "env"])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let set = told.lines().filter_map(|line| line.split_once('='));
    command.envs(set.filter(|(name, _)| {
        // What is shared with a wrapper that is gone is not to be shared.
        *name != "FAKETIME_SHARED"
            && (name.starts_with("FAKETIME")
                || *name == "LD_PRELOAD"
                || name.starts_with("DONT_FAKE"))
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_24_workers_whose_clocks_are_wrong_fire_each_time_once_by_the_servers_clock() {
    if Command::new("faketime").arg("--version").output().is_err() {
        println!("skipped: faketime is not installed");
        return;
    }
    repeated(async || {
        let (server, history) = (NatsServer::builder().start().unwrap(), History::new());
        let client = connected(server.url()).await;
        let workers = [("behind", -3600), ("right", 0), ("ahead", 3600)].map(|(name, off)| {
            let mut command = ACTOR.worker(server.url(), &history, name);
            if off != 0 {
                skewed(&mut command, off);
            }
            working(command.arg("--tick"))
        });
        eventually("it goes on", async || {
            (fires(&history, "tick").len() >= 8).then_some(())
        })
        .await;
        let all = fires(&history, "tick");
        assert_one_fire_each(&all, 1000);
        let set = schedules::get(&client, "tick").await.unwrap().schedule;
        let since = set.since.as_millis();
        let first = *all.keys().next().unwrap();
        assert!((0..=2000).contains(&(first - since)), "{first} {since}");
        drop(workers);
    })
    .await;
}
