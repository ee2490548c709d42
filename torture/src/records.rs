//! What the server has recorded, by readers of their own: they do not ask the
//! code that is under test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use futures::StreamExt as _;
use taskq::{DeadLetter, DeadReason, Outcome};

use crate::ledger::{as_i64, digest};
use crate::notes::NUMBER;

/// How long the server may take to give the next record.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait after the server was not to be reached.
const PAUSE: Duration = Duration::from_millis(100);

const OUTCOMES: &str = "TASKQ_DONE";
const LETTERS: &str = "TASKQ_DEAD";

type Error = async_nats::Error;

/// The digest of each outcome that was read, by its place in the stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<u64>>>);

impl Seen {
    /// The sequence of the last one.
    fn last(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn push(&self, sequence: u64, digest: u64) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What is missing in between was removed before it was read.
        seen.resize(usize::try_from(sequence).unwrap_or(usize::MAX) - 1, 0);
        seen.push(digest);
    }

    fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection to NATS that owes nothing to the library under test.
pub(crate) async fn connect(url: &str) -> Result<async_nats::Client, Error> {
    let servers = url.split(',').map(str::parse);
    let servers = servers.collect::<Result<Vec<async_nats::ServerAddr>, _>>()?;
    Ok(async_nats::connect(servers).await?)
}

/// Tells each outcome when it is stored: the number of its task, and when
/// that was, in microseconds since 1970. Goes on until it is aborted.
pub(crate) async fn follow(
    url: String,
    seen: Seen,
    mut tell: impl FnMut(Option<u32>, &Outcome, u64) + Send,
) {
    loop {
        // Ended by a server that went away, or by silence: begun anew behind
        // what was read.
        let _: Result<(), Error> = follow_on(&url, &seen, &mut tell).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow_on(
    url: &str,
    seen: &Seen,
    tell: &mut impl FnMut(Option<u32>, &Outcome, u64),
) -> Result<(), Error> {
    let js = jetstream::new(connect(url).await?);
    let stream = js.get_stream(OUTCOMES).await?;
    let mut messages = messages(&stream, seen.last() + 1).await?;
    while let Some(message) = tokio::time::timeout(PATIENCE, messages.next()).await? {
        let message = message?;
        let info = message.info()?;
        let (sequence, at) = (
            info.stream_sequence,
            info.published.unix_timestamp_nanos() / 1000,
        );
        if sequence <= seen.last() {
            continue;
        }
        let outcome = Outcome::decode(&message.payload)?;
        seen.push(sequence, digest_of(&message));
        let n = outcome.labels.get(NUMBER).and_then(as_i64);
        let n = n.and_then(|n| u32::try_from(n).ok());
        tell(n, &outcome, u64::try_from(at)?);
    }
    Ok(())
}

async fn messages(
    stream: &jetstream::stream::Stream,
    from: u64,
) -> Result<consumer::pull::Ordered, Error> {
    let config = consumer::pull::OrderedConfig {
        deliver_policy: consumer::DeliverPolicy::ByStartSequence {
            start_sequence: from,
        },
        ..Default::default()
    };
    Ok(stream.create_consumer(config).await?.messages().await?)
}

fn digest_of(message: &jetstream::Message) -> u64 {
    digest(&[message.subject.as_bytes(), &message.payload].concat())
}

/// Reads a whole stream.
async fn read_all(
    url: &str,
    name: &str,
    mut each: impl FnMut(u64, &jetstream::Message) -> Result<(), Error>,
) -> Result<(), Error> {
    let js = jetstream::new(connect(url).await?);
    let mut stream = js.get_stream(name).await?;
    let state = stream.info().await?.state.clone();
    if state.messages == 0 {
        return Ok(());
    }
    let mut messages = messages(&stream, 1).await?;
    while let Some(message) = tokio::time::timeout(PATIENCE * 3, messages.next()).await? {
        let message = message?;
        let info = message.info()?;
        let sequence = info.stream_sequence;
        each(sequence, &message)?;
        if sequence >= state.last_sequence {
            break;
        }
    }
    Ok(())
}

/// How the outcomes differ from what was read of them before.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The outcomes that are there.
    pub(crate) records: usize,
    /// Subjects of outcomes that are not what they were.
    pub(crate) changed: Vec<String>,
    /// How many are gone.
    pub(crate) gone: usize,
}

/// Compares all outcomes with what was read of them before.
pub(crate) async fn compare(url: &str, seen: &Seen) -> Result<Changes, Error> {
    let mut all = Vec::new();
    read_all(url, OUTCOMES, |sequence, message| {
        all.push((sequence, digest_of(message), message.subject.to_string()));
        Ok(())
    })
    .await?;
    Ok(changes(seen.take(), all))
}

/// What has changed: `seen` are digests by their sequence, from 1; `all` is
/// what is there now.
fn changes(mut seen: Vec<u64>, all: Vec<(u64, u64, String)>) -> Changes {
    let mut changes = Changes {
        records: all.len(),
        ..Changes::default()
    };
    for (sequence, digest, subject) in all {
        let place = usize::try_from(sequence).unwrap_or(0).wrapping_sub(1);
        // 0 for what is there: what remains is gone.
        if seen.get_mut(place).map(std::mem::take) != Some(digest) {
            changes.changed.push(subject);
        }
    }
    changes.gone = seen.iter().filter(|digest| **digest != 0).count();
    changes
}

/// The reasons of the dead letters, by the number of the task.
pub(crate) async fn letters(url: &str) -> Result<HashMap<u32, DeadReason>, Error> {
    let mut letters = HashMap::new();
    read_all(url, LETTERS, |_, message| {
        let letter: DeadLetter = serde_json::from_slice(&message.payload)?;
        let labels = letter.labels();
        let n = labels
            .as_ref()
            .and_then(|labels| labels.get(NUMBER)?.as_i64());
        letters.insert(n.map_or(Ok(u32::MAX), u32::try_from)?, letter.reason);
        Ok(())
    })
    .await?;
    Ok(letters)
}

/// How much is in a queue: waiting, in the hands of workers, put off.
pub(crate) fn is_empty(queues: &[taskq::QueueDepth]) -> bool {
    queues
        .iter()
        .all(|queue| (queue.pending, queue.running, queue.scheduled) == (0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64, digest: u64) -> (u64, u64, String) {
        (sequence, digest, format!("s{sequence}"))
    }

    #[test]
    fn an_outcome_that_changed_one_that_is_new_and_one_that_is_gone_are_found() {
        let same = changes(vec![7, 8], vec![record(1, 7), record(2, 8)]);
        assert_eq!((same.records, same.changed.len(), same.gone), (2, 0, 0));
        let other = changes(
            vec![7, 8, 9],
            vec![record(1, 7), record(2, 6), record(4, 5)],
        );
        assert_eq!(
            (other.changed, other.gone),
            (vec!["s2".to_owned(), "s4".to_owned()], 1)
        );
    }
}
