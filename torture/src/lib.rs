//! Torture: a random mix of faults, under full load, and whether taskq keeps
//! what it promises in it (docs/reliability.md).
//!
//! It starts a nats-server, or three, and worker processes, some of them
//! behind a [`proxy`]; sends tasks of every kind; kills, freezes, stops and
//! cuts off what there is, by a plan that follows from a number; and compares
//! what was sent and what the tasks noted with all that the server has
//! recorded.

mod args;
mod field;
mod ledger;
mod load;
mod notes;
mod plan;
pub mod proxy;
mod records;
mod recovery;
mod run;
mod servers;
mod shared;
mod tasks;
mod usage;
mod verdict;
mod worker;

use anyhow::Result;

pub use args::Args;
use args::Part;

/// Runs it (or, in a process that was started by a run, a worker). Whether
/// all was well.
///
/// The verdict goes to stdout, as text or as JSON; what is going on goes to
/// stderr. The workers are this program again, with the subcommands `torture
/// worker`: so [`Args`] must be those of a subcommand of that name.
///
/// # Errors
///
/// When there is no nats-server to be had, or a fault cannot be injected.
pub async fn run(args: Args) -> Result<bool> {
    match args.part {
        Some(Part::Worker(args)) => worker::work(args).await.map(|()| true),
        None => run::run(&args).await,
    }
}
