//! The transport that keeps nothing: core NATS, at most once.
//!
//! A worker takes a message by answering it; with no worker there the server
//! says so at once. An outcome goes to the sender and is not stored.

mod govern;
mod notes;
mod operate;
mod plans;
mod settings;
mod standing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::{SelectAll, StreamExt as _};
use taskq_syntax::Priority;
use tokio::sync::{OnceCell, broadcast};
use tokio_util::task::TaskTracker;

use super::connect::{Connection, Happening};
use super::jetstream::AbortOnDrop;
use super::jetstream::events::Teller;
use super::jetstream::pipe::{Pipe, Refusal};
use super::names::{WORKERS, untoken};
use super::waiters::Waiters;
use super::{
    Broker, Consumer, Deliveries, Delivery, Denials, Expected, History, Leases, Mode, Namespace,
    Operate, Publication, Published, Pulse, QueueDepth, Receipt, Room, Settlement, Settler, Status,
    Subscription,
};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, Journal, Outcome, TaskId};
use crate::time::Timestamp;

/// What a worker says when it has taken a message.
const TAKEN: &str = r#"{"stream":"core","seq":0}"#;

/// The header of a message that is not the first of its attempts.
const ORIGIN_TIME: &str = "Taskq-Sent-At";

pub(crate) struct Core {
    client: Client,
    denials: Denials,
    names: Namespace,
    pipe: Pipe,
    origin: String,
    waiters: Arc<Waiters>,
    listening: OnceCell<AbortOnDrop>,
    teller: Teller,
    /// Acts upon what happens to the connection.
    _following: AbortOnDrop,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("namespace", &self.names.as_str())
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) async fn open(
        connection: Connection,
        names: Namespace,
        origin: String,
    ) -> Result<Arc<Self>> {
        let Connection {
            client,
            happenings,
            denials,
        } = connection;
        let pipe = Pipe::open(client.clone(), client.new_inbox()).await?;
        let following = AbortOnDrop(tokio::spawn(follow(pipe.clone(), happenings)));
        Ok(Arc::new(Self {
            teller: Teller::new(client.clone()),
            client,
            denials,
            names,
            pipe,
            origin,
            waiters: Arc::default(),
            listening: OnceCell::new(),
            _following: following,
        }))
    }

    async fn listen(&self) -> Result<()> {
        self.listening
            .get_or_try_init(|| async {
                let outcomes = self
                    .client
                    .subscribe(self.names.core_done_origin(&self.origin))
                    .await
                    .map_err(|error| closed().with_source(error))?;
                let delivering = tokio::spawn(deliver(Arc::clone(&self.waiters), outcomes));
                Ok(AbortOnDrop(delivering))
            })
            .await
            .map(|_| ())
    }

    async fn send(&self, publication: Publication) -> Result<Published> {
        let what = format!("sending task {} ({})", publication.id, publication.task);
        if publication.due.is_some_and(|due| Timestamp::now() < due) {
            return Err(unsupported(&what, "a delay"));
        }
        if publication.lock.is_some() {
            return Err(unsupported(&what, "uniqueness"));
        }
        if publication.key.is_some() {
            return Err(unsupported(&what, "limits and turns by key"));
        }
        let subject = self.names.core_work(
            &publication.queue,
            publication.priority,
            &publication.task,
            &publication.id,
        );
        match self.pipe.publish(subject, None, publication.body).await {
            Ok(_) => Ok(Published::Accepted),
            Err(Refusal::NobodyThere) => Err(Error::new(
                ErrorKind::NoWorker,
                format!(
                    "{what} failed: no worker listens on queue `{}`, and core mode keeps nothing; \
                     start one, or use jetstream mode",
                    publication.queue
                ),
            )),
            Err(refusal) => Err(refusal.into_error(&what)),
        }
    }
}

fn unsupported(what: &str, feature: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "{what} failed: core mode keeps nothing, so it has no {feature}; use jetstream mode"
        ),
    )
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection to NATS is closed")
}

