//! `taskq pool`: real processes, killed for good.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use serde_json::Value;
use taskq::prelude::*;
use taskq::{Call, OutcomeState};
use taskq_e2e::{Program, is_alive};

use crate::System;

/// What must happen does so within this time, on a machine with much to do.
const PATIENCE: Duration = Duration::from_secs(90);

impl System {
    /// A pool whose workers are this program, with more flags.
    fn pool(&self, args: &[&str]) -> Program {
        self.pool_with_lease("6s", args)
    }

    fn pool_with_lease(&self, lease: &str, args: &[&str]) -> Program {
        let worker = std::env::current_exe().unwrap();
        let worker = ["--worker", worker.to_str().unwrap()];
        let own = [
            "--",
            "--exact",
            "worker::process",
            "--ignored",
            "--nocapture",
        ];
        self.pool_of(lease, &[args, &worker].concat(), &own)
    }

    fn pool_of(&self, lease: &str, args: &[&str], worker: &[&str]) -> Program {
        let mut command = self.command(&[&["pool", "run", "--name", "p"], args].concat());
        // The flags of all come before those of the workers.
        let pool = Program::start(command.args(worker).env("TASKQ_LEASE", lease));
        let _ = pool.stderr_line("workers of queues");
        pool
    }

    fn pools(&self) -> Vec<Value> {
        self.json(&["pool", "status"])
    }

    /// Waits until the pool is as it should be, and tells how it does.
    fn until_pool(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let limit = Instant::now() + PATIENCE;
        loop {
            let pools = self.pools();
            if let Some(pool) = pools.first().filter(|pool| is_so(pool)) {
                return pool.clone();
            }
            assert!(Instant::now() < limit, "in vain: {what}; {pools:#?}");
            std::thread::sleep(20.millis());
        }
    }
}

fn workers(pool: &Value) -> &[Value] {
    pool["workers"].as_array().unwrap()
}

/// How many of its workers take tasks.
fn running(pool: &Value) -> usize {
    let running = workers(pool)
        .iter()
        .filter(|worker| worker["state"] == "running");
    running.count()
}

fn process(worker: &Value) -> u32 {
    worker["process"].as_u64().unwrap().try_into().unwrap()
}

