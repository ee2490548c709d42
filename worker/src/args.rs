//! The worker's flags.

use std::time::Duration;

use taskq::QueueWeight;
use taskq::cli::{ConnectArgs, LogArgs};

/// The settings of a worker.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Queues to serve, separated by commas; with weights, such as default:3,email:1, those with a
    /// backlog share the worker by them
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

    /// How many attempts run at once
    #[arg(
        long,
        env = "TASKQ_CONCURRENCY",
        value_name = "COUNT",
        default_value_t = 64
    )]
    pub concurrency: usize,

    /// How many of them may compute at once: tasks that are a plain `fn` [default: the number of
    /// processors]
    #[arg(long, env = "TASKQ_COMPUTING", value_name = "COUNT")]
    pub computing: Option<usize>,

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

    /// Up to how many bytes of a task's arguments its record keeps, to find it by; 0 keeps none
    #[arg(
        long,
        env = "TASKQ_KEEP_ARGS",
        value_name = "BYTES",
        default_value_t = 1024
    )]
    pub keep_args: usize,

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

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: super::Args,
    }

    #[test]
    fn queues_are_read_with_their_weights() {
        let cli = Cli::try_parse_from(["worker", "--queues", "default:3,email:1,bulk"]);
        let queues = cli.map(|cli| cli.args.queues);
        let expected = [("default", 3).into(), ("email", 1).into(), "bulk".into()];
        assert_eq!(queues.ok().as_deref(), Some(&expected[..]));
        assert!(Cli::try_parse_from(["worker", "--queues", "default:x"]).is_err());
    }
}
