//! `taskq delayed`: what is put off, and other times for it.

mod act;
mod select;

use std::process::ExitCode;

use taskq_producer::table;

use self::select::Filters;
use crate::Common;
use crate::output::{self, one_line};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Lists tasks that are put off, the first to start first: delays, and waits before a retry
    List(ListArgs),
    /// Lets them start at another time
    Move(act::MoveArgs),
    /// Lets them start now
    Run(act::RunArgs),
}

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filters: Filters,

    /// Show the arguments too
    #[arg(long, env = "TASKQ_SHOW_ARGS")]
    show_args: bool,

    /// Print one JSON object a line: all that is known, with the arguments
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

pub(crate) async fn delayed(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list(args).await,
        Command::Move(args) => act::move_to(args).await,
        Command::Run(args) => act::run(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let found = args.filters.find(&client).await?;
    if args.json {
        for task in &found.tasks {
            output::json(task)?;
        }
        found.tell_rest();
        return Ok(ExitCode::SUCCESS);
    }
    if !found.tasks.is_empty() {
        let mut shown = match args.show_args {
            true => table(["task id", "task", "queue", "due", "attempt", "arguments"]),
            false => table(["task id", "task", "queue", "due", "attempt"]),
        };
        for task in &found.tasks {
            let mut row = vec![
                one_line(task.id.as_str()).into_owned(),
                one_line(&task.task).into_owned(),
                task.queue.clone(),
                task.due.to_string(),
                task.attempt.to_string(),
            ];
            if args.show_args {
                let given = select::arguments(task);
                row.push(taskq_producer::short(&one_line(&given), 60));
            }
            shown.add_row(row);
        }
        output::say(shown)?;
    }
    output::say(found.sentence())?;
    found.tell_rest();
    Ok(ExitCode::SUCCESS)
}
