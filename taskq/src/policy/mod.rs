//! Decisions without I/O and without a clock of their own, so that they can
//! be tested by property and by simulation.

mod admit;
mod backoff;
mod settle;

pub(crate) use admit::{Admission, Facts, admit};
pub(crate) use backoff::retry_delay;
pub(crate) use settle::{Next, Policy, settle};
