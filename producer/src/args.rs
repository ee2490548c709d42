//! The producer's flags.

use std::time::Duration;

use taskq::cli::{ConnectArgs, LogArgs};

use crate::options::{Mix, Options, Pace};

/// The settings of a producer.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Send this many tasks, the five in turn with other arguments each time [default: the five,
    /// once]
    #[arg(long, env = "TASKQ_COUNT", value_name = "COUNT")]
    pub count: Option<u64>,

    /// Which tasks to send
    #[arg(
        long,
        env = "TASKQ_MIX",
        value_enum,
        value_name = "MIX",
        default_value_t = Mix::Five,
        requires_if("catalogue", "rate")
    )]
    pub mix: Mix,

    /// Send so many a second, whether or not those before have ended, and show what became of each
    /// type
    #[arg(
        long,
        env = "TASKQ_RATE",
        value_name = "TASKS",
        requires = "seconds",
        conflicts_with_all = ["count", "every"],
        value_parser = rate
    )]
    pub rate: Option<f64>,

    /// For so many seconds
    #[arg(
        long,
        env = "TASKQ_SECONDS",
        value_name = "SECONDS",
        requires = "rate",
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub seconds: Option<u32>,

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
    /// How many to send in which time, if that is asked for.
    #[must_use]
    pub fn pace(&self) -> Option<Pace> {
        Some(Pace {
            per_second: self.rate?,
            length: Duration::from_secs(self.seconds?.into()),
        })
    }

    /// What to send and how to tell of it.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            mix: self.mix,
            count: self.count,
            wait: !self.no_wait,
            queue: self.queue.clone(),
            timeout: self.timeout,
            json: self.json,
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("it is tasks a second, from 0.01 to 100000".to_owned()),
    }
}
