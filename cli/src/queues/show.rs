//! Looking at queues.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;
use taskq::admin::queues;
use taskq::{Client, Mode, QueueDepth, QueueSettings};
use taskq_producer::table;

use crate::{Common, list, output};

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// Name of the queue
    queue: String,

    /// Print one JSON object
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

/// A queue: what is in it, and what is set for it.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    depth: QueueDepth,
    paused: bool,
    /// Of what is set: greater at each change, 0 for nothing ever.
    revision: u64,
    settings: QueueSettings,
}

/// All that have messages or settings, by name.
async fn rows(client: &Client) -> taskq::Result<BTreeMap<String, Row>> {
    let empty = |depth: QueueDepth| Row {
        depth,
        paused: false,
        revision: 0,
        settings: QueueSettings::default(),
    };
    let depths = client.queues().await?.into_iter();
    let mut rows: BTreeMap<String, Row> = depths
        .map(|depth| (depth.queue.clone(), empty(depth)))
        .collect();
    for set in queues::list(client).await? {
        let row = rows.entry(set.name.clone()).or_insert_with(|| {
            empty(QueueDepth {
                queue: set.name,
                ..QueueDepth::default()
            })
        });
        row.paused = set.settings.paused.is_some();
        row.revision = set.revision;
        row.settings = set.settings;
    }
    Ok(rows)
}

pub(super) async fn list(args: list::Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let rows = rows(&client).await?;
    if rows.is_empty() {
        eprintln!(
            "{}",
            match client.mode() {
                Mode::Core => "core mode has no queues to count: nothing waits",
                _ => "no queue yet; the first worker or the first task makes one",
            }
        );
    }
    if args.json || rows.is_empty() {
        for row in rows.values() {
            output::json(row)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = table(["queue", "pending", "running", "scheduled", "set"]);
    for Row {
        depth, settings, ..
    } in rows.values()
    {
        shown.add_row([
            depth.queue.clone(),
            depth.pending.to_string(),
            depth.running.to_string(),
            depth.scheduled.to_string(),
            output::one_line(&summary(settings)).into_owned(),
        ]);
    }
    output::say(shown)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(args: ShowArgs) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let Some(row) = rows(&client).await?.remove(&args.queue) else {
        bail!(
            "there is no queue {}: no task was ever sent to it, no worker serves it, and nothing \
             is set for it",
            args.queue
        );
    };
    if args.json {
        output::json(&row)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Row {
        depth,
        settings,
        revision,
        ..
    } = row;
    let held = match depth.held {
        0 => String::new(),
        held => format!(" (of those {held} for the turn of their key)"),
    };
    output::say(format_args!(
        "queue {}: {} pending{held}, {} running, {} scheduled",
        depth.queue, depth.pending, depth.running, depth.scheduled
    ))?;
    let set = taskq::admin::changes(&QueueSettings::default(), &settings);
    if set.is_empty() {
        output::say("nothing is set for it")?;
    }
    for change in set {
        let text = change.to_string().replacen("none -> ", "", 1);
        output::say(format_args!("  {}", output::one_line(&text)))?;
    }
    if let Some(paused) = &settings.paused {
        output::say(format_args!("  paused since: {}", paused.at))?;
    }
    if revision > 0 {
        output::say(format_args!("  revision: {revision}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `PAUSED by ada, concurrency 10, rate 100/s`
fn summary(settings: &QueueSettings) -> String {
    let mut parts = Vec::new();
    if let Some(paused) = &settings.paused {
        parts.push(format!("PAUSED by {}", paused.by));
    }
    for change in taskq::admin::changes(&QueueSettings::default(), settings) {
        if change.field != "paused" {
            let value = change.to_string().replacen(": none -> ", " ", 1);
            parts.push(value);
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_told_in_a_line_the_pause_first() {
        let text = r#"{"concurrency":10,"rate":"5/min",
            "paused":{"by":"ada","at":"2026-01-01T00:00:00.000Z"}}"#;
        let settings: QueueSettings = serde_json::from_str(text).unwrap();
        assert_eq!(
            summary(&settings),
            "PAUSED by ada, concurrency 10, rate 5/min"
        );
        assert_eq!(summary(&QueueSettings::default()), "");
    }
}
