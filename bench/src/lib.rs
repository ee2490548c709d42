//! Measures taskq beside a raw async-nats loop that does the same work.
//!
//! A task queue's price is what it adds to the loop that its user would
//! otherwise write. So both are run here, one after the other against one
//! nats-server, in rotating order, with the same arguments, the same counts
//! and the same number of connections, and what is reported first is the ratio.
//!
//! One repetition runs each side through three phases, on streams made anew
//! for each phase:
//!
//! | phase | the producer | the worker | gives |
//! |---|---|---|---|
//! | enqueue | publishes `count` tasks, and has each acknowledged | is not there | `enqueue_per_s` |
//! | end to end | publishes `count` tasks, and has each one's outcome | runs as they come | `tasks_per_s`, CPU, memory |
//! | latency | enqueues at a fixed low rate, each task from the call to its outcome | as above | `p50_ms`, `p99_ms` |
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

mod contender;
mod options;
mod part;
mod process;
mod raw;
mod rounds;
mod summary;
mod table;
mod usage;
mod watch;

use anyhow::Result;

pub use options::Options;

/// Runs the comparison (or, in a process that was started by one, its part).
///
/// The results go to stdout, as a table or as JSON; what is going on goes to
/// stderr. The program calling this must pass its own options on unchanged:
/// the parts are started with the arguments of this process and one
/// subcommand more.
///
/// # Errors
///
/// When there is no nats-server to be had, when a part ends before its time or
/// gets nowhere, or when stdout is closed.
pub async fn run(options: Options) -> Result<()> {
    match options.part {
        Some(part) => part::run(part, options.load).await,
        None => rounds::run(&options).await,
    }
}
