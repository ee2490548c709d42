//! The server's clock, which delays, retries and deadlines go by: workers
//! and senders may be minutes apart.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tokio::sync::Mutex;

use super::JetStream;
use crate::broker::names::api;
use crate::time::Timestamp;

/// How long a comparison holds.
const HOLDS: Duration = Duration::from_secs(60);

/// How far the server's clock is from this machine's.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Milliseconds that the server is ahead.
    ahead: AtomicI64,
    compared: Mutex<Option<Instant>>,
}

impl Clock {
    /// The same, finer: in nanoseconds since 1970.
    pub(super) fn nanos(&self) -> i64 {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
        now.saturating_add(ahead.saturating_mul(1_000_000))
    }

    pub(super) fn now(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Timestamp::from_millis(Timestamp::now().as_millis() + ahead)
    }
}

impl JetStream {
    pub(super) async fn compare(&self) {
        #[derive(Deserialize)]
        struct Answer {
            ts: Option<Timestamp>,
        }
        // Held meanwhile: whoever comes second waits for the answer.
        let mut compared = self.clock.compared.lock().await;
        if compared.is_some_and(|at| at.elapsed() < HOLDS) {
            return;
        }
        let before = Timestamp::now();
        let asked = Instant::now();
        let subject = api::stream_info(&self.layout.names.plan_stream());
        let what = || "asking for the time".to_owned();
        let answer = self.ask(&what, subject, "".into()).await;
        let took = asked.elapsed();
        let Some(server) = answer
            .ok()
            .and_then(Result::ok)
            .and_then(|answer| serde_json::from_slice::<Answer>(&answer.payload).ok()?.ts)
        else {
            tracing::debug!("the server does not tell its time; this machine's clock counts");
            return;
        };
        *compared = Some(Instant::now());
        // Somewhere between the question and the answer, so in the middle;
        // less than that is no difference.
        let middle = before.plus(took / 2).as_millis();
        let ahead = server.as_millis() - middle;
        let slack = i64::try_from(took.as_millis()).unwrap_or(i64::MAX) / 2 + 2;
        let ahead = if ahead.abs() <= slack { 0 } else { ahead };
        let told = self.clock.ahead.swap(ahead, Ordering::Relaxed);
        if ahead.abs() > 1000 && (told - ahead).abs() > 1000 {
            tracing::warn!(
                "this machine's clock is {} ms {} the NATS server's; taskq goes by the server's, \
                 set this one by NTP",
                ahead.abs(),
                if ahead > 0 { "behind" } else { "ahead of" }
            );
        }
    }
}
