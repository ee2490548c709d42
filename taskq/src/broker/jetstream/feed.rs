//! Whether a queue takes what falls due.
//!
//! A queue's stream begins to take from the plan some 100 ms after it was
//! made; and if it holds, or has held, a message by then, it takes only what
//! has fallen due since. So nothing may fall due for it before.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::JetStream;
use crate::broker::Publication;
use crate::broker::names::api;
use crate::error::Result;

/// How long a queue may take to begin. It does at once, or something is
/// wrong that waiting does not mend.
const BEGINNING: Duration = Duration::from_secs(5);

impl JetStream {
    /// Makes the streams that a message goes to, if they are not there, and
    /// waits until they take what falls due.
    pub(super) async fn ensure_fed(&self, publication: &Publication) -> Result<()> {
        self.ensure_for(publication).await?;
        let names = &self.layout.names;
        let stream = match &publication.key {
            None => names.queue_stream(&publication.queue),
            Some(_) => names.hold_stream(&publication.queue),
        };
        self.await_feed(&stream).await;
        Ok(())
    }

    /// Waits until a stream takes what falls due for it.
    pub(super) async fn await_feed(&self, stream: &str) {
        if self.layout.is_fed(stream) {
            return;
        }
        // One asks for all.
        let _turn = self.layout.feeding.lock().await;
        let started = Instant::now();
        while !self.layout.is_fed(stream) {
            match self.takes_from_plan(stream).await {
                Ok(false) => {}
                // Who may not look leaves it to others.
                Ok(true) | Err(_) => {
                    self.layout.set_fed(stream);
                    return;
                }
            }
            if started.elapsed() >= BEGINNING {
                tracing::warn!(
                    stream,
                    "the stream does not take from the plan: delays and retries may be late"
                );
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn takes_from_plan(&self, stream: &str) -> Result<bool> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(default)]
            sources: Vec<Source>,
        }
        #[derive(Deserialize)]
        struct Source {
            /// Nanoseconds since it was last in touch; -1 if it never was.
            #[serde(default)]
            active: i64,
        }
        let what = || format!("looking at stream {stream}");
        let subject = api::stream_info(stream);
        let answer = self.ask(&what, subject, "".into()).await?;
        let info = answer
            .ok()
            .and_then(|answer| serde_json::from_slice::<Info>(&answer.payload).ok());
        Ok(info.is_some_and(|info| info.sources.iter().all(|source| source.active >= 0)))
    }
}
