//! Dead letters: looking at them, sending them again, removing them.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use crate::broker::{LetterQuery, Publication, Published, Status, act};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{
    Arguments, DeadLetter, DeadReason, Event, EventKind, State, TaskId, TaskMessage, Trail, key_of,
    labels,
};
use crate::time::Timestamp;

/// Which dead letters: those for which all that is set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// Of this message.
    pub id: Option<TaskId>,
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this task.
    pub task: Option<String>,
    /// For this reason.
    pub reason: Option<DeadReason>,
    /// With this text in the last error, in upper or lower case.
    pub error: Option<String>,
    /// Given up at this moment or later.
    pub since: Option<Timestamp>,
    /// Given up before this moment.
    pub until: Option<Timestamp>,
}

impl DeadFilter {
    /// What the broker cannot tell apart.
    fn has(&self, letter: &DeadLetter) -> bool {
        let says = |text: &String| {
            let error = letter.error.to_lowercase();
            error.contains(&text.to_lowercase())
        };
        self.error.as_ref().is_none_or(says)
            && self.since.is_none_or(|since| letter.dead_at >= since)
            && self.until.is_none_or(|until| letter.dead_at < until)
    }
}

/// The dead letters, the oldest first. Empty in core mode, which keeps none.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use futures::{StreamExt as _, TryStreamExt as _};
/// use taskq::admin::{self, DeadFilter};
/// # async fn f(client: Client) -> taskq::Result<()> {
/// let filter = DeadFilter {
///     queue: Some("email".to_owned()),
///     ..DeadFilter::default()
/// };
/// let mut letters = admin::dead_letters(&client, filter).await?.boxed();
/// while let Some(letter) = letters.try_next().await? {
///     println!("{} {}: {}", letter.id, letter.reason, letter.error);
///     admin::replay(&client, &letter, "ada").await?;
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::Unavailable`] when NATS does not answer.
pub async fn dead_letters(
    client: &Client,
    filter: DeadFilter,
) -> Result<impl Stream<Item = Result<DeadLetter>> + Send + use<>> {
    let query = LetterQuery {
        queue: filter.queue.clone(),
        task: filter.task.clone(),
        id: filter.id.clone(),
        reason: filter.reason,
    };
    let letters = client.0.broker.letters(query).await?;
    Ok(letters.filter(move |letter| {
        let wanted = letter.as_ref().map_or(true, |letter| filter.has(letter));
        std::future::ready(wanted)
    }))
}

/// What became of a dead letter that was to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replay {
    /// It is in its queue again.
    Sent,
    /// It was in its queue already: an earlier replay was interrupted. The
    /// letter is removed.
    AlreadySent,
    /// The task has ended otherwise since, in this state. The letter is
    /// removed.
    Ended(State),
}

/// Sends a dead letter again, under its id: with all of its retries, without
/// its deadline, and with what its attempts left behind. The record of its
/// end is removed, so that it can have another.
///
/// Interrupted anywhere and called again, it sends the message once.
///
/// # Errors
/// [`ErrorKind::Invalid`] for what is no message, [`ErrorKind::Gone`] when its
/// arguments were stored apart and are not there any more,
/// [`ErrorKind::Unavailable`] when NATS does not answer.
pub async fn replay(client: &Client, letter: &DeadLetter, by: &str) -> Result<Replay> {
    let broker = &client.0.broker;
    let message = message(client, letter).await?;
    let at = broker.now();
    let mut replay = match broker.status(&letter.id).await? {
        Status::Done(state) => match broker.outcome(&letter.id).await? {
            Some(outcome) if outcome.dead.is_none() => Replay::Ended(state),
            _ => Replay::Sent,
        },
        Status::Unknown => Replay::Sent,
        Status::Scheduled | Status::Waiting | Status::Running => Replay::AlreadySent,
    };
    if replay == Replay::Sent && !resend(client, letter, message).await? {
        replay = Replay::AlreadySent;
    }
    broker.remove_letter(letter).await?;
    tell(
        client,
        (EventKind::Replayed, at),
        letter,
        letter.reason.as_str(),
        by,
    )
    .await;
    Ok(replay)
}

/// Forgets how a task ended, and puts its message into its queue; false if it
/// was there.
pub(super) async fn resend(
    client: &Client,
    letter: &DeadLetter,
    message: TaskMessage,
) -> Result<bool> {
    let broker = &client.0.broker;
    broker.reopen(&letter.id).await?;
    let publication = Publication {
        id: letter.id.clone(),
        // Should this be done twice at once, one of the two is refused.
        named: true,
        task: message.task.clone(),
        queue: letter.queue.clone(),
        priority: letter.priority.parse().unwrap_or_default(),
        due: None,
        lock: None,
        key: key_of(&message.labels).map(str::to_owned),
        body: Bytes::from(message.encode()),
    };
    let published = broker.publish(publication).await?;
    Ok(!matches!(published, Published::Existing(_)))
}

/// Removes a dead letter for good; false if it was gone.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when NATS does not answer.
pub async fn discard(client: &Client, letter: &DeadLetter, by: &str) -> Result<bool> {
    let broker = &client.0.broker;
    let at = broker.now();
    let removed = broker.remove_letter(letter).await?;
    if removed {
        tell(
            client,
            (EventKind::Discarded, at),
            letter,
            letter.reason.as_str(),
            by,
        )
        .await;
        let stored = letter.labels().and_then(|labels| {
            let name = labels.get(labels::PAYLOAD)?.as_str()?;
            Some(name.to_owned())
        });
        if let Some(name) = letter.payload.clone().or(stored) {
            broker.remove_payload(&name).await?;
        }
    }
    Ok(removed)
}

/// Tells what was done to a task that had ended, and how it had. When is the
/// moment before it was done: the task may have ended again by now, and who
/// keeps a list takes that end for a later one.
pub(super) async fn tell(
    client: &Client,
    (kind, at): (EventKind, Timestamp),
    letter: &DeadLetter,
    end: &str,
    by: &str,
) {
    let broker = &client.0.broker;
    let (id, task, queue) = (&letter.id, &letter.task, &letter.queue);
    let event = Event::of(kind, at, id, task, queue)
        .with("by", by)
        .with("reason", end);
    let event = match (&letter.message, kind) {
        (Some(message), EventKind::Replayed) => {
            event.whole_of(&Bytes::from(message.get().to_owned()))
        }
        _ => event,
    };
    act(&**broker, event).await;
}

/// The message of a letter, as it is sent again.
pub(super) async fn message(client: &Client, letter: &DeadLetter) -> Result<TaskMessage> {
    let mut message = match (&letter.message, &letter.payload) {
        (Some(message), _) => TaskMessage::decode(message.get().as_bytes())?,
        (None, Some(name)) if letter.reason != DeadReason::Undecodable => {
            let stored = client.0.broker.payload(name).await?;
            let stored = stored.ok_or_else(|| {
                Error::new(
                    ErrorKind::Gone,
                    format!(
                        "the message of dead letter {} is stored as `{name}`, and nothing is \
                         there any more; it cannot be sent again",
                        letter.id
                    ),
                )
            })?;
            let mut message = TaskMessage::decode(&stored)?;
            message.labels.set(labels::PAYLOAD, name.as_str());
            message.arguments = Arguments::default();
            message
        }
        _ => {
            return Err(Error::invalid(format!(
                "dead letter {} is no message, so it cannot be sent again; mend its sender, and \
                 discard it",
                letter.id
            )));
        }
    };
    let mut trail = Trail::default();
    for attempt in &letter.attempts {
        trail.push(attempt.clone());
    }
    let next = letter.attempts.iter().map(|failed| failed.attempt).max();
    let set = &mut message.labels;
    trail.write(set);
    set.set(labels::ATTEMPT, next.unwrap_or(0).saturating_add(1));
    set.set(labels::REPLAYS, letter.replays.saturating_add(1));
    set.set(labels::RESENT_AT, client.0.broker.now().as_millis());
    set.set(labels::ENQUEUED_AT, letter.enqueued_at.as_millis());
    set.remove(labels::DUE);
    set.remove(labels::FAILURES);
    set.remove(labels::DEADLINE);
    Ok(message)
}
