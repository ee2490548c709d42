//! `/v1/tasks`.

mod act;
mod check;
mod history;
mod idempotency;
mod list;
mod look;
mod submission;
mod submit;
mod unbegun;
mod whole;

// Their descriptions go by the names of the handlers.
pub(crate) use self::act::*;
pub(crate) use self::check::Wanted;
pub(crate) use self::check::checked_call;
pub(crate) use self::history::*;
pub(crate) use self::list::*;
pub(crate) use self::look::*;
pub(crate) use self::submission::call;
pub(crate) use self::submit::*;
pub(crate) use self::unbegun::has_label;
pub(crate) use self::whole::{Called, Whole, revealed, whole};
