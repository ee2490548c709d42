//! `taskq workers`: how they do, and telling them to go quiet, to go on, to
//! end.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use taskq::admin::{self, WorkerDetail, WorkerWish};
use taskq_producer::table;

use crate::list::{self, NO_WORKER};
use crate::output::{self, one_line};
use crate::queues::Who;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WorkersArgs {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    list: list::Args,
}

/// The first argument after `taskq workers`.
#[derive(Subcommand)]
enum Command {
    /// Shows how a worker does, and what it runs
    Show(ShowArgs),
    /// Lets a worker take nothing new; what runs goes on
    Quiet(TellArgs),
    /// Lets a quiet worker go on
    Resume(TellArgs),
    /// Lets a worker finish what runs, and end, as SIGTERM does
    Drain(DrainArgs),
    /// Lets a worker hand back what runs, and end
    Stop(TellArgs),
}

#[derive(clap::Args)]
struct ShowArgs {
    /// Name of the worker
    worker: String,

    #[command(flatten)]
    list: list::Args,
}

#[derive(clap::Args)]
struct TellArgs {
    /// Name of the worker
    worker: String,

    /// Why, for the record
    #[arg(long, env = "TASKQ_BECAUSE", value_name = "TEXT")]
    because: Option<String>,

    #[command(flatten)]
    who: Who,
}

#[derive(clap::Args)]
struct DrainArgs {
    /// How long what runs may go on [default: the worker's own grace]
    #[arg(long, env = "TASKQ_GRACE", value_name = "TIME", value_parser = taskq::parse_duration)]
    grace: Option<Duration>,

    #[command(flatten)]
    tell: TellArgs,
}

pub(crate) async fn workers(args: WorkersArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        None => all(args.list).await,
        Some(Command::Show(args)) => show(args).await,
        Some(Command::Quiet(args)) => tell(args, WorkerWish::Quiet).await,
        Some(Command::Resume(args)) => tell(args, WorkerWish::Resume).await,
        Some(Command::Drain(DrainArgs { grace, tell: args })) => {
            tell(args, WorkerWish::Drain { grace }).await
        }
        Some(Command::Stop(args)) => tell(args, WorkerWish::Stop).await,
    }
}

async fn all(args: list::Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let (workers, details) =
        futures::try_join!(admin::workers(&client), admin::worker_details(&client))?;
    let detail = |name: &str| details.iter().find(|detail| detail.worker == name);
    // Those that end are no longer among the workers.
    let ending = details
        .iter()
        .filter(|detail| workers.iter().all(|worker| worker.worker != detail.worker));
    if workers.is_empty() && details.is_empty() {
        eprintln!("{NO_WORKER}");
        return Ok(ExitCode::SUCCESS);
    }
    if args.json {
        for worker in &workers {
            let mut line = serde_json::to_value(worker)?;
            if let Some(detail) = detail(&worker.worker) {
                line["state"] = detail.state.clone().into();
                line["running"] = detail.running.into();
                line["version"] = detail.version.clone().into();
            }
            output::json(&line)?;
        }
        for detail in ending {
            output::json(detail)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = table(["worker", "state", "queues", "running", "slots", "tasks"]);
    for worker in &workers {
        let detail = detail(&worker.worker);
        shown.add_row([
            worker.worker.clone(),
            detail.map_or_else(String::new, |detail| detail.state.clone()),
            worker.queues.join(", "),
            detail.map_or_else(String::new, |detail| detail.running.to_string()),
            worker.concurrency.to_string(),
            worker.tasks.len().to_string(),
        ]);
    }
    for detail in ending {
        shown.add_row([
            detail.worker.clone(),
            detail.state.clone(),
            detail.queues.join(", "),
            detail.running.to_string(),
            detail.concurrency.to_string(),
            String::new(),
        ]);
    }
    output::say(shown)?;
    Ok(ExitCode::SUCCESS)
}

async fn show(args: ShowArgs) -> anyhow::Result<ExitCode> {
    args.list.common.log.init();
    let client = args.list.common.connect().await?;
    let detail = admin::worker(&client, &args.worker).await?;
    if args.list.json {
        output::json(&detail)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in lines(&detail) {
        output::say(line)?;
    }
    if !detail.tasks.is_empty() {
        let mut shown = table(["task", "id", "queue", "attempt", "since"]);
        for task in &detail.tasks {
            let mark = if task.stopping { "STOPPING  " } else { "" };
            shown.add_row([
                format!("{mark}{}", one_line(&task.task)),
                one_line(task.id.as_str()).into_owned(),
                task.queue.clone(),
                task.attempt.to_string(),
                task.since.to_string(),
            ]);
        }
        output::say(shown)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(detail: &WorkerDetail) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} is {} since {}",
            one_line(&detail.worker),
            detail.state,
            detail.started_at
        ),
        format!(
            "serves {}; {} of {} slots taken, {} more held",
            detail.queues.join(", "),
            detail.running,
            detail.concurrency,
            detail.held
        ),
    ];
    let mut place = format!("taskq {}, process {}", detail.version, detail.process);
    for part in [&detail.program, &detail.host].into_iter().flatten() {
        place.push_str(", ");
        place.push_str(&one_line(part));
    }
    if let Some(memory) = detail.memory_bytes {
        place.push_str(&format!(", {} MiB", memory / (1024 * 1024)));
    }
    if let Some(cpu) = detail.cpu {
        place.push_str(&format!(", {:.0} % of a processor", cpu * 100.0));
    }
    lines.push(place);
    lines.push(format!(
        "{} succeeded, {} failed, {} retried, {} cancelled, {} expired",
        detail.succeeded, detail.failed, detail.retried, detail.cancelled, detail.expired
    ));
    if let Some(trouble) = &detail.trouble {
        lines.push(format!("it does not get on: {}", one_line(trouble)));
    }
    lines
}

async fn tell(args: TellArgs, wish: WorkerWish) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let client = args.who.common.connect().await?;
    let (worker, by) = (args.worker.as_str(), args.who.by());
    let done = admin::steer(&client, worker, wish, &by, args.because.as_deref()).await?;
    if args.who.json {
        let (before, after) = (&done.before, &done.after);
        let line = json!({ "worker": worker, "before": before, "after": after, "by": by });
        output::json(&line)?;
        return Ok(ExitCode::SUCCESS);
    }
    let worker = one_line(worker);
    output::say(match wish {
        WorkerWish::Quiet => format!(
            "quiet: {worker} takes nothing new until `taskq workers resume {worker}`; what runs \
             goes on"
        ),
        WorkerWish::Resume => format!("resumed: {worker} takes tasks"),
        WorkerWish::Drain { .. } => {
            format!("draining: {worker} takes nothing new, and ends when nothing runs")
        }
        _ => format!("stopping: {worker} hands back what runs, and ends"),
    })?;
    Ok(ExitCode::SUCCESS)
}
