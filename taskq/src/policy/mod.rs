//! Decisions without I/O and without a clock of their own, so that they can
//! be tested by property and by simulation.

mod admit;
mod backoff;
mod settle;

#[cfg(test)]
pub(crate) use admit::BEYOND_DOUBT;
pub(crate) use admit::{Admission, Facts, admit, may_have_a_past};
pub(crate) use backoff::retry_delay;
pub(crate) use settle::{Next, Policy, settle};
