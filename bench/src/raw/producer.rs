//! The raw loop's producer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use async_nats::Subscriber;
use async_nats::jetstream::{self, Context};
use futures::StreamExt;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::wire::{NAME_LENGTH, Outcome, Task, text};
use super::{WINDOW, WORK_SUBJECT, done_subject};
use crate::options::Load;
use crate::side;

/// Who waits for which outcome.
type Waiting = Arc<Mutex<HashMap<Uuid, oneshot::Sender<()>>>>;

/// Publishes tasks, and hears of their outcomes.
#[derive(Debug)]
pub(crate) struct Producer {
    jetstream: Context,
    /// Its name in the subjects of its outcomes.
    name: String,
    /// The argument of every task.
    text: String,
    /// Where outcomes come in. Taken by the first that listens.
    outcomes: Option<Subscriber>,
    waiting: Waiting,
}

impl side::Producer for Producer {
    async fn connect(url: &str, load: Load) -> Result<Self> {
        let client = async_nats::connect(url).await?;
        let name = Uuid::new_v4().simple().to_string()[..NAME_LENGTH].to_owned();
        let outcomes = client.subscribe(done_subject(&name, "*")).await?;
        // The server must know of the subscription before the first task runs.
        client.flush().await?;
        Ok(Self {
            text: text(load.payload)?,
            jetstream: jetstream::new(client),
            name,
            outcomes: Some(outcomes),
            waiting: Waiting::default(),
        })
    }

    async fn enqueue(&mut self, count: u64) -> Result<()> {
        publish(&self.jetstream, &self.name, &self.text, count).await
    }

    async fn enqueue_and_learn(&mut self, count: u64) -> Result<()> {
        let outcomes = self.outcomes.take().context("outcomes are taken")?;
        let learned = tokio::spawn(learn(outcomes, count));
        publish(&self.jetstream, &self.name, &self.text, count).await?;
        learned.await?
    }

    fn call(&mut self) -> impl Future<Output = Result<()>> + Send + 'static {
        if let Some(outcomes) = self.outcomes.take() {
            tokio::spawn(tell(outcomes, Arc::clone(&self.waiting)));
        }
        let task = Task::new(&self.name, &self.text);
        let message = task.encode();
        let (told, outcome) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(task.task_id, told);

        let jetstream = self.jetstream.clone();
        async move {
            jetstream.publish(WORK_SUBJECT, message?).await?.await?;
            outcome.await.context("its outcome is a failure")
        }
    }
}

/// Publishes with as many acknowledgements outstanding as the window allows.
async fn publish(jetstream: &Context, producer: &str, text: &str, count: u64) -> Result<()> {
    // A stream acknowledges in the order of its messages, so the oldest is the
    // one to wait for.
    let mut window = VecDeque::with_capacity(WINDOW);
    for _ in 0..count {
        if window.len() == WINDOW
            && let Some(oldest) = window.pop_front()
        {
            ack(oldest).await?;
        }
        let message = Task::new(producer, text).encode()?;
        window.push_back(jetstream.publish(WORK_SUBJECT, message).await?);
    }
    for publish in window {
        ack(publish).await?;
    }
    Ok(())
}

/// Waits until the server has stored the message.
async fn ack(publish: jetstream::context::PublishAckFuture) -> Result<()> {
    publish.await.context("a task was not stored")?;
    Ok(())
}

/// Reads outcomes until those of `count` tasks have come.
async fn learn(mut outcomes: Subscriber, count: u64) -> Result<()> {
    let mut seen = HashSet::new();
    while (seen.len() as u64) < count {
        let message = outcomes.next().await.context("the connection is closed")?;
        let outcome: Outcome<'_> = serde_json::from_slice(&message.payload)?;
        ensure!(!outcome.is_err, "task {} failed", outcome.task_id);
        seen.insert(outcome.task_id);
    }
    Ok(())
}

/// Tells each outcome to the call that waits for it: a success by a word, a
/// failure by hanging up.
async fn tell(mut outcomes: Subscriber, waiting: Waiting) {
    while let Some(message) = outcomes.next().await {
        let Ok(outcome) = serde_json::from_slice::<Outcome<'_>>(&message.payload) else {
            continue;
        };
        let mut who = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = who.remove(&outcome.task_id)
            && !outcome.is_err
        {
            // A call that is no longer there needs no telling.
            let _ = told.send(());
        }
    }
}
