//! The raw loop's worker.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{self, Context, Message};
use async_nats::{Client, jetstream::consumer::pull};
use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{Semaphore, mpsc};

use super::wire::{Outcome, Task, now};
use super::{BATCH, CONSUMER, WINDOW, WORK_STREAM, done_subject};
use crate::options::Load;
use crate::side;

/// How many ended tasks the finisher takes up at a time.
const ENDED_AT_ONCE: usize = 256;

/// Pulls tasks, runs them and stores their outcomes.
pub(crate) struct Worker {
    client: Client,
    jetstream: Context,
    messages: pull::Stream,
    concurrency: usize,
}

/// A task that has run: where its outcome goes, and what acknowledges it.
struct Ended {
    subject: String,
    outcome: Bytes,
    acker: Acker,
}

impl side::Worker for Worker {
    async fn connect(url: &str, load: Load) -> Result<Self> {
        let client = async_nats::connect(url).await?;
        let jetstream = jetstream::new(client.clone());
        let consumer: PullConsumer = jetstream
            .get_consumer_from_stream(CONSUMER, WORK_STREAM)
            .await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .messages()
            .await?;
        client.flush().await?;
        Ok(Self {
            client,
            jetstream,
            messages,
            concurrency: load.concurrency,
        })
    }

    async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<u64> {
        let slots = Arc::new(Semaphore::new(self.concurrency));
        let (ended, end) = mpsc::channel(WINDOW);
        let mut finisher = tokio::spawn(finish(self.jetstream, end));
        tokio::pin!(stop);
        loop {
            let message = tokio::select! {
                message = self.messages.next() => message.context("the consumer is gone")??,
                () = &mut stop => break,
                // It ends by itself only with an error.
                failed = &mut finisher => return failed?,
            };
            let slot = Arc::clone(&slots).acquire_owned().await?;
            let ended = ended.clone();
            tokio::spawn(async move {
                let result = execute(message).await;
                // It is closed only when the finisher has failed, which is told.
                let _ = ended.send(result).await;
                drop(slot);
            });
        }
        drop(ended);
        let tasks = finisher.await??;
        self.client.flush().await?;
        Ok(tasks)
    }
}

/// Runs a task.
async fn execute(message: Message) -> Result<Ended> {
    let (message, acker) = message.split();
    let task: Task<'_> = serde_json::from_slice(&message.payload)?;
    let started_at = now();
    let result = to_uppercase(task.text).await;
    let outcome = Outcome {
        task_id: task.task_id,
        is_err: false,
        return_value: &result,
        started_at,
        finished_at: now(),
    };
    Ok(Ended {
        subject: done_subject(task.producer, &task.task_id.to_string()),
        outcome: serde_json::to_vec(&outcome)?.into(),
        acker,
    })
}

/// What every task does.
async fn to_uppercase(text: &str) -> String {
    text.to_uppercase()
}

/// Stores outcomes, and acknowledges each task when its outcome is stored.
/// One place for all of them: with each task waiting for its own, the worker
/// used a fifth more CPU. The number of tasks settled.
async fn finish(jetstream: Context, mut ended: mpsc::Receiver<Result<Ended>>) -> Result<u64> {
    let mut arrived = Vec::with_capacity(ENDED_AT_ONCE);
    let mut storing = FuturesUnordered::new();
    let mut tasks = 0;
    loop {
        tokio::select! {
            count = ended.recv_many(&mut arrived, ENDED_AT_ONCE), if storing.len() < WINDOW => {
                if count == 0 {
                    break;
                }
                tasks += count as u64;
                for task in arrived.drain(..) {
                    let Ended { subject, outcome, acker } = task?;
                    let stored = jetstream.publish(subject, outcome).await?;
                    storing.push(async move {
                        stored.await.context("an outcome was not stored")?;
                        acker.ack().await.map_err(anyhow::Error::from_boxed)
                    });
                }
            }
            Some(settled) = storing.next() => settled?,
        }
    }
    while storing.try_next().await?.is_some() {}
    Ok(tasks)
}
