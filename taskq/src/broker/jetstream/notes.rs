//! Notes, one message each among what is known of tasks.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::JetStream;
use super::record::Change;
use crate::broker::names::api;
use crate::broker::{Note, Notes};
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;

impl Notes for JetStream {
    fn note<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Note>> {
        Box::pin(async move {
            let names = &self.layout.names;
            let found = self.last(&names.state_stream(), &names.note(key)).await?;
            Ok(found.map_or_else(Note::default, |stored| Note {
                revision: stored.sequence,
                body: Some(stored.body.into()),
            }))
        })
    }

    fn write_note<'a>(
        &'a self,
        key: &'a str,
        body: Bytes,
        expected: u64,
        keep: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            self.layout.ensure_shared().await?;
            let subject = self.layout.names.note(key);
            self.write_record(Change {
                stream: &self.layout.names.state_stream(),
                subject: &subject,
                body,
                expected,
                live: keep,
                what: &format!("noting {key}"),
            })
            .await
        })
    }

    fn unplan<'a>(
        &'a self,
        queue: &'a str,
        task: &'a str,
        id: &'a TaskId,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let names = &self.layout.names;
            // No consumer is on this subject, so a purge is safe.
            let query = serde_json::json!({ "filter": names.plan(queue, task, id) });
            let what = || format!("taking task {id} out of its plan");
            let subject = api::stream_purge(&names.plan_stream());
            self.ask(&what, subject, query.to_string().into())
                .await?
                .map(drop)
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Unavailable,
                        format!("taking task {id} out of its plan failed: {error}"),
                    )
                    .with_source(error)
                })
        })
    }
}
