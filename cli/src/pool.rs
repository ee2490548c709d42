//! `taskq pool`: keeping worker processes running, and how the pools do.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use taskq::Client;
use taskq::admin::pools::{self, Pool, PoolMode, PoolTarget, PoolWish};
use taskq::admin::{RunningTask, WorkerDeath};
use taskq_pool::Program;
use taskq_producer::table;

use crate::list;
use crate::output::{self, one_line};
use crate::queues::Who;

/// The hidden subcommand that the ready-made worker of a pool runs.
pub(crate) const WORKER_COMMAND: &str = "pool-worker";

/// Of a death so many running tasks are shown.
const MOST_SHOWN: usize = 5;

/// The first argument after `taskq pool`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Keeps worker processes running, as many as there is work for, until Ctrl-C
    Run(Box<taskq_pool::Args>),
    /// Tells how the pools that live do: their workers, and what the last dead ones died of
    Status(StatusArgs),
    /// Has a pool keep so many workers, or go by the work again
    Scale(ScaleArgs),
    /// Lets a pool drain its workers, and end
    Stop(StopArgs),
}

#[derive(clap::Args)]
pub(crate) struct StatusArgs {
    /// Name of the pool [default: all]
    #[arg(long, env = "TASKQ_POOL", value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    list: list::Args,
}

#[derive(clap::Args)]
pub(crate) struct ScaleArgs {
    /// How many workers to keep
    #[arg(required_unless_present = "auto", conflicts_with = "auto")]
    count: Option<usize>,

    /// Keep as many as there is work for
    #[arg(long)]
    auto: bool,

    #[command(flatten)]
    tell: StopArgs,
}

#[derive(clap::Args)]
pub(crate) struct StopArgs {
    /// Name of the pool [default: the one that there is]
    #[arg(long, env = "TASKQ_POOL", value_name = "NAME")]
    name: Option<String>,

    /// Why, for the record
    #[arg(long, env = "TASKQ_BECAUSE", value_name = "TEXT")]
    because: Option<String>,

    #[command(flatten)]
    who: Who,
}

pub(crate) async fn pool(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run(*args).await,
        Command::Status(args) => status(args).await,
        Command::Scale(ScaleArgs { count, tell, .. }) => {
            wish(tell, PoolWish::Scale { count }).await
        }
        Command::Stop(args) => wish(args, PoolWish::Stop).await,
    }
}

/// The worker's side.
pub(crate) fn work(args: taskq_worker::Args) -> anyhow::Result<ExitCode> {
    args.log.init();
    let done = taskq_worker::run(args);
    taskq::telemetry::end_traces();
    done?;
    Ok(ExitCode::SUCCESS)
}

async fn run(args: taskq_pool::Args) -> anyhow::Result<ExitCode> {
    args.log.init();
    let ready_made = Program {
        path: std::env::current_exe().context("cannot tell where this program is")?,
        args: vec![WORKER_COMMAND.into()],
    };
    match taskq_pool::run(args, ready_made).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    }
}

