//! `taskq dead`: messages that will not be tried again.

mod act;
mod rate;
mod select;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

/// The first argument after `taskq dead`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists dead letters, the oldest first
    List(show::ListArgs),
    /// Shows all that is known of dead letters: why, the message, every attempt
    Show(show::ShowArgs),
    /// Sends dead letters again, each under its id and with all of its retries
    Replay(act::ReplayArgs),
    /// Removes dead letters for good
    Discard(act::DiscardArgs),
}

pub(crate) async fn dead(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => show::list(args).await,
        Command::Show(args) => show::show(args).await,
        Command::Replay(args) => act::replay(args).await,
        Command::Discard(args) => act::discard(args).await,
    }
}
