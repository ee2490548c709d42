//! Decisions without I/O and without a clock of their own, so that they can
//! be tested by property and by simulation.

#[cfg(feature = "worker")]
mod admit;
#[cfg(feature = "worker")]
mod backoff;
mod calendar;
#[cfg(feature = "worker")]
mod early;
mod fires;
mod gate;
mod portions;
mod rate;
#[cfg(feature = "worker")]
mod settle;
#[cfg(feature = "worker")]
mod turn;

#[cfg(all(test, feature = "worker"))]
pub(crate) use admit::BEYOND_DOUBT;
#[cfg(feature = "worker")]
pub(crate) use admit::{Admission, Facts, admit, may_have_a_past};
#[cfg(feature = "worker")]
pub(crate) use backoff::retry_delay;
pub(crate) use calendar::{Calendar, Ticks};
#[cfg(feature = "worker")]
pub(crate) use early::early;
#[cfg(feature = "worker")]
pub(crate) use fires::may_start;
pub(crate) use fires::{Lateness, Missed, due, is_short, plan};
pub(crate) use gate::{Gate, Grant};
pub(crate) use portions::Portions;
pub(crate) use rate::{Bucket, Taken};
#[cfg(feature = "worker")]
pub(crate) use settle::{Next, Policy, settle};
#[cfg(feature = "worker")]
pub(crate) use turn::{Fire, Step, Turn, take_turn};
