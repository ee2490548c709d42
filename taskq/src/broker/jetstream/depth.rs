//! How much is in the queues.

use async_nats::jetstream::consumer;
use futures::TryStreamExt as _;

use super::JetStream;
use crate::broker::QueueDepth;
use crate::broker::names::api;
use crate::error::{Error, ErrorKind, Result};

impl JetStream {
    pub(super) async fn count_queues(&self) -> Result<Vec<QueueDepth>> {
        let queues = self.layout.list_queues().await?;
        futures::future::try_join_all(queues.into_iter().map(|queue| self.count_queue(queue))).await
    }

    async fn count_queue(&self, queue: String) -> Result<QueueDepth> {
        let names = &self.layout.names;
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Unavailable,
                format!("counting queue {queue} failed: {error}"),
            )
        };
        let name = names.queue_stream(&queue);
        let asked = async {
            let stream = self
                .layout
                .js
                .get_stream(&name)
                .await
                .map_err(|error| failed(&error))?;
            let consumers: Vec<consumer::Info> = stream
                .consumers()
                .try_collect()
                .await
                .map_err(|error| failed(&error))?;
            Ok::<_, Error>((stream.cached_info().state.messages, consumers))
        };
        let subjects = [&*api::stream_info(&name), &*api::consumer_list(&name)];
        let (messages, consumers) = self
            .denials
            .or_denied(&subjects, asked)
            .await
            .map_err(|denial| denial.into_error(&format!("counting queue {queue}")))??;
        let running = consumers
            .iter()
            .map(|consumer| consumer.num_ack_pending as u64)
            .sum::<u64>()
            .min(messages);
        // Without a stream for plans nothing is planned.
        let scheduled = match self.layout.js.get_stream_no_info(names.plan_stream()).await {
            Ok(plan) => match plan.info_with_subjects(names.plan_queue(&queue)).await {
                Ok(subjects) => subjects
                    .try_fold(
                        0u64,
                        |sum, (_, count)| async move { Ok(sum + count as u64) },
                    )
                    .await
                    .unwrap_or(0),
                Err(_) => 0,
            },
            Err(_) => 0,
        };
        Ok(QueueDepth {
            pending: messages - running,
            running,
            scheduled,
            queue,
        })
    }
}
