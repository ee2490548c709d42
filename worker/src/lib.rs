//! The ready-made worker: it runs the tasks of the `tasks` crate.
//!
//! The binary `worker` is little more than [`run`]. A worker of your own
//! tasks is as small: take [`taskq::cli`]'s flags and
//! [`taskq::Worker::builder`].

mod args;
mod health;
mod http;

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

pub use args::Args;
pub use health::{HealthArgs, healthcheck};
use taskq::{Client, Worker};
// Puts the tasks in the program.
use tasks as _;

use crate::http::Status;

/// What may still be on its way out when the worker is done, such as an
/// answer to a health check.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// Runs a worker until the process is told to stop (SIGTERM, Ctrl-C) and
/// what runs has ended or was handed back.
///
/// Blocks, on a runtime of its own: a task that blocks its thread for good
/// must not keep the process from ending.
///
/// # Errors
/// When NATS cannot be reached, a setting makes no sense, or the HTTP
/// address is taken.
pub fn run(args: Args) -> anyhow::Result<()> {
    on_runtime(async {
        let (worker, _http) = start(args).await?;
        Ok(worker.run().await?)
    })
}

/// [`run`], until `stop` is ready.
///
/// # Errors
/// As [`run`].
pub fn run_until(args: Args, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    on_runtime(async {
        let (worker, _http) = start(args).await?;
        Ok(worker.run_until(stop).await?)
    })
}

fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(available_parallelism().map_or(1, usize::from))
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_MOMENT);
    done
}

/// Opens the HTTP port first: a probe is answered while NATS is not there
/// yet, and a port in use is told at once.
async fn start(args: Args) -> anyhow::Result<(Worker, Option<http::Server>)> {
    let status = Arc::new(Status::default());
    let http = match &args.http {
        Some(address) => Some(http::serve(address, Arc::clone(&status)).await?),
        None => None,
    };
    let client = args
        .connect
        .builder()
        .name("taskq worker")
        // It sends no task of its own to wait for.
        .results(false)
        .connect()
        .await?;
    let worker = build(args, client.clone())?;
    client.know_tasks(worker.tasks().iter().map(|task| task.name));
    status.set(worker.stats(), client);
    Ok((worker, http))
}

fn build(args: Args, client: Client) -> taskq::Result<Worker> {
    let mut builder = Worker::builder(client)
        .queues(args.queues)
        .concurrency(args.concurrency)
        .lease(args.lease)
        .grace(args.grace)
        .max_crashes(args.max_crashes)
        .cancel_grace(args.cancel_grace)
        .keep_arguments(args.keep_args);
    if let Some(computing) = args.computing {
        builder = builder.computing(computing);
    }
    if let Some(name) = args.name {
        builder = builder.name(name);
    }
    builder.build()
}
