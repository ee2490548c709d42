//! Sends tasks through NATS.

use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use taskq_producer::{Args, run, serve};

/// Sends the five string tasks through NATS, waits for their results and prints them
#[derive(Parser)]
#[command(name = "producer", version)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> ExitCode {
    let Cli { args } = Cli::parse();
    args.log.init();
    let done = produce(args).await;
    taskq::telemetry::end_traces();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("producer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn produce(args: Args) -> anyhow::Result<()> {
    let options = args.options();
    let client = args
        .connect
        .builder()
        .name("taskq producer")
        .results(options.wait)
        .connect()
        .await?;
    if let Some(period) = args.every {
        return serve(&client, &options, period, taskq::cli::stop_signal()).await;
    }
    let summary = run(&client, &options, args.pace()).await?;
    if !summary.is_good() {
        bail!(
            "{} of {} tasks failed; what each says is above",
            summary.failed,
            summary.succeeded + summary.failed
        );
    }
    Ok(())
}
