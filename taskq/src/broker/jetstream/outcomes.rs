//! Waiting for outcomes: pushed, never polled, and told only when stored.
//!
//! A worker publishes an outcome with a reply subject that names the message,
//! and the server's ack of the storing goes there. The waiting client
//! subscribes to both: the outcome itself, and the acks. An outcome counts
//! once its own ack says that it is the stored one, so a second finisher's
//! never does. (A republish by the stream would tell the same for 7 to 14 % of
//! the rate, waited for or not: docs/architecture.md, "Measured".)

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;

use super::JetStream;
use super::pipe::read_ack;
use crate::broker::names::untoken;
use crate::broker::waiters::Expected;
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;

/// How long an outcome may wait for its ack, or an ack for its outcome,
/// before the record itself is asked.
const PAIRING: Duration = Duration::from_secs(2);

impl JetStream {
    /// Subscribes to the outcomes of this client's messages, once.
    async fn listen(&self) -> Result<()> {
        self.listening
            .get_or_try_init(|| async {
                let names = &self.layout.names;
                let outcomes = self.subscribe(names.done_origin(&self.origin)).await?;
                let acks = self.subscribe(names.acks_of_origin(&self.origin)).await?;
                // A request on the same connection proves that the server
                // has seen the subscriptions; a flush would not.
                self.round_trip().await?;
                tokio::spawn(pair(self.me.clone(), outcomes, acks));
                Ok(())
            })
            .await
            .copied()
    }

    async fn subscribe(&self, subject: String) -> Result<Subscriber> {
        self.client.subscribe(subject).await.map_err(|error| {
            Error::new(ErrorKind::Closed, "the connection to NATS is closed").with_source(error)
        })
    }

