//! Changing what is set for a queue.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::json;
use taskq::admin::{self, queues};
use taskq::{Backoff, QueueSettings, Rate};

use crate::{Common, operator, output};

/// Who does it, and how it is told.
#[derive(clap::Args)]
pub(crate) struct Who {
    /// Who does it, for the record [default: you, as user@host]
    #[arg(long, env = "TASKQ_BY", value_name = "WHO")]
    by: Option<String>,

    /// Print one JSON object
    #[arg(long, env = "TASKQ_JSON")]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl Who {
    pub(crate) fn by(&self) -> String {
        self.by.clone().unwrap_or_else(operator::name)
    }
}

#[derive(clap::Args)]
pub(super) struct SetArgs {
    /// Name of the queue; it need not be there yet
    queue: String,

    /// How many attempts run at once, on all workers together
    #[arg(long, env = "TASKQ_QUEUE_CONCURRENCY", value_name = "COUNT")]
    concurrency: Option<u32>,

    /// How many attempts begin, on all workers together: 100/s, 600/min, 20/h, 5/10s
    #[arg(long, env = "TASKQ_QUEUE_RATE", value_name = "RATE")]
    rate: Option<Rate>,

    /// How many may begin at once when none has for a while
    #[arg(long, env = "TASKQ_QUEUE_BURST", value_name = "COUNT")]
    burst: Option<u32>,

    /// The most messages in the queue, those that run included; at that number calls are refused
    #[arg(long, env = "TASKQ_QUEUE_MAX_BACKLOG", value_name = "COUNT")]
    max_backlog: Option<u64>,

    /// How often a failed attempt is followed by another, where neither task nor call says
    #[arg(long, env = "TASKQ_QUEUE_RETRIES", value_name = "COUNT")]
    retries: Option<u32>,

    /// The waits before retries, where neither task nor call says
    #[arg(long, env = "TASKQ_QUEUE_BACKOFF", value_name = "BACKOFF")]
    backoff: Option<Backoff>,

    /// How long one attempt may take, where neither task nor call says
    #[arg(
        long,
        env = "TASKQ_QUEUE_TIMEOUT",
        value_name = "TIME",
        value_parser = taskq::parse_duration
    )]
    timeout: Option<Duration>,

    /// What is to be as if it had never been set; may be given several times
    #[arg(
        long,
        env = "TASKQ_QUEUE_UNSET",
        value_name = "FIELD",
        value_delimiter = ','
    )]
    unset: Vec<Field>,

    #[command(flatten)]
    who: Who,
}

/// What can be set for a queue.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Field {
    Concurrency,
    Rate,
    Burst,
    MaxBacklog,
    Retries,
    Backoff,
    Timeout,
    /// All but whether it is paused
    All,
}

impl SetArgs {
    fn apply(&self, settings: &mut QueueSettings) {
        for field in &self.unset {
            let is = |one| *field == one || *field == Field::All;
            if is(Field::Concurrency) {
                settings.concurrency = None;
            }
            if is(Field::Rate) {
                settings.rate = None;
            }
            // A burst is of a rate.
            if is(Field::Burst) || is(Field::Rate) {
                settings.burst = None;
            }
            if is(Field::MaxBacklog) {
                settings.max_backlog = None;
            }
            if is(Field::Retries) {
                settings.retries = None;
            }
            if is(Field::Backoff) {
                settings.backoff = None;
            }
            if is(Field::Timeout) {
                settings.timeout = None;
            }
        }
        settings.concurrency = self.concurrency.or(settings.concurrency);
        settings.rate = self.rate.or(settings.rate);
        settings.burst = self.burst.or(settings.burst);
        settings.max_backlog = self.max_backlog.or(settings.max_backlog);
        settings.retries = self.retries.or(settings.retries);
        settings.backoff = self.backoff.or(settings.backoff);
        settings.timeout = self.timeout.or(settings.timeout);
    }

    fn is_nothing(&self) -> bool {
        let mut settings = QueueSettings::default();
        self.apply(&mut settings);
        settings.is_empty() && self.unset.is_empty()
    }
}

