//! `taskq retry`: a task that has ended, run again.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use taskq::ErrorKind;
use taskq::admin::{self, Retried};

use crate::Common;
use crate::operator;
use crate::output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Id of the task
    id: String,

    /// Who wishes it, for the record [default: you, as user@host]
    #[arg(long, env = "TASKQ_BY", value_name = "WHO")]
    by: Option<String>,

    /// Print one JSON object
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

pub(crate) async fn retry(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let (id, by) = (args.id.as_str(), args.by.unwrap_or_else(operator::name));
    let (word, state, why) = match admin::retry(&client, id, &by).await {
        Ok(Retried::Sent) => ("sent", None, None),
        Ok(Retried::NotEnded(status)) => (
            "not_ended",
            Some(status.to_string()),
            Some(format!("task {id} has not ended, it is {status}")),
        ),
        Ok(Retried::Succeeded) => (
            "succeeded",
            Some("succeeded".to_owned()),
            Some(format!(
                "task {id} has succeeded; only what failed, was cancelled or has expired runs again"
            )),
        ),
        Ok(other) => bail!("task {id} was left as it is: {other:?}"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            ("unknown", None, Some(error.to_string()))
        }
        Err(error) if error.kind() == ErrorKind::Gone => ("gone", None, Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    if args.json {
        output::json(&json!({ "id": id, "retry": word, "state": state, "by": by }))?;
    }
    match why {
        Some(why) => bail!("{why}"),
        None if args.json => {}
        None => output::say(format_args!(
            "sent again: task {id} is in its queue, with what its attempts left behind"
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
