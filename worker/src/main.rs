//! Runs tasks that come through NATS.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use taskq_worker::{Args, HealthArgs};

/// Runs tasks that come through NATS
///
/// Stops on SIGTERM or Ctrl-C: takes no new work, lets what runs finish within the grace, and hands
/// the rest back. A second signal ends the grace.
#[derive(Parser)]
#[command(name = "worker", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    args: Args,
}

#[derive(Subcommand)]
enum Command {
    /// Asks a worker's /healthz; exits 0 when it is well and 1 when it is not
    Healthcheck(HealthArgs),
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Healthcheck(args)) => taskq_worker::healthcheck(&args).map_err(Into::into),
        None => {
            cli.args.log.init();
            taskq_worker::run(cli.args)
        }
    };
    taskq::telemetry::end_traces();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}
