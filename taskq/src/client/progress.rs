//! How far a task is.

use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt as _};

use super::Client;
use crate::broker::{Broker, EventQuery, EventScope};
use crate::error::Result;
use crate::message::{Event, EventKind, TaskId};
use crate::time::Timestamp;

/// How far a task is, as it told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How much is done, in whatever the task counts.
    pub done: u64,
    /// Of how much; 0 if the task does not know.
    pub total: u64,
    /// What it is doing.
    pub message: String,
    /// The attempt that told.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
}

impl Progress {
    /// Reads an event of kind `progress`.
    fn of(event: &Event) -> Option<Self> {
        let number = |name| event.detail.get(name).and_then(serde_json::Value::as_u64);
        Some(Self {
            done: number("done")?,
            total: number("total").unwrap_or(0),
            message: event
                .detail
                .get("message")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            attempt: event.attempt.unwrap_or(0),
            at: event.at,
        })
    }
}

/// Follows a task to its end.
pub(super) async fn follow(
    client: &Client,
    id: &TaskId,
) -> Result<impl Stream<Item = Result<Progress>> + Send + use<>> {
    let query = |follow, since| EventQuery {
        scope: EventScope {
            kinds: vec![EventKind::Progress],
            id: Some(id.clone()),
            ..EventScope::default()
        },
        follow,
        since,
    };
    let broker = Arc::clone(&client.0.broker);
    let expected = broker.attach(id).await?;
    // Listening first and looking then leaves no gap; what comes twice is
    // told once.
    let live = broker.events(query(true, None)).await?;
    let past = query(false, Some(Timestamp::from_millis(0)));
    let last = latest(broker.as_ref(), past.clone()).await?;
    let live = live.take_until(async move {
        // Whoever may not hear of the end waits for the progress alone.
        if expected.record().await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    // The end overtakes the last step where they are told in a row.
    let end = stream::once(async move { latest(broker.as_ref(), past).await })
        .filter_map(|event| std::future::ready(event.transpose()));
    let mut told: Option<Progress> = None;
    let steps = stream::iter(last.map(Ok))
        .chain(live)
        .chain(end)
        .filter_map(|event| {
            std::future::ready(match event {
                Ok(event) => Progress::of(&event).map(Ok),
                Err(error) => Some(Err(error)),
            })
        })
        .filter(move |step| {
            let new = match (step, &told) {
                (Ok(step), Some(told)) => step != told && step.at >= told.at,
                _ => true,
            };
            if let (true, Ok(step)) = (new, step) {
                told = Some(step.clone());
            }
            std::future::ready(new)
        });
    Ok(steps)
}

/// The last event of the past.
async fn latest(broker: &dyn Broker, past: EventQuery) -> Result<Option<Event>> {
    let events = broker.events(past).await?;
    let last = events.fold(None, |_, event| std::future::ready(Some(event)));
    last.await.transpose()
}
