//! One who listens.

use std::fmt;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use taskq::Event;
use taskq::admin::EventFilter;
use tokio::sync::watch;

use super::batch::{Batch, Item, Told};
use super::place::Place;
use super::ring::Taker;
use crate::access::throttle::{self, Asker, Opening};

/// Somebody who listens.
pub(crate) struct Ear {
    filter: EventFilter,
    /// Whether the filter lets everything through.
    all: bool,
    place: Place,
    /// What is still to be read of what was stored.
    past: Option<BoxStream<'static, Vec<Item>>>,
    ring: Taker,
    closed: watch::Receiver<bool>,
    /// One of those that who listens may have open.
    _opening: Option<Opening<Asker>>,
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// What was heard together.
#[derive(Debug)]
pub(crate) enum Heard {
    /// All that was told, as all hear it.
    All(Arc<Batch>),
    /// What one's filter let through.
    Some(Vec<Passed>),
}

/// An event that was let through.
#[derive(Debug)]
pub(crate) struct Passed {
    kind: taskq::EventKind,
    json: String,
    place: Option<Place>,
}

impl Passed {
    fn told(&self) -> Told<'_> {
        Told {
            kind: self.kind,
            json: &self.json,
            place: self.place,
        }
    }
}

impl Heard {
    /// As server-sent events.
    pub(crate) fn sse(&self) -> Bytes {
        match self {
            Self::All(batch) => batch.sse(),
            Self::Some(events) => {
                let mut text = String::with_capacity(512);
                for event in events {
                    event.told().sse(&mut text);
                }
                text.into()
            }
        }
    }

    /// As messages over a WebSocket.
    pub(crate) fn messages(&self) -> Vec<Utf8Bytes> {
        match self {
            Self::All(batch) => batch.messages().to_vec(),
            Self::Some(events) => events.iter().map(|event| event.told().message()).collect(),
        }
    }
}

/// Why nothing more is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// So much has happened meanwhile that it is not at hand any more; listen
    /// again behind the last place.
    TooSlow,
    /// The gateway stops.
    Over,
}

impl Ear {
    pub(super) fn new(
        filter: EventFilter,
        place: Place,
        past: Option<BoxStream<'static, Vec<Item>>>,
        ring: Taker,
        closed: watch::Receiver<bool>,
    ) -> Self {
        Self {
            all: filter == EventFilter::default(),
            filter,
            place,
            past,
            ring,
            closed,
            _opening: throttle::opening(),
        }
    }

    /// How far it has heard, of what it was to hear or not.
    #[must_use]
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The next events that it was to hear. Cancel-safe.
    ///
    /// # Errors
    /// [`Silence`], when there will be none.
    pub(crate) async fn hear(&mut self) -> Result<Heard, Silence> {
        loop {
            let next = async {
                if let Some(past) = &mut self.past {
                    return Ok(Next::Past(past.next().await));
                }
                self.ring.next().await.map(Next::Now)
            };
            let next = tokio::select! {
                biased;
                _ = self.closed.wait_for(|closed| *closed) => return Err(Silence::Over),
                next = next => next.map_err(|_| Silence::TooSlow)?,
            };
            let passed = match next {
                Next::Past(None) => {
                    self.past = None;
                    continue;
                }
                Next::Past(Some(items)) => self.sift(&items),
                Next::Now(batch) if self.all && self.place == batch.from => {
                    self.place = batch.to;
                    return Ok(Heard::All(batch));
                }
                Next::Now(batch) => self.sift(&batch.items),
            };
            if !passed.is_empty() {
                return Ok(Heard::Some(passed));
            }
        }
    }

    /// What is let through of what it has not heard.
    fn sift(&mut self, items: &[Item]) -> Vec<Passed> {
        let mut passed: Vec<Passed> = Vec::new();
        for item in items {
            // The ring may give once more what the past gave.
            if item.sequence <= self.place.of(item.source) {
                continue;
            }
            self.place.pass(item.source, item.sequence);
            for (event, json) in &item.events {
                if has(&self.filter, event) {
                    passed.push(Passed {
                        kind: event.kind,
                        json: json.clone(),
                        place: None,
                    });
                }
            }
            // The place of what was let through moves past what was not.
            if let Some(last) = passed.last_mut() {
                last.place = Some(self.place);
            }
        }
        passed
    }
}

enum Next {
    Past(Option<Vec<Item>>),
    Now(Arc<Batch>),
}

/// Whether an event is one that a filter lets through.
fn has(filter: &EventFilter, event: &Event) -> bool {
    let is = |wanted: &Option<String>, is: &Option<String>| {
        wanted.is_none() || wanted.as_deref() == is.as_deref()
    };
    (filter.kinds.is_empty() || filter.kinds.contains(&event.kind))
        && is(&filter.queue, &event.queue)
        && is(&filter.task, &event.task)
        && is(&filter.worker, &event.worker)
        && (filter.id.is_none() || filter.id == event.id)
}
