//! Records that are told together, and how they are written for those who hear
//! all of them: once, however many these are.

use std::fmt::Write as _;
use std::sync::OnceLock;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use taskq::admin::{Record, Source};
use taskq::{Event, EventKind};

use super::place::Place;

/// A record, and what it tells.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) source: Source,
    pub(super) sequence: u64,
    pub(super) events: Vec<(Event, String)>,
}

impl Item {
    pub(super) fn of(source: Source, record: &Record) -> Self {
        let events = record.events().into_iter().map(|event| {
            // Text keys and JSON values only: this cannot fail.
            let json = serde_json::to_string(&event).unwrap_or_default();
            (event, json)
        });
        Self {
            source,
            sequence: record.sequence,
            events: events.collect(),
        }
    }

    /// The bytes of JSON in it.
    pub(super) fn size(&self) -> usize {
        self.events.iter().map(|(_, json)| json.len()).sum()
    }
}

/// One event, as it is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    /// What happened, in one word.
    pub(crate) kind: EventKind,
    /// The event in JSON.
    pub(crate) json: &'a str,
    /// The place to go on behind it; none where another event of the same
    /// record follows.
    pub(crate) place: Option<Place>,
}

impl Told<'_> {
    /// Adds it as a server-sent event.
    pub(crate) fn sse(&self, text: &mut String) {
        // Writing to a String does not fail. JSON has no line ends.
        let _ = writeln!(text, "event: {}", self.kind);
        if let Some(place) = self.place {
            let _ = writeln!(text, "id: {place}");
        }
        let _ = write!(text, "data: {}\n\n", self.json);
    }

    /// It as a message over a WebSocket.
    pub(crate) fn message(&self) -> Utf8Bytes {
        let mut text = String::with_capacity(self.json.len() + 64);
        text.push('{');
        if let Some(place) = self.place {
            let _ = write!(text, "\"id\":\"{place}\",");
        }
        let _ = write!(text, "\"event\":\"{}\",\"data\":{}}}", self.kind, self.json);
        text.into()
    }
}

/// What was read together, in its order.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The place before it.
    pub(super) from: Place,
    /// The place behind it.
    pub(super) to: Place,
    pub(super) items: Vec<Item>,
    sse: OnceLock<Bytes>,
    messages: OnceLock<Vec<Utf8Bytes>>,
}

impl Batch {
    pub(super) fn new(from: Place, items: Vec<Item>) -> Self {
        let mut to = from;
        for item in &items {
            to.pass(item.source, item.sequence);
        }
        Self {
            from,
            to,
            items,
            sse: OnceLock::new(),
            messages: OnceLock::new(),
        }
    }

    /// The bytes of JSON in it.
    pub(super) fn size(&self) -> usize {
        self.items.iter().map(Item::size).sum()
    }

    fn each(&self, mut tell: impl FnMut(Told<'_>)) {
        let mut place = self.from;
        for item in &self.items {
            place.pass(item.source, item.sequence);
            let last = item.events.len().wrapping_sub(1);
            for (number, (event, json)) in item.events.iter().enumerate() {
                tell(Told {
                    kind: event.kind,
                    json,
                    place: (number == last).then_some(place),
                });
            }
        }
    }

    /// All of it as server-sent events.
    pub(crate) fn sse(&self) -> Bytes {
        let written = self.sse.get_or_init(|| {
            let mut text = String::new();
            self.each(|told| told.sse(&mut text));
            text.into()
        });
        written.clone()
    }

    /// All of it as messages over a WebSocket.
    pub(crate) fn messages(&self) -> &[Utf8Bytes] {
        self.messages.get_or_init(|| {
            let mut messages = Vec::new();
            self.each(|told| messages.push(told.message()));
            messages
        })
    }
}
