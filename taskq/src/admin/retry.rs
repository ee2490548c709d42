//! Running a task again that has ended.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};

use super::dead::{message, replay, resend, tell};
use super::{DeadFilter, Replay, dead_letters};
use crate::broker::Status;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{DeadLetter, DeadReason, EventKind, Outcome, State, TaskId, labels};
use crate::time::Timestamp;

/// A dead letter is written after the outcome that names it: so long is it
/// looked for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon it is looked for again.
const BETWEEN: Duration = Duration::from_millis(20);

/// What became of the wish that a task should run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retried {
    /// It is in its queue again.
    Sent,
    /// It has not ended: it is put off, waits or runs, and was left as it is.
    NotEnded(Status),
    /// It has succeeded, and was left as it is.
    Succeeded,
    /// It has ended once more since the moment that was named, in this state,
    /// and was left as it is.
    EndedSince(State),
}

/// Runs a task again that failed, was cancelled or has expired: under its id,
/// with all of its retries, without its deadline, and with what its attempts
/// left behind. The record of its end is removed, so that it can have another;
/// so is its dead letter.
///
/// Interrupted anywhere and called again, it sends the message once.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use taskq::admin::{self, Retried};
/// # async fn f(client: Client) -> taskq::Result<()> {
/// match admin::retry(&client, "order-42", "ada").await? {
///     Retried::Sent => println!("it runs again"),
///     other => println!("nothing to do: {other:?}"),
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no trace of the task;
/// [`ErrorKind::Gone`] when its arguments are not kept any more: its dead
/// letter was removed or has expired, or it was cancelled and they were stored
/// apart; [`ErrorKind::Unavailable`] when NATS does not answer.
pub async fn retry(client: &Client, id: impl Into<TaskId>, by: &str) -> Result<Retried> {
    retry_ended_by(client, &id.into(), by, None).await
}

/// [`retry`], of what had ended by a moment: done twice, it is done once.
pub(super) async fn retry_ended_by(
    client: &Client,
    id: &TaskId,
    by: &str,
    moment: Option<Timestamp>,
) -> Result<Retried> {
    let broker = &client.0.broker;
    let too_late = |at: Timestamp| moment.is_some_and(|moment| at > moment);
    let started = Instant::now();
    loop {
        if let Some(letter) = letter(client, id).await? {
            if too_late(letter.dead_at) {
                return Ok(Retried::EndedSince(State::Failed));
            }
            return Ok(match replay(client, &letter, by).await? {
                Replay::Sent => Retried::Sent,
                Replay::AlreadySent => Retried::NotEnded(broker.status(id).await?),
                Replay::Ended(State::Succeeded) => Retried::Succeeded,
                // The letter was of an earlier end, and is gone now.
                Replay::Ended(_) => continue,
            });
        }
        let Some(outcome) = broker.outcome(id).await? else {
            return match broker.status(id).await? {
                Status::Unknown => Err(Error::new(
                    ErrorKind::NotFound,
                    format!(
                        "there is no trace of task {id}: it was never sent here, or its record has \
                         expired"
                    ),
                )),
                // It ended just now.
                Status::Done(_) if started.elapsed() < PATIENCE => continue,
                status => Ok(Retried::NotEnded(status)),
            };
        };
        if outcome.state == State::Succeeded {
            return Ok(Retried::Succeeded);
        }
        if too_late(outcome.finished_at) {
            return Ok(Retried::EndedSince(outcome.state));
        }
        if let Some(kept) = &outcome.message {
            let letter = as_letter(&outcome, kept.get());
            let message = message(client, &letter).await?;
            let at = broker.now();
            let sent = resend(client, &letter, message).await?;
            tell(
                client,
                (EventKind::Replayed, at),
                &letter,
                outcome.state.as_str(),
                by,
            )
            .await;
            return Ok(match sent {
                true => Retried::Sent,
                false => Retried::NotEnded(broker.status(id).await?),
            });
        }
        let may_come = outcome.dead.is_some()
            && broker.now().since(outcome.finished_at) < PATIENCE
            && started.elapsed() < PATIENCE;
        if !may_come {
            return Err(gone(id, &outcome));
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

/// The latest dead letter of a task.
pub(super) async fn letter(client: &Client, id: &TaskId) -> Result<Option<DeadLetter>> {
    let filter = DeadFilter {
        id: Some(id.clone()),
        ..DeadFilter::default()
    };
    let letters = dead_letters(client, filter).await?.boxed();
    let letters: Vec<DeadLetter> = letters.try_collect().await?;
    Ok(letters.into_iter().next_back())
}

/// A cancelled task, as it would be kept had it failed. Its priority was its
/// place in the queue, and is gone.
fn as_letter(outcome: &Outcome, message: &str) -> DeadLetter {
    // Only what is done with the letter goes by its reason.
    let reason = DeadReason::Permanent;
    DeadLetter::of(outcome, reason, "normal", message.as_bytes())
}

fn gone(id: &TaskId, outcome: &Outcome) -> Error {
    let why = match outcome.dead {
        Some(_) => "its dead letter was removed or has expired",
        None if outcome.labels.contains_key(labels::PAYLOAD) => {
            "they were stored apart, for their size, and went with the task"
        }
        None => "no record of it has them",
    };
    Error::new(
        ErrorKind::Gone,
        format!(
            "task {id} ({}) {} and cannot run again: its arguments are not kept any more, since \
             {why}; send the call anew",
            outcome.task, outcome.state
        ),
    )
}
