//! The ready-made producer: it sends the tasks of the `tasks` crate, waits
//! for what they return, and tells.

mod args;
mod load;
mod mix;
mod options;
mod report;
mod sample;
mod send;
mod service;
mod show;

pub use args::Args;
pub use options::{Mix, Options, Pace};
pub use report::{Summary, TaskReport};
pub use send::run;
pub use service::serve;
pub use show::{short, table};
