//! Waiting for outcomes: pushed, never polled, and told only when stored.
//!
//! A waiting client subscribes to the outcomes themselves, as workers publish
//! them, and to what workers tell when the server has acked them: outcomes
//! that are stored, by the reply subjects they were published with. An
//! outcome counts when both have come, so a second finisher's never does.
//! Workers tell many in one message when there are many. (A republish by the
//! stream would tell the same for 7 % of the rate, and 14 % when somebody
//! listens: docs/architecture.md, "Measured".)

use std::collections::HashMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;

use super::JetStream;
use crate::broker::names::{api, untoken};
use crate::broker::waiters::Expected;
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;

/// How long an outcome may wait to be told of, or what is told for its
/// outcome, before the record itself is asked.
const PAIRING: Duration = Duration::from_secs(2);
/// How often to see whether an outcome is overdue.
const LOOK: Duration = Duration::from_secs(1);
/// How many are looked for at once.
const LOOKS_AT_ONCE: usize = 64;

impl JetStream {
    /// Subscribes to the outcomes of this client's messages, once.
    async fn listen(&self) -> Result<()> {
        self.listening
            .get_or_try_init(|| async {
                let names = &self.layout.names;
                let (done, told) = (names.done_origin(&self.origin), names.stored(&self.origin));
                let outcomes = self.subscribe(done.clone()).await?;
                let stored = self.subscribe(told.clone()).await?;
                // A request on the same connection proves that the server
                // has seen the subscriptions; a flush would not.
                self.round_trip(&[&done, &told]).await?;
                let pairing = tokio::spawn(pair(self.me.clone(), outcomes, stored));
                Ok(AbortOnDrop(pairing))
            })
            .await
            .map(|_| ())
    }

    async fn subscribe(&self, subject: String) -> Result<Subscriber> {
        self.client.subscribe(subject).await.map_err(|error| {
            Error::new(ErrorKind::Closed, "the connection to NATS is closed").with_source(error)
        })
    }

