//! `taskq demo`: the whole of it in one command.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use taskq::cli::{LogArgs, stop_signal};
use taskq::{Client, Worker};
use taskq_producer::{Options, Summary};

use crate::local::{Local, LocalGateway, ServerOptions, start_server};
use crate::output::say;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this many tasks, the five in turn with other arguments each time [default: the five,
    /// once]
    #[arg(long, env = "TASKQ_COUNT", value_name = "COUNT")]
    count: Option<u64>,

    /// How many worker processes to start
    #[arg(
        long,
        env = "TASKQ_WORKERS",
        value_name = "COUNT",
        default_value_t = 2,
        value_parser = clap::value_parser!(u8).range(1..=64)
    )]
    workers: u8,

    /// Print one JSON object a line
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    log: LogArgs,
}

pub(crate) async fn demo(args: Args) -> anyhow::Result<ExitCode> {
    args.log.init();
    let summary = tokio::select! {
        shown = show(&args) => shown?,
        // What was started is dropped, and so ended, with `show`.
        () = stop_signal() => bail!("stopped by a signal before the demo was over"),
    };
    if !summary.is_good() {
        bail!(
            "{} of {} tasks failed; what each says is above",
            summary.failed,
            summary.succeeded + summary.failed
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &Args) -> anyhow::Result<Summary> {
    match start_server(ServerOptions::default()).await {
        Ok(server) => {
            let (local, client) = Local::start(server, args.workers.into(), &args.log).await?;
            args.tell(&format!(
                "{}, on a free port until the demo ends",
                local.describe_server()
            ))?;
            args.tell(&local.describe_workers())?;
            let gateway = LocalGateway::start(local.server().url(), 0).await?;
            args.tell(&gateway.describe())?;
            let summary = taskq_producer::run(&client, &args.options(), None).await?;
            drop(client);
            gateway.stop().await?;
            local.stop().await?;
            Ok(summary)
        }
        Err(error) => show_in_memory(args, &error.to_string()).await,
    }
}

/// Without a server, all of it runs in this process.
async fn show_in_memory(args: &Args, why: &str) -> anyhow::Result<Summary> {
    let (reason, more) = why.split_once('\n').unwrap_or((why, ""));
    args.tell(&format!(
        "Without NATS, in the memory of this process, because {}",
        reason.trim_end_matches(':')
    ))?;
    if !more.is_empty() {
        eprintln!("{more}");
    }
    let client = Client::memory();
    let mut workers = tokio::task::JoinSet::new();
    for number in 1..=args.workers {
        let worker = Worker::builder(client.clone())
            .name(format!("worker-{number}"))
            .grace(Duration::ZERO)
            .build()?;
        workers.spawn(worker.run_until(std::future::pending()));
    }
    // The workers end with the set.
    taskq_producer::run(&client, &args.options(), None).await
}

impl Args {
    fn options(&self) -> Options {
        Options {
            mix: taskq_producer::Mix::Five,
            count: self.count,
            wait: true,
            queue: "default".to_owned(),
            timeout: Duration::from_secs(60),
            json: self.json,
        }
    }

    /// Tells a person. In JSON, stdout is for results only.
    fn tell(&self, text: &str) -> anyhow::Result<()> {
        if self.json {
            eprintln!("{text}");
            return Ok(());
        }
        say(text)
    }
}
