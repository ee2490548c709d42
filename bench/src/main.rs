//! `bench`: see [`taskq_bench`].

use std::process::ExitCode;

use clap::Parser;
use taskq_bench::Args;

/// Measures taskq beside a raw async-nats loop, on a server of its own.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    match taskq_bench::run(Cli::parse().args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
