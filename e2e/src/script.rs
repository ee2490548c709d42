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

/// Returns so many bytes.
#[task]
pub async fn big(bytes: usize) -> String;
