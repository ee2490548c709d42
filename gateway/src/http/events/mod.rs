//! `/v1/events` and `/v1/tasks/{id}/events`: what happens, as it happens.

mod sse;
mod ws;

use std::time::Duration;

use axum::http::HeaderMap;
use taskq::EventKind;
use taskq::admin::EventFilter;

use super::extract::Params;
use super::problem::{Answer, Problem};
use crate::feed::Place;

// Their descriptions go by the names of the handlers.
pub(crate) use self::sse::*;
pub(crate) use self::ws::*;

/// How often something is sent, so that both sides see that they are there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which events are asked for.
fn filter(params: &mut Params) -> Answer<EventFilter> {
    let mut filter = EventFilter::default();
    filter.kinds = params.list::<EventKind>("event")?;
    filter.queue = params.one("queue")?;
    filter.task = params.one("task")?;
    filter.id = params.one("id")?.map(Into::into);
    filter.worker = params.one("worker")?;
    Ok(filter)
}

/// All events of a task.
fn of_task(id: &str) -> EventFilter {
    let mut filter = EventFilter::default();
    filter.id = Some(id.into());
    filter
}

/// The place to go on behind: by the header that a browser sends when it
/// connects again, and else by the address, in which it stays the same.
fn after(headers: &HeaderMap, params: &mut Params) -> Answer<Option<Place>> {
    let after = params.read::<Place>("after")?;
    let Some(id) = headers.get("last-event-id") else {
        return Ok(after);
    };
    let id = id.to_str().unwrap_or_default();
    id.parse().map(Some).map_err(Problem::invalid)
}
