//! The `taskq` command.

mod apply;
mod audit;
mod cancel;
mod dead;
mod delayed;
mod demo;
mod describe;
mod dev;
mod enqueue;
mod events;
mod explain;
mod history;
mod init;
mod list;
mod local;
mod lookup;
mod moment;
mod operations;
mod operator;
mod output;
mod pool;
mod progress;
mod queues;
mod retry;
mod reveal;
mod schedules;
mod types;
mod workers;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use taskq::Client;
use taskq::admin::{Actor, acting_as};
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
    /// Tells why a task is not running now, where it runs, or how it ended
    Explain(explain::Args),
    /// Asks that a task should not go on; exits 1 when it had ended, or is unknown
    Cancel(cancel::Args),
    /// Runs a task again that failed, was cancelled or has expired; exits 1 when it does not
    Retry(retry::Args),
    /// Does one thing to many tasks: cancel, retry, run-now, reschedule, discard
    Bulk(operations::BulkArgs),
    /// Lists what is being done to many tasks, and how far it is; cancels it
    Operations(operations::OperationsArgs),
    /// Looks at messages that will not be tried again, sends them again, removes them
    #[command(subcommand)]
    Dead(dead::Command),
    /// Lists tasks that are put off, moves them to another time, starts them now
    #[command(subcommand)]
    Delayed(delayed::Command),
    /// Lists what runs when; makes, pauses, resumes, runs and removes schedules
    #[command(subcommand)]
    Schedules(schedules::Command),
    /// Tells what happens to tasks and workers
    Events(events::Args),
    /// Tells what operators did: who, what, when, from where, before and after
    Audit(audit::Args),
    /// Tells what was: how tasks ended, what operators did, when workers came and went
    History(history::Args),
    /// Lists the tasks that living workers have; pauses and resumes task types
    Tasks(types::TypesArgs),
    /// Lists the living workers and how they do; tells them to go quiet, to go on, to end
    Workers(workers::WorkersArgs),
    /// Keeps worker processes running, as many as there is work for; tells how pools do
    #[command(subcommand)]
    Pool(pool::Command),
    /// Lists the queues, how much is in them and what is set for them; sets, pauses, purges them
    Queues(queues::QueuesArgs),
    /// Sets queues and task types as a file says; shows the difference with --dry-run
    Apply(apply::Args),
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
    /// The ready-made worker of a pool
    #[command(hide = true, name = pool::WORKER_COMMAND)]
    PoolWorker(taskq_worker::Args),
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
        Command::PoolWorker(args) => pool::work(args),
        command => on_runtime(command),
    };
    match done {
        Ok(code) => code,
        // Who reads has seen enough, such as `head`.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("taskq: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
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
    let keeps_workers = command.get_arguments().any(|arg| arg.get_id() == "settle");
    let service = ["dev", local::WORKER_COMMAND, pool::WORKER_COMMAND];
    let service = keeps_workers || service.contains(&command.get_name());
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
    // What is done is recorded as done by who typed it.
    let actor = Actor::new(operator::name()).known_by("system").via("taskq");
    let done = runtime.block_on(acting_as(actor, async {
        match command {
            Command::Demo(args) => demo::demo(args).await,
            Command::Dev(args) => dev::dev(args).await,
            Command::Enqueue(args) => enqueue::enqueue(args).await,
            Command::Status(args) => lookup::status(args).await,
            Command::Result(args) => lookup::result(args).await,
            Command::Explain(args) => explain::explain(args).await,
            Command::Cancel(args) => cancel::cancel(args).await,
            Command::Retry(args) => retry::retry(args).await,
            Command::Bulk(args) => operations::bulk(args).await,
            Command::Operations(args) => operations::operations(args).await,
            Command::Dead(command) => dead::dead(command).await,
            Command::Delayed(command) => delayed::delayed(command).await,
            Command::Schedules(command) => schedules::schedules(command).await,
            Command::Events(args) => events::events(args).await,
            Command::Audit(args) => audit::audit(args).await,
            Command::History(args) => history::history(args).await,
            Command::Tasks(args) => types::types(args).await,
            Command::Workers(args) => workers::workers(args).await,
            Command::Pool(command) => pool::pool(command).await,
            Command::Queues(args) => queues::queues(args).await,
            Command::Apply(args) => apply::apply(args).await,
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
            Command::LocalWorker(_) | Command::PoolWorker(_) => Ok(ExitCode::SUCCESS),
        }
    }));
    // A fetch of nats-server may still be under way after Ctrl-C.
    runtime.shutdown_timeout(Duration::ZERO);
    taskq::telemetry::end_traces();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two arguments of one name, or of one variable, would show only when
    /// their command is used.
    #[test]
    fn no_two_arguments_of_a_command_are_in_each_others_way() {
        use clap::CommandFactory as _;
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        cli.build();
        let mut commands = vec![&cli];
        while let Some(command) = commands.pop() {
            let mut variables: Vec<_> = command
                .get_arguments()
                .filter_map(|it| it.get_env())
                .collect();
            let count = variables.len();
            variables.sort();
            variables.dedup();
            assert_eq!(variables.len(), count, "{}", command.get_name());
            commands.extend(command.get_subcommands());
        }
    }
}
