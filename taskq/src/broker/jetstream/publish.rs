//! Sending: now, later, once for an id, once for a key.

use std::time::Duration;

use async_nats::{HeaderMap, header};
use bytes::Bytes;

use super::JetStream;
use super::pipe::{ACK_TIMEOUT, Answer, Refusal};
use crate::broker::names::api;
use crate::broker::{Lock, Publication, Published, SOON, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;
use crate::time::Timestamp;

/// A lock whose task cannot be found is taken for one whose sender died
/// between the two, when it is older than this, and than two enqueues may
/// take: an election can make a living sender need all of its time for the
/// step, and a lock that is taken from it then makes two tasks of one key.
const ORPHAN_AGE: Duration = Duration::from_secs(30);
/// How long a message waits for its second try.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// How things stood before a message was sent.
#[derive(Clone, Copy, Debug)]
struct Before {
    /// Which connection it was.
    connection: u64,
    /// How many times streams had been made.
    made: u64,
}

impl JetStream {
    fn before(&self) -> Before {
        Before {
            connection: self.connections(),
            made: self.layout.times_made(),
        }
    }

    /// Whether a plan would fire too late for this.
    pub(super) fn is_soon(&self, due: Timestamp) -> bool {
        due.since(self.clock.now()) < SOON
    }

    /// The common case, in a future of its own: those of all that may go
    /// wrong are large, and a thousand calls are under way at once.
    pub(super) async fn publish_message(&self, publication: Publication) -> Result<Published> {
        let plain = !publication.named && publication.due.is_none() && publication.lock.is_none();
        if !plain {
            return Box::pin(self.publish_with_care(publication)).await;
        }
        let subject = self.subject_now(&publication);
        let before = self.before();
        let sent = self.pipe.publish(subject, None, publication.body.clone());
        match sent.await {
            Ok(_) => Ok(Published::Accepted),
            Err(refusal) => {
                let refused = Some((refusal, before));
                Box::pin(self.send_on(&publication, refused)).await
            }
        }
    }

    async fn publish_with_care(&self, publication: Publication) -> Result<Published> {
        if publication.due.is_some() {
            // The due time is by the server's clock.
            self.compare().await;
        }
        let mut replaced = None;
        if let Some(lock) = &publication.lock {
            match self.acquire(lock, &publication.id).await? {
                None => {}
                Some(holder) if lock.replace => {
                    self.take_over(lock, &holder, &publication.id).await?;
                    replaced = Some(holder);
                }
                Some(holder) => return Ok(Published::Existing(holder)),
            }
        }
        let mut sent = self.send_on(&publication, None).await;
        if let (Ok(Published::Accepted), Some(holder)) = (&sent, replaced) {
            sent = Ok(Published::Replaced(holder));
        }
        // Refused for good, so it must not keep others away. What was not
        // answered may have been stored: its lock stays, and is taken for an
        // orphan's should nothing be found.
        if let (Err(error), Some(lock)) = (&sent, &publication.lock)
            && error.kind() != ErrorKind::Unavailable
            && let Err(error) = self.release_lock(&lock.key, &publication.id).await
        {
            tracing::debug!("the lock of a refused task stays until it is found out: {error}");
        }
        sent
    }

    /// Publishes so that a repetition is recognised. The first try of an id
    /// that nobody has used carries no header at all; a later one asks the
    /// server to refuse what it has.
    async fn send_on(
        &self,
        publication: &Publication,
        mut refused: Option<(Refusal, Before)>,
    ) -> Result<Published> {
        let what = || format!("sending task {} ({})", publication.id, publication.task);
        let started = tokio::time::Instant::now();
        let mut may_be_there = publication.named;
        // Decided once: a repetition goes where the first try went.
        let is_soon = |due: &Timestamp| publication.key.is_none() && self.is_soon(*due);
        let due = publication.due.filter(|due| !is_soon(due));
        let mut pause = FIRST_PAUSE;
        loop {
            let (refusal, before) = match refused.take() {
                Some(refused) => refused,
                None => {
                    let known = match may_be_there {
                        true => self.is_known(publication).await,
                        false => Ok(false),
                    };
                    let before = self.before();
                    match known {
                        Ok(true) => return Ok(publication.known()),
                        Ok(false) => match self.send(publication, due, may_be_there).await {
                            Ok(()) => return Ok(Published::Accepted),
                            Err(refusal) => (refusal, before),
                        },
                        // Nobody leads what would know: as good as no answer.
                        Err(error) if error.is_retryable() => (Refusal::Unanswered, before),
                        Err(error) => return Err(error),
                    }
                }
            };
            match &refusal {
                refusal if may_be_there && refusal.is_wrong_last_sequence() => {
                    return Ok(publication.known());
                }
                Refusal::NobodyThere => {
                    // Usually the first message of a queue.
                    let make = self.ensure_for(publication);
                    let made = self.layout.make_again(before.made, make).await;
                    match made {
                        // A stream that was just made takes it at once.
                        Ok(()) if pause == FIRST_PAUSE => {
                            pause *= 2;
                            continue;
                        }
                        Err(error)
                            if !error.is_retryable() || started.elapsed() >= self.patience =>
                        {
                            return Err(error);
                        }
                        _ => {}
                    }
                }
                Refusal::Unanswered => {
                    may_be_there = true;
                    let last = started.elapsed() + ACK_TIMEOUT >= self.patience;
                    self.check_store(publication, before.connection, last, &what)
                        .await?;
                }
                other if other.is_transient() => {}
                _ => return Err(self.refusal_of(refusal, &what(), &publication.queue).await),
            }
            if started.elapsed() + pause >= self.patience {
                return Err(refusal.into_error(&what()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Whether the broker has this message, or has had it.
    pub(super) async fn is_known(&self, publication: &Publication) -> Result<bool> {
        Ok(!matches!(
            self.find_status(&publication.id).await?,
            Status::Unknown
        ))
    }

    async fn send(
        &self,
        publication: &Publication,
        due: Option<Timestamp>,
        only_first: bool,
    ) -> Answer {
        let mut headers = HeaderMap::new();
        if only_first {
            headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        }
        let names = &self.layout.names;
        let subject = match due {
            None => self.subject_now(publication),
            Some(due) => {
                // The plan fires into the queue's stream, which must be
                // there to take it. Why it is not, whoever tries again finds
                // out.
                if self.ensure_fed(publication).await.is_err() {
                    return Err(Refusal::NobodyThere);
                }
                self.set_schedule(&mut headers, publication, due);
                names.plan(&publication.queue, &publication.task, &publication.id)
            }
        };
        let headers = (!headers.is_empty()).then_some(headers);
        self.pipe
            .publish(subject, headers, publication.body.clone())
            .await
    }

    /// The headers that make a message a plan.
    pub(super) fn set_schedule(
        &self,
        headers: &mut HeaderMap,
        publication: &Publication,
        due: Timestamp,
    ) {
        headers.insert(header::NATS_SCHEDULE, format!("@at {due}"));
        let target = self.subject_due(publication);
        headers.insert(header::NATS_SCHEDULE_TARGET, target);
    }

    /// Where a message goes that may start now: to its lane, or to where it
    /// waits for the turn of its key.
    pub(super) fn subject_now(&self, publication: &Publication) -> String {
        let names = &self.layout.names;
        let Publication {
            queue,
            priority,
            task,
            id,
            ..
        } = publication;
        match &publication.key {
            None => names.work(queue, *priority, task, id),
            Some(key) => names.hold(queue, *priority, key, task, id),
        }
    }

    /// Where a message goes when it falls due.
    pub(super) fn subject_due(&self, publication: &Publication) -> String {
        let names = &self.layout.names;
        let Publication {
            queue,
            priority,
            task,
            id,
            ..
        } = publication;
        match &publication.key {
            None => names.due(queue, *priority, task, id),
            Some(key) => names.due_hold(queue, *priority, key, task, id),
        }
    }

    /// Makes the streams that a message goes to.
    pub(super) async fn ensure_for(&self, publication: &Publication) -> Result<()> {
        let queue = &publication.queue;
        if publication.key.is_none() {
            return self.layout.ensure_queue(queue).await;
        }
        if self.layout.ensure_hold(queue).await? {
            // Workers that know of none look seldom for one.
            let wake = self.layout.names.gate_wake(queue);
            let _ = self.client.publish(wake, Bytes::new()).await;
        }
        Ok(())
    }

    /// Takes a lock for a task, or tells whose it is.
    pub(super) async fn acquire(&self, lock: &Lock, id: &TaskId) -> Result<Option<TaskId>> {
        self.layout.ensure_shared().await?;
        let names = &self.layout.names;
        let subject = names.lock(&lock.key);
        let stream = names.state_stream();
        // A lock that is found stale is removed and fought for once more.
        for _ in 0..8 {
            let mut headers = HeaderMap::new();
            headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
            if let Some(window) = lock.window {
                headers.insert(header::NATS_MESSAGE_TTL, ttl(window));
            }
            let body = Bytes::copy_from_slice(id.as_str().as_bytes());
            match self
                .pipe
                .publish(subject.clone(), Some(headers), body)
                .await
            {
                Ok(_) => return Ok(None),
                Err(refusal) if refusal.is_wrong_last_sequence() => {}
                // Stored or not, the next turn finds out.
                Err(Refusal::Unanswered) => {}
                Err(refusal) => return Err(refusal.into_error("taking a uniqueness lock")),
            }
            let Some(held) = self.last(&stream, &subject).await? else {
                continue;
            };
            let holder = TaskId::from(String::from_utf8_lossy(&held.body).as_ref());
            if holder == *id {
                return Ok(None);
            }
            let status = self.find_status(&holder).await?;
            let age = Timestamp::now().since(held.time);
            let stale = match status {
                Status::Unknown => age > ORPHAN_AGE.max(self.patience * 2),
                Status::Done(_) => lock.window.is_none(),
                _ => false,
            };
            if !stale {
                return Ok(Some(holder));
            }
            tracing::info!(%holder, "a uniqueness lock was left behind; taking it over");
            self.delete(&stream, held.sequence).await?;
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("the uniqueness lock of task {id} changes hands too fast; try again"),
        ))
    }

    /// Takes a lock from the task that has it. Of two who try at once one
    /// gets it, and the other takes it from that one.
    async fn take_over(&self, lock: &Lock, holder: &TaskId, id: &TaskId) -> Result<()> {
        let names = &self.layout.names;
        let (stream, subject) = (names.state_stream(), names.lock(&lock.key));
        for _ in 0..8 {
            let held = self.last(&stream, &subject).await?;
            let sequence = held.as_ref().map_or(0, |held| held.sequence);
            if held.is_some_and(|held| held.body == id.as_str().as_bytes()) {
                return Ok(());
            }
            let mut headers = HeaderMap::new();
            let sequence = sequence.to_string();
            headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence);
            if let Some(window) = lock.window {
                headers.insert(header::NATS_MESSAGE_TTL, ttl(window));
            }
            let body = Bytes::copy_from_slice(id.as_str().as_bytes());
            let sent = self
                .pipe
                .publish(subject.clone(), Some(headers), body)
                .await;
            match sent {
                Ok(()) => return Ok(()),
                Err(refusal) if refusal.is_wrong_last_sequence() => {}
                Err(Refusal::Unanswered) => {}
                Err(refusal) => return Err(refusal.into_error("taking over a uniqueness lock")),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("the uniqueness lock of task {holder} changes hands too fast; try again"),
        ))
    }

    /// Gives up a lock, if the task still has it.
    pub(super) async fn release_lock(&self, key: &str, id: &TaskId) -> Result<()> {
        let names = &self.layout.names;
        let stream = names.state_stream();
        match self.last(&stream, &names.lock(key)).await? {
            Some(held) if held.body == id.as_str().as_bytes() => {
                self.delete(&stream, held.sequence).await
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn delete(&self, stream: &str, sequence: u64) -> Result<()> {
        // By sequence, never by subject: a purge loses other messages'
        // redeliveries (docs/architecture.md, "Choices").
        let query = serde_json::json!({ "seq": sequence, "no_erase": true });
        let what = || format!("deleting a message of stream {stream}");
        self.ask(&what, api::message_delete(stream), query.to_string().into())
            .await?
            .map(drop)
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("deleting message {sequence} of stream {stream} failed: {error}"),
                )
                .with_source(error)
            })
    }
}

impl Publication {
    /// What to tell the sender of a message that the broker has: a chosen
    /// id was sent before, any other only by this very call.
    fn known(&self) -> Published {
        if self.named {
            Published::Existing(self.id.clone())
        } else {
            Published::Accepted
        }
    }
}

/// A time to live as the server reads it: whole seconds, at least one.
pub(super) fn ttl(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    format!("{}s", seconds.max(1))
}
