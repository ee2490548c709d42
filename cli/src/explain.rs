//! `taskq explain`: why a task is not running now.

use std::process::ExitCode;

use taskq::admin;

use crate::Common;
use crate::output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Id of the task
    id: String,

    /// Print one JSON object
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

pub(crate) async fn explain(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let why = admin::explain(&client, args.id.as_str()).await?;
    if args.json {
        output::json(&why)?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = match (&why.task, &why.queue) {
        (Some(task), Some(queue)) => format!("task {} ({task}, queue {queue})", args.id),
        (Some(task), None) => format!("task {} ({task})", args.id),
        _ => format!("task {}", args.id),
    };
    // Errors and names are somebody else's text.
    let why = why.to_string();
    let (name, why) = (output::one_line(&name), output::one_line(&why));
    output::say(format_args!("{name}: {why}"))?;
    Ok(ExitCode::SUCCESS)
}
