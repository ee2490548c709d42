//! What is asked for on the command line.

use std::time::Duration;

use clap::Subcommand;

use crate::options::{Contender, CpuOptions, Load, PartOptions, ServerOptions};

/// The flags of a comparison.
///
/// For a [`clap`] command. They bring a hidden subcommand,
/// by which the program starts its own parts.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Tasks of the enqueue phase, and of the end-to-end phase
    #[arg(long, env = "TASKQ_BENCH_COUNT", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,

    /// Repetitions, each of which runs every side once
    #[arg(long, env = "TASKQ_BENCH_REPS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) reps: u32,

    /// Tasks a second of the latency phase
    #[arg(long, env = "TASKQ_BENCH_RATE", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// Tasks of the latency phase
    #[arg(long, env = "TASKQ_BENCH_LATENCY_COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) latency_count: u64,

    /// What is measured against the raw loop; the raw loop itself shows the noise
    #[arg(long, env = "TASKQ_BENCH_AGAINST", value_enum, default_value_t = Contender::Taskq)]
    pub(crate) against: Contender,

    /// Compare tasks without keys with tasks of so many keys, one at a time of each, in place of
    /// the raw loop
    #[arg(long, env = "TASKQ_BENCH_KEYS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: Option<u64>,

    /// Compare so many tasks that compute with a bare rayon loop on the same cores, in place of
    /// the raw loop
    #[arg(long, env = "TASKQ_BENCH_CPU", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "keys")]
    pub(crate) cpu: Option<u64>,

    /// How long a task takes that is compared by its keys; and about how long one that computes
    #[arg(long, env = "TASKQ_BENCH_WORK", value_name = "TIME", default_value = "1ms", value_parser = taskq::parse_duration)]
    pub(crate) work: Duration,

    /// Print one JSON object a line instead of a table
    #[arg(long, env = "TASKQ_BENCH_JSON")]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) load: Load,

    #[command(subcommand)]
    pub(crate) part: Option<Part>,
}

/// What a process started by the comparison does.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Part {
    /// Started by the comparison itself.
    #[command(name = "part", hide = true)]
    Contend(PartOptions),
    /// Started by the comparison of keys.
    #[command(hide = true)]
    KeysWorker(ServerOptions),
    /// Started by the comparison of tasks that compute.
    #[command(hide = true)]
    CpuWorker(ServerOptions),
    /// Started by the comparison of tasks that compute.
    #[command(hide = true)]
    CpuBare(CpuOptions),
}
