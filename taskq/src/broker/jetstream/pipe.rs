//! Pipelined publishing: many messages under way on one connection, each
//! with its own ack.
//!
//! One subscription takes all acks, told apart by a number in the reply
//! subject. Against a `PublishAckFuture` a message this halves the client's
//! work (docs/architecture.md, "Measured").

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message, StatusCode, Subject};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::AbortOnDrop;
use crate::broker::denial::Denial;
use crate::broker::names::Act;
use crate::error::{Error, ErrorKind, Result};

/// How long an ack may take before the publication counts as unanswered: from
/// its sending, and from each ack of one sent before it, as who is slow with
/// many comes to the last of them late.
pub(super) const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take in any case.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A publication's answer: Ok when it is stored.
pub(in crate::broker) type Answer = std::result::Result<(), Refusal>;

type OnAnswer = Box<dyn FnOnce(u64, Answer) + Send>;

/// Why a publication was not stored, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Refusal {
    /// No ack came: it may have been stored.
    Unanswered,
    /// Nobody takes this subject: no such stream, or no leader for it now.
    NobodyThere,
    /// This user may not publish there, or not hear answers.
    Denied(Denial),
    /// The server's own reason.
    Server { code: u64, text: String },
    /// The connection was closed for good.
    Closed,
}

/// The server's codes that this library acts upon.
pub(super) mod code {
    /// No space: the account's, the server's or the disk's.
    pub(in crate::broker) const STORE_FULL: [u64; 3] = [10002, 10023, 10047];
    /// What that means.
    pub(in crate::broker) const FULL: &str = "the NATS server's store is full; free space on its disk, or raise its `max_file_store` \
         or the account's limit; nothing that was stored is lost";
    /// The subject's last sequence is not the expected one.
    pub(in crate::broker) const WRONG_LAST_SEQUENCE: u64 = 10071;
    /// The stream, or the subject, holds all that it may.
    pub(in crate::broker) const LIMIT_EXCEEDED: u64 = 10077;
}

impl Refusal {
    /// Whether the same publication may be stored later.
    pub(in crate::broker) fn is_transient(&self) -> bool {
        match self {
            Self::Unanswered | Self::NobodyThere => true,
            Self::Denied(_) | Self::Closed => false,
            // 503 of one kind or another: no quorum, no leader; or an earlier
            // try, which the cluster has not agreed on yet (10164). A full
            // store is none of them: it stays full until somebody does
            // something.
            Self::Server { code, .. } => matches!(*code, 10008 | 10074 | 10118 | 10164),
        }
    }

    pub(in crate::broker) fn is_wrong_last_sequence(&self) -> bool {
        matches!(self, Self::Server { code, .. } if *code == code::WRONG_LAST_SEQUENCE)
    }

    /// The subject holds a message already, and may hold one only.
    pub(in crate::broker) fn is_subject_taken(&self) -> bool {
        matches!(self, Self::Server { code, text }
            if *code == code::LIMIT_EXCEEDED && text.contains("per subject"))
    }

    /// The stream holds all that it may.
    pub(in crate::broker) fn is_full(&self) -> bool {
        matches!(self, Self::Server { code, .. } if *code == code::LIMIT_EXCEEDED)
            && !self.is_subject_taken()
    }

    /// The refusal as the library's error.
    pub(in crate::broker) fn into_error(self, what: &str) -> Error {
        let (kind, text) = match &self {
            Self::Unanswered => (
                ErrorKind::Unavailable,
                format!(
                    "{what} was not acknowledged in time: NATS is overloaded, has lost its quorum \
                     or is out of disk; `taskq doctor` tells more"
                ),
            ),
            Self::NobodyThere => (
                ErrorKind::Unavailable,
                format!(
                    "{what} failed: NATS has no stream for it, or no leader for the stream now; try again"
                ),
            ),
            Self::Denied(denial) => return denial.clone().into_error(what),
            Self::Server { code, text } if code::STORE_FULL.contains(code) => (
                ErrorKind::Unavailable,
                format!("{what} was refused: {text} ({code}): {}", code::FULL),
            ),
            Self::Server { code, text } if *code == code::LIMIT_EXCEEDED => (
                ErrorKind::QueueFull,
                format!(
                    "{what} was refused: {text}; workers must catch up first, or the limit be raised"
                ),
            ),
            Self::Server { code, text } => (
                ErrorKind::Unavailable,
                format!("{what} was refused: {text} ({code})"),
            ),
            Self::Closed => (
                ErrorKind::Closed,
                format!("{what} failed: the connection is closed"),
            ),
        };
        Error::new(kind, text)
    }
}

/// A publisher with its own reply subjects.
#[derive(Clone)]
pub(in crate::broker) struct Pipe(Arc<Shared>);

