//! A worker process that is killed loses nothing.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use futures::TryStreamExt as _;
use taskq::{Call, Client, Mode, OutcomeState, Untyped};
use taskq_e2e::{Fixture, Program, program};

const TASKS: u32 = 10_000;

fn worker(system: &Fixture, name: &str) -> Program {
    let mut command: Command = program(env!("CARGO_BIN_EXE_worker"));
    command.args([
        "--url",
        system.url(),
        "--name",
        name,
        "--log",
        "warn,taskq=info,taskq::task=warn",
    ]);
    let worker = Program::start(&mut command);
    let _ = worker.stderr_line("worker started");
    worker
}

/// A call of one of the five tasks, and what it gives.
fn call(n: u32) -> (Call<Untyped>, serde_json::Value) {
    let text = format!("Ärger-{n}");
    let (task, result) = match n % 5 {
        0 => ("to_uppercase", text.to_uppercase().into()),
        1 => ("to_lowercase", text.to_lowercase().into()),
        2 => (
            "reverse_string",
            text.chars().rev().collect::<String>().into(),
        ),
        3 => ("count_chars", text.chars().count().into()),
        _ => ("repeat_string", text.repeat(2).into()),
    };
    let call = Call::named(task).arg("text", &text);
    let call = if n % 5 == 4 {
        call.arg("times", &2)
    } else {
        call
    };
    (call, result)
}

/// docs/reliability.md, fault 6, in bulk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_06_ten_thousand_tasks_outlive_a_worker_that_is_killed() {
    // Should the kill meet a moment in which the worker holds nothing, it
    // proves nothing, and is tried again.
    for _ in 0..3 {
        if outlive_a_kill().await > 0 {
            return;
        }
    }
    panic!("three times the worker held nothing when it was killed");
}

/// Kills one of two workers in the middle, checks every outcome, and tells
/// how many tasks it held: those that ran again, and those whose outcome it
/// had sent. What a process has written to a socket outlives it, so with a
/// server that lags behind these may be all.
async fn outlive_a_kill() -> u32 {
    let system = Fixture::new(Mode::JetStream);
    let client: Client = system.client().await;
    let calls = (0..TASKS).map(|n| call(n).0);
    let sending = client.enqueue_many(calls).try_collect::<Vec<_>>();
    let handles = sending.await.unwrap();
    let killed = worker(&system, "killed");
    let survivor = worker(&system, "survivor");
    // In the middle: some are done, and most are not, when it is gone.
    while client.queues().await.unwrap()[0].pending > u64::from(TASKS) * 9 / 10 {}
    killed.signal("KILL");
    let left = client.queues().await.unwrap()[0].pending;
    assert!(left > 0, "all were done before the kill");

    let mut workers = HashSet::new();
    let mut again = 0;
    for (n, handle) in (0..TASKS).zip(&handles) {
        let outcome = handle
            .outcome_timeout(Duration::from_secs(60))
            .await
            .unwrap();
        assert_eq!(outcome.state, OutcomeState::Succeeded, "{outcome:?}");
        let result: serde_json::Value = outcome.value().unwrap();
        assert_eq!(result, call(n).1, "{outcome:?}");
        again += u32::from(outcome.attempt > 1);
        workers.insert(outcome.worker);
    }
    assert!(workers.contains("survivor"), "{workers:?}");
    // A message is acked when its outcome is stored, so a moment after it is
    // told of.
    let limit = tokio::time::Instant::now() + taskq_e2e::PATIENCE;
    loop {
        let queues = client.queues().await.unwrap();
        if (queues[0].pending, queues[0].running) == (0, 0) {
            break;
        }
        assert!(tokio::time::Instant::now() < limit, "{queues:?}");
    }
    let recorded = survivor.stderr().matches("acked without a run").count();
    println!(
        "{left} were waiting at the kill; after it {again} of {TASKS} tasks ran again, and \
         {recorded} were delivered again and had their outcome"
    );
    again + u32::try_from(recorded).unwrap()
}
