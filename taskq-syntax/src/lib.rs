//! The small texts of taskq's options: durations, backoffs, priorities, rates, names.
//!
//! `#[task(timeout = "30s", backoff = "exponential(1s, max 5m)")]` reads these
//! texts while the program is compiled; labels, settings and command-line flags
//! carry the same texts while it runs. Both go through this crate, so that a text
//! means the same in each place and is refused with the same sentence.
//!
//! Users meet these types through `taskq`. Of other crates only what reads cron
//! patterns and the database of time zones are used.

mod backoff;
mod cadence;
mod duration;
mod error;
mod fire;
mod name;
mod nearest;
mod priority;
mod rate;
mod zone;

pub use backoff::{Backoff, BackoffKind};
pub use cadence::{Cadence, Cron};
pub use duration::{MAX_DURATION, format_duration, parse_duration};
pub use error::SyntaxError;
pub use fire::{Misfire, Overlap};
pub use name::{MAX_QUEUE_NAME, MAX_TASK_NAME, check_queue_name, check_task_name};
pub use nearest::nearest;
pub use priority::Priority;
pub use rate::Rate;
pub use zone::time_zone;
