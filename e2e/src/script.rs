//! The tasks that faults are tried on, by their signatures. Their bodies are
//! in the program `actor`, and nowhere else: what links this crate gets no
//! task by it.

use taskq::prelude::*;

/// Notes its start, sleeps so many milliseconds, notes its finish, and
/// returns the number.
#[task]
pub async fn nap(millis: u64) -> u64;

/// Sleeps so many milliseconds; fails so many times, by the number of the
/// attempt, and then returns that.
#[task(retries = 20, backoff = "constant(50ms)")]
pub async fn flaky(failures: u32, millis: u64) -> Result<u32, TaskError>;

/// Fails, to be tried again after so many seconds.
#[task(retries = 1)]
pub async fn later(seconds: u64) -> Result<(), TaskError>;

/// Blocks its thread for so many milliseconds, as an `async` task must not.
#[task]
pub async fn block(millis: u64) -> u64;

/// Takes its worker's whole process down, so many times.
#[task]
pub async fn crash(attempts: u32) -> u32;

/// Takes so many steps, of so many milliseconds, and keeps each as a checkpoint;
/// returns the step that its last attempt began with.
#[task]
pub async fn steps(count: u64, millis: u64) -> u64;

/// As [`nap`], at most one at a time of each key.
#[task(concurrency = 1, per = "key")]
pub async fn turn(key: String, millis: u64) -> u64;

/// Returns so many bytes.
#[task]
pub async fn big(bytes: usize) -> String;
