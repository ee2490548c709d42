//! `taskq audit`: what operators did, line by line.

use std::process::ExitCode;

use serde_json::Value;
use taskq::Timestamp;
use taskq::admin::{self, AuditEntry, AuditFilter};

use crate::Common;
use crate::moment::moment;
use crate::output::{self, one_line};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// From when on: so long ago, such as 7d, or a time, such as 2026-11-22T04:32:01Z
    /// [default: all that is kept]
    #[arg(long, env = "TASKQ_SINCE", value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,

    /// Before when
    #[arg(long, env = "TASKQ_UNTIL", value_name = "WHEN", value_parser = moment)]
    until: Option<Timestamp>,

    /// Only by somebody of this name
    #[arg(long, env = "TASKQ_WHO", value_name = "NAME")]
    who: Option<String>,

    /// Only these actions, commas between, such as queue_purged,discarded
    #[arg(
        long,
        env = "TASKQ_ACTION",
        value_name = "ACTION",
        value_delimiter = ','
    )]
    action: Vec<String>,

    /// Only on this queue
    #[arg(long, env = "TASKQ_QUEUE", value_name = "QUEUE")]
    queue: Option<String>,

    /// Only on this task type, or tasks of it
    #[arg(long, env = "TASKQ_TASK", value_name = "TASK")]
    task: Option<String>,

    /// Only on the task of this id
    #[arg(long, env = "TASKQ_ID", value_name = "ID")]
    id: Option<String>,

    /// At most so many, the newest
    #[arg(long, env = "TASKQ_LIMIT", value_name = "COUNT", default_value_t = 100)]
    limit: usize,

    /// Print one JSON object a line
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

pub(crate) async fn audit(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let mut filter = AuditFilter::default();
    filter.since = args.since;
    filter.until = args.until;
    filter.by = args.who;
    filter.actions = args.action;
    filter.queue = args.queue;
    filter.task = args.task;
    filter.id = args.id.map(Into::into);
    let mut left = args.limit;
    while left > 0 {
        filter.most = left.min(500);
        let page = admin::audit(&client, &filter).await?;
        left -= page.entries.len();
        for entry in &page.entries {
            match args.json {
                true => output::json(entry)?,
                false => output::say(line(entry))?,
            }
        }
        filter.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `2026-11-26T18:00:00.000Z  queue_paused  email  by ada@host via taskq: reason=..`
pub(crate) fn line(entry: &AuditEntry) -> String {
    let mut text = format!("{}  {:<16}", entry.at, one_line(&entry.action));
    let id = entry.id.as_ref().map(taskq::TaskId::as_str);
    let what = [
        entry.queue.as_deref(),
        entry.task.as_deref(),
        id,
        entry.worker.as_deref(),
    ];
    for part in what.into_iter().flatten() {
        text.push_str("  ");
        text.push_str(&one_line(part));
    }
    text.push_str("  by ");
    text.push_str(&one_line(&entry.actor.to_string()));
    for (place, (name, value)) in entry.detail.iter().enumerate() {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        text.push_str(if place == 0 { ": " } else { ", " });
        text.push_str(&one_line(&format!("{name}={value}")));
    }
    text
}
