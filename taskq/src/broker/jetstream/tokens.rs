//! A queue's rate, kept by all workers together: one record holds the state
//! of the bucket, and is changed by compare-and-set by the server's clock.

use std::time::Duration;

use super::JetStream;
use super::record;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{Bucket, Taken};

/// Starts are taken so far ahead, so that a few at a time are one change of
/// the record. Those of a worker that dies are lost, and never made twice.
const AHEAD: Duration = Duration::from_millis(100);
/// How often a change is tried again that another worker was in the way of.
const TRIES: u32 = 32;

/// The record as it was last seen: its sequence, and the bucket's number.
pub(super) type Seen = (u64, i64);

impl JetStream {
    /// Takes up to so many starts from the bucket of a queue.
    pub(super) async fn take_tokens(
        &self,
        queue: &str,
        bucket: Bucket,
        most: usize,
        mut seen: Option<Seen>,
    ) -> Result<(Taken, Option<Seen>)> {
        let names = &self.layout.names;
        let subject = names.rate(queue);
        let what = || format!("taking starts of queue {queue}");
        for _ in 0..TRIES {
            let (sequence, number) = match seen {
                Some(seen) => seen,
                None => match self.last(&names.limits_stream(), &subject).await? {
                    Some(stored) => {
                        let text = String::from_utf8_lossy(&stored.body).into_owned();
                        (stored.sequence, text.parse().unwrap_or(0))
                    }
                    None => (0, 0),
                },
            };
            let now = self.clock.nanos();
            let ahead = i64::try_from(AHEAD.as_nanos()).unwrap_or(0);
            let taken = bucket.take(number, now, now + ahead, most);
            if taken.starts.is_empty() {
                // Another may have taken less than this one thinks.
                return Ok((taken, None));
            }
            let body = taken.number.to_string().into();
            let stored = record::store(
                &self.client,
                &self.denials,
                &subject,
                body,
                Some(sequence),
                None,
            );
            match stored.await {
                Ok(sequence) => {
                    let seen = Some((sequence, taken.number));
                    return Ok((taken, seen));
                }
                Err(refusal) if refusal.is_wrong_last_sequence() => {
                    seen = None;
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(200..4000))).await;
                }
                // Should it have been stored, its starts are lost.
                Err(refusal) if refusal.is_transient() => {
                    seen = None;
                    self.layout.ensure_shared().await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(refusal) => return Err(refusal.into_error(&what())),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("{} failed: others are at it all the time", what()),
        ))
    }
}
