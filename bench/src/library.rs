//! taskq, as its user writes it.
//!
//! The task is the catalogue's, so that a `taskq` command with this in it
//! has no task more than one without.

use std::future::{Future, ready};

use anyhow::Result;
use futures::TryStreamExt;
use taskq::{Call, Client, TaskHandle};
use tasks::to_uppercase;

use crate::options::Load;
use crate::raw::text;
use crate::side;

/// Makes the streams and the consumers, as the first worker does.
pub(crate) async fn set_up(url: &str) -> Result<()> {
    let client = Client::connect(url).await?;
    worker(client, 1)?.run_until(ready(())).await?;
    Ok(())
}

fn worker(client: Client, concurrency: usize) -> taskq::Result<taskq::Worker> {
    taskq::Worker::builder(client)
        .concurrency(concurrency)
        .discover(false)
        .task::<to_uppercase>()
        .build()
}

/// Enqueues calls, and awaits their results.
#[derive(Debug)]
pub(crate) struct Producer {
    client: Client,
    /// The argument of every task.
    text: String,
}

impl Producer {
    fn calls(&self, count: u64) -> impl Iterator<Item = Call<to_uppercase>> + Send + '_ {
        (0..count).map(|_| to_uppercase::call(self.text.as_str()))
    }
}

impl side::Producer for Producer {
    async fn connect(url: &str, load: Load) -> Result<Self> {
        Ok(Self {
            client: Client::connect(url).await?,
            text: text(load.payload)?,
        })
    }

    async fn enqueue(&mut self, count: u64) -> Result<()> {
        let handles = self.client.enqueue_many(self.calls(count));
        Ok(handles.try_for_each(|_| ready(Ok(()))).await?)
    }

    async fn enqueue_and_learn(&mut self, count: u64) -> Result<()> {
        let handles: Vec<TaskHandle<String>> = self
            .client
            .enqueue_many(self.calls(count))
            .try_collect()
            .await?;
        for handle in handles {
            handle.result().await?;
        }
        Ok(())
    }

    fn call(&mut self) -> impl Future<Output = Result<()>> + Send + 'static {
        let client = self.client.clone();
        let call = to_uppercase::call(self.text.as_str());
        async move {
            call.enqueue(&client).await?.result().await?;
            Ok(())
        }
    }
}

/// Runs tasks.
#[derive(Debug)]
pub(crate) struct Worker(taskq::Worker);

impl side::Worker for Worker {
    async fn connect(url: &str, load: Load) -> Result<Self> {
        let client = Client::builder().url(url).results(false).connect().await?;
        Ok(Self(worker(client, load.concurrency)?))
    }

    async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<u64> {
        let stats = self.0.stats();
        self.0.run_until(stop).await?;
        Ok(stats.succeeded())
    }
}
