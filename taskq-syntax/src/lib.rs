//! The small texts of taskq's options: durations, backoffs, priorities, names.
//!
//! `#[task(timeout = "30s", backoff = "exponential(1s, max 5m)")]` reads these
//! texts while the program is compiled; labels, settings and command-line flags
//! carry the same texts while it runs. Both go through this crate, so that a text
//! means the same in each place and is refused with the same sentence.
//!
//! Users meet these types through `taskq`; nothing here needs another crate.

mod backoff;
mod duration;
mod error;
mod name;
mod nearest;
mod priority;

pub use backoff::{Backoff, BackoffKind};
pub use duration::{MAX_DURATION, format_duration, parse_duration};
pub use error::SyntaxError;
pub use name::{MAX_QUEUE_NAME, MAX_TASK_NAME, check_queue_name, check_task_name};
pub use nearest::nearest;
pub use priority::Priority;
