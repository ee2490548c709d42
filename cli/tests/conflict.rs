//! Two workers with different definitions of one task.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use taskq::{Mode, Worker, WorkerBuilder};
use taskq_e2e::{Ended, Fixture, Program, Running, found, program};

mod old {
    /// Doubles a number.
    #[taskq::task]
    pub(super) async fn double(n: u64) -> u64 {
        2 * n
    }
}

mod new {
    /// Doubles a number that may be negative.
    #[taskq::task]
    pub(super) async fn double(n: i64) -> i64 {
        2 * n
    }
}

async fn taskq(fixture: &Fixture, args: &[&str]) -> Ended {
    let mut command = program(env!("CARGO_BIN_EXE_taskq"));
    let program = Program::start(command.args(args).args(["--url", fixture.url()]));
    tokio::task::spawn_blocking(|| program.end()).await.unwrap()
}

#[tokio::test]
async fn workers_that_define_a_task_differently_are_told_of() {
    let fixture = Fixture::new(Mode::JetStream);
    let only = async |worker: WorkerBuilder| Running::start(worker.discover(false)).await;
    let old = Worker::builder(fixture.client().await).task::<old::double>();
    let new = Worker::builder(fixture.client().await).task::<new::double>();
    let (_old, _new) = (only(old).await, only(new).await);
    found(&fixture.client().await, 2).await;

    let tasks = taskq(&fixture, &["tasks", "--json"]).await.json();
    assert_eq!(tasks.len(), 2, "{tasks:?}");
    assert!(tasks.iter().all(|task| task["conflict"] == true));
    let shown = taskq(&fixture, &["tasks"]).await;
    assert!(shown.stdout.contains("CONFLICT"), "{shown:?}");

    let doctor = taskq(&fixture, &["doctor"]).await;
    assert_eq!(doctor.code(), 1, "{doctor:?}");
    assert!(
        doctor.stdout.contains("double(n: u64) -> u64"),
        "{doctor:?}"
    );
    assert!(
        doctor.stdout.contains("double(n: i64) -> i64"),
        "{doctor:?}"
    );
}
