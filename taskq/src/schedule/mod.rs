//! Schedules: what runs when.
//!
//! A schedule is a record that is set for all. Its fires are ordinary
//! messages that are planned ahead by whoever is there: any number of
//! workers, or an operator. What is planned fires though nobody is left.

#[cfg(feature = "worker")]
mod code;
mod new;
mod plan;
mod record;

#[cfg(feature = "worker")]
pub(crate) use code::declare;
pub use new::NewSchedule;
pub(crate) use new::{Change, store};
pub(crate) use plan::{State, clear, forget, plan, state};
#[cfg(feature = "worker")]
pub(crate) use record::FireLabels;
pub use record::{Schedule, ScheduleSource};
pub(crate) use record::{fire_of, manual_fire};
