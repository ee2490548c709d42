//! `taskq bulk` and `taskq operations`: one thing done to many tasks.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use taskq::admin::operations::{self, BulkAction, MOST, NewOperation, Operation, OperationState};
use taskq::admin::{self, DeadFilter, DelayedFilter, QueueFilter};
use taskq::{Client, ErrorKind, Rate, TaskId, Timestamp};
use taskq_producer::table;

use crate::list;
use crate::moment::{Ahead, moment};
use crate::output::{self, count, one_line};
use crate::queues::Who;

/// How many messages of a queue are read at once.
const PAGE: usize = 1000;

#[derive(clap::Args)]
pub(crate) struct BulkArgs {
    /// What to do
    action: Verb,

    /// Ids of the tasks; or name them by the flags
    ids: Vec<String>,

    /// All tasks to which this can be done and that the other flags let through
    #[arg(long, env = "TASKQ_ALL", conflicts_with = "ids")]
    all: bool,

    /// Of this queue
    #[arg(long, env = "TASKQ_QUEUE", value_name = "NAME", conflicts_with = "ids")]
    queue: Option<String>,

    /// Of this task
    #[arg(long, env = "TASKQ_TASK", value_name = "NAME", conflicts_with = "ids")]
    task: Option<String>,

    /// With this text in the last error: of retry and discard
    #[arg(long, env = "TASKQ_ERROR", value_name = "TEXT", conflicts_with = "ids")]
    error: Option<String>,

    /// Failed, or sent, since then: so long ago, such as 1h, or a time
    #[arg(long, env = "TASKQ_SINCE", value_name = "WHEN", value_parser = moment, conflicts_with = "ids")]
    since: Option<Timestamp>,

    /// And before then
    #[arg(long, env = "TASKQ_UNTIL", value_name = "WHEN", value_parser = moment, conflicts_with = "ids")]
    until: Option<Timestamp>,

    /// Of reschedule: to start then: so far from now, such as 2h, or at a time
    #[arg(long, env = "TASKQ_TO", value_name = "WHEN")]
    to: Option<Ahead>,

    /// At most so many: 50/s, 10/m, 100/h
    #[arg(long, env = "TASKQ_RATE", value_name = "RATE")]
    rate: Option<Rate>,

    /// Why, for the record
    #[arg(long, env = "TASKQ_BECAUSE", value_name = "TEXT")]
    because: Option<String>,

    /// Only count
    #[arg(long, env = "TASKQ_DRY_RUN")]
    dry_run: bool,

    /// Leave it to the gateways to do it
    #[arg(long, env = "TASKQ_DETACH")]
    detach: bool,

    #[command(flatten)]
    who: Who,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verb {
    /// Cancel what waits or is put off
    Cancel,
    /// Run what has failed or expired again; by id what was cancelled too
    Retry,
    /// Start what is put off now
    RunNow,
    /// Let what is put off start at another time
    Reschedule,
    /// Remove dead letters for good
    Discard,
}

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OperationsArgs {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    list: list::Args,
}

/// The first argument after `taskq operations`.
#[derive(Subcommand)]
enum Command {
    /// Shows how far an operation is
    Show(ShowArgs),
    /// Cancels an operation; what was done stays done
    Cancel(ActArgs),
    /// Does an operation that nobody does: no gateway lives, and who began it is gone
    Run(ActArgs),
}

#[derive(clap::Args)]
struct ShowArgs {
    /// Id of the operation
    id: String,

    #[command(flatten)]
    list: list::Args,
}

#[derive(clap::Args)]
struct ActArgs {
    /// Id of the operation
    id: String,

