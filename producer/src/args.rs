//! The producer's flags.

use std::time::Duration;

use taskq::cli::{ConnectArgs, LogArgs};

use crate::Options;

/// The settings of a producer.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Send this many tasks, the five in turn with other arguments each time [default: the five,
    /// once]
    #[arg(long, env = "TASKQ_COUNT", value_name = "COUNT")]
    pub count: Option<u64>,

    /// Send again and again, this long apart, until SIGTERM or Ctrl-C
    #[arg(
        long,
        env = "TASKQ_EVERY",
        value_name = "TIME",
        value_parser = taskq::parse_duration
    )]
    pub every: Option<Duration>,

    /// Send, and do not wait for the results
    #[arg(long, env = "TASKQ_NO_WAIT")]
    pub no_wait: bool,

    /// Queue to send to
    #[arg(
        long,
        env = "TASKQ_QUEUE",
        value_name = "NAME",
        default_value = "default"
    )]
    pub queue: String,

    /// How long to wait for each result
    #[arg(
        long,
        env = "TASKQ_TIMEOUT",
        value_name = "TIME",
        default_value = "60s",
        value_parser = taskq::parse_duration
    )]
    pub timeout: Duration,

    /// Print one JSON object a line
    #[arg(long, env = "TASKQ_JSON")]
    pub json: bool,

    /// Where NATS is.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

impl Args {
    /// What to send and how to tell of it.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            count: self.count,
            wait: !self.no_wait,
            queue: self.queue.clone(),
            timeout: self.timeout,
            json: self.json,
        }
    }
}