    /// Waits until the server has handled all that was sent so far, and has
    /// not refused these subjects.
    async fn round_trip(&self, subjects: &[&str]) -> Result<()> {
        let mut watched = subjects.to_vec();
        watched.push(api::INFO);
        let asked = self.client.request(api::INFO, "".into());
        match self.denials.or_denied(&watched, asked).await {
            Ok(answered) => answered.map(drop).map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("NATS does not answer: {error}"),
                )
                .with_source(error)
            }),
            // To be refused is an answer too.
            Err(denial) if *denial.subject == *api::INFO => Ok(()),
            Err(denial) => Err(denial.into_error("listening for outcomes")),
        }
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
        let (done, told) = (names.done(id), names.stored(id.origin()));
        let outcomes = self.subscribe(done.clone()).await?;
        let stored = self.subscribe(told.clone()).await?;
        self.round_trip(&[&done, &told]).await?;
        let task = tokio::spawn(pair(self.me.clone(), outcomes, stored));
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
            .for_each_concurrent(LOOKS_AT_ONCE, |id| async move {
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

/// Looks for outcomes that are waited for and that nothing is told of, for as
/// long as the broker lives.
pub(super) async fn look_for_overdue(broker: Weak<JetStream>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(broker) = broker.upgrade() else {
            return;
        };
        let overdue = broker.waiters.overdue(Instant::now());
        futures::stream::iter(overdue)
            .for_each_concurrent(LOOKS_AT_ONCE, |id| {
                let broker = &broker;
                async move {
                    if let Err(error) = broker.recheck(&id).await {
                        tracing::debug!("cannot look for the outcome of {id}: {error}");
                    }
                }
            })
            .await;
    }
}

/// Brings outcomes and what is told of them together. Ends with the
/// subscriptions or with the broker.
async fn pair(broker: Weak<JetStream>, mut outcomes: Subscriber, mut stored: Subscriber) {
    let (doubts, doubtful) = mpsc::unbounded_channel();
    let asking = AbortOnDrop(tokio::spawn(ask(broker.clone(), doubtful)));
    let mut pairs = Pairs {
        broker,
        outcomes: HashMap::new(),
        told: HashMap::new(),
        doubts,
    };
    let mut tick = tokio::time::interval(PAIRING / 4);
    loop {
        let alive = tokio::select! {
            outcome = outcomes.next() => match outcome {
                Some(outcome) => pairs.take_outcome(outcome),
                None => false,
            },
            message = stored.next() => match message {
                Some(message) => {
                    // An outcome is sent before it is told of.
                    while let Some(Some(outcome)) = outcomes.next().now_or_never() {
                        pairs.take_outcome(outcome);
                    }
                    pairs.take_told(&message.payload)
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
    broker: Weak<JetStream>,
    /// Outcomes that nothing is told of yet, by reply subject.
    outcomes: HashMap<String, (Message, Instant)>,
    /// What is told of outcomes that have not come, by reply subject.
    told: HashMap<String, (TaskId, Instant)>,
    doubts: mpsc::UnboundedSender<TaskId>,
}

impl Pairs {
    fn take_outcome(&mut self, outcome: Message) -> bool {
        let Some(broker) = self.broker.upgrade() else {
            return false;
        };
        match outcome.reply.as_ref().map(ToString::to_string) {
            // Nobody will tell of it: the record will.
            None => {
                if let Some(id) = last_token(&outcome.subject) {
                    self.doubt(id);
                }
            }
            Some(reply) => {
                if self.told.remove(&reply).is_some() {
                    deliver(&broker, &outcome);
                } else {
                    self.outcomes.insert(reply, (outcome, Instant::now()));
                }
            }
        }
        true
    }

    /// Takes what a worker tells: a line with what its reply subjects start
    /// with, then a line an outcome, with its number and its id, or `-` and
    /// the id when another one is the stored one.
    fn take_told(&mut self, told: &[u8]) -> bool {
        let Some(broker) = self.broker.upgrade() else {
            return false;
        };
        let Ok(told) = std::str::from_utf8(told) else {
            return true;
        };
        let mut lines = told.lines();
        let replies = lines.next().unwrap_or_default();
        for (number, id) in lines.filter_map(|line| line.split_once(' ')) {
            if number == "-" {
                self.doubt(id.into());
                continue;
            }
            let reply = format!("{replies}.{number}");
            if let Some((outcome, _)) = self.outcomes.remove(&reply) {
                deliver(&broker, &outcome);
                continue;
            }
            let id = TaskId::from(id);
            if broker.waiters.wants(&id) {
                self.told.insert(reply, (id, Instant::now()));
            }
        }
        true
    }

    /// What has waited too long for its other half is looked up.
    fn sweep(&mut self) -> bool {
        let late = |since: &Instant| since.elapsed() > PAIRING;
        let outcomes = self.outcomes.extract_if(|_, (_, since)| late(since));
        let outcomes = outcomes.filter_map(|(_, (outcome, _))| last_token(&outcome.subject));
        let told = self.told.extract_if(|_, (_, since)| late(since));
        let doubtful: Vec<TaskId> = outcomes.chain(told.map(|(_, (id, _))| id)).collect();
        for id in doubtful {
            self.doubt(id);
        }
        self.broker.strong_count() > 0
    }

    fn doubt(&self, id: TaskId) {
        // The other end lives as long as this one.
        let _ = self.doubts.send(id);
    }
}

fn deliver(broker: &JetStream, outcome: &Message) {
    if let Some(id) = last_token(&outcome.subject) {
        broker.waiters.deliver(&id, &outcome.payload);
    }
}

/// Looks up what the pairing could not tell.
async fn ask(broker: Weak<JetStream>, mut doubtful: mpsc::UnboundedReceiver<TaskId>) {
    while let Some(id) = doubtful.recv().await {
        let Some(broker) = broker.upgrade() else {
            return;
        };
        if broker.waiters.wants(&id)
            && let Err(error) = broker.recheck(&id).await
        {
            tracing::debug!("cannot look for the outcome of {id}: {error}");
        }
    }
}

fn last_token(subject: &str) -> Option<TaskId> {
    untoken(subject.rsplit('.').next()?).map(TaskId::from)
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(in crate::broker) struct AbortOnDrop(pub(in crate::broker) tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
