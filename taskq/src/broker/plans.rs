//! What is not due yet: read, moved, and started before its time.
//!
//! A plan is changed by compare-and-set on the revision at which it was read,
//! so that of two who change it one is told, and so is who comes after its
//! time.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use taskq_syntax::Priority;

use super::Publication;
use crate::error::Result;
use crate::message::TaskId;
use crate::time::Timestamp;

/// What is due sooner than this is not planned but in its queue at once, and
/// the worker that is given it waits: the server's plans fire 250 ms after
/// they were stored at the earliest. The rest of the time is for a publication
/// that is under way.
pub(crate) const SOON: Duration = Duration::from_millis(500);

/// A message that is not due yet.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) id: TaskId,
    pub(crate) task: String,
    pub(crate) queue: String,
    pub(crate) priority: Priority,
    pub(crate) due: Timestamp,
    pub(crate) stored_at: Timestamp,
    pub(crate) body: Bytes,
    /// The key of the burst that it stands for, if it does.
    pub(crate) burst: Option<String>,
    /// Greater at each change.
    pub(crate) revision: u64,
}

/// Which plan.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PlanName<'a> {
    /// Of this task.
    Task(&'a TaskId),
    /// Of the burst of this key.
    Burst {
        queue: &'a str,
        task: &'a str,
        key: &'a str,
    },
}

/// Which plans.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlanQuery {
    pub(crate) queue: Option<String>,
    pub(crate) task: Option<String>,
    /// Of a greater revision; 0 for all.
    pub(crate) after: u64,
}

/// What takes the place of a plan.
#[derive(Debug)]
pub(crate) struct Replan {
    /// With its due time.
    pub(crate) publication: Publication,
    /// The key of the burst that it stands for, if it does.
    pub(crate) burst: Option<String>,
    /// The revision of the plan whose place it takes; 0 where there is to be
    /// none.
    pub(crate) revision: u64,
    /// Whether it goes to its queue at once, and leaves no plan.
    pub(crate) release: bool,
}

/// Where plans are kept.
pub(crate) trait Plans {
    /// Plans, by their revision.
    fn plans(&self, query: PlanQuery) -> BoxFuture<'_, Result<BoxStream<'static, Result<Plan>>>>;

    /// One plan.
    fn plan<'a>(&'a self, name: PlanName<'a>) -> BoxFuture<'a, Result<Option<Plan>>>;

    /// Whether a message may be on its way from its plan to its queue, and
    /// seen nowhere.
    fn is_falling_due<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<bool>>;

    /// Puts a message in the place of a plan, in one step; false if the plan
    /// is another by now, or gone.
    fn replan(&self, replan: Replan) -> BoxFuture<'_, Result<bool>>;
}
