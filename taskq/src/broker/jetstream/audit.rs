//! What operators did: a stream of its own.

use async_nats::{HeaderMap, header};
use bytes::Bytes;
use serde_json::json;

use super::JetStream;
use super::pipe::Refusal;
use crate::broker::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::message::AuditEntry;

/// How often an entry is sent that is not acknowledged.
const TRIES: u32 = 3;

impl JetStream {
    pub(super) async fn write_action(&self, entry: &AuditEntry) -> Result<()> {
        self.layout.ensure_shared().await?;
        let subject = self.layout.names.audit(&entry.action);
        let mut headers = HeaderMap::new();
        // Sent again, it is one entry.
        let id = uuid::Uuid::now_v7().to_string();
        headers.insert(header::NATS_MESSAGE_ID, id);
        let body = Bytes::from(entry.encode());
        for _ in 0..TRIES {
            let headers = Some(headers.clone());
            let sent = self.pipe.publish(subject.clone(), headers, body.clone());
            match sent.await {
                Ok(()) => return Ok(()),
                Err(Refusal::Unanswered) => {}
                Err(refusal) => {
                    return Err(refusal.into_error(&format!("recording {}", entry.action)));
                }
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("that somebody did {} was not acknowledged", entry.action),
        ))
    }

    /// Read without a consumer, in spans from the newest to the oldest.
    pub(super) async fn read_actions(
        &self,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<AuditEntry>> {
        let extent = self.look_at(Source::Audit).await?;
        let end = before
            .unwrap_or(u64::MAX)
            .min(extent.last.saturating_add(1));
        if extent.records == 0 || end <= extent.first {
            return Ok(Vec::new());
        }
        let start = end.saturating_sub(most as u64).max(extent.first);
        let query = json!({
            "seq": start,
            "batch": end - start,
            "next_by_subj": self.layout.names.audit_all(),
        });
        let stream = self.layout.names.audit_stream();
        let batch = self.read_batch(&stream, &query).await?;
        let found = batch.messages.into_iter().rev();
        let within = found.filter(|found| found.sequence < end);
        within
            .map(|found| AuditEntry::decode(found.sequence, &found.body))
            .collect()
    }
}
