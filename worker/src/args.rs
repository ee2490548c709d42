//! The worker's flags.

use std::time::Duration;

use taskq::cli::{ConnectArgs, LogArgs};

/// The settings of a worker.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Queues to serve, separated by commas
    #[arg(
        long,
        env = "TASKQ_QUEUES",
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "default"
    )]
    pub queues: Vec<String>,

    /// How many attempts run at once
    #[arg(
        long,
        env = "TASKQ_CONCURRENCY",
        value_name = "COUNT",
        default_value_t = 64
    )]
    pub concurrency: usize,

    /// Name in outcomes and logs, unique to this worker [default: host, process id and four letters]
    #[arg(long, env = "TASKQ_WORKER_NAME", value_name = "NAME")]
    pub name: Option<String>,

    /// How long after a crash of this worker its tasks run elsewhere; the first worker of a queue
    /// sets it
    #[arg(
        long,
        env = "TASKQ_LEASE",
        value_name = "TIME",
        default_value = "6s",
        value_parser = taskq::parse_duration
    )]
    pub lease: Duration,

    /// How long running tasks may go on after the worker was told to stop
    #[arg(
        long,
        env = "TASKQ_GRACE",
        value_name = "TIME",
        default_value = "30s",
        value_parser = taskq::parse_duration
    )]
    pub grace: Duration,

    /// How many workers in a row a task may take with it before it is put in quarantine, as a dead
    /// letter; 0 for any number
    #[arg(
        long,
        env = "TASKQ_MAX_CRASHES",
        value_name = "COUNT",
        default_value_t = 3
    )]
    pub max_crashes: u32,

    /// How long a cancelled task that listens may go on
    #[arg(
        long,
        env = "TASKQ_CANCEL_GRACE",
        value_name = "TIME",
        default_value = "5s",
        value_parser = taskq::parse_duration
    )]
    pub cancel_grace: Duration,

    /// Address for /healthz, /readyz and /metrics, such as 127.0.0.1:9090 [default: off]
    #[arg(long, env = "TASKQ_HTTP", value_name = "HOST:PORT")]
    pub http: Option<String>,

    /// Where NATS is.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}
