//! Pools of workers: worker processes on one machine, as many as there is work
//! for, started again when they die, with the evidence of each death.
//!
//! `taskq pool run` is little more than [`run`]. How many there are to be is
//! decided in `decide`, when one is started again in `restarts`: neither has a
//! clock, and neither does anything.

mod args;
#[cfg(unix)]
mod decide;
#[cfg(unix)]
mod guard;
#[cfg(unix)]
mod keep;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod restarts;
#[cfg(unix)]
mod setup;
#[cfg(unix)]
mod system;

use std::ffi::OsString;
use std::path::PathBuf;

pub use args::Args;

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// Keeps a pool until the process is told to stop (SIGTERM, Ctrl-C) or an
/// operator stops it, and its workers have drained. Without a program in the
/// settings the workers are `ready_made`.
///
/// # Errors
/// When the settings make no sense, a pool of the name lives already, NATS cannot
/// be reached at the start, or the first worker cannot be started.
#[cfg(unix)]
pub async fn run(args: Args, ready_made: Program) -> anyhow::Result<()> {
    setup::run(args, ready_made).await
}

/// Pools are for Unix.
///
/// # Errors
/// Always, here.
#[cfg(not(unix))]
pub async fn run(_: Args, _: Program) -> anyhow::Result<()> {
    anyhow::bail!("pools are for Unix; start workers by what runs your services here")
}
