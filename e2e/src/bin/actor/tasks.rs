//! The bodies of the tasks in [`taskq_e2e::script`].

use std::time::Duration;

use taskq::prelude::*;
use taskq_e2e::history::{Notes, What};
use taskq_e2e::script;

#[task(implements = script::nap)]
pub(crate) async fn nap(millis: u64, notes: State<Notes>, ctx: Context) -> u64 {
    notes.add(What::Start, &ctx);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    notes.add(What::Finish, &ctx);
    millis
}

#[task(implements = script::turn)]
async fn turn(key: String, millis: u64, notes: State<Notes>, ctx: Context) -> u64 {
    drop(key);
    notes.add(What::Start, &ctx);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    notes.add(What::Finish, &ctx);
    millis
}

#[task(implements = script::flaky)]
async fn flaky(
    failures: u32,
    millis: u64,
    notes: State<Notes>,
    ctx: Context,
) -> Result<u32, TaskError> {
    notes.add(What::Start, &ctx);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    if ctx.attempt() <= failures {
        return Err("not yet".into());
    }
    notes.add(What::Finish, &ctx);
    Ok(failures)
}

#[task(implements = script::later)]
async fn later(seconds: u64, notes: State<Notes>, ctx: Context) -> Result<(), TaskError> {
    notes.add(What::Start, &ctx);
    Err(TaskError::retry_after(seconds.seconds(), "not now"))
}

#[task(implements = script::block)]
async fn block(millis: u64, notes: State<Notes>, ctx: Context) -> u64 {
    notes.add(What::Start, &ctx);
    std::thread::sleep(Duration::from_millis(millis));
    notes.add(What::Finish, &ctx);
    millis
}

#[task(implements = script::steps)]
async fn steps(
    count: u64,
    millis: u64,
    notes: State<Notes>,
    ctx: Context,
) -> Result<u64, TaskError> {
    let first = ctx.last_checkpoint().await?.unwrap_or(0);
    for step in first..count {
        notes.add(What::Start, &ctx);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        ctx.checkpoint(&(step + 1)).await?;
        notes.add(What::Finish, &ctx);
    }
    Ok(first)
}

#[task(implements = script::crash)]
async fn crash(attempts: u32, notes: State<Notes>, ctx: Context) -> u32 {
    notes.add(What::Start, &ctx);
    if ctx.attempt() <= attempts {
        std::process::abort();
    }
    notes.add(What::Finish, &ctx);
    attempts
}

#[task(implements = script::big)]
async fn big(bytes: usize, notes: State<Notes>, ctx: Context) -> String {
    notes.add(What::Start, &ctx);
    let text = "x".repeat(bytes);
    notes.add(What::Finish, &ctx);
    text
}

/// In a worker that is told to have it only.
#[task(schedule = "* * * * * *", discover = false)]
pub(crate) async fn tick(notes: State<Notes>, ctx: Context) {
    notes.add(What::Start, &ctx);
}
