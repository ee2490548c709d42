//! Requests, and what this user may do.

use std::time::Duration;

use async_nats::{Message, Request};
use bytes::Bytes;

use super::JetStream;
use crate::broker::denial::Denial;
use crate::broker::names::{Act, Namespace, api};
use crate::error::Result;

/// How long a worker waits to be told that it may take messages.
const PROBE: Duration = Duration::from_secs(2);

/// How long a leader may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

impl JetStream {
    /// Asks the server, and fails at once when it refuses the question.
    pub(super) async fn ask(
        &self,
        what: &(impl Fn() -> String + Sync),
        subject: String,
        body: Bytes,
    ) -> Result<Result<Message, async_nats::RequestError>> {
        let request = Request::new().payload(body).timeout(Some(PATIENCE));
        let asked = self.client.send_request(subject.clone(), request);
        let answered = self.denials.or_denied(&[&subject], asked).await;
        answered.map_err(|denial| denial.into_error(&what()))
    }

    /// Fails if this user may not take messages of these queues. A refused
    /// request for messages looks like an empty queue for ever, so a worker
    /// finds out at its start.
    pub(super) async fn may_take(&self, queues: &[String]) -> Result<()> {
        // The server answers to it that it makes no sense, or not at all:
        // either way no message comes of it.
        const SENSELESS: &str = r#"{"batch":1,"expires":1000000000,"idle_heartbeat":1000000000}"#;
        let normal = &Namespace::consumer(taskq_syntax::Priority::Normal);
        futures::future::try_join_all(queues.iter().map(|queue| async move {
            let stream = self.layout.names.queue_stream(queue);
            let subject = api::consumer_next(&stream, normal);
            let asked = tokio::time::timeout(
                PROBE,
                self.client.request(subject.clone(), SENSELESS.into()),
            );
            let answered = self.denials.or_denied(&[&subject], asked).await;
            answered
                .map(drop)
                .map_err(|denial| denial.into_error(&format!("taking messages of queue {queue}")))
        }))
        .await
        .map(drop)
    }

    /// Tells a refusal to whom it concerns.
    pub(super) fn take_denial(&self, denial: &Denial) {
        if self.pipe.deny(denial) > 0 {
            return;
        }
        let names = &self.layout.names;
        if denial.act == Act::Subscribe && names.tells_outcomes(&denial.subject) {
            self.waiters.refuse(denial.clone());
        } else if denial.act == Act::Subscribe || !api::is_asked(&denial.subject) {
            // Nobody awaits an answer, so nobody else tells.
            tracing::warn!(
                "{}",
                denial.clone().into_error("something on the connection")
            );
        }
    }
}
