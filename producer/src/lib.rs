//! The ready-made producer: it sends the tasks of the `tasks` crate, waits
//! for what they return, and tells.

mod args;
mod report;
mod sample;
mod send;
mod service;
mod show;

pub use args::Args;
pub use report::{Summary, TaskReport};
pub use send::{Options, run};
pub use service::serve;
pub use show::{short, table};
