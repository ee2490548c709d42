//! `taskq status` and `taskq result`: one task by its id.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use taskq::{Outcome, Status, TaskHandle};

use crate::Common;
use crate::output;
use crate::progress;

#[derive(clap::Args)]
pub(crate) struct StatusArgs {
    /// Id of the task
    id: String,

    /// Print one JSON object
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
pub(crate) struct ResultArgs {
    /// Id of the task
    id: String,

    /// Wait for the task to end; a terminal shows how far it is
    #[arg(long, env = "TASKQ_WAIT")]
    wait: bool,

    /// How long to wait
    #[arg(
        long,
        env = "TASKQ_TIMEOUT",
        value_name = "TIME",
        default_value = "5m",
        value_parser = taskq::parse_duration
    )]
    timeout: Duration,

    /// Print the whole record, as one JSON object
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

pub(crate) async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let handle: TaskHandle<Value> = client.handle(args.id.as_str());
    let status = handle.status().await?;
    if args.json {
        output::json(&json!({ "id": args.id, "status": status.to_string() }))?;
    } else if status != Status::Unknown {
        output::say(status)?;
    }
    if status == Status::Unknown {
        bail!("{}", unknown(&args.id));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn result(args: ResultArgs) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let handle: TaskHandle<Value> = client.handle(args.id.as_str());
    if !args.wait {
        match handle.status().await? {
            Status::Done(_) => {}
            Status::Unknown => bail!("{}", unknown(&args.id)),
            status => bail!(
                "task {} has not ended, it is {status}; `--wait` waits for it",
                args.id
            ),
        }
    }
    let outcome = progress::outcome(&handle, args.timeout).await?;
    show(&outcome, args.json)?;
    // The sentence of a task that failed.
    outcome.value::<Value>()?;
    Ok(ExitCode::SUCCESS)
}

fn show(outcome: &Outcome, json: bool) -> anyhow::Result<()> {
    if json {
        output::json(outcome)
    } else if outcome.is_success() {
        output::say(
            outcome
                .return_value
                .as_deref()
                .map_or("null", |value| value.get()),
        )
    } else {
        Ok(())
    }
}

fn unknown(id: &str) -> String {
    format!("there is no trace of task {id}: it was never sent here, or its record has expired")
}
