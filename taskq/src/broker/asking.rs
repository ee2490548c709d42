//! Asking all workers who has a task.

use std::time::Duration;

use async_nats::Client;
use futures::StreamExt as _;

use super::jetstream::AbortOnDrop;
use super::names::Namespace;
use super::standing::{Answering, Finder, Holder};
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;

/// The worker that has it answers within this time, or is taken for gone.
const PATIENCE: Duration = Duration::from_millis(500);

/// Only the worker that has the task answers.
pub(super) async fn ask(client: &Client, names: &Namespace, id: &TaskId) -> Result<Option<Holder>> {
    let body = id.as_str().to_owned().into();
    let asked = client.request(names.who_has(), body);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Ok(serde_json::from_slice(&answer.payload).ok()),
        // No worker at all.
        Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => Ok(None),
        Ok(Err(error)) => Err(Error::new(
            ErrorKind::Unavailable,
            format!("asking who has task {id} failed: {error}"),
        )
        .with_source(error)),
        Err(_) => Ok(None),
    }
}

pub(super) async fn answer(client: Client, names: &Namespace, finder: Finder) -> Result<Answering> {
    let mut questions = client.subscribe(names.who_has()).await.map_err(|error| {
        Error::new(ErrorKind::Closed, "the connection to NATS is closed").with_source(error)
    })?;
    let answering = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let id = TaskId::from(String::from_utf8_lossy(&question.payload).as_ref());
            let (Some(reply), Some(holder)) = (question.reply, finder(&id)) else {
                continue;
            };
            // Texts, numbers and times only: this cannot fail.
            let body = serde_json::to_vec(&holder).unwrap_or_default();
            // Who asked may be gone.
            let _ = client.publish(reply, body.into()).await;
        }
    });
    Ok(Box::new(AbortOnDrop(answering)))
}
