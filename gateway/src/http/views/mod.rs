//! What crosses in JSON.

mod call;
mod dead;
mod operation;
mod page;
mod pool;
mod queue;
mod schedule;
mod stats;
mod task;
mod types;
mod worker;

pub(crate) use self::call::*;
pub(crate) use self::dead::*;
pub(crate) use self::operation::*;
pub(crate) use self::page::*;
pub(crate) use self::pool::*;
pub(crate) use self::queue::*;
pub(crate) use self::schedule::*;
pub(crate) use self::stats::*;
pub(crate) use self::task::*;
pub(crate) use self::types::*;
pub(crate) use self::worker::*;
