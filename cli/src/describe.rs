//! `taskq tasks show`: all that living workers know of a task type.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::Value;
use taskq::admin::{self, Definition, TaskType, WorkerInfo};

use crate::{list, output};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the task type
    task: String,

    #[command(flatten)]
    list: list::Args,
}

pub(crate) async fn show(args: Args) -> anyhow::Result<ExitCode> {
    args.list.common.log.init();
    let client = args.list.common.connect().await?;
    let workers = admin::workers(&client).await?;
    let Some(kind) = admin::task_type(&client, &workers, &args.task).await? else {
        bail!(
            "no living worker knows a task `{}`; {}",
            args.task,
            guess(&args.task, &workers)
        );
    };
    if args.list.json {
        output::json(&kind)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::say(text(&kind).trim_end())?;
    if kind.is_divided() {
        eprintln!(
            "warning: workers define the task differently, and calls that fit one may fail in \
             another; run the same version in all"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What may have been meant by the name of a task that no worker knows.
pub(crate) fn guess(task: &str, workers: &[WorkerInfo]) -> String {
    let known = workers.iter().flat_map(|worker| &worker.tasks);
    match taskq_syntax::nearest(task, known.map(|task| task.name.as_str())) {
        Some(name) => format!("did you mean `{name}`?"),
        None if workers.is_empty() => "no worker is running; start one".to_owned(),
        None => "`taskq tasks` lists what they know".to_owned(),
    }
}

fn text(kind: &TaskType) -> String {
    let all: Vec<String> = kind.definitions.iter().map(definition).collect();
    all.join("\n")
}

fn definition(definition: &Definition) -> String {
    let Definition { workers, detail } = definition;
    let info = &detail.info;
    let mut text = format!("{}\n", info.signature);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:<10}  {value}");
        }
    };
    line("about", &info.doc);
    line("place", &info.place);
    line("workers", &workers.join(", "));
    let options = detail.options.iter().map(|(name, value)| match value {
        Value::String(value) => format!("{name} = {value:?}"),
        value => format!("{name} = {value}"),
    });
    line("options", &options.collect::<Vec<_>>().join(", "));
    if detail.blocking {
        line("runs", "on the blocking pool");
    }
    if info.hidden().is_all() {
        line("sensitive", "it is hidden from who does not ask for it");
    }
    for param in &detail.params {
        let needed = if param.required {
            ""
        } else {
            ", may be left out"
        };
        let hidden = if param.sensitive { ", sensitive" } else { "" };
        let about = match param.doc.lines().next() {
            Some(doc) => format!(": {doc}"),
            None => String::new(),
        };
        line(
            "argument",
            &format!("{} ({}{needed}{hidden}){about}", param.name, param.ty),
        );
    }
    if detail.too_large {
        line("schemas", "too large to be told");
        return text;
    }
    for (name, schema) in [("arguments", &detail.arguments), ("result", &detail.result)] {
        let _ = writeln!(text, "schema of the {name}:\n{schema:#}");
    }
    text
}
