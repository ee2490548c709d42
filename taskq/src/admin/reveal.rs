//! That somebody looked at what is hidden.

use crate::broker::act;
use crate::client::Client;
use crate::message::{Event, EventKind, TaskId};

/// Tells, as an operator's event, and records that somebody is shown what is
/// hidden of a task.
pub async fn revealed(client: &Client, id: &TaskId, task: &str, by: &str) {
    let broker = &client.0.broker;
    let event = Event {
        id: Some(id.clone()),
        task: Some(task.to_owned()),
        ..Event::new(EventKind::Revealed, broker.now())
    };
    act(&**broker, event.with("by", by)).await;
}