struct Shared {
    /// To the task that writes to the connection. Unbounded: whoever sends
    /// awaits the ack, or counts what is not acked.
    outbound: mpsc::UnboundedSender<Outbound>,
    /// Reply subjects are this and a number.
    replies: String,
    next: AtomicU64,
    waiting: Mutex<AllWaiting>,
    /// Takes the acks. Its subscription would keep the connection open.
    taking: OnceLock<AbortOnDrop>,
}

/// What waits for its ack, by the number in its reply subject.
#[derive(Default)]
struct AllWaiting {
    of: HashMap<u64, Waiting>,
    /// The one sent first of those answered since the last look.
    first_answered: Option<u64>,
}

struct Waiting {
    subject: Subject,
    sent: Instant,
    until: Instant,
    on_answer: OnAnswer,
}

/// A publication on its way to the connection.
struct Outbound {
    key: u64,
    subject: Subject,
    reply: String,
    /// Boxed: most have none.
    headers: Option<Box<HeaderMap>>,
    body: Bytes,
}

impl Pipe {
    /// Takes acks on `replies.>` from now on, until the last clone is gone.
    pub(in crate::broker) async fn open(client: Client, replies: String) -> Result<Self> {
        let acks = client
            .subscribe(format!("{replies}.>"))
            .await
            .map_err(|error| Error::new(ErrorKind::Closed, format!("cannot subscribe: {error}")))?;
        let (outbound, publications) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            outbound,
            replies,
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
            taking: OnceLock::new(),
        });
        let taking = tokio::spawn(take_acks(Arc::downgrade(&shared), acks));
        let _ = shared.taking.set(AbortOnDrop(taking));
        tokio::spawn(write(Arc::downgrade(&shared), client, publications));
        Ok(Self(shared))
    }

    /// What all reply subjects start with.
    pub(super) fn replies(&self) -> &str {
        &self.0.replies
    }

    /// Publishes; `on_answer` is called with the reply subject's number and
    /// the ack, from the task that takes acks, so it must not block.
    pub(in crate::broker) fn send(
        &self,
        subject: impl Into<Subject>,
        headers: Option<HeaderMap>,
        body: Bytes,
        on_answer: impl FnOnce(u64, Answer) + Send + 'static,
    ) {
        let subject = subject.into();
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        let reply = format!("{}.{key}", self.0.replies);
        let now = Instant::now();
        self.0.waiting().of.insert(
            key,
            Waiting {
                subject: subject.clone(),
                sent: now,
                until: now + ACK_TIMEOUT,
                on_answer: Box::new(on_answer),
            },
        );
        let sent = self.0.outbound.send(Outbound {
            key,
            subject,
            reply,
            headers: headers.map(Box::new),
            body,
        });
        if sent.is_err() {
            self.0.answer(key, Err(Refusal::Closed));
        }
    }

    /// Publishes and waits for the ack.
    pub(in crate::broker) async fn publish(
        &self,
        subject: impl Into<Subject>,
        headers: Option<HeaderMap>,
        body: Bytes,
    ) -> Answer {
        let (tell, told) = oneshot::channel();
        self.send(subject, headers, body, move |_, answer| {
            // Whoever gave up waiting does not want it.
            let _ = tell.send(answer);
        });
        told.await.unwrap_or(Err(Refusal::Closed))
    }

    /// Ends the waits that the server has refused an operation of; tells how
    /// many there were.
    pub(in crate::broker) fn deny(&self, denial: &Denial) -> usize {
        let refusal = Refusal::Denied(denial.clone());
        match denial.act {
            Act::Publish => self.0.end_where(&refusal, |waiting| {
                waiting.subject.as_str() == &*denial.subject
            }),
            Act::Subscribe if denial.is_of_inbox(&self.0.replies) => {
                self.0.end_where(&refusal, |_| true)
            }
            Act::Subscribe => 0,
        }
    }
}

impl AllWaiting {
    fn take(&mut self, key: u64) -> Option<Waiting> {
        let waiting = self.of.remove(&key)?;
        self.first_answered = Some(self.first_answered.map_or(key, |first| first.min(key)));
        Some(waiting)
    }

