//! `taskq status` and `taskq result`: one task by its id.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use taskq::admin::{self, DelayedFilter};
use taskq::{Client, Outcome, Status, TaskHandle, Timestamp};

use crate::Common;
use crate::output;
use crate::progress;
use crate::reveal::Reveal;

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
    reveal: Reveal,

    #[command(flatten)]
    common: Common,
}

pub(crate) async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let handle: TaskHandle<Value> = client.handle(args.id.as_str());
    let status = handle.status().await?;
    let due = match status {
        Status::Scheduled => due(&client, &args.id).await?,
        _ => None,
    };
    if args.json {
        let mut told = json!({ "id": args.id, "status": status.to_string() });
        if let Some(due) = due {
            told["due"] = due.to_string().into();
        }
        output::json(&told)?;
    } else if let Some(due) = due {
        output::say(format_args!("{status} for {due}"))?;
    } else if status != Status::Unknown {
        output::say(status)?;
    }
    if status == Status::Unknown {
        bail!("{}", unknown(&args.id));
    }
    Ok(ExitCode::SUCCESS)
}

/// When a task is to start that is put off; none if it is due in a moment.
async fn due(client: &Client, id: &str) -> anyhow::Result<Option<Timestamp>> {
    let filter = DelayedFilter {
        id: Some(id.into()),
        ..DelayedFilter::default()
    };
    let delayed = admin::delayed(client, filter).await?.boxed();
    let delayed: Vec<_> = delayed.try_collect().await?;
    Ok(delayed.first().map(|task| task.due))
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
    let outcome = args.reveal.outcome(&client, outcome).await;
    show(&outcome, args.json)?;
    // The sentence of a task that failed.
    outcome.value::<Value>()?;
    Ok(ExitCode::SUCCESS)
}

fn show(outcome: &Outcome, json: bool) -> anyhow::Result<()> {
    if json {
        output::json(outcome)
    } else if outcome.is_success() && !(outcome.hidden().is_all() && outcome.return_value.is_none())
    {
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
