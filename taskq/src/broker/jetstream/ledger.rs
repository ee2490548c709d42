//! Operations, among what is known of tasks.

use std::time::Duration;

use async_nats::{HeaderMap, header};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::TryStreamExt as _;

use super::JetStream;
use super::publish::ttl;
use super::record::Change;
use crate::broker::names::untoken;
use crate::broker::{Ledger, Setting};
use crate::error::Result;
use crate::time::Timestamp;

impl Ledger for JetStream {
    fn operation<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Setting>> {
        Box::pin(async move {
            let names = &self.layout.names;
            let found = self.last(&names.state_stream(), &names.operation(id)).await;
            let name = id.to_owned();
            Ok(match found? {
                None => Setting {
                    name,
                    ..Setting::default()
                },
                Some(stored) => Setting {
                    name,
                    revision: stored.sequence,
                    body: Some(stored.body.into()),
                },
            })
        })
    }

    fn operations(&self) -> BoxFuture<'_, Result<Vec<Setting>>> {
        Box::pin(async move {
            self.layout.ensure_shared().await?;
            let names = &self.layout.names;
            let (stream, all) = (names.state_stream(), names.operations());
            let found = self.read_past_subjects(stream, all, Timestamp::from_millis(0))?;
            found
                .try_filter_map(|stored| {
                    let name = stored.subject.rsplit('.').next().and_then(untoken);
                    std::future::ready(Ok(name.map(|name| Setting {
                        name,
                        revision: stored.sequence,
                        body: Some(stored.body),
                    })))
                })
                .try_collect()
                .await
        })
    }

    fn write_operation<'a>(
        &'a self,
        id: &'a str,
        body: Bytes,
        expected: u64,
        keep: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            self.layout.ensure_shared().await?;
            let subject = self.layout.names.operation(id);
            self.write_record(Change {
                stream: &self.layout.names.state_stream(),
                subject: &subject,
                body,
                expected,
                live: keep,
                what: &format!("noting operation {id}"),
            })
            .await
        })
    }

    fn store_targets<'a>(
        &'a self,
        id: &'a str,
        part: u64,
        body: Bytes,
        keep: Duration,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.layout.ensure_shared().await?;
            let subject = self.layout.names.targets(id, part);
            let mut headers = HeaderMap::new();
            headers.insert(header::NATS_MESSAGE_TTL, ttl(keep));
            let sent = self.pipe.publish(subject, Some(headers), body);
            let what = || format!("storing the tasks of operation {id}");
            sent.await.map_err(|refusal| refusal.into_error(&what()))
        })
    }

    fn targets<'a>(&'a self, id: &'a str, part: u64) -> BoxFuture<'a, Result<Option<Bytes>>> {
        Box::pin(async move {
            let names = &self.layout.names;
            let subject = names.targets(id, part);
            let found = self.last(&names.state_stream(), &subject).await?;
            Ok(found.map(|stored| stored.body.into()))
        })
    }

    fn drop_targets<'a>(&'a self, id: &'a str, parts: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let names = &self.layout.names;
            let stream = names.state_stream();
            for part in 0..parts {
                let subject = names.targets(id, part);
                if let Some(stored) = self.last(&stream, &subject).await? {
                    self.delete(&stream, stored.sequence).await?;
                }
            }
            Ok(())
        })
    }
}