    /// Gives more time to those behind what was answered since the last look.
    /// One that is lost gets none for long: soon there is nothing before it.
    fn look(&mut self, now: Instant) {
        let Some(first) = self.first_answered.take() else {
            return;
        };
        for (_, waiting) in self.of.iter_mut().filter(|(key, _)| **key > first) {
            waiting.until = (now + ACK_TIMEOUT).min(waiting.sent + LONGEST_WAIT);
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, AllWaiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, key: u64, answer: Answer) {
        let waiting = self.waiting().take(key);
        if let Some(waiting) = waiting {
            (waiting.on_answer)(key, answer);
        }
    }

    fn end_where(&self, refusal: &Refusal, ended: impl Fn(&Waiting) -> bool) -> usize {
        let over: Vec<(u64, Waiting)> = self
            .waiting()
            .of
            .extract_if(|_, waiting| ended(waiting))
            .collect();
        let count = over.len();
        for (key, waiting) in over {
            (waiting.on_answer)(key, Err(refusal.clone()));
        }
        count
    }

    /// The number in the reply subject that an ack came to.
    fn key(&self, subject: &str) -> Option<u64> {
        let rest = subject.strip_prefix(self.replies.as_str())?;
        rest.strip_prefix('.')?.parse().ok()
    }
}

/// Writes to the connection, in order. One task does it for all, so that the
/// futures of those who publish stay small.
async fn write(
    shared: std::sync::Weak<Shared>,
    client: Client,
    mut publications: mpsc::UnboundedReceiver<Outbound>,
) {
    let mut batch = Vec::with_capacity(256);
    while publications.recv_many(&mut batch, 256).await > 0 {
        for next in batch.drain(..) {
            let sent = match next.headers {
                Some(headers) => {
                    client
                        .publish_with_reply_and_headers(
                            next.subject,
                            next.reply,
                            *headers,
                            next.body,
                        )
                        .await
                }
                None => {
                    client
                        .publish_with_reply(next.subject, next.reply, next.body)
                        .await
                }
            };
            if sent.is_err()
                && let Some(shared) = shared.upgrade()
            {
                shared.answer(next.key, Err(Refusal::Closed));
            }
        }
    }
}

async fn take_acks(shared: std::sync::Weak<Shared>, mut acks: async_nats::Subscriber) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            ack = acks.next() => {
                let Some(shared) = shared.upgrade() else { return };
                let Some(ack) = ack else {
                    shared.end_where(&Refusal::Closed, |_| true);
                    return;
                };
                take_ack(&shared, &ack);
                // Whatever else has come is taken in the same turn.
                while let Some(Some(ack)) = acks.next().now_or_never() {
                    take_ack(&shared, &ack);
                }
            }
            _ = tick.tick() => {
                let Some(shared) = shared.upgrade() else { return };
                let now = Instant::now();
                shared.waiting().look(now);
                shared.end_where(&Refusal::Unanswered, |waiting| waiting.until <= now);
            }
        }
    }
}

fn take_ack(shared: &Shared, ack: &Message) {
    if let Some(key) = shared.key(&ack.subject) {
        shared.answer(key, read_ack(ack));
    }
}

/// What a PubAck says.
fn read_ack(ack: &Message) -> Answer {
    #[derive(Deserialize)]
    struct PubAck {
        error: Option<ApiError>,
    }
    #[derive(Deserialize)]
    struct ApiError {
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    if ack.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(Refusal::NobodyThere);
    }
    // So does the server begin when nothing is wrong; the first message of a
    // batch it answers with nothing at all.
    if ack.payload.starts_with(br#"{"stream":"#) || ack.payload.is_empty() {
        return Ok(());
    }
    match serde_json::from_slice::<PubAck>(&ack.payload) {
        Ok(PubAck { error: None }) => Ok(()),
        Ok(PubAck { error: Some(error) }) => Err(Refusal::Server {
            code: error.err_code,
            text: error.description,
        }),
        Err(error) => Err(Refusal::Server {
            code: 0,
            text: format!("an answer that is no PubAck: {error}"),
        }),
    }
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe")
            .field("replies", &self.0.replies)
            .field("waiting", &self.0.waiting().of.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_many_has_time_for_as_long_as_they_are_answered() {
        let sent = Instant::now();
        let mut all = AllWaiting::default();
        for key in 0..100 {
            all.of.insert(
                key,
                Waiting {
                    subject: "work".into(),
                    sent,
                    until: sent + ACK_TIMEOUT,
                    on_answer: Box::new(|_, _| {}),
                },
            );
        }
        let left = |all: &AllWaiting, key| all.of[&key].until - sent;
        // A slow server: ten a second. The third is lost.
        for second in 1..=8 {
            for key in (second - 1) * 10..second * 10 {
                if key != 2 {
                    assert!(all.take(key).is_some());
                }
            }
            all.look(sent + Duration::from_secs(second));
        }
        assert_eq!(left(&all, 99), Duration::from_secs(8) + ACK_TIMEOUT);
        assert_eq!(left(&all, 2), Duration::from_secs(1) + ACK_TIMEOUT);
        // Nothing more is answered.
        all.look(sent + Duration::from_secs(9));
        assert_eq!(left(&all, 99), Duration::from_secs(8) + ACK_TIMEOUT);
        // Or something now and then, for ever.
        assert!(all.take(80).is_some());
        all.look(sent + Duration::from_secs(29));
        assert_eq!(left(&all, 99), LONGEST_WAIT);
    }
}
