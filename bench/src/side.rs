//! What a contender's producer and worker must be able to do.

use std::future::Future;

use anyhow::Result;

use crate::options::Load;

/// The producing side of a contender. One connection.
pub(crate) trait Producer: Sized {
    /// Connects, and is ready to hear of outcomes.
    async fn connect(url: &str, load: Load) -> Result<Self>;

    /// Publishes this many tasks, and returns when the server has stored all.
    async fn enqueue(&mut self, count: u64) -> Result<()>;

    /// Publishes this many tasks, and returns when each one's outcome is known
    /// and is a success.
    async fn enqueue_and_learn(&mut self, count: u64) -> Result<()>;

    /// Publishes one task, and waits for its outcome. Not called together with
    /// the others.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send + 'static;
}

/// The consuming side of a contender.
pub(crate) trait Worker: Sized {
    /// Connects, and is ready for tasks.
    async fn connect(url: &str, load: Load) -> Result<Self>;

    /// Runs tasks until `stop` is ready and what was begun is settled. The
    /// number of tasks run.
    async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<u64>;
}
