//! `taskq queues`: how much is in them, and what is set for them.

mod act;
mod show;

use std::process::ExitCode;

pub(crate) use self::act::Who;

use clap::Subcommand;

use crate::list;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct QueuesArgs {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    list: list::Args,
}

/// The first argument after `taskq queues`.
#[derive(Subcommand)]
enum Command {
    /// Shows one queue: how much is in it, and what is set for it
    Show(show::ShowArgs),
    /// Sets limits and defaults of a queue, for all workers and senders, at once
    Set(act::SetArgs),
    /// Lets nothing of a queue start until it is resumed; what runs goes on
    Pause(act::PauseArgs),
    /// Lets a paused queue go on
    Resume(act::ResumeArgs),
    /// Cancels all that waits in a queue; what a worker has goes on
    Purge(act::PurgeArgs),
}

pub(crate) async fn queues(args: QueuesArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        None => show::list(args.list).await,
        Some(Command::Show(args)) => show::show(args).await,
        Some(Command::Set(args)) => act::set(args).await,
        Some(Command::Pause(args)) => act::pause(args).await,
        Some(Command::Resume(args)) => act::resume(args).await,
        Some(Command::Purge(args)) => act::purge(args).await,
    }
}
