//! `worker healthcheck`: the probe of an image that has no curl.

use std::time::Duration;

/// What to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct HealthArgs {
    /// Address of the worker's HTTP port
    #[arg(
        long,
        env = "TASKQ_HTTP",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9090"
    )]
    pub http: String,

    /// How long the answer may take
    #[arg(
        long,
        value_name = "TIME",
        env = "TASKQ_HEALTH_TIMEOUT",
        default_value = "3s",
        value_parser = taskq::parse_duration
    )]
    pub timeout: Duration,
}

/// Asks a worker's `/healthz`. Ok when it answers with 200.
///
/// # Errors
/// When nobody answers in time, or with another status.
pub fn healthcheck(args: &HealthArgs) -> taskq::Result<()> {
    taskq::cli::check_health(&args.http, args.timeout)
}
