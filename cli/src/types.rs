//! `taskq tasks`: the task types of living workers, showing one, and pausing them.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use taskq::admin::tasks;

use crate::queues::Who;
use crate::{describe, list, output};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TypesArgs {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    list: list::Args,
}

/// The first argument after `taskq tasks`.
#[derive(Subcommand)]
enum Command {
    /// Shows all that living workers know of a task type: signature, options, arguments, and
    /// the JSON Schemas of arguments and result
    Show(describe::Args),
    /// Lets no task of a type start, in any queue, until it is resumed; what runs goes on
    Pause(PauseArgs),
    /// Lets a paused task type go on, and what was put aside of it run at once
    Resume(ResumeArgs),
}

#[derive(clap::Args)]
struct PauseArgs {
    /// Name of the task type
    task: String,

    /// Why, for the record
    #[arg(long, env = "TASKQ_BECAUSE", value_name = "TEXT")]
    because: Option<String>,

    #[command(flatten)]
    who: Who,
}

#[derive(clap::Args)]
struct ResumeArgs {
    /// Name of the task type
    task: String,

    #[command(flatten)]
    who: Who,
}

pub(crate) async fn types(args: TypesArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        None => list::tasks(args.list).await,
        Some(Command::Show(args)) => describe::show(args).await,
        Some(Command::Pause(args)) => pause(args).await,
        Some(Command::Resume(args)) => resume(args).await,
    }
}

async fn pause(args: PauseArgs) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let client = args.who.common.connect().await?;
    let (task, by) = (args.task.as_str(), args.who.by());
    let changed = tasks::pause(&client, task, &by, args.because.as_deref()).await?;
    let paused = tasks::get(&client, task).await?.settings.paused;
    if args.who.json {
        let line = json!({ "task": task, "paused": paused, "changed": changed });
        output::json(&line)?;
    } else if changed {
        output::say(format_args!(
            "paused: no task {task} starts until `taskq tasks resume {task}`; what runs goes on"
        ))?;
    } else {
        let by = paused.map_or(by, |paused| paused.by);
        output::say(format_args!("task type {task} was paused already, by {by}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let client = args.who.common.connect().await?;
    let task = args.task.as_str();
    let changed = tasks::resume(&client, task, &args.who.by()).await?;
    if args.who.json {
        output::json(&json!({ "task": task, "paused": null, "changed": changed }))?;
    } else if changed {
        output::say(format_args!("resumed: task type {task} goes on"))?;
    } else {
        output::say(format_args!("task type {task} was not paused"))?;
    }
    Ok(ExitCode::SUCCESS)
}
