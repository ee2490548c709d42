//! Many messages of one queue, all or none: an atomic batch (ADR-50).

use async_nats::{HeaderMap, header};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::JetStream;
use super::pipe::Refusal;
use crate::broker::{Publication, Status};
use crate::error::{Error, ErrorKind, Result};

/// How often a batch is sent before the caller is told.
const TRIES: u32 = 3;

/// The server's code for a stream that takes no batches.
const BATCHES_ARE_OFF: u64 = 10174;

impl JetStream {
    /// Stores all of these, or none. All are of one queue, to start now.
    /// True if they were there already.
    pub(super) async fn publish_batch(&self, batch: &[Publication]) -> Result<bool> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            return Ok(false);
        };
        self.ensure_for(first).await?;
        let what = || {
            format!(
                "sending {} tasks at once to queue {}",
                batch.len(),
                first.queue
            )
        };
        // An id that the sender chose may have been used, and its task have
        // ended since.
        let mut looks = Vec::new();
        for publication in batch {
            if publication.named {
                looks.push(self.find_status(&publication.id));
            }
        }
        let looks = stream::iter(looks).buffered(64);
        let known: Vec<bool> = looks
            .map_ok(|status| !matches!(status, Status::Unknown))
            .try_collect()
            .await?;
        if known.len() == batch.len() && known.iter().all(|known| *known) {
            return Ok(true);
        }
        if known.contains(&true) {
            return Err(duplicate(&what()));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let refusal = match self.try_batch(batch).await {
                Ok(()) => return Ok(false),
                Err(refusal) => refusal,
            };
            // All are there or none is, so one of them tells.
            let unsure = refusal == Refusal::Unanswered || tries > 1;
            if unsure && !matches!(self.find_status(&last.id).await?, Status::Unknown) {
                return Ok(false);
            }
            match &refusal {
                Refusal::Server { code, .. } if *code == BATCHES_ARE_OFF => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "{} failed: the queue's stream was made without atomic batches; \
                             `taskq init --queues {}` turns them on",
                            what(),
                            first.queue
                        ),
                    ));
                }
                refusal if refusal.is_wrong_last_sequence() => return Err(duplicate(&what())),
                refusal if refusal.is_transient() && tries < TRIES => {}
                _ => return Err(self.refusal_of(refusal, &what(), &first.queue).await),
            }
        }
    }

    async fn try_batch(&self, batch: &[Publication]) -> std::result::Result<(), Refusal> {
        let id = format!("{:032x}", fastrand::u128(..));
        for (place, publication) in (1..).zip(batch) {
            let mut headers = HeaderMap::new();
            headers.insert(header::NATS_BATCH_ID, id.as_str());
            headers.insert(header::NATS_BATCH_SEQUENCE, place.to_string());
            if publication.named {
                headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
            }
            let is_last = place == batch.len();
            if is_last {
                headers.insert(header::NATS_BATCH_COMMIT, "1");
            }
            let subject = self.subject_now(publication);
            let body = publication.body.clone();
            // The first is answered, so that a batch which is not wanted is
            // known before all of it is sent; and the last.
            if place == 1 || is_last {
                self.pipe.publish(subject, Some(headers), body).await?;
            } else {
                self.client
                    .publish_with_headers(subject, headers, body)
                    .await
                    .map_err(|_| Refusal::Closed)?;
            }
        }
        Ok(())
    }
}

fn duplicate(what: &str) -> Error {
    Error::new(
        ErrorKind::Duplicate,
        format!("{what} was refused, and none is sent: one of their ids is a task already"),
    )
}
