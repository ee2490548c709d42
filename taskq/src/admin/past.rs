//! What is stored, read in the order in which it was: for an index, a feed,
//! an export.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{BoxStream, Stream, StreamExt as _};
use serde::Serialize;
use serde_json::Value;

use crate::broker::{Extent, Peek, Recorded, Source};
use crate::client::Client;
use crate::error::Result;
use crate::message::{
    AuditEntry, DeadLetter, Event, Hidden, Label, Outcome, TaskId, TaskMessage, labels,
};
use crate::time::Timestamp;

/// Something that is stored, with its place.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place in its source; greater than that of all before it.
    pub sequence: u64,
    /// What it is.
    pub body: RecordBody,
    /// How many more there were behind it when it was read.
    pub left: u64,
}

/// What is stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RecordBody {
    /// How a task ended.
    Outcome(Box<Outcome>),
    /// What was told.
    Event(Box<Event>),
    /// What will not be tried again.
    DeadLetter(Box<DeadLetter>),
    /// What an operator did.
    Action(Box<AuditEntry>),
    /// What this version cannot read, and why.
    Unreadable(String),
}

impl Record {
    pub(super) fn of(source: Source, recorded: &Recorded) -> Self {
        let body = match source {
            Source::Outcomes => Outcome::decode(&recorded.body)
                .map(|mut outcome| {
                    outcome.hide();
                    RecordBody::Outcome(Box::new(outcome))
                })
                .unwrap_or_else(|error| RecordBody::Unreadable(error.to_string())),
            Source::Events => match Event::decode(&recorded.body) {
                Some(event) => RecordBody::Event(Box::new(event)),
                None => RecordBody::Unreadable("an event cannot be read".to_owned()),
            },
            Source::DeadLetters => DeadLetter::decode(&recorded.body)
                .map(|mut letter| {
                    letter.hide();
                    let sequence = recorded.sequence;
                    RecordBody::DeadLetter(Box::new(DeadLetter { sequence, ..letter }))
                })
                .unwrap_or_else(|error| RecordBody::Unreadable(error.to_string())),
            Source::Audit => AuditEntry::decode(recorded.sequence, &recorded.body)
                .map(|entry| RecordBody::Action(Box::new(entry)))
                .unwrap_or_else(|error| RecordBody::Unreadable(error.to_string())),
        };
        Self {
            sequence: recorded.sequence,
            body,
            left: recorded.left,
        }
    }

    /// What it tells: an event is itself, an outcome tells how its task ended,
    /// and of a short task that it began. A dead letter and an
    /// entry of the audit log tell nothing that was not told.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        match &self.body {
            RecordBody::Outcome(outcome) => Event::of_outcome(outcome),
            RecordBody::Event(event) => vec![Event::clone(event)],
            RecordBody::DeadLetter(_) | RecordBody::Action(_) | RecordBody::Unreadable(_) => {
                Vec::new()
            }
        }
    }
}

/// The records of a source, in their order; it does not end.
#[must_use = "records are read from it as from any stream"]
pub struct Records {
    stored: u64,
    stream: BoxStream<'static, Result<Record>>,
}

impl Records {
    /// How many were stored when the reading began.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }
}

impl Stream for Records {
    type Item = Result<Record>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

/// From where to where a source reaches now.
///
/// # Errors
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when NATS does
/// not answer, [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) in
/// the modes without streams.
pub async fn extent(client: &Client, source: Source) -> Result<Extent> {
    client.0.broker.extent(source).await
}

/// The records of a source behind a place in it (0 for all), and those to
/// come. What is sensitive is taken out of them ([`Outcome::hide`],
/// [`DeadLetter::hide`]). Who notes the place of the last record that it has seen to goes on
/// behind it later, and misses nothing that is still stored.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use futures::TryStreamExt as _;
/// use taskq::admin::{self, RecordBody, Source};
/// # async fn f(client: Client, seen: u64) -> taskq::Result<()> {
/// let mut records = admin::records(&client, Source::Outcomes, seen).await?;
/// while let Some(record) = records.try_next().await? {
///     if let RecordBody::Outcome(outcome) = &record.body {
///         println!("{}: {} {}", record.sequence, outcome.id, outcome.state);
///     }
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`extent`].
pub async fn records(client: &Client, source: Source, after: u64) -> Result<Records> {
    let (stored, recorded) = client.0.broker.recorded(source, after).await?;
    let records = recorded.map(move |recorded| Ok(Record::of(source, &recorded?)));
    Ok(Records {
        stored,
        stream: records.boxed(),
    })
}