async fn follow(pipe: Pipe, mut happenings: broadcast::Receiver<Happening>) {
    loop {
        match happenings.recv().await {
            Ok(Happening::Denied(denial)) => {
                if pipe.deny(&denial) == 0 {
                    tracing::warn!("{}", denial.into_error("something on the connection"));
                }
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn deliver(waiters: Arc<Waiters>, mut outcomes: Subscriber) {
    while let Some(outcome) = outcomes.next().await {
        let id = outcome.subject.rsplit('.').next().and_then(untoken);
        if let Some(id) = id {
            waiters.deliver(&id.into(), &outcome.payload);
        }
    }
}

impl Broker for Arc<Core> {
    fn mode(&self) -> Mode {
        Mode::Core
    }

    fn max_message(&self) -> usize {
        self.client.max_payload()
    }

    fn expect<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Expected>> {
        Box::pin(async move {
            self.listen().await?;
            if id.origin() == self.origin {
                return Ok(self.waiters.share(id, None));
            }
            let outcomes = self
                .client
                .subscribe(self.names.core_done(id))
                .await
                .map_err(|error| closed().with_source(error))?;
            let task = tokio::spawn(deliver(Arc::clone(&self.waiters), outcomes));
            let keep = AbortOnDrop(task);
            Ok(self.waiters.share(id, Some(Box::new(keep))))
        })
    }

    fn attach<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Expected>> {
        self.expect(id)
    }

    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Published>> {
        Box::pin(self.send(publication))
    }

    fn publish_all<'a>(&'a self, _: &'a [Publication]) -> BoxFuture<'a, Result<bool>> {
        ready(Err(unsupported("sending tasks at once", "all or none"))).boxed()
    }

    fn outcome<'a>(&'a self, _: &'a TaskId) -> BoxFuture<'a, Result<Option<Outcome>>> {
        ready(Ok(None)).boxed()
    }

    fn status<'a>(&'a self, _: &'a TaskId) -> BoxFuture<'a, Result<Status>> {
        ready(Ok(Status::Unknown)).boxed()
    }

    fn consume(&self, subscription: Subscription) -> BoxFuture<'_, Result<Consumer>> {
        Box::pin(async move {
            let mut messages = SelectAll::new();
            for queue in &subscription.queues {
                let subject = self.names.core_work_all(queue);
                let subscriber = self
                    .client
                    .queue_subscribe(subject, WORKERS.to_owned())
                    .await
                    .map_err(|error| closed().with_source(error))?;
                let queue: Arc<str> = queue.as_str().into();
                messages.push(
                    subscriber
                        .map(move |message| (Arc::clone(&queue), message))
                        .boxed(),
                );
            }
            // The worker is ready when the server knows of it.
            let probe = self.client.new_inbox();
            let mut echo = self
                .client
                .subscribe(probe.clone())
                .await
                .map_err(|error| closed().with_source(error))?;
            let sent = self.client.publish(probe.clone(), "".into()).await;
            sent.map_err(|error| closed().with_source(error))?;
            let subjects: Vec<String> = subscription
                .queues
                .iter()
                .map(|queue| self.names.core_work_all(queue))
                .collect();
            let mut subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
            subjects.push(&probe);
            match self.denials.or_denied(&subjects, echo.next()).await {
                Ok(_) => {}
                // Refused or come back: it has been there.
                Err(denial) if *denial.subject == *probe => {}
                Err(denial) => return Err(denial.into_error("taking messages")),
            }
            let leases = Arc::new(Leases::endless(subscription.lease));
            let notices = self.listen_to_wishes().await?;
            let pulse = Arc::new(Pulse::new(Instant::now()));
            Ok(Consumer {
                deliveries: Box::new(Intake {
                    client: self.client.clone(),
                    messages: Some(messages),
                    unanswered: None,
                    taken: Vec::new(),
                    leases: Arc::clone(&leases),
                }),
                settler: Arc::new(End {
                    core: Arc::clone(self),
                    leases: Arc::clone(&leases),
                    sending: TaskTracker::new(),
                }),
                leases,
                keeper: None,
                notices,
                pulse,
                rules: Arc::default(),
            })
        })
    }

    fn history<'a>(&'a self, _: &'a TaskId) -> BoxFuture<'a, Result<History>> {
        ready(Ok(History::default())).boxed()
    }

    fn write_journal<'a>(&'a self, _: &'a TaskId, _: &Journal) -> BoxFuture<'a, Result<()>> {
        ready(Ok(())).boxed()
    }

    fn put_payload<'a>(&'a self, name: &'a str, payload: Bytes) -> BoxFuture<'a, Result<()>> {
        let error = Error::new(
            ErrorKind::TooLarge,
            format!(
                "payload {name} is {} bytes long and the broker takes {}; core mode keeps nothing, so \
                 send a reference to the data instead, or use jetstream mode",
                payload.len(),
                self.client.max_payload()
            ),
        );
        ready(Err(error)).boxed()
    }

    fn payload<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>> {
        ready(Ok(None)).boxed()
    }

    fn remove_payload<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        ready(Ok(())).boxed()
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueDepth>>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn nats(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn denials(&self) -> Option<&Denials> {
        Some(&self.denials)
    }
}

type Messages = SelectAll<futures::stream::BoxStream<'static, (Arc<str>, async_nats::Message)>>;

struct Intake {
    client: Client,
    messages: Option<Messages>,
    /// What whoever asks for more may stop waiting in the middle of: the
    /// message that came last, before its sender is answered, and those whose
    /// senders are.
    unanswered: Option<(Arc<str>, async_nats::Message)>,
    taken: Vec<Delivery>,
    leases: Arc<Leases>,
}

impl Intake {
    /// Tells the sender of the message that came last that it is taken.
    async fn answer(&mut self) {
        if let Some((_, message)) = &self.unanswered
            && let Some(reply) = &message.reply
        {
            // A sender that is gone does not need to know.
            let _ = self.client.publish(reply.clone(), TAKEN.into()).await;
        }
        let Some((queue, message)) = self.unanswered.take() else {
            return;
        };
        let sent_at = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(ORIGIN_TIME)?.as_str().parse().ok());
        self.taken.push(Delivery {
            permit: None,
            unwanted: false,
            priority: priority_of(&message.subject),
            body: message.payload,
            queue,
            stored_at: sent_at.unwrap_or_else(Timestamp::now),
            doubtful: false,
            receipt: Receipt {
                lease: self.leases.hold("".into(), Instant::now()),
                deliveries: 1,
                address: "".into(),
                turn: None,
            },
        });
    }
}

impl Deliveries for Intake {
    /// There is no flow to govern: a message that came is taken.
    fn next(&mut self, _: Room) -> BoxFuture<'_, Option<Vec<Delivery>>> {
        Box::pin(async move {
            if self.unanswered.is_none() && self.taken.is_empty() {
                self.unanswered = self.messages.as_mut()?.next().await;
            }
            while self.unanswered.is_some() {
                self.answer().await;
                let messages = self.messages.as_mut()?;
                self.unanswered = messages.next().now_or_never().flatten();
            }
            (!self.taken.is_empty()).then(|| std::mem::take(&mut self.taken))
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        self.messages = None;
        ready(std::mem::take(&mut self.taken)).boxed()
    }
}

fn priority_of(subject: &str) -> Priority {
    subject
        .split('.')
        .nth(4)
        .and_then(|word| word.parse().ok())
        .unwrap_or_default()
}

struct End {
    core: Arc<Core>,
    leases: Arc<Leases>,
    /// Outcomes on their way.
    sending: TaskTracker,
}

impl End {
    /// Sends once more, after a while; this process remembers it until then.
    fn resend(&self, publication: Publication, delay: Duration) {
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let subject = core.names.core_work(
                &publication.queue,
                publication.priority,
                &publication.task,
                &publication.id,
            );
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN_TIME, Timestamp::now().to_string());
            let id = publication.id;
            if let Err(refusal) = core
                .pipe
                .publish(subject, Some(headers), publication.body)
                .await
            {
                let error = refusal.into_error("sending a retry");
                tracing::warn!(task_id = %id, "{error}; the task is lost, as core mode may lose it");
            }
        });
    }
}

impl Settler for End {
    fn settle(&self, receipt: Receipt, settlement: Settlement) {
        self.leases.release(receipt.lease);
        let record = match settlement {
            Settlement::Finish(record) => record,
            Settlement::Bury { letter, record, .. } => {
                tracing::warn!(
                    task_id = %letter.id,
                    "a message that cannot run is dropped: core mode keeps no dead letters"
                );
                let Some(record) = record else { return };
                record
            }
            Settlement::Retry(publication) => {
                let due = publication.due.unwrap_or_else(Timestamp::now);
                self.resend(publication, due.since(Timestamp::now()));
                return;
            }
            Settlement::Release { journal, .. } => {
                if let Some((id, _)) = journal {
                    tracing::warn!(task_id = %id, "a task that cannot run here is dropped: core mode keeps nothing");
                }
                return;
            }
            Settlement::Discard | Settlement::Forget => return,
        };
        let core = Arc::clone(&self.core);
        self.sending.spawn(async move {
            if let Ok(outcome) = Outcome::decode(&record.body) {
                for event in Event::of_outcome(&outcome) {
                    core.tell(event);
                }
            }
            let subject = core.names.core_done(&record.id);
            // Nobody waiting is fine.
            let _ = core.client.publish(subject, record.body.into()).await;
        });
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.sending.close();
            self.sending.wait().await;
            let _ = self.core.client.flush().await;
        })
    }

    fn unconfirmed(&self) -> usize {
        0
    }

    fn confirmed(&self) -> u64 {
        0
    }

    fn refused(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use taskq_nats_server::NatsServer;

    use super::*;

    /// Whoever asks for more may have something else to do at any moment.
    #[tokio::test]
    async fn what_came_is_given_by_who_asks_again() {
        let server = NatsServer::builder().jetstream(false).start().unwrap();
        // Every answer but the first has to wait for the connection.
        let client = async_nats::ConnectOptions::new()
            .client_capacity(1)
            .connect(server.url())
            .await
            .unwrap();
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await.unwrap();
        let names: Vec<String> = (0..5).map(|n| format!("{inbox}.{n}")).collect();
        let came = names.clone().into_iter().map(|reply| async_nats::Message {
            subject: "tq.x.work.default.normal.echo".into(),
            reply: Some(reply.into()),
            payload: Bytes::new(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        });
        let came: Vec<_> = came.map(|message| ("default".into(), message)).collect();
        let mut messages = SelectAll::new();
        messages.push(
            futures::stream::iter(came)
                .chain(futures::stream::pending())
                .boxed(),
        );
        let mut intake = Intake {
            client,
            messages: Some(messages),
            unanswered: None,
            taken: Vec::new(),
            leases: Arc::new(Leases::endless(Duration::from_secs(1))),
        };
        let room = || Room {
            free: 1,
            full: Vec::new(),
        };
        let mut given = 0;
        let mut dropped = 0;
        while given < 5 {
            match intake.next(room()).now_or_never() {
                Some(deliveries) => given += deliveries.unwrap().len(),
                None => dropped += 1,
            }
            tokio::task::yield_now().await;
        }
        assert!(dropped > 0, "it had to wait");
        let told: Vec<String> = answers
            .take(5)
            .map(|answer| answer.subject.to_string())
            .collect()
            .await;
        assert_eq!(told, names, "each sender is answered, once");
    }
}
