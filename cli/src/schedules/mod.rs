//! `taskq schedules`: what runs when.

mod act;
mod add;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

/// The first argument after `taskq schedules`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the schedules: when they fire in words, their next fire, how the last one ended
    List(show::ListArgs),
    /// Shows all that is set for one schedule
    Show(show::ShowArgs),
    /// Makes a schedule, or sets another in its place; its times count from now on
    Add(Box<add::AddArgs>),
    /// Lets no fire of a schedule start until it is resumed; what runs goes on
    Pause(act::PauseArgs),
    /// Lets a paused schedule go on from now; what passed meanwhile is not made up for
    Resume(act::Args),
    /// Runs a schedule's call now, beside its own fires
    Run(act::Args),
    /// Removes a schedule, and what is planned of it
    Rm(act::Args),
    /// Tells the next times of a schedule, or of a pattern that is not set
    Next(show::NextArgs),
}

pub(crate) async fn schedules(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => show::list(args).await,
        Command::Show(args) => show::show(args).await,
        Command::Add(args) => add::add(*args).await,
        Command::Pause(args) => act::pause(args).await,
        Command::Resume(args) => act::resume(args).await,
        Command::Run(args) => act::run(args).await,
        Command::Rm(args) => act::remove(args).await,
        Command::Next(args) => show::next(args).await,
    }
}
