//! `bench`: see [`taskq_bench`].

use std::process::ExitCode;

use clap::Parser;
use taskq_bench::Options;

/// Measures taskq beside a raw async-nats loop, on a server of its own.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    match taskq_bench::run(Cli::parse().options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