fn kill(process: u32) {
    let process = rustix::process::Pid::from_raw(process.try_into().unwrap());
    rustix::process::kill_process(process.unwrap(), rustix::process::Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_replaced_within_two_seconds_with_its_evidence() {
    let system = System::new().await;
    let pool = system.pool(&["--min", "2", "--max", "2"]);
    system.until_pool("two workers", |pool| running(pool) == 2);
    system.send("go_on", "order-42", "begun").await;
    system.until_there("begun").await;
    let busy = |pool: &Value| {
        workers(pool)
            .iter()
            .find(|worker| worker["running"] == 1)
            .cloned()
    };
    let before = system.until_pool("one of them has the task", |pool| busy(pool).is_some());
    let (killed, name) = (
        process(&busy(&before).unwrap()),
        busy(&before).unwrap()["worker"].clone(),
    );
    let client = taskq::admin::pools::get(&system.client, "p");
    assert_eq!(client.await.unwrap().restarts, 0);

    let at = Instant::now();
    kill(killed);
    let (mut started, mut took) = (None, None);
    while took.is_none() {
        let pool = taskq::admin::pools::get(&system.client, "p").await.unwrap();
        let others = pool
            .workers
            .iter()
            .filter(|worker| worker.process != killed);
        let others: Vec<_> = others.collect();
        if others.len() == 2 {
            started.get_or_insert(at.elapsed());
            if others.iter().all(|worker| worker.state == "running") {
                took = Some(at.elapsed());
            }
        }
        assert!(at.elapsed() < PATIENCE, "not replaced: {pool:#?}");
    }
    let (started, took) = (started.unwrap(), took.unwrap());
    println!("a new process after {started:?}, which takes tasks after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");

    let after = system.until_pool("the death is told", |pool| pool["deaths"][0].is_object());
    let death = &after["deaths"][0];
    assert_eq!(
        (&death["worker"], &death["signal"]),
        (&name, &9.into()),
        "{death:#}"
    );
    assert_eq!(death["signal_name"], "SIGKILL");
    assert_eq!(death["running"][0]["task_id"], "order-42", "{death:#}");
    assert_eq!(death["running"][0]["task_name"], "go_on");
    assert!(
        death["log"]
            .as_array()
            .is_some_and(|lines| !lines.is_empty()),
        "{death:#}"
    );
    #[cfg(target_os = "linux")]
    assert!(
        death["peak_memory_bytes"].as_u64() > Some(1_000_000),
        "{death:#}"
    );
    assert_eq!(after["restarts"], 1);
    let told = system.json(&["events", "--filter", "event=worker_died"]);
    assert_eq!(
        (&told[0]["worker"], &told[0]["signal"]),
        (&name, &9.into()),
        "{told:#?}"
    );
    assert_eq!(told[0]["running"], death["running"]);
    let shown = system.taskq(&["pool", "status"]);
    for part in [
        "2 of 2 to 2 workers",
        "killed by signal 9 (SIGKILL)",
        "ran go_on (order-42",
        "| ",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    // What its workers say is passed on, with who says it.
    assert!(
        pool.stderr()
            .contains(&format!("[{}] ", name.as_str().unwrap()))
    );
    // The task runs again on another.
    system.until_pool("it runs again", |pool| busy(pool).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_scales_up_and_back_down_and_nothing_is_lost() {
    let system = System::new().await;
    let args = [
        "--min",
        "1",
        "--max",
        "6",
        "--concurrency",
        "8",
        "--settle",
        "2s",
    ];
    let _pool = system.pool(&args);
    system.until_pool("one worker", |pool| running(pool) == 1);
    let calls = (0..10_000u32).map(|n| Call::named("nap").arg("n", &n));
    let handles = system.client.enqueue_many(calls).try_collect::<Vec<_>>();
    let handles = handles.await.unwrap();
    let begun = Instant::now();
    system.until_pool("six workers", |pool| running(pool) == 6);
    let up = begun.elapsed();
    let mut again = 0;
    for (n, handle) in (0..10_000u32).zip(&handles) {
        let outcome = handle.outcome_timeout(PATIENCE).await.unwrap();
        assert_eq!(outcome.state, OutcomeState::Succeeded, "{outcome:?}");
        assert_eq!(outcome.value::<u32>().unwrap(), n);
        again += u32::from(outcome.attempt > 1);
    }
    let done = begun.elapsed();
    let pool = system.until_pool("one worker again", |pool| workers(pool).len() == 1);
    println!(
        "six workers after {up:?}, all done after {done:?}, one after {:?}; {again} ran again",
        begun.elapsed()
    );
    assert_eq!(pool["target"], 1);
    assert_eq!(
        (&pool["restarts"], &pool["deaths"]),
        (&0.into(), &Vec::<Value>::new().into())
    );
    let queues = system.client.queues().await.unwrap();
    assert_eq!((queues[0].pending, queues[0].running), (0, 0), "{queues:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_scale_sets_a_number_auto_takes_it_back_and_stop_ends_well() {
    let system = System::new().await;
    let nobody = system.taskq(&["pool", "scale", "2"]);
    assert_eq!(nobody.code(), 1, "{nobody:?}");
    assert!(nobody.stderr.contains("no pool answers"), "{nobody:?}");
    let pool = system.pool(&["--min", "1", "--max", "3", "--settle", "1s"]);
    system.until_pool("one worker", |pool| running(pool) == 1);

    let scaled = system.taskq(&["pool", "scale", "3", "--by", "ada", "--because", "the sale"]);
    assert_eq!(scaled.code(), 0, "{scaled:?}");
    assert!(
        scaled.stdout.starts_with("p: 3 workers, until"),
        "{scaled:?}"
    );
    let three = system.until_pool("three workers", |pool| running(pool) == 3);
    assert_eq!(
        (&three["mode"], &three["target"]),
        (&"fixed".into(), &3.into())
    );
    let beyond = system.taskq(&["pool", "scale", "4"]);
    assert_eq!(beyond.code(), 1, "{beyond:?}");
    assert!(beyond.stderr.contains("1 to 3 workers"), "{beyond:?}");
    let other = system.taskq(&["pool", "run", "--name", "p"]);
    assert_eq!(other.code(), 1, "{other:?}");
    assert!(other.stderr.contains("pool `p` runs already"), "{other:?}");

    // A worker that an operator drains by itself is replaced: the pool keeps three.
    let drained = workers(&three)[0]["worker"].as_str().unwrap();
    assert_eq!(system.taskq(&["workers", "drain", drained]).code(), 0);
    system.until_pool("another in its place", |pool| {
        running(pool) == 3
            && workers(pool)
                .iter()
                .all(|worker| worker["worker"] != drained)
    });

    let auto = system.taskq(&["pool", "scale", "--auto"]);
    assert!(
        auto.stdout.contains("1 to 3 workers, as there is work"),
        "{auto:?}"
    );
    system.until_pool("one worker again", |pool| workers(pool).len() == 1);
    let told = &system.json(&["audit", "--action", "pool_scaled"]);
    assert!(
        told.iter()
            .any(|entry| entry["reason"] == "the sale" && entry["pool"] == "p"),
        "{told:#?}"
    );

    let stopped = system.taskq(&["pool", "stop"]);
    assert_eq!(stopped.code(), 0, "{stopped:?}");
    assert_eq!(pool.end().code(), 0);
    assert!(system.pools().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_killed_leaves_no_workers_and_they_finish_what_runs() {
    let system = System::new().await;
    let mut pool = system.pool(&["--min", "2", "--max", "2"]);
    let two = system.until_pool("two workers", |pool| running(pool) == 2);
    let processes: Vec<u32> = workers(&two).iter().map(process).collect();
    system.send("stubborn", "order-42", "begun").await;
    system.until_there("begun").await;
    pool.kill();
    // One has nothing to do; the other ends when its task does.
    taskq_e2e::until("the idle one is gone", || {
        processes
            .iter()
            .filter(|process| is_alive(**process))
            .count()
            == 1
    })
    .await;
    system.make("begun.end");
    let outcome = system
        .client
        .handle::<u32>("order-42")
        .outcome()
        .await
        .unwrap();
    assert_eq!(
        (outcome.state, outcome.attempt),
        (OutcomeState::Succeeded, 1)
    );
    taskq_e2e::until("the other is gone", || {
        processes.iter().all(|process| !is_alive(*process))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_do_not_get_up_are_told_and_tried_ever_more_seldom() {
    let system = System::new().await;
    let args = ["--min", "4", "--max", "4", "--worker", "/bin/sh"];
    let pool = system.pool_of(
        "6s",
        &args,
        &["--", "-c", "echo no such library >&2; exit 3"],
    );
    let told = system.until_pool("trouble", |pool| pool["trouble"].is_string());
    let trouble = told["trouble"].as_str().unwrap();
    for part in ["do not stay up", "code 3", "no such library"] {
        assert!(trouble.contains(part), "{trouble}");
    }
    assert_eq!(told["deaths"][0]["code"], 3);
    let doctor = system.taskq(&["doctor"]);
    assert_eq!(doctor.code(), 1, "{doctor:?}");
    assert!(doctor.stdout.contains("do not stay up"), "{doctor:?}");
    // The first four at once, then one at a time after waits that double.
    let later = system.until_pool("more tries", |pool| pool["restarts"].as_u64() > Some(2));
    assert!(workers(&later).len() < 4, "{later:#}");
    pool.signal("TERM");
    assert_eq!(pool.end().code(), 0);

    let mut nothing = system.command(&["pool", "run", "--worker", "/no/such/program"]);
    let nothing = taskq_e2e::run(&mut nothing);
    assert_eq!(nothing.code(), 1, "{nothing:?}");
    assert!(
        nothing.stderr.contains("cannot start /no/such/program"),
        "{nothing:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_kills_three_workers_is_a_dead_letter_with_their_evidence() {
    let system = System::new().await;
    let _pool = system.pool_with_lease("1s", &["--min", "2", "--max", "2"]);
    system.until_pool("two workers", |pool| running(pool) == 2);
    system.send("die", "order-42", "unused").await;
    assert_eq!(system.ended("order-42").await, "failed");
    let letters = system.json(&["dead", "show", "order-42"]);
    let letter = &letters[0];
    assert_eq!(letter["reason"], "crashed");
    let crashes = letter["crashes"].as_array().unwrap();
    assert_eq!(crashes.len(), 3, "{letter:#}");
    for crash in crashes {
        let death = &crash["death"];
        assert_eq!(
            (&death["signal"], &death["worker"]),
            (&9.into(), &crash["worker"]),
            "{letter:#}"
        );
        let log = death["log"].as_array().unwrap();
        assert!(
            log.iter().any(|line| line == "about to die of order-42"),
            "{letter:#}"
        );
    }
    let shown = system.taskq(&["dead", "show", "order-42"]);
    for part in ["killed by signal 9 (SIGKILL)", "| about to die of order-42"] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    // It takes no more of them.
    system.until_pool("two workers again", |pool| running(pool) == 2);
}
