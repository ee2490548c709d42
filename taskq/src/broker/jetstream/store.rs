//! Why publications go unanswered: the server's disk is full, or fails.
//!
//! A stream that could not be written to takes no more messages and tells
//! nobody, until the server is started again. All else goes on: the server
//! answers questions about that very stream.

use std::time::Duration;

use serde::Deserialize;

use super::JetStream;
use crate::broker::Publication;
use crate::broker::names::api;
use crate::error::{Error, ErrorKind, Result};

/// How long the server may take to answer; one that is overloaded, or has no
/// quorum, does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a stream that takes messages may take to have one more.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl JetStream {
    /// How many times there was a connection so far.
    pub(super) fn connections(&self) -> u64 {
        *self.reconnects.borrow()
    }

    /// Fails if a publication went unanswered because the server cannot
    /// store it, which to repeat it would not mend. `connection` is the number
    /// of [`connections`](Self::connections) before it was sent. Where several
    /// nodes store it, an election looks the same and is over soon, so
    /// nothing is concluded before the `last` try.
    pub(super) async fn check_store(
        &self,
        publication: &Publication,
        connection: u64,
        last: bool,
        what: &(impl Fn() -> String + Sync),
    ) -> Result<()> {
        // An ack that a lost connection took with it tells nothing.
        if connection != self.connections() {
            return Ok(());
        }
        let names = &self.layout.names;
        let stream = match (publication.due, &publication.key) {
            (Some(_), _) => names.plan_stream(),
            (None, None) => names.queue_stream(&publication.queue),
            (None, Some(_)) => names.hold_stream(&publication.queue),
        };
        let Some((before, replicated)) = self.last_sequence(&stream).await else {
            return Ok(());
        };
        if replicated && !last {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        // A stream that stores what others send is slow, no more.
        let after = self.last_sequence(&stream).await;
        if after.is_none_or(|(after, _)| after != before) {
            return Ok(());
        }
        // The message itself may be what it stored last.
        if !matches!(self.is_known(publication).await, Ok(false)) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "{} was not acknowledged: NATS answers, but its stream {stream} stores nothing, as \
                 when the disk is full; look for `no space left on device` in the server's log, \
                 free space, and start nats-server again; nothing that was stored is lost",
                what()
            ),
        ))
    }

    /// The stream's last sequence, if the server tells it in time and the
    /// stream has a leader; and whether several nodes store it.
    async fn last_sequence(&self, stream: &str) -> Option<(u64, bool)> {
        #[derive(Deserialize)]
        struct Info {
            state: State,
            cluster: Option<Cluster>,
        }
        #[derive(Deserialize)]
        struct State {
            last_seq: u64,
        }
        #[derive(Deserialize)]
        struct Cluster {
            leader: Option<String>,
            #[serde(default)]
            replicas: Vec<serde::de::IgnoredAny>,
        }
        let what = || format!("looking at stream {stream}");
        let asked = self.ask(&what, api::stream_info(stream), "".into());
        let answer = tokio::time::timeout(PATIENCE, asked)
            .await
            .ok()?
            .ok()?
            .ok()?;
        let info: Info = serde_json::from_slice(&answer.payload).ok()?;
        let replicated = match info.cluster {
            None => false,
            Some(cluster) => {
                cluster.leader?;
                !cluster.replicas.is_empty()
            }
        };
        Some((info.state.last_seq, replicated))
    }
}
