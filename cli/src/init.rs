//! `taskq init`: what taskq needs on the server.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use taskq::admin::{self, InitOptions, Provision, ProvisionAction, ProvisionKind};

use crate::{Common, output};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Queues to make, separated by commas (weights are ignored); those that are there are brought up to date too
    #[arg(
        long,
        env = "TASKQ_QUEUES",
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = str::parse::<taskq::QueueWeight>,
        default_value = "default"
    )]
    queues: Vec<taskq::QueueWeight>,

    /// For how long a message is a worker's before it must be renewed, in all queues; 6s for new queues if not set
    #[arg(
        long,
        env = "TASKQ_LEASE",
        value_name = "TIME",
        value_parser = taskq::parse_duration
    )]
    lease: Option<Duration>,

    /// Tell what would be done, and do nothing
    #[arg(long, env = "TASKQ_DRY_RUN")]
    dry_run: bool,

    /// Print one JSON object a line
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    provision: &'a Provision,
    dry_run: bool,
}

pub(crate) async fn init(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let mut options = InitOptions::new()
        .queues(args.queues.iter().map(taskq::QueueWeight::name))
        .dry_run(args.dry_run);
    if let Some(lease) = args.lease {
        options = options.lease(lease);
    }
    // Set at all, it is of the streams that are there too.
    if let Some(replicas) = args.common.connect.replicas {
        options = options.replicas(replicas);
    }
    for provision in &admin::init(&client, options).await? {
        if args.json {
            output::json(&Line {
                provision,
                dry_run: args.dry_run,
            })?;
        } else {
            output::say(line(provision).trim_end())?;
        }
    }
    if args.dry_run {
        eprintln!("nothing was done: --dry-run");
    }
    Ok(ExitCode::SUCCESS)
}

fn line(provision: &Provision) -> String {
    let action = match provision.action {
        ProvisionAction::Created => "created",
        ProvisionAction::Updated => "updated",
        _ => "unchanged",
    };
    let kind = match provision.kind {
        ProvisionKind::Stream => "stream",
        _ => "consumer",
    };
    let changes = provision.changes.join("; ");
    format!("{action:<9}  {kind:<8}  {}  {changes}", provision.name)
}
