//! `taskq apply`: queues and task types as a file says.

mod file;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;
use taskq::admin::{self, Change, queues, tasks};
use taskq::{Client, ErrorKind, Paused, QueueSettings};

use self::file::{File, Pause, Queue};
use crate::output;
use crate::queues::Who;

/// How often a queue is looked at again that somebody else has changed.
const TRIES: u32 = 16;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file, in YAML; `-` reads standard input
    #[arg(short, long, env = "TASKQ_FILE", value_name = "FILE")]
    file: PathBuf,

    /// Show what would be changed, from what to what, and change nothing
    #[arg(long, env = "TASKQ_DRY_RUN")]
    dry_run: bool,

    /// Unset all that is set for queues and task types which the file does not name
    #[arg(long, env = "TASKQ_PRUNE")]
    prune: bool,

    #[command(flatten)]
    who: Who,
}

/// Something that a file is about.
struct Plan<'a> {
    kind: &'static str,
    name: String,
    /// None for what is not in the file, and is to be as if never set.
    queue: Option<&'a Queue>,
    pause: Option<Pause>,
}

pub(crate) async fn apply(args: Args) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let name = args.file.display().to_string();
    let text = if name == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(&args.file)
    };
    let text = text.with_context(|| format!("{name} cannot be read"));
    let text = text.map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let file = match file::read(&name, &text) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("taskq: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    // All of it makes sense, or none is set.
    for (queue, wanted) in &file.queues {
        let wanted = wanted
            .as_ref()
            .map(|it| it.settings(&QueueSettings::default()));
        if let Err(error) = queues::check(queue, &wanted.unwrap_or_default()) {
            eprintln!("taskq: {name}: queue {queue}: {error}");
            return Ok(ExitCode::from(2));
        }
    }
    let client = args.who.common.connect().await?;
    let by = args.who.by();
    let mut changed = 0;
    for plan in plans(&client, &file, args.prune).await? {
        let changes = match plan.kind {
            "queue" => apply_queue(&client, &plan, &by, args.dry_run).await?,
            _ => apply_task(&client, &plan, &by, args.dry_run).await?,
        };
        changed += changes.len();
        for change in changes {
            if args.who.json {
                output::json(&json!({
                    "kind": plan.kind, "name": plan.name, "field": change.field,
                    "before": change.before, "after": change.after, "dry_run": args.dry_run,
                }))?;
            } else {
                let text = format!("{} {}: {change}", plan.kind, plan.name);
                output::say(output::one_line(&text))?;
            }
        }
    }
    if args.dry_run {
        eprintln!("nothing was done: --dry-run");
    } else if changed == 0 {
        eprintln!("nothing to do: all is as {name} says");
    }
    Ok(ExitCode::SUCCESS)
}

/// What there is to see to: what the file names, and with `prune` what is set
/// besides.
async fn plans<'a>(client: &Client, file: &'a File, prune: bool) -> taskq::Result<Vec<Plan<'a>>> {
    const NOTHING: &Queue = &Queue::NOTHING;
    let mut plans = Vec::new();
    for (name, queue) in &file.queues {
        let queue = queue.as_ref().unwrap_or(NOTHING);
        plans.push(Plan {
            kind: "queue",
            name: name.clone(),
            queue: Some(queue),
            pause: queue.paused.clone(),
        });
    }
    for (name, task) in &file.tasks {
        let pause = task.as_ref().and_then(|task| task.paused.clone());
        plans.push(Plan {
            kind: "task",
            name: name.clone(),
            queue: None,
            pause,
        });
    }
    if prune {
        let queues: BTreeSet<String> = names(queues::list(client).await?);
        let tasks: BTreeSet<String> = names(tasks::list(client).await?);
        plans.extend(rest("queue", queues, file.queues.keys()));
        plans.extend(rest("task", tasks, file.tasks.keys()));
    }
    Ok(plans)
}

/// What is set and not named.
fn rest<'a, 'b>(
    kind: &'static str,
    mut set: BTreeSet<String>,
    named: impl Iterator<Item = &'b String>,
) -> Vec<Plan<'a>> {
    for name in named {
        set.remove(name);
    }
    let plan = |name| Plan {
        kind,
        name,
        queue: None,
        pause: Some(Pause::Is(false)),
    };
    set.into_iter().map(plan).collect()
}

fn names<T>(set: Vec<queues::Revised<T>>) -> BTreeSet<String> {
    set.into_iter().map(|set| set.name).collect()
}

async fn apply_queue(
    client: &Client,
    plan: &Plan<'_>,
    by: &str,
    dry_run: bool,
) -> taskq::Result<Vec<Change>> {
    let mut tries = 1;
    loop {
        let now = queues::get(client, &plan.name).await?;
        let mut wanted = match plan.queue {
            Some(queue) => queue.settings(&now.settings),
            None => QueueSettings::default(),
        };
        wanted.paused = paused(plan.pause.as_ref(), now.settings.paused.clone(), by);
        let changes = admin::changes(&now.settings, &wanted);
        if dry_run {
            return Ok(changes);
        }
        match queues::set(client, &plan.name, &wanted, now.revision, by).await {
            Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES => tries += 1,
            done => return done.map(|_| changes),
        }
    }
}

async fn apply_task(
    client: &Client,
    plan: &Plan<'_>,
    by: &str,
    dry_run: bool,
) -> taskq::Result<Vec<Change>> {
    let now = tasks::get(client, &plan.name).await?.settings;
    let mut wanted = now.clone();
    wanted.paused = paused(plan.pause.as_ref(), now.paused.clone(), by);
    let changes = admin::changes(&now, &wanted);
    if !dry_run && !changes.is_empty() {
        match plan.pause.as_ref().and_then(Pause::reason) {
            Some(because) => tasks::pause(client, &plan.name, by, because).await?,
            None => tasks::resume(client, &plan.name, by).await?,
        };
    }
    Ok(changes)
}

/// Whether something is to be paused. What is paused already stays as it
/// was: since then, and by whoever did it.
fn paused(wanted: Option<&Pause>, now: Option<Paused>, by: &str) -> Option<Paused> {
    let Some(wanted) = wanted else {
        return now;
    };
    let because = wanted.reason()?;
    now.or_else(|| {
        Some(Paused {
            by: by.to_owned(),
            at: taskq::Timestamp::now(),
            because: because.map(str::to_owned),
        })
    })
}
