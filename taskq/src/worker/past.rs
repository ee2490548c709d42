//! What must be known, or fetched, before a delivery runs. The answer decides
//! whether it runs, so it is waited for, as long as the lease is kept.

use std::time::Duration;

use futures::future::BoxFuture;

use super::execute::{Executor, Incoming};
use crate::broker::{History, Receipt};
use crate::error::Result;
use crate::failure::FailureKind;
use crate::message::{Arguments, TaskMessage};
use crate::task::TaskError;

impl Executor {
    /// Asks until there is an answer; none if the lease was lost first.
    pub(super) async fn insist<'a, T>(
        &self,
        receipt: &Receipt,
        what: &str,
        ask: impl Fn() -> BoxFuture<'a, Result<T>>,
    ) -> Option<T> {
        let mut pause = Duration::from_millis(100);
        while self.holds(receipt) {
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    tracing::warn!("{what}: {error}; trying on");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
        None
    }

    /// What became of a message before; none if the lease was lost.
    pub(super) async fn history(&self, incoming: &Incoming) -> Option<History> {
        let (broker, id) = (&self.client.0.broker, &incoming.message.id);
        let what = format!("cannot tell yet whether task {id} has ended");
        let receipt = &incoming.delivery.receipt;
        self.insist(receipt, &what, || broker.history(id)).await
    }

    /// Writes down that the delivery starts; false if the lease was lost.
    pub(super) async fn write_journal(&self, incoming: &Incoming) -> bool {
        let (broker, id) = (&self.client.0.broker, &incoming.message.id);
        let what = format!("cannot write down yet that task {id} starts again");
        let receipt = &incoming.delivery.receipt;
        let write = || broker.write_journal(id, &incoming.journal);
        self.insist(receipt, &what, write).await.is_some()
    }

    /// The arguments that were too large for the message; none if the lease
    /// was lost.
    pub(super) async fn fetch_arguments(
        &self,
        incoming: &Incoming,
        name: &str,
    ) -> Option<std::result::Result<Arguments, TaskError>> {
        let broker = &self.client.0.broker;
        let what = format!(
            "cannot fetch the arguments of task {} yet",
            incoming.message.id
        );
        let receipt = &incoming.delivery.receipt;
        let payload = self.insist(receipt, &what, || broker.payload(name)).await?;
        let message = payload.map(|payload| TaskMessage::decode(&payload));
        Some(match message {
            Some(Ok(message)) => Ok(message.arguments),
            Some(Err(error)) => Err(TaskError::of_kind(
                FailureKind::Arguments,
                error.to_string(),
            )),
            None => Err(TaskError::of_kind(
                FailureKind::Arguments,
                format!("the arguments are stored as `{name}`, and nothing is there any more"),
            )),
        })
    }
}
