//! The `taskq` command.

mod cancel;
mod dead;
mod demo;
mod dev;
mod enqueue;
mod events;
mod init;
mod list;
mod local;
mod lookup;
mod moment;
mod operator;
mod output;
mod progress;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use taskq::Client;
use taskq::cli::{ConnectArgs, LogArgs};

/// A distributed task queue, native to NATS
#[derive(Parser)]
#[command(name = "taskq", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows it at work: starts NATS and workers, runs the five string tasks, stops everything
    Demo(demo::Args),
    /// Starts NATS and workers, and keeps them running until Ctrl-C
    Dev(dev::Args),
    /// Sends a task by name
    Enqueue(enqueue::Args),
    /// Tells where a task is
    Status(lookup::StatusArgs),
    /// Tells what a task returned
    Result(lookup::ResultArgs),
    /// Asks that a task should not go on; exits 1 when it had ended, or is unknown
    Cancel(cancel::Args),
    /// Looks at messages that will not be tried again, sends them again, removes them
    #[command(subcommand)]
    Dead(dead::Command),
    /// Tells what happens to tasks and workers
    Events(events::Args),
    /// Lists the tasks that living workers have
    Tasks(list::Args),
    /// Lists the living workers
    Workers(list::Args),
    /// Lists the queues and how much is in them
    Queues(list::Args),
    /// Makes the streams and consumers that taskq needs, and brings those that are there up to date
    Init(init::Args),
    /// Looks for what is wrong and says what to do; exits 1 when something does not work
    Doctor(list::Args),
    /// Measures taskq beside a raw async-nats loop, on a server of its own
    Bench(taskq_bench::Args),
    /// Runs a random mix of tasks and faults on a server of its own, and checks that nothing is
    /// lost
    Torture(taskq_torture::Args),
    /// A worker that ends with the process that started it
    #[command(hide = true, name = local::WORKER_COMMAND)]
    LocalWorker(taskq_worker::Args),
}

/// What every command that talks to NATS takes.
#[derive(Args)]
struct Common {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl Common {
    async fn connect(&self) -> anyhow::Result<Client> {
        Ok(self
            .connect
            .builder()
            .name("taskq command")
            .connect()
            .await?)
    }
}

fn main() -> ExitCode {
    let done = match parse().command {
        Command::LocalWorker(args) => local::work(args),
        command => on_runtime(command),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("taskq: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line. What the client logs at `info` is news to a
/// service, and noise to somebody who typed a command.
fn parse() -> Cli {
    use clap::{CommandFactory as _, FromArgMatches as _};
    let command = quiet(Cli::command());
    match Cli::from_arg_matches(&command.get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    }
}

fn quiet(command: clap::Command) -> clap::Command {
    let service = ["dev", local::WORKER_COMMAND].contains(&command.get_name());
    let logs = command.get_arguments().any(|arg| arg.get_id() == "log");
    let command = if logs && !service {
        command.mut_arg("log", |arg| arg.default_value("warn"))
    } else {
        command
    };
    command.mut_subcommands(quiet)
}

fn on_runtime(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::demo(args).await,
            Command::Dev(args) => dev::dev(args).await,
            Command::Enqueue(args) => enqueue::enqueue(args).await,
            Command::Status(args) => lookup::status(args).await,
            Command::Result(args) => lookup::result(args).await,
            Command::Cancel(args) => cancel::cancel(args).await,
            Command::Dead(command) => dead::dead(command).await,
            Command::Events(args) => events::events(args).await,
            Command::Tasks(args) => list::tasks(args).await,
            Command::Workers(args) => list::workers(args).await,
            Command::Queues(args) => list::queues(args).await,
            Command::Init(args) => init::init(args).await,
            Command::Doctor(args) => list::doctor(args).await,
            Command::Bench(args) => match taskq_bench::run(args).await {
                Ok(()) => Ok(ExitCode::SUCCESS),
                // Which phase of which side failed is in the chain.
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            },
            Command::Torture(args) => Ok(match taskq_torture::run(args).await? {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }),
            Command::LocalWorker(_) => Ok(ExitCode::SUCCESS),
        }
    });
    // A fetch of nats-server may still be under way after Ctrl-C.
    runtime.shutdown_timeout(Duration::ZERO);
    done
}
