//! `taskq history`: what was, line by line.

use std::process::ExitCode;

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::admin::{self, HistoryEntry, HistoryFilter, HistoryKind, RecordBody};
use taskq::{OutcomeState, Timestamp};

use crate::Common;
use crate::moment::moment;
use crate::output::{self, one_line};
use crate::{audit, events};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these, commas between: tasks (how they ended), audit (what operators did), workers
    /// (when they came and went) [default: all three]
    #[arg(long, env = "TASKQ_KIND", value_name = "KIND", value_delimiter = ',')]
    kind: Vec<HistoryKind>,

    /// From when on: so long ago, such as 7d, or a time, such as 2026-11-22T04:32:01Z
    /// [default: all that is kept]
    #[arg(long, env = "TASKQ_SINCE", value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,

    /// Before when
    #[arg(long, env = "TASKQ_UNTIL", value_name = "WHEN", value_parser = moment)]
    until: Option<Timestamp>,

    /// Only the task of this id, and what was done to it
    #[arg(long, env = "TASKQ_ID", value_name = "ID")]
    id: Option<String>,

    /// Only tasks of this name, and what was done to them
    #[arg(long, env = "TASKQ_TASK", value_name = "TASK")]
    task: Option<String>,

    /// Only tasks that ended so, commas between: succeeded, failed, cancelled, expired
    #[arg(long, env = "TASKQ_STATE", value_name = "STATE", value_delimiter = ',')]
    state: Vec<OutcomeState>,

    /// Only tasks of this queue, what was done to it, and workers that serve it
    #[arg(long, env = "TASKQ_QUEUE", value_name = "QUEUE")]
    queue: Option<String>,

    /// Only what this worker ran last, what was done to it, and its life
    #[arg(long, env = "TASKQ_WORKER", value_name = "WORKER")]
    worker: Option<String>,

    /// Only tasks of this key: of a limit, or the one that makes it unique
    // `--key` is the connection's.
    #[arg(long, env = "TASKQ_TASK_KEY", value_name = "KEY")]
    task_key: Option<String>,

    /// Only tasks with this label, as customer=42; may be repeated
    #[arg(long, env = "TASKQ_LABEL", value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,

    /// Only tasks with this value at this path of their arguments, as user.id=42; may be repeated
    #[arg(long, env = "TASKQ_ARG", value_name = "PATH=VALUE", value_parser = pair)]
    arg: Vec<(String, String)>,

    /// Only tasks with all of these words in an error
    #[arg(long, env = "TASKQ_ERROR", value_name = "WORDS")]
    error: Option<String>,

    /// Only tasks that have become a dead letter
    #[arg(long, env = "TASKQ_DEAD")]
    dead: bool,

    /// The oldest first, not the newest
    #[arg(long, env = "TASKQ_OLDEST_FIRST")]
    oldest_first: bool,

    /// At most so many
    #[arg(long, env = "TASKQ_LIMIT", value_name = "COUNT", default_value_t = 100)]
    limit: usize,

    /// However many there are
    #[arg(long, env = "TASKQ_ALL", conflicts_with = "limit")]
    all: bool,

    /// Print one JSON object a line: all that is stored of each
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

pub(crate) async fn history(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let mut filter = HistoryFilter::default();
    filter.kinds = args.kind;
    filter.since = args.since;
    filter.until = args.until;
    filter.id = args.id.map(Into::into);
    filter.task = args.task;
    filter.states = args.state;
    filter.queue = args.queue;
    filter.worker = args.worker;
    filter.key = args.task_key;
    filter.labels = args.label;
    filter.arguments = args.arg;
    filter.error = args.error;
    filter.dead = args.dead.then_some(true);
    filter.newest_first = !args.oldest_first;
    let limit = if args.all { usize::MAX } else { args.limit };
    let mut history = admin::history(&client, filter).await?.boxed();
    let mut told = 0;
    while let Some(entry) = history.try_next().await? {
        if told == limit {
            let end = if args.oldest_first {
                "oldest"
            } else {
                "newest"
            };
            eprintln!("these are the {end} {limit}; --limit tells more, --all all that there are");
            break;
        }
        told += 1;
        if args.json {
            output::json(&entry)?;
        } else {
            tell(&entry)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for a person: as `taskq events` and `taskq audit` have it.
fn tell(entry: &HistoryEntry) -> anyhow::Result<()> {
    if let Some(event) = entry.event() {
        return events::print(&event);
    }
    match &entry.body {
        RecordBody::Action(action) => output::say(audit::line(action)),
        RecordBody::Unreadable(why) => output::say(format_args!(
            "{}  {:<16}  {}",
            entry.at,
            "unreadable",
            one_line(why)
        )),
        _ => Ok(()),
    }
}

fn pair(text: &str) -> anyhow::Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => anyhow::bail!("`{text}` has no name and value; write it like customer=42"),
    }
}
