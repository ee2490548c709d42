//! What happens, as it is told.

use std::str::FromStr;

use futures::{Stream, StreamExt as _};

use crate::broker::{EventQuery, EventScope};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::message::{Event, EventKind, TaskId};
use crate::time::Timestamp;

/// Which events. Its text is terms with spaces between them, all of which
/// must hold: `event=failed,dead queue=email task=send_email id=order-42
/// worker=w1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventFilter {
    /// Of these kinds; of all kinds if there are none.
    pub kinds: Vec<EventKind>,
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this task.
    pub task: Option<String>,
    /// Of this message.
    pub id: Option<TaskId>,
    /// On this worker.
    pub worker: Option<String>,
}

impl FromStr for EventFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut filter = Self::default();
        for term in text.split_whitespace() {
            let (name, value) = term.split_once('=').unwrap_or((term, ""));
            let value_of = || {
                if value.is_empty() {
                    return Err(Error::invalid(format!(
                        "`{term}` is no filter; write it like event=failed,dead or queue=email"
                    )));
                }
                Ok(value.to_owned())
            };
            match name {
                "event" => {
                    for kind in value_of()?.split(',') {
                        filter.kinds.push(kind.parse()?);
                    }
                }
                "queue" => filter.queue = Some(value_of()?),
                "task" => filter.task = Some(value_of()?),
                "id" => filter.id = Some(value_of()?.into()),
                "worker" => filter.worker = Some(value_of()?),
                _ => {
                    return Err(Error::invalid(format!(
                        "`{name}` is nothing to filter by; there are event, queue, task, id and \
                         worker"
                    )));
                }
            }
        }
        Ok(filter)
    }
}

/// What happened since a moment (nothing of the past without one), and, if
/// `follow` is set, what will. Tasks' ends are read from their outcomes, and
/// are nearly in order with the rest.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use futures::{StreamExt as _, TryStreamExt as _};
/// # async fn f(client: Client) -> taskq::Result<()> {
/// let filter = "event=failed,dead queue=email".parse()?;
/// let mut events = taskq::admin::events(&client, filter, None, true).await?.boxed();
/// while let Some(event) = events.try_next().await? {
///     println!("{} {:?}", event.kind, event.id);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when NATS does
/// not answer. Core mode has no past.
pub async fn events(
    client: &Client,
    filter: EventFilter,
    since: Option<Timestamp>,
    follow: bool,
) -> Result<impl Stream<Item = Result<Event>> + Send + use<>> {
    let EventFilter {
        kinds,
        queue,
        task,
        id,
        worker,
    } = filter;
    let query = EventQuery {
        scope: EventScope {
            kinds,
            queue,
            task,
            id,
        },
        since,
        follow,
    };
    let events = client.0.broker.events(query).await?;
    Ok(events.filter(move |event| {
        let wanted = match (event, &worker) {
            (Ok(event), Some(worker)) => event.worker.as_ref() == Some(worker),
            _ => true,
        };
        std::future::ready(wanted)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_from_its_text() {
        let filter: EventFilter = "event=failed,dead queue=email id=a=b".parse().unwrap();
        assert_eq!(filter.kinds, [EventKind::Failed, EventKind::Dead]);
        assert_eq!(filter.queue.as_deref(), Some("email"));
        assert_eq!(filter.id, Some("a=b".into()));
        assert_eq!("".parse::<EventFilter>().unwrap(), EventFilter::default());
        for bad in ["event=exploded", "queue", "queue=", "colour=red"] {
            let error = bad.parse::<EventFilter>().unwrap_err().to_string();
            assert!(error.contains('`'), "{error}");
        }
    }
}
