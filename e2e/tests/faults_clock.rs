//! Clocks that are wrong: docs/reliability.md, fault 24. The processes run
//! under `faketime`, where it is installed.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use taskq::Backoff;
use taskq_e2e::faults::{Actor, connected, repeated, working};
use taskq_e2e::history::{Expected, History};
use taskq_e2e::proxy::{Frame, Proxy, Verdict};
use taskq_e2e::run;
use taskq_e2e::script::{flaky, nap};
use taskq_nats_server::NatsServer;

const ACTOR: Actor = Actor(env!("CARGO_BIN_EXE_actor"));

/// Far longer than the three seconds that each takes, and far shorter than the
/// hour that the clocks are off.
const LIMIT: Duration = Duration::from_secs(20);

fn has_faketime() -> bool {
    let found = Command::new("faketime").arg("--version").output().is_ok();
    if !found {
        println!("skipped: faketime is not installed");
    }
    found
}

/// The same command with a clock that is off by so many seconds.
fn skewed(command: &Command, seconds: i32) -> Command {
    // What faketime sets for its child. Under faketime itself the child would
    // outlive a kill.
    let told = Command::new("faketime")
        .args(["--exclude-monotonic", "-f", &format!("{seconds:+}s"), "env"])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let mut skewed = Command::new(command.get_program());
    skewed.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => skewed.env(name, value),
            None => skewed.env_remove(name),
        };
    }
    let set = told.lines().filter_map(|line| line.split_once('='));
    skewed.envs(set.filter(|(name, _)| {
        // What is shared with a wrapper that is gone is not to be shared.
        *name != "FAKETIME_SHARED"
            && (name.starts_with("FAKETIME")
                || *name == "LD_PRELOAD"
                || name.starts_with("DONT_FAKE"))
    }));
    skewed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_24_a_delay_is_right_by_the_servers_clock_whatever_the_senders_says() {
    if !has_faketime() {
        return;
    }
    repeated(async || {
        let skewed_by = async |skew| {
            let (server, history) = (NatsServer::builder().start().unwrap(), History::new());
            let client = connected(server.url()).await;
            let _worker = working(&mut ACTOR.worker(server.url(), &history, "one"));
            let mut sender = ACTOR.sender(server.url());
            let sender = sender.args(["--ids", "late-", "--delay", "3s"]);
            let sent = Instant::now();
            let told = run(&mut skewed(sender, skew));
            assert!(told.status.success(), "{}", told.stderr);
            history.accepted(&"late-0".into(), Expected::Value(0.into()));
            history.check(&client, server.url(), LIMIT).await;
            let took = sent.elapsed();
            println!("a delay of 3s by a clock {skew} s off took {took:?}");
            assert!(took >= Duration::from_millis(2_000), "{took:?}");
        };
        tokio::join!(skewed_by(3600), skewed_by(-3600));
    })
    .await;
}

/// A task whose first attempt fails, in a worker whose clock is wrong and that
/// meets the task at its start, or after it has asked for the server's time.
async fn retry(skew: i32, at_the_start: bool) {
    let (server, history) = (NatsServer::builder().start().unwrap(), History::new());
    let client = connected(server.url()).await;
    // The server's time comes half a second late, so that the task is first.
    let proxy = Proxy::start(server.port()).unwrap();
    proxy.filter(|frame: &Frame| {
        if frame.publishes("$JS.API.STREAM.INFO.TASKQ_PLAN") {
            Verdict::Late(Duration::from_millis(500))
        } else {
            Verdict::Pass
        }
    });
    let worker = ACTOR.worker(proxy.url(), &history, "skewed");
    let start = || working(&mut skewed(&worker, skew));
    let early = (!at_the_start).then(start);
    if let Some(worker) = &early {
        let _ = worker.stderr_line("this machine's clock is");
    }
    let backoff = Backoff::constant(Duration::from_secs(3)).without_jitter();
    let call = flaky::call(1u32, 0u64).backoff(backoff);
    let call = history.send(&client, call, Expected::Value(1.into())).await;
    call.unwrap();
    let sent = Instant::now();
    let _late = at_the_start.then(start);
    history.check(&client, server.url(), LIMIT).await;
    let took = sent.elapsed();
    println!("a retry after 3s by a clock {skew} s off took {took:?}");
    assert!(took >= Duration::from_millis(2_000), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_24_a_retry_is_right_by_the_servers_clock_whatever_the_workers_says() {
    if has_faketime() {
        repeated(async || {
            tokio::join!(retry(3600, false), retry(-3600, false));
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_24_a_retry_of_what_waited_for_the_worker_is_right_too() {
    if has_faketime() {
        repeated(async || {
            tokio::join!(retry(3600, true), retry(-3600, true));
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_24_leases_do_not_depend_on_a_workers_clock() {
    if !has_faketime() {
        return;
    }
    repeated(async || {
        let skewed_by = async |skew| {
            let (server, history) = (NatsServer::builder().start().unwrap(), History::new());
            let client = connected(server.url()).await;
            let mut worker = ACTOR.worker(server.url(), &history, "skewed");
            let _skewed = working(&mut skewed(worker.args(["--lease", "1s"]), skew));
            let call = history.send(&client, nap::call(3_000u64), Expected::Value(3_000.into()));
            call.await.unwrap();
            let report = history.check(&client, server.url(), LIMIT).await;
            assert_eq!(report.starts, 1, "{report}");
        };
        tokio::join!(skewed_by(3600), skewed_by(-3600));
    })
    .await;
}
