//! How a transport goes by what is set for its queues.

use futures::future::BoxFuture;

use super::Task;
use crate::error::Result;
use crate::message::QueueSettings;
use crate::time::Timestamp;

/// What of the settings the transport itself sees to, beside its workers.
pub(crate) trait Govern {
    /// Makes the broker go by what is set for a queue: whether it gives
    /// anything, and how much it takes.
    fn enforce<'a>(
        &'a self,
        queue: &'a str,
        settings: &'a QueueSettings,
    ) -> BoxFuture<'a, Result<()>>;

    /// When the next of a queue may start by its rate; none if that is now.
    fn rate_until<'a>(
        &'a self,
        queue: &'a str,
        settings: &'a QueueSettings,
    ) -> BoxFuture<'a, Result<Option<Timestamp>>>;

    /// Lets what was put aside of a paused task type run now; tells how much
    /// that was.
    fn hasten<'a>(&'a self, task: &'a str) -> BoxFuture<'a, Result<u64>>;

    /// For how long nothing of a queue is given: so that what waits in it
    /// can be looked at and is not taken meanwhile.
    fn halt<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Some of what waits in a queue and no worker has, the oldest first,
    /// from this place in the queue on; and the place to go on from, none at
    /// the end.
    fn waiting<'a>(
        &'a self,
        queue: &'a str,
        from: u64,
    ) -> BoxFuture<'a, Result<(Vec<Task>, Option<u64>)>>;
}