    #[command(flatten)]
    who: Who,
}

pub(crate) async fn bulk(args: BulkArgs) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let action = match (args.action, args.to) {
        (Verb::Cancel, None) => BulkAction::Cancel,
        (Verb::Retry, None) => BulkAction::Retry,
        (Verb::RunNow, None) => BulkAction::RunNow,
        (Verb::Discard, None) => BulkAction::Discard,
        (Verb::Reschedule, Some(to)) => BulkAction::Reschedule {
            at: to.from(Timestamp::now()),
        },
        (Verb::Reschedule, None) => bail!("say when they are to start: --to 2h"),
        (_, Some(_)) => bail!("--to is for reschedule"),
    };
    let narrowed = args.queue.is_some()
        || args.task.is_some()
        || args.error.is_some()
        || args.since.is_some()
        || args.until.is_some();
    if args.ids.is_empty() && !narrowed && !args.all {
        bail!("name the tasks by their ids, by flags such as --queue, or all of them by --all");
    }
    let client = args.who.common.connect().await?;
    let (ids, filter) = if args.ids.is_empty() {
        (select(&client, action, &args).await?, told(&args))
    } else {
        let ids = args.ids.iter().map(|id| id.as_str().into());
        (ids.collect(), Value::Null)
    };
    if args.dry_run {
        if args.who.json {
            output::json(&json!({ "action": action.as_str(), "total": ids.len() }))?;
        } else {
            let what = count(ids.len(), "task");
            output::say(format_args!(
                "{}: {what} would be acted on",
                action.as_str()
            ))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if ids.is_empty() {
        bail!("no task is found to which this could be done");
    }
    let mut new = NewOperation::new(action, args.who.by()).filter(filter);
    if let Some(because) = &args.because {
        new = new.because(because.as_str());
    }
    if let Some(rate) = args.rate {
        new = new.rate(rate.per_second());
    }
    let begun = operations::begin(&client, new, ids).await?;
    if args.detach {
        return show_one(&begun, args.who.json);
    }
    finish(&client, &begun.id, &args.who).await
}

/// What was asked for, in the words of the flags.
fn told(args: &BulkArgs) -> Value {
    let mut told = serde_json::Map::new();
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            told.insert(name.to_owned(), value.into());
        }
    };
    set("queue", args.queue.clone());
    set("task", args.task.clone());
    set("error", args.error.clone());
    set("since", args.since.map(|at| at.to_string()));
    set("until", args.until.map(|at| at.to_string()));
    Value::Object(told)
}

/// Finds the tasks to which this can be done: dead letters, what waits, what
/// is put off.
async fn select(
    client: &Client,
    action: BulkAction,
    args: &BulkArgs,
) -> anyhow::Result<Vec<TaskId>> {
    let mut ids = Vec::new();
    if matches!(action, BulkAction::Retry | BulkAction::Discard) {
        let filter = DeadFilter {
            queue: args.queue.clone(),
            task: args.task.clone(),
            error: args.error.clone(),
            since: args.since,
            until: args.until,
            ..DeadFilter::default()
        };
        let mut letters = admin::dead_letters(client, filter).await?.boxed();
        while let Some(letter) = letters.try_next().await? {
            ids.push(letter.id);
        }
    } else {
        if args.error.is_some() {
            bail!("--error is for retry and discard");
        }
        let in_time = |at: Timestamp| {
            args.since.is_none_or(|since| at >= since) && args.until.is_none_or(|until| at < until)
        };
        let filter = DelayedFilter {
            queue: args.queue.clone(),
            task: args.task.clone(),
            ..DelayedFilter::default()
        };
        let mut delayed = admin::delayed(client, filter).await?.boxed();
        while let Some(task) = delayed.try_next().await? {
            if in_time(task.enqueued_at) {
                ids.push(task.id);
            }
        }
        if action == BulkAction::Cancel {
            let queues = match &args.queue {
                Some(queue) => vec![queue.clone()],
                None => {
                    let queues = client.queues().await?.into_iter();
                    queues.map(|queue| queue.queue).collect()
                }
            };
            for queue in queues {
                let mut page = QueueFilter::of(queue);
                page.task.clone_from(&args.task);
                page.most = PAGE;
                loop {
                    let found = match admin::queued(client, page.clone()).await {
                        Ok(found) => found,
                        Err(error) if error.kind() == ErrorKind::NotFound => break,
                        Err(error) => return Err(error.into()),
                    };
                    let tasks = found.tasks.into_iter();
                    let waits = tasks.filter(|task| !task.given && in_time(task.enqueued_at));
                    ids.extend(waits.map(|task| task.id));
                    match found.next {
                        Some(next) => page.after = next,
                        None => break,
                    }
                }
            }
        }
    }
    if ids.len() > MOST {
        bail!(
            "{} tasks are more than one operation takes, {MOST}; narrow them",
            ids.len()
        );
    }
    Ok(ids)
}

