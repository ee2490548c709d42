//! The pool's flags.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use taskq::QueueWeight;
use taskq::cli::{ConnectArgs, LogArgs};

/// The settings of a pool.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Name of the pool, its own while it lives: letters, digits, `-`, `_`, `.` [default: the
    /// machine's name]
    #[arg(long, env = "TASKQ_POOL", value_name = "NAME")]
    pub name: Option<String>,

    /// The fewest workers
    #[arg(
        long,
        env = "TASKQ_POOL_MIN",
        value_name = "COUNT",
        default_value_t = 1
    )]
    pub min: usize,

    /// The most workers [default: the number of processors, or --min if that is more]
    #[arg(long, env = "TASKQ_POOL_MAX", value_name = "COUNT")]
    pub max: Option<usize>,

    /// Queues that the workers serve, separated by commas; with weights, such as default:3,email:1,
    /// those with a backlog share a worker by them
    #[arg(
        long,
        env = "TASKQ_QUEUES",
        value_name = "NAMES",
        value_delimiter = ',',
        // By itself clap would take the whole text for a name.
        value_parser = str::parse::<QueueWeight>,
        default_value = "default"
    )]
    pub queues: Vec<QueueWeight>,

    /// How many attempts each worker runs at once
    #[arg(
        long,
        env = "TASKQ_CONCURRENCY",
        value_name = "COUNT",
        default_value_t = 64
    )]
    pub concurrency: usize,

    /// How long running tasks may go on after a worker was told to stop
    #[arg(
        long,
        env = "TASKQ_GRACE",
        value_name = "TIME",
        default_value = "30s",
        value_parser = taskq::parse_duration
    )]
    pub grace: Duration,

    /// How long a task may wait before more workers are started
    #[arg(
        long,
        env = "TASKQ_POOL_MAX_WAIT",
        value_name = "TIME",
        default_value = "1s",
        value_parser = taskq::parse_duration
    )]
    pub max_wait: Duration,

    /// For how long fewer workers must have been enough before the rest is drained
    #[arg(
        long,
        env = "TASKQ_POOL_SETTLE",
        value_name = "TIME",
        default_value = "1m",
        value_parser = taskq::parse_duration
    )]
    pub settle: Duration,

    /// How many of a worker's last lines are kept as evidence of its death
    #[arg(
        long,
        env = "TASKQ_POOL_LINES",
        value_name = "COUNT",
        default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(0..=1000)
    )]
    pub lines: u16,

    /// The workers' program, of yours [default: the ready-made worker]
    #[arg(long, env = "TASKQ_POOL_WORKER", value_name = "PATH")]
    pub worker: Option<PathBuf>,

    /// Arguments for that program, after `--`
    #[arg(last = true, value_name = "ARGS", requires = "worker")]
    pub worker_args: Vec<OsString>,

    /// Where NATS is; the workers get the same.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// What to log, here and in the workers.
    #[command(flatten)]
    pub log: LogArgs,
}
