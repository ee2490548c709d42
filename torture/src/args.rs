//! What is asked for on the command line.

use std::time::Duration;

use clap::Subcommand;

use crate::worker::WorkerArgs;

/// The flags of a run.
///
/// For a [`clap`] command. They bring a hidden subcommand, by which the
/// program starts its own workers.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// How long faults are injected, in minutes
    #[arg(long, env = "TASKQ_TORTURE_MINUTES", default_value_t = 1.0, value_parser = positive)]
    pub(crate) minutes: f64,

    /// Number that the plan of faults follows from [default: another one each time]
    #[arg(long, env = "TASKQ_TORTURE_SEED")]
    pub(crate) seed: Option<u64>,

    /// How often a worker is killed, by the second and on the average
    #[arg(long, env = "TASKQ_TORTURE_KILLS_PER_SECOND", default_value_t = 1.0, value_parser = not_negative)]
    pub(crate) kills_per_second: f64,

    /// Worker processes
    #[arg(long, env = "TASKQ_TORTURE_WORKERS", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) workers: u8,

    /// Tasks that are sent a second; 0 for as many as are done
    #[arg(long, env = "TASKQ_TORTURE_RATE", default_value_t = 0)]
    pub(crate) rate: u32,

    /// Three servers and three replicas, in place of one
    #[arg(long, env = "TASKQ_TORTURE_CLUSTER")]
    pub(crate) cluster: bool,

    /// Print one JSON object at the end, in place of text
    #[arg(long, env = "TASKQ_TORTURE_JSON")]
    pub(crate) json: bool,

    /// Print the plan of faults, and inject none
    #[arg(long)]
    pub(crate) plan: bool,

    /// Keep the logs though all is well
    #[arg(long, env = "TASKQ_TORTURE_KEEP")]
    pub(crate) keep: bool,

    /// How soon after a kill what the worker ran has to be under way again
    #[arg(long, env = "TASKQ_TORTURE_RECOVERY", value_name = "TIME", default_value = "10s", value_parser = taskq::parse_duration)]
    pub(crate) recovery: Duration,

    /// How soon after the last fault everything that was accepted has to have ended
    #[arg(long, env = "TASKQ_TORTURE_DRAIN", value_name = "TIME", default_value = "2m", value_parser = taskq::parse_duration)]
    pub(crate) drain: Duration,

    #[command(subcommand)]
    pub(crate) part: Option<Part>,
}

/// What a process started by a run does.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Part {
    /// Started by the run itself.
    #[command(hide = true)]
    Worker(WorkerArgs),
}

impl Args {
    /// How long faults are injected.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1e4).contains(&number) => Ok(number),
        _ => Err("a number from 0 to 10,000 is expected".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match not_negative(text) {
        Ok(0.0) => Err("a number above 0 is expected".to_owned()),
        number => number,
    }
}
