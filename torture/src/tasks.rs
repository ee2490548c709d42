//! What the workers of a run are given to do. No other worker has these
//! tasks: each is named where it is wanted.

use std::time::Duration;

use taskq::WorkerBuilder;
use taskq::prelude::*;

use crate::notes::{Notes, What};

/// How often a hopeless task is tried again.
pub(crate) const HOPELESS_RETRIES: u32 = 2;

/// What a task is, and so how it may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Returns at once.
    Quick,
    /// Sleeps for some hundred milliseconds.
    Sleeping,
    /// Fails, some times.
    Flaky,
    /// Fails, always.
    Hopeless,
    /// Sleeps for some seconds, and tells how far it is.
    Long,
    /// Blocks a thread.
    Blocking,
    /// One of its key at a time.
    Unique,
    /// Starts later.
    Delayed,
    /// Must have ended by a time.
    Deadline,
    /// Has arguments that do not fit in a message.
    Bulky,
}

impl Kind {
    /// What a task of this kind and number returns.
    pub(crate) fn value(self, n: u32) -> u64 {
        match self {
            Self::Bulky => BULK as u64,
            _ => value(n),
        }
    }

    /// How many times a flaky task fails.
    pub(crate) fn failures(n: u32) -> u32 {
        1 + n % 3
    }
}

/// The bytes of an argument that is over the limit.
pub(crate) const BULK: usize = 1_200_000;

fn value(n: u32) -> u64 {
    u64::from(n) * 7 + 1
}

/// Adds all of these tasks to a worker.
pub(crate) fn all(worker: WorkerBuilder) -> WorkerBuilder {
    worker
        .discover(false)
        .task::<quick>()
        .task::<sleeping>()
        .task::<flaky>()
        .task::<hopeless>()
        .task::<long>()
        .task::<blocking>()
        .task::<bulky>()
}

#[task(discover = false)]
pub(crate) async fn quick(notes: State<Notes>, ctx: Context) -> u64 {
    let n = notes.add(What::Start, &ctx);
    notes.add(What::Finish, &ctx);
    value(n)
}

#[task(discover = false)]
pub(crate) async fn sleeping(millis: u64, notes: State<Notes>, ctx: Context) -> u64 {
    let n = notes.add(What::Start, &ctx);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    notes.add(What::Finish, &ctx);
    value(n)
}

// By the number of the attempt, which a crash counts up too: so it fails this
// often at most.
#[task(discover = false, retries = 10, backoff = "constant(200ms)")]
pub(crate) async fn flaky(
    failures: u32,
    notes: State<Notes>,
    ctx: Context,
) -> Result<u64, TaskError> {
    let n = notes.add(What::Start, &ctx);
    if ctx.attempt() <= failures {
        notes.add(What::Failure, &ctx);
        return Err("not yet".into());
    }
    notes.add(What::Finish, &ctx);
    Ok(value(n))
}

#[task(discover = false, retries = 2, backoff = "constant(100ms)")]
pub(crate) async fn hopeless(notes: State<Notes>, ctx: Context) -> Result<u64, TaskError> {
    notes.add(What::Start, &ctx);
    notes.add(What::Failure, &ctx);
    Err("never".into())
}

#[task(discover = false)]
pub(crate) async fn long(steps: u64, notes: State<Notes>, ctx: Context) -> u64 {
    let n = notes.add(What::Start, &ctx);
    for step in 0..steps {
        ctx.progress(step, steps, "on the way");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    notes.add(What::Finish, &ctx);
    value(n)
}

#[task(discover = false)]
pub(crate) fn blocking(millis: u64, notes: State<Notes>, ctx: Context) -> u64 {
    let n = notes.add(What::Start, &ctx);
    std::thread::sleep(Duration::from_millis(millis));
    notes.add(What::Finish, &ctx);
    value(n)
}

#[task(discover = false)]
pub(crate) async fn bulky(text: String, notes: State<Notes>, ctx: Context) -> u64 {
    notes.add(What::Start, &ctx);
    notes.add(What::Finish, &ctx);
    text.len() as u64
}
