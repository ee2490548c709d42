//! Where operations on many tasks are kept: a record each, changed by
//! compare-and-set on its revision, and the tasks that each is about, in
//! parts that do not change.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::Setting;
use crate::error::Result;

/// Where operations are kept.
pub(crate) trait Ledger: Send + Sync {
    /// The record of one operation.
    fn operation<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Setting>>;

    /// The records of all operations.
    fn operations(&self) -> BoxFuture<'_, Result<Vec<Setting>>>;

    /// Writes a record, for this long or for good, if its revision is still
    /// the expected one; false if it is not.
    fn write_operation<'a>(
        &'a self,
        id: &'a str,
        body: Bytes,
        expected: u64,
        keep: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Stores a part of the tasks that an operation is about.
    fn store_targets<'a>(
        &'a self,
        id: &'a str,
        part: u64,
        body: Bytes,
        keep: Duration,
    ) -> BoxFuture<'a, Result<()>>;

    /// A part of the tasks that an operation is about.
    fn targets<'a>(&'a self, id: &'a str, part: u64) -> BoxFuture<'a, Result<Option<Bytes>>>;

    /// Removes so many parts.
    fn drop_targets<'a>(&'a self, id: &'a str, parts: u64) -> BoxFuture<'a, Result<()>>;
}