/// Which messages of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueFilter {
    /// Of this queue.
    pub queue: String,
    /// Of this task.
    pub task: Option<String>,
    /// This one only, wherever it is in the queue.
    pub id: Option<TaskId>,
    /// Behind this place; 0 for all.
    pub after: u64,
    /// At most so many, and at most 1000.
    pub most: usize,
    /// Whether to show what is hidden of sensitive tasks.
    pub reveal: bool,
}

impl QueueFilter {
    /// The first hundred of a queue.
    #[must_use]
    pub fn of(queue: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            task: None,
            id: None,
            after: 0,
            most: 100,
            reveal: false,
        }
    }
}

/// Some of the messages of a queue, in the order in which they were stored.
#[derive(Clone, Debug, Default)]
pub struct QueuePage {
    /// The messages.
    pub tasks: Vec<QueuedTask>,
    /// The place to go on behind; none at the end.
    pub next: Option<u64>,
}

/// A message in a queue: it waits for a worker, or one has it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct QueuedTask {
    /// The task's id.
    #[serde(rename = "task_id")]
    pub id: TaskId,
    /// The task's name; empty for what is no message.
    #[serde(rename = "task_name")]
    pub task: String,
    /// Its queue.
    pub queue: String,
    /// Its priority there.
    pub priority: String,
    /// Its place in the queue.
    pub sequence: u64,
    /// Whether a worker was given it.
    pub given: bool,
    /// When the broker accepted the call.
    pub enqueued_at: Timestamp,
    /// The number of the attempt that it waits for.
    pub attempt: u32,
    /// The labels, as they cross the wire.
    pub labels: serde_json::Map<String, Value>,
    /// The arguments by position.
    pub args: Vec<Value>,
    /// The arguments by name.
    pub kwargs: serde_json::Map<String, Value>,
    /// Whether something of it is hidden from who does not ask for it.
    pub sensitive: bool,
}

/// Looks at some of the messages of a queue, and takes none. What is asked of
/// the server grows with the page and not with the queue.
///
/// ```no_run
/// # async fn f(client: taskq::Client) -> taskq::Result<()> {
/// use taskq::admin::{QueueFilter, queued};
/// for task in queued(&client, QueueFilter::of("email")).await?.tasks {
///     println!("{} {} since {}", task.id, task.task, task.enqueued_at);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such
/// queue; else as [`extent`].
pub async fn queued(client: &Client, filter: QueueFilter) -> Result<QueuePage> {
    taskq_syntax::check_queue_name(&filter.queue)?;
    let query = Peek {
        queue: filter.queue,
        task: filter.task,
        id: filter.id,
        after: filter.after,
        most: filter.most.clamp(1, 1000),
    };
    let peeked = client.0.broker.peek(&query).await?;
    let last = peeked.messages.last().map(|message| message.sequence);
    let tasks = peeked.messages.into_iter().map(|found| {
        let mut message = TaskMessage::decode(&found.body).ok();
        let hidden = message.as_ref().map(|message| Hidden::of(&message.labels));
        let hidden = hidden.unwrap_or_default();
        if let Some(message) = &mut message
            && !filter.reveal
        {
            message.arguments = hidden.arguments(&message.arguments);
        }
        let message = message.as_ref();
        let value = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        let number = |name| {
            let label = message.and_then(|message| message.labels.get(name));
            label.and_then(Label::as_i64)
        };
        let attempt = number(labels::ATTEMPT).and_then(|attempt| u32::try_from(attempt).ok());
        QueuedTask {
            task: message.map_or_else(String::new, |message| message.task.clone()),
            queue: query.queue.clone(),
            priority: found.priority.as_str().to_owned(),
            sequence: found.sequence,
            given: found.given,
            enqueued_at: number(labels::ENQUEUED_AT)
                .map_or(found.stored_at, Timestamp::from_millis),
            attempt: attempt.unwrap_or(1),
            labels: message.map_or_else(Default::default, |message| message.labels.to_outcome()),
            args: message.map_or_else(Vec::new, |message| {
                message.arguments.positional().map(value).collect()
            }),
            kwargs: message.map_or_else(Default::default, |message| {
                let named = message.arguments.iter_named();
                named
                    .map(|(name, text)| (name.to_owned(), value(text)))
                    .collect()
            }),
            sensitive: hidden.is_any(),
            id: found.id,
        }
    });
    Ok(QueuePage {
        tasks: tasks.collect(),
        next: last.filter(|_| peeked.more),
    })
}
