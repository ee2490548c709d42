//! The loop that one would write with async-nats: the measure.

mod producer;
mod wire;
mod worker;

use anyhow::Result;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, stream};

pub(crate) use producer::Producer;
pub(crate) use wire::text;
pub(crate) use worker::Worker;

/// The stream of tasks, its one subject, and the consumer that workers share.
const WORK_STREAM: &str = "RAW_WORK";
const WORK_SUBJECT: &str = "raw.work";
const CONSUMER: &str = "workers";
/// The stream of outcomes, a subject each: below this, the producer's name and
/// the task's id.
const DONE_STREAM: &str = "RAW_DONE";
const DONE_SUBJECT: &str = "raw.done";

/// Publishes that wait for the server's acknowledgement at a time.
const WINDOW: usize = 1024;
/// Messages that a worker asks for at a time. async-nats asks again when half
/// of them have come, so at least 1000 are always asked for; with 200 the loop
/// was a seventh slower.
const BATCH: usize = 2000;
/// Well above what one worker asks for, so that it never holds it back.
const MAX_ACK_PENDING: i64 = 20_000;

/// The subject on which `producer` hears of outcomes.
fn done_subject(producer: &str, task: &str) -> String {
    format!("{DONE_SUBJECT}.{producer}.{task}")
}

/// Makes the streams and the consumer.
pub(crate) async fn set_up(url: &str) -> Result<()> {
    let jetstream = jetstream::new(async_nats::connect(url).await?);
    let work = jetstream
        .create_stream(stream::Config {
            name: WORK_STREAM.into(),
            subjects: vec![WORK_SUBJECT.into()],
            retention: stream::RetentionPolicy::WorkQueue,
            ..Default::default()
        })
        .await?;
    work.create_consumer(pull::Config {
        durable_name: Some(CONSUMER.into()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: MAX_ACK_PENDING,
        ..Default::default()
    })
    .await?;
    jetstream
        .create_stream(stream::Config {
            name: DONE_STREAM.into(),
            subjects: vec![format!("{DONE_SUBJECT}.>")],
            ..Default::default()
        })
        .await?;
    Ok(())
}
