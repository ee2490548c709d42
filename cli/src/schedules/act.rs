//! Pausing, resuming, running and removing a schedule.

use std::process::ExitCode;

use serde_json::json;
use taskq::admin::schedules;

use crate::output;
use crate::queues::Who;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the schedule
    name: String,

    #[command(flatten)]
    who: Who,
}

#[derive(clap::Args)]
pub(crate) struct PauseArgs {
    /// Name of the schedule
    name: String,

    /// Why, for the record
    #[arg(long, env = "TASKQ_BECAUSE", value_name = "TEXT")]
    because: Option<String>,

    #[command(flatten)]
    who: Who,
}

pub(super) async fn pause(args: PauseArgs) -> anyhow::Result<ExitCode> {
    let PauseArgs { name, because, who } = args;
    who.common.log.init();
    let client = who.common.connect().await?;
    let by = who.by();
    let changed = schedules::pause(&client, &name, &by, because.as_deref()).await?;
    if who.json {
        output::json(&json!({ "schedule": name, "paused": true, "changed": changed, "by": by }))?;
    } else if changed {
        output::say(format_args!(
            "paused: schedule {name} does not fire until `taskq schedules resume {name}`"
        ))?;
    } else {
        output::say(format_args!("schedule {name} was paused already"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn resume(args: Args) -> anyhow::Result<ExitCode> {
    let Args { name, who } = args;
    who.common.log.init();
    let client = who.common.connect().await?;
    let by = who.by();
    let changed = schedules::resume(&client, &name, &by).await?;
    if who.json {
        output::json(&json!({ "schedule": name, "paused": false, "changed": changed, "by": by }))?;
    } else if changed {
        let info = schedules::get(&client, &name).await?;
        let next = info.next.map_or_else(
            || "never: it has ended".to_owned(),
            |next| info.schedule.clock(next),
        );
        output::say(format_args!(
            "resumed: schedule {name} fires next at {next}"
        ))?;
    } else {
        output::say(format_args!("schedule {name} was not paused"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { name, who } = args;
    who.common.log.init();
    let client = who.common.connect().await?;
    let by = who.by();
    let handle = schedules::run(&client, &name, &by).await?;
    if who.json {
        output::json(&json!({ "schedule": name, "task_id": handle.id(), "by": by }))?;
    } else {
        output::say(handle.id())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn remove(args: Args) -> anyhow::Result<ExitCode> {
    let Args { name, who } = args;
    who.common.log.init();
    let client = who.common.connect().await?;
    let by = who.by();
    schedules::remove(&client, &name, &by).await?;
    if who.json {
        output::json(&json!({ "schedule": name, "removed": true, "by": by }))?;
    } else {
        output::say(format_args!("removed: schedule {name} fires no more"))?;
    }
    Ok(ExitCode::SUCCESS)
}