pub(super) async fn set(args: SetArgs) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    if args.is_nothing() {
        eprintln!(
            "taskq: nothing to set for queue {}: name something, such as --concurrency 10; `taskq \
             queues set --help` lists what there is",
            args.queue
        );
        return Ok(ExitCode::from(2));
    }
    let client = args.who.common.connect().await?;
    let mut after = QueueSettings::default();
    let before = queues::update(&client, &args.queue, &args.who.by(), |settings| {
        args.apply(settings);
        after = settings.clone();
    })
    .await?;
    let changes = admin::changes(&before.settings, &after);
    if args.who.json {
        output::json(&json!({ "queue": args.queue, "changes": changes, "settings": after }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if changes.is_empty() {
        output::say(format_args!("queue {}: unchanged", args.queue))?;
    }
    for change in changes {
        let text = format!("queue {}: {change}", args.queue);
        output::say(output::one_line(&text))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub(super) struct PauseArgs {
    /// Name of the queue
    queue: String,

    /// Why, for the record
    #[arg(long, env = "TASKQ_BECAUSE", value_name = "TEXT")]
    because: Option<String>,

    #[command(flatten)]
    who: Who,
}

pub(super) async fn pause(args: PauseArgs) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let client = args.who.common.connect().await?;
    let (queue, by) = (args.queue.as_str(), args.who.by());
    let changed = queues::pause(&client, queue, &by, args.because.as_deref()).await?;
    let paused = queues::get(&client, queue).await?.settings.paused;
    if args.who.json {
        let line = json!({ "queue": queue, "paused": paused, "changed": changed });
        output::json(&line)?;
    } else if changed {
        output::say(format_args!(
            "paused: nothing of queue {queue} starts until `taskq queues resume {queue}`; what \
             runs goes on"
        ))?;
    } else {
        let by = paused.map_or(by, |paused| paused.by);
        output::say(format_args!("queue {queue} was paused already, by {by}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub(super) struct ResumeArgs {
    /// Name of the queue
    queue: String,

    #[command(flatten)]
    who: Who,
}

pub(super) async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let client = args.who.common.connect().await?;
    let queue = args.queue.as_str();
    let changed = queues::resume(&client, queue, &args.who.by()).await?;
    if args.who.json {
        output::json(&json!({ "queue": queue, "paused": null, "changed": changed }))?;
    } else if changed {
        output::say(format_args!("resumed: queue {queue} goes on"))?;
    } else {
        output::say(format_args!("queue {queue} was not paused"))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub(super) struct PurgeArgs {
    /// Name of the queue
    queue: String,

    /// Why, for the record of each task
    #[arg(long, env = "TASKQ_BECAUSE", value_name = "TEXT")]
    because: Option<String>,

    /// Tell how many tasks would be cancelled, and do nothing
    #[arg(long, env = "TASKQ_DRY_RUN")]
    dry_run: bool,

    /// Do it: cancelled tasks do not come back
    #[arg(long, env = "TASKQ_YES")]
    yes: bool,

    #[command(flatten)]
    who: Who,
}

pub(super) async fn purge(args: PurgeArgs) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let queue = args.queue.as_str();
    if !args.dry_run && !args.yes {
        eprintln!(
            "taskq: purging queue {queue} cancels all that waits in it, for good; say --yes to do \
             it, or --dry-run to see how much that is"
        );
        return Ok(ExitCode::from(2));
    }
    let client = args.who.common.connect().await?;
    let started = Instant::now();
    let (by, because) = (args.who.by(), args.because.as_deref());
    let purged = queues::purge(&client, queue, &by, because, args.dry_run).await?;
    let seconds = started.elapsed().as_secs_f64();
    if args.who.json {
        output::json(&json!({
            "queue": queue, "dry_run": args.dry_run, "cancelled": purged.cancelled,
            "too_late": purged.too_late, "seconds": seconds,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let count = output::count(usize::try_from(purged.cancelled)?, "task");
    if args.dry_run {
        output::say(format_args!("{count} would be cancelled in queue {queue}"))?;
    } else {
        output::say(format_args!(
            "{count} cancelled in queue {queue}, in {seconds:.1} s"
        ))?;
    }
    if purged.too_late > 0 {
        output::say(format_args!("{} had ended", purged.too_late))?;
    }
    Ok(ExitCode::SUCCESS)
}
