//! The program that the fault tests run, as a worker or as a producer, in
//! processes that they kill, stop and cut off. Its tasks are in no other
//! program.

mod tasks;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt as _;
use taskq::cli::{ConnectArgs, LogArgs};
use taskq::{Call, Untyped, Worker};
use taskq_e2e::history::Notes;

#[derive(Parser)]
enum Cli {
    /// Runs tasks until it is told to stop
    Work(Work),
    /// Sends calls of one task, and writes a line for each that is accepted
    Send(Send),
}

#[derive(clap::Args)]
struct Work {
    /// The file that tasks note in what they do
    #[arg(long)]
    notes: PathBuf,
    #[arg(long)]
    name: String,
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    #[arg(long, default_value = "6s", value_parser = taskq::parse_duration)]
    lease: Duration,
    #[arg(long, default_value = "30s", value_parser = taskq::parse_duration)]
    grace: Duration,
    /// Knows the task `nap` only, as a worker of an earlier deployment would
    #[arg(long)]
    old: bool,
    /// Declares a schedule that fires each second
    #[arg(long)]
    tick: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(clap::Args)]
struct Send {
    /// How many
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// What their ids begin with; a number follows [default: ids of its own]
    #[arg(long)]
    ids: Option<String>,
    /// How many are under way at once
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// For how long each task sleeps, in milliseconds
    #[arg(long, default_value_t = 0)]
    millis: u64,
    /// Sends the task `flaky` instead, which fails so many times first
    #[arg(long)]
    failures: Option<u32>,
    /// How long after it is sent each may start
    #[arg(long, value_parser = taskq::parse_duration)]
    delay: Option<Duration>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let done = match Cli::parse() {
        Cli::Work(args) => work(args).await,
        Cli::Send(args) => send(args).await,
    };
    taskq::telemetry::end_traces();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("actor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn work(args: Work) -> Result<(), taskq::BoxError> {
    args.log.init();
    let notes = Notes::open(&args.notes)?;
    let client = args.connect.builder().name(&args.name).results(false);
    let mut worker = Worker::builder(client.connect().await?)
        .name(args.name)
        .concurrency(args.concurrency)
        .lease(args.lease)
        .grace(args.grace)
        .state(notes);
    if args.old {
        worker = worker.discover(false).task::<tasks::nap>();
    }
    if args.tick {
        worker = worker.task::<tasks::tick>();
    }
    Ok(worker.run().await?)
}

async fn send(args: Send) -> Result<(), taskq::BoxError> {
    args.log.init();
    let client = args.connect.builder().name("sender").results(false);
    let client = client.connect().await?;
    let call = |n: u32| {
        let call = match args.failures {
            None => Call::<Untyped>::named("nap"),
            // As its contract says, which a call by name does not know.
            Some(failures) => Call::named("flaky").arg("failures", &failures),
        };
        let mut call = call.arg("millis", &args.millis);
        if let Some(prefix) = &args.ids {
            call = call.id(format!("{prefix}{n}"));
        }
        match args.delay {
            Some(delay) => call.delay(delay),
            None => call,
        }
    };
    let mut sending = futures::stream::iter((0..args.count).map(call))
        .map(|call| call.enqueue(&client))
        .buffered(args.window);
    while let Some(handle) = sending.next().await {
        let handle = handle?;
        let word = if handle.is_existing() {
            "existing"
        } else {
            "new"
        };
        // Told at once: this process may be killed the moment after.
        let mut stdout = std::io::stdout().lock();
        let told = writeln!(stdout, "{word} {}", handle.id()).and_then(|()| stdout.flush());
        if told.is_err() {
            break;
        }
    }
    Ok(())
}