    /// Waits until the server has handled all that was sent so far.
    async fn round_trip(&self) -> Result<()> {
        self.client
            .request("$JS.API.INFO", "".into())
            .await
            .map(drop)
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("NATS does not answer: {error}"),
                )
                .with_source(error)
            })
    }

    pub(super) async fn expect_outcome(&self, id: &TaskId) -> Result<Expected> {
        if id.origin() != self.origin {
            return Box::pin(self.follow(id)).await;
        }
        if !self.listening.initialized() {
            Box::pin(self.listen()).await?;
        }
        Ok(self.waiters.expect(id, None))
    }

    pub(super) async fn attach_to(&self, id: &TaskId) -> Result<Expected> {
        let expected = self.expect_outcome(id).await?;
        // Listening first and looking then leaves no gap between the two.
        self.recheck(id).await?;
        Ok(expected)
    }

    /// Listens for the outcome of one message of another client.
    async fn follow(&self, id: &TaskId) -> Result<Expected> {
        let names = &self.layout.names;
        let outcomes = self.subscribe(names.done(id)).await?;
        let acks = self.subscribe(names.acks_of_id(id)).await?;
        self.round_trip().await?;
        let task = tokio::spawn(pair(self.me.clone(), outcomes, acks));
        Ok(self.waiters.expect(id, Some(Box::new(AbortOnDrop(task)))))
    }

    /// Looks for an outcome that somebody here waits for.
    async fn recheck(&self, id: &TaskId) -> Result<()> {
        let names = &self.layout.names;
        if let Some(stored) = self.last(&names.done_stream(), &names.done(id)).await? {
            self.waiters.deliver(id, &stored.body);
        }
        Ok(())
    }

    /// Looks for every outcome that somebody here waits for: after a break
    /// in the connection, or when messages were dropped.
    pub(super) async fn recheck_all(&self) {
        let open = self.waiters.open();
        if open.is_empty() {
            return;
        }
        tracing::debug!(
            waiting = open.len(),
            "looking for outcomes that may have been missed"
        );
        futures::stream::iter(open)
            .for_each_concurrent(64, |id| async move {
                let mut pause = Duration::from_millis(100);
                while let Err(error) = self.recheck(&id).await {
                    tracing::debug!("cannot look for the outcome of {id} yet: {error}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            })
            .await;
    }
}

/// Brings outcomes and their acks together. Ends with the subscriptions or
/// with the broker.
async fn pair(broker: std::sync::Weak<JetStream>, outcomes: Subscriber, acks: Subscriber) {
    let (doubts, doubtful) = mpsc::unbounded_channel();
    let asking = AbortOnDrop(tokio::spawn(ask(broker.clone(), doubtful)));
    let mut pairs = Pairs {
        broker,
        outcomes: HashMap::new(),
        acks: HashMap::new(),
        doubts,
    };
    let (mut outcomes, mut acks) = (outcomes, acks);
    let mut tick = tokio::time::interval(PAIRING / 4);
    loop {
        let alive = tokio::select! {
            outcome = outcomes.next() => match outcome {
                Some(outcome) => {
                    let mut alive = pairs.take_outcome(outcome);
                    while let Some(Some(next)) = outcomes.next().now_or_never() {
                        alive = pairs.take_outcome(next);
                    }
                    alive
                }
                None => false,
            },
            ack = acks.next() => match ack {
                Some(ack) => {
                    // An outcome is sent before its ack: take those first.
                    while let Some(Some(next)) = outcomes.next().now_or_never() {
                        pairs.take_outcome(next);
                    }
                    let mut alive = pairs.take_ack(&ack);
                    while let Some(Some(next)) = acks.next().now_or_never() {
                        while let Some(Some(outcome)) = outcomes.next().now_or_never() {
                            pairs.take_outcome(outcome);
                        }
                        alive = pairs.take_ack(&next);
                    }
                    alive
                }
                None => false,
            },
            _ = tick.tick() => pairs.sweep(),
        };
        if !alive {
            break;
        }
    }
    drop(asking);
}

struct Pairs {
    broker: std::sync::Weak<JetStream>,
    /// Outcomes whose ack has not come, by reply subject.
    outcomes: HashMap<String, (Message, Instant)>,
    /// Good acks whose outcome has not come, by reply subject.
    acks: HashMap<String, Instant>,
    doubts: mpsc::UnboundedSender<TaskId>,
}

impl Pairs {
    fn take_outcome(&mut self, outcome: Message) -> bool {
        let Some(broker) = self.broker.upgrade() else {
            return false;
        };
        let Some(reply) = outcome.reply.as_ref().map(async_nats::Subject::as_str) else {
            // Stored by somebody who wants no ack: the record will tell.
            self.doubt(last_token(&outcome.subject));
            return true;
        };
        if self.acks.remove(reply).is_some() {
            deliver(&broker, &outcome);
        } else {
            let reply = reply.to_owned();
            self.outcomes.insert(reply, (outcome, Instant::now()));
        }
        true
    }

    fn take_ack(&mut self, ack: &Message) -> bool {
        let Some(broker) = self.broker.upgrade() else {
            return false;
        };
        let outcome = self.outcomes.remove(ack.subject.as_str());
        match (read_ack(ack), outcome) {
            (Ok(_), Some((outcome, _))) => deliver(&broker, &outcome),
            (Ok(_), None) => {
                self.acks.insert(ack.subject.to_string(), Instant::now());
            }
            // Refused: another one is the recorded one.
            (Err(_), _) => self.doubt(last_token(&ack.subject)),
        }
        true
    }

    /// What has waited too long for its other half is looked up.
    fn sweep(&mut self) -> bool {
        let late = |since: &Instant| since.elapsed() > PAIRING;
        let mut doubtful: Vec<String> = self
            .outcomes
            .extract_if(|_, (_, since)| late(since))
            .map(|(reply, _)| reply)
            .collect();
        doubtful.extend(
            self.acks
                .extract_if(|_, since| late(since))
                .map(|(reply, _)| reply),
        );
        for reply in doubtful {
            self.doubt(last_token(&reply));
        }
        self.broker.strong_count() > 0
    }

    fn doubt(&self, id: Option<TaskId>) {
        if let Some(id) = id {
            // The other end lives as long as this one.
            let _ = self.doubts.send(id);
        }
    }
}

fn deliver(broker: &JetStream, outcome: &Message) {
    if let Some(id) = last_token(&outcome.subject) {
        broker.waiters.deliver(&id, &outcome.payload);
    }
}

/// Looks up what the pairing could not tell.
async fn ask(broker: std::sync::Weak<JetStream>, mut doubtful: mpsc::UnboundedReceiver<TaskId>) {
    while let Some(id) = doubtful.recv().await {
        let Some(broker) = broker.upgrade() else {
            return;
        };
        if let Err(error) = broker.recheck(&id).await {
            tracing::debug!("cannot look for the outcome of {id}: {error}");
        }
    }
}

fn last_token(subject: &str) -> Option<TaskId> {
    untoken(subject.rsplit('.').next()?).map(TaskId::from)
}

/// A task that ends with its owner.
pub(in crate::broker) struct AbortOnDrop(pub(in crate::broker) tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