/// Does an operation to its end.
async fn finish(client: &Client, id: &str, who: &Who) -> anyhow::Result<ExitCode> {
    let runner = format!("{} process {}", who.by(), std::process::id());
    loop {
        match operations::run(client, id, &runner).await {
            Ok(Some(ended)) => {
                let failed = ended.outcomes.contains_key("failed");
                show_one(&ended, who.json)?;
                return Ok(if failed {
                    ExitCode::FAILURE
                } else {
                    ExitCode::SUCCESS
                });
            }
            // A gateway was quicker; it is followed to its end.
            Ok(None) => {
                let now = operations::get(client, id).await?;
                if now.state != OperationState::Running {
                    let failed = now.outcomes.contains_key("failed");
                    show_one(&now, who.json)?;
                    return Ok(if failed {
                        ExitCode::FAILURE
                    } else {
                        ExitCode::SUCCESS
                    });
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) async fn operations(args: OperationsArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        None => all(args.list).await,
        Some(Command::Show(args)) => {
            args.list.common.log.init();
            let client = args.list.common.connect().await?;
            let found = operations::get(&client, &args.id).await?;
            show_one(&found, args.list.json)
        }
        Some(Command::Cancel(args)) => {
            args.who.common.log.init();
            let client = args.who.common.connect().await?;
            let done = operations::cancel(&client, &args.id, &args.who.by()).await?;
            show_one(&done, args.who.json)
        }
        Some(Command::Run(args)) => {
            args.who.common.log.init();
            let client = args.who.common.connect().await?;
            operations::get(&client, &args.id).await?;
            finish(&client, &args.id, &args.who).await
        }
    }
}

async fn all(args: list::Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let found = operations::list(&client).await?;
    if args.json {
        for operation in &found {
            output::json(operation)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = table(["operation", "action", "state", "done", "by", "begun"]);
    for operation in &found {
        shown.add_row([
            operation.id.clone(),
            operation.action.as_str().to_owned(),
            word(operation.state).to_owned(),
            format!("{} of {}", operation.done, operation.total),
            one_line(&operation.by).into_owned(),
            operation.created_at.to_string(),
        ]);
    }
    output::say(shown)?;
    Ok(ExitCode::SUCCESS)
}

const fn word(state: OperationState) -> &'static str {
    match state {
        OperationState::Done => "done",
        OperationState::Cancelled => "cancelled",
        _ => "running",
    }
}

fn show_one(operation: &Operation, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(operation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = operation.outcomes.iter();
    let outcomes: Vec<String> = outcomes
        .map(|(outcome, many)| format!("{many} {}", outcome.replace('_', " ")))
        .collect();
    let outcomes = if outcomes.is_empty() {
        String::new()
    } else {
        format!(": {}", outcomes.join(", "))
    };
    output::say(format_args!(
        "{}: {} is {}, {} of {}{outcomes}",
        operation.action.as_str(),
        operation.id,
        word(operation.state),
        operation.done,
        operation.total,
    ))?;
    for failed in &operation.errors {
        let (id, error) = (one_line(failed.id.as_str()), one_line(&failed.error));
        output::say(format_args!("  {id}: {error}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