async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    args.list.common.log.init();
    let client = args.list.common.connect().await?;
    let pools = match &args.name {
        Some(name) => vec![pools::get(&client, name).await?],
        None => pools::list(&client).await?,
    };
    if pools.is_empty() {
        eprintln!("no pool answers; start one: taskq pool run");
        return Ok(ExitCode::SUCCESS);
    }
    for pool in &pools {
        match args.list.json {
            true => output::json(pool)?,
            false => show(pool)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(pool: &Pool) -> anyhow::Result<()> {
    let state = match (pool.stopping, pool.mode) {
        (true, _) => "STOPPING",
        (false, PoolMode::Automatic) => "automatic",
        (false, PoolMode::Fixed) => "fixed",
    };
    let mut lines = vec![
        format!(
            "{}: {} of {} to {} workers, {state}, queues {}",
            pool.pool,
            pool.target,
            pool.min,
            pool.max,
            pool.queues.join(", ")
        ),
        format!(
            "  since {} on {}, process {}, program {}",
            pool.started_at,
            one_line(pool.host.as_deref().unwrap_or("an unknown machine")),
            pool.process,
            one_line(&pool.program)
        ),
        format!(
            "  {} wait, {} of {} slots taken; started again: {}",
            pool.waiting, pool.busy, pool.slots, pool.restarts
        ),
    ];
    if let Some(change) = &pool.changed {
        lines.push(format!(
            "  {} -> {} workers at {}: {}",
            change.before.target,
            change.after.target,
            change.at,
            one_line(&change.why)
        ));
    }
    if let Some(trouble) = &pool.trouble {
        lines.push(format!("  it does not get on: {}", one_line(trouble)));
    }
    output::say(lines.join("\n"))?;
    if !pool.workers.is_empty() {
        let mut shown = table(["worker", "process", "state", "tasks", "memory top", "since"]);
        for worker in &pool.workers {
            let memory = worker.peak_memory_bytes;
            shown.add_row([
                worker.worker.clone(),
                worker.process.to_string(),
                worker.state.clone(),
                worker.running.to_string(),
                memory.map_or_else(String::new, |bytes| format!("{} MiB", bytes >> 20)),
                worker.started_at.to_string(),
            ]);
        }
        output::say(shown)?;
    }
    for death in &pool.deaths {
        output::say(format!(
            "died: {} at {}, {death}",
            one_line(&death.worker),
            death.at
        ))?;
        for line in evidence(death) {
            output::say(format!("  {line}"))?;
        }
    }
    Ok(())
}

/// What a dead worker ran, and what it said last.
pub(crate) fn evidence(death: &WorkerDeath) -> Vec<String> {
    let ran = |task: &RunningTask| {
        let time = death.at.since(task.since);
        format!(
            "ran {} ({}, attempt {}) for {}",
            one_line(&task.task),
            one_line(task.id.as_str()),
            task.attempt,
            taskq::format_duration(time)
        )
    };
    let mut lines: Vec<String> = death.running.iter().take(MOST_SHOWN).map(ran).collect();
    if death.running.len() > MOST_SHOWN {
        lines.push(format!("and {} more", death.running.len() - MOST_SHOWN));
    }
    lines.extend(death.log.iter().map(|line| format!("| {}", one_line(line))));
    lines
}

async fn wish(args: StopArgs, wish: PoolWish) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let client = args.who.common.connect().await?;
    let name = match args.name.clone() {
        Some(name) => name,
        None => only(&client).await?,
    };
    let (by, because) = (args.who.by(), args.because.as_deref());
    let is_stop = wish == PoolWish::Stop;
    let done = pools::wish(&client, &name, wish, &by, because).await?;
    if args.who.json {
        let mut line = serde_json::to_value(&done)?;
        line["by"] = by.into();
        output::json(&line)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::say(match (is_stop, done.after) {
        (true, _) => format!("{name}: its workers drain, and it ends"),
        (
            false,
            PoolTarget {
                mode: PoolMode::Fixed,
                target,
            },
        ) => format!(
            "{name}: {}, until `taskq pool scale --auto`",
            output::count(target, "worker")
        ),
        (false, _) => {
            let pool = pools::get(&client, &name).await?;
            format!(
                "{name}: {} to {} workers, as there is work",
                pool.min, pool.max
            )
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The name of the only pool.
async fn only(client: &Client) -> anyhow::Result<String> {
    let mut names: Vec<String> = pools::list(client)
        .await?
        .into_iter()
        .map(|it| it.pool)
        .collect();
    match (names.pop(), names.is_empty()) {
        (Some(name), true) => Ok(name),
        (None, _) => bail!("no pool answers; start one: taskq pool run"),
        (Some(last), false) => bail!(
            "there are several pools: {}, {last}; say which with --name",
            names.join(", ")
        ),
    }
}
