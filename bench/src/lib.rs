//! Measures taskq beside a raw async-nats loop that does the same work.
//!
//! A task queue's price is what it adds to the loop that its user would
//! otherwise write. So both are run here, one after the other against one
//! nats-server, in rotating order, with the same argument, the same counts
//! and the same concurrency, on connections of the same settings.
//!
//! One repetition runs each side through four phases, on streams made anew
//! for each phase:
//!
//! | phase | the producer | the worker | gives |
//! |---|---|---|---|
//! | enqueue | publishes `count` tasks, and has each acknowledged | is not there | `enqueue_per_s` |
//! | end to end | publishes `count` tasks, and has each one's outcome | runs as they come | `tasks_per_s`, CPU, memory |
//! | latency | enqueues at a fixed low rate, each task from the call to its outcome | as above | `p50_ms`, `p99_ms` |
//! | start | enqueues a task that nobody is there for | is started then | `worker_start_ms`: from the start of its process to the outcome at the producer |
//!
//! A smaller repetition goes before the others and is thrown away. Producer
//! and worker are processes of their own, so that the CPU and the memory of
//! each can be told; the program runs itself again for them, by a hidden
//! subcommand.
//!
//! # What the raw side is
//!
//! What a user who knows async-nats would write, not a straw man: publishes
//! with 1024 acknowledgements outstanding, a pull consumer with big batches, a
//! tokio task for each message up to the same concurrency, outcomes published
//! with pipelined acknowledgements to a subject each, the message acknowledged
//! when its outcome is stored, and the producer told by a core subscription.
//! It does not do what taskq is for: no retries, no deduplication, no first
//! writer wins, no queues, no draining.
//!
//! # What the taskq side is
//!
//! What its user writes: `enqueue_many`, the handles in a list, `result` of
//! each; a worker with that one task and everything else as it comes. Its
//! worker has a second connection, for leases, which such short tasks hardly
//! use.
//!
//! # How far to trust it
//!
//! The server, the producer and the worker share the machine, so a rate says
//! as much about the machine as about the code; a ratio within one repetition
//! says more, and the median of several more still. Single ratios of a thing
//! against itself spread by 10 to 15 % on two quiet cores, and from 0.6 to 1.3
//! on two that others used as well (p99 by a factor of four; CPU a task stayed
//! within 15 %). `--against raw` shows that spread on your machine: anything
//! below it is not a finding. `foreign_cpu` is the share of the machine that
//! other processes used.

mod args;
mod contender;
mod cpu;
mod keys;
mod library;
mod options;
mod part;
mod process;
mod raw;
mod rounds;
mod side;
mod summary;
mod table;
mod usage;
mod watch;

use anyhow::Result;

pub use args::Args;

/// What is wrong with measuring this build, if it is.
const DEBUG_BUILD: Option<&str> = if cfg!(debug_assertions) {
    Some(
        "this is a debug build, many times slower than a release build: measure with \
         `cargo run --release --bin bench`",
    )
} else {
    None
};

/// Runs the comparison (or, in a process that was started by one, its part).
///
/// The results go to stdout, as a table or as JSON; what is going on goes to
/// stderr. The parts are started by this program, with the arguments of this
/// process and one subcommand more: so the flags of [`Args`] must come last on
/// its command line.
///
/// # Errors
///
/// When there is no nats-server to be had, when a part ends before its time or
/// gets nowhere, or when stdout is closed.
pub async fn run(args: Args) -> Result<()> {
    match args.part {
        Some(args::Part::Contend(part)) => contender::run(part, args.load).await,
        Some(args::Part::KeysWorker(options)) => keys::work(options, args.load, args.work).await,
        Some(args::Part::CpuWorker(options)) => cpu::work(options, args.load).await,
        Some(args::Part::CpuBare(options)) => cpu::bare(options).await,
        None => match (args.keys, args.cpu) {
            (Some(keys), _) => keys::run(&args, keys).await,
            (None, Some(count)) => cpu::run(&args, count).await,
            (None, None) => rounds::run(&args).await,
        },
    }
}
