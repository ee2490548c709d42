//! The `#[task]` attribute of taskq. Users have it as `taskq::task`; this crate is a
//! part of the library that Rust wants in a crate of its own.
//!
//! One file for each step: `args` reads the options, `sig` the function, `expand` writes
//! what comes out, and `diag` gathers what is wrong, so that all errors are told at once.

mod args;
mod diag;
mod expand;
mod sig;
mod text;

use proc_macro::TokenStream;

/// Makes a task of a function.
///
/// The function stays as it is. Beside it comes a type of the same name, which names
/// the task: `use tasks::send_email` brings both, `send_email(..)` calls the function
/// here, and `send_email::call(..)`, `send_email::enqueue(..)` and `send_email::NAME`
/// are about the task.
///
/// A doc link must say which it means: `send_email()` or `enum@send_email`.
///
/// # Parameters
///
/// `Context`, `State<T>` and parameters marked `#[inject]` are supplied by the worker.
/// All others are the arguments of the task: they are sent by name, as JSON, so they
/// are owned and implement serde's `Serialize` and `Deserialize`. For a `String`,
/// `call` and `enqueue` take `impl Into<String>`.
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `name = "mail.send"` | the name on the wire | the function's name |
/// | `queue = "email"` | the queue that calls go to | `default` |
/// | `retries = 5` | how many attempts may follow the first | 0 |
/// | `backoff = "exponential(1s, max 5m)"` | the waits between attempts; also `linear(2s)`, `constant(10s)`, each with `, no jitter` | `exponential(1s, max 10m)` |
/// | `retry_if = is_transient` | a `fn(&TaskError) -> bool`: which errors are retried | all |
/// | `timeout = "30s"` | how long one attempt may take | no limit |
/// | `deadline = "10m"` | how long after it was sent, or was due, the task must have ended, retries included | no limit |
/// | `priority = "high"` | `low`, `normal`, `high`, `critical` | `normal` |
/// | `unique`, `unique = "1h"` | an equal call is the same task: until done, or for a time | not unique |
/// | `ttl = "1h"` | how long the outcome is kept | as the broker keeps outcomes |
/// | `sensitive` | arguments, result and errors are hidden from who does not ask for them; `#[sensitive]` on a parameter hides that one | `false` |
/// | `discover = false` | only a worker that names the task has it: `.task::<send_email>()` | `true` |
/// | `implements = contracts::resize` | this is the body of a contract, see below | |
/// | `crate = my_crate::taskq` | where the library is, for a crate that re-exports it | `::taskq` |
///
/// # Contracts
///
/// A signature without a body, ending with a semicolon, is a contract: a crate of
/// contracts lets producers call tasks whose code they do not link. The worker writes
/// the body with `#[task(implements = contracts::resize)]`; a signature that differs
/// does not compile, and the options are the contract's, except `retry_if` and `discover`,
/// which are the worker's.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(options.into(), &item.into()).into()
}
