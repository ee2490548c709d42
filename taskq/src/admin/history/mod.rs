//! What was, as far as the server keeps it: how tasks ended, what operators
//! did, when workers came and went.

mod filter;

use std::pin::Pin;
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt as _};
use serde::{Serialize, Serializer};

pub use self::filter::{HistoryFilter, HistoryKind};
use super::past::{Record, RecordBody};
use crate::broker::{PastOf, PastQuery, Source};
use crate::client::Client;
use crate::error::Result;
use crate::message::{AuditEntry, Event, Outcome};
use crate::time::Timestamp;

/// Records have the times of those who wrote them, and the server stores them by
/// its own: so much earlier than its time no record is stored.
const SKEW: Duration = Duration::from_secs(600);

/// Something that was.
///
/// As JSON it is one flat object: `kind` (`task`, `audit` or `worker`),
/// `sequence`, `at`, and all that is stored of it, by the names of [`Outcome`],
/// [`AuditEntry`] or [`Event`]. Of what this version cannot read it is `unreadable`, the
/// reason.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// What kind of thing.
    pub kind: HistoryKind,
    /// Its place among those of its kind; greater than that of all that were
    /// stored before it.
    pub sequence: u64,
    /// When it was: when the task ended, when the operator did it.
    pub at: Timestamp,
    /// What it was.
    pub body: RecordBody,
}

impl HistoryEntry {
    fn of(kind: HistoryKind, record: Record, stored_at: Timestamp) -> Self {
        let at = match &record.body {
            RecordBody::Outcome(outcome) => outcome.finished_at,
            RecordBody::Event(event) => event.at,
            RecordBody::Action(entry) => entry.at,
            RecordBody::DeadLetter(_) | RecordBody::Unreadable(_) => stored_at,
        };
        Self {
            kind,
            sequence: record.sequence,
            at,
            body: record.body,
        }
    }

    /// It as an event: how the task ended, what became of the worker. None for
    /// what an operator did, which is no event, and for what cannot be read.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        match &self.body {
            RecordBody::Outcome(outcome) => Event::of_outcome(outcome).pop(),
            RecordBody::Event(event) => Some(Event::clone(event)),
            _ => None,
        }
    }
}

impl Serialize for HistoryEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            kind: HistoryKind,
            // An entry of the audit log has these itself.
            #[serde(skip_serializing_if = "Option::is_none")]
            sequence: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            at: Option<Timestamp>,
            #[serde(flatten)]
            stored: Stored<'a>,
        }
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Stored<'a> {
            Outcome(&'a Outcome),
            Event(&'a Event),
            Action(&'a AuditEntry),
            Unreadable { unreadable: &'a str },
        }
        let (sequence, at) = (Some(self.sequence), Some(self.at));
        let (sequence, at, stored) = match &self.body {
            RecordBody::Outcome(outcome) => (sequence, at, Stored::Outcome(outcome)),
            RecordBody::Event(event) => (sequence, None, Stored::Event(event)),
            RecordBody::Action(entry) => (None, None, Stored::Action(entry)),
            RecordBody::Unreadable(why) => (sequence, at, Stored::Unreadable { unreadable: why }),
            // No history has any.
            RecordBody::DeadLetter(_) => (sequence, at, Stored::Unreadable { unreadable: "" }),
        };
        Flat {
            kind: self.kind,
            sequence,
            at,
            stored,
        }
        .serialize(serializer)
    }
}

/// What was, by the records that the server keeps: how tasks ended (3 days),
/// what became of workers (3 days), what operators did (400 days). It is there
/// whatever has been restarted since.
///
/// It is read a few hundred records at a time, so that memory does not grow with
/// it, from the newest or from the oldest on; it ends with what is stored when
/// this is called. By time of beginning, by a task's id and by a worker's name
/// the server is asked; the rest is looked at here. What is sensitive is taken out, as
/// [`records`](super::records) does. The records are nearly in order: each kind
/// is as it was stored, and the kinds are merged by their times.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use futures::{StreamExt as _, TryStreamExt as _};
/// use taskq::OutcomeState;
/// use taskq::admin::{self, HistoryFilter, HistoryKind};
/// # async fn f(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// // What failed in a queue today, as JSON lines.
/// let mut filter = HistoryFilter::default();
/// filter.kinds = vec![HistoryKind::Task];
/// filter.states = vec![OutcomeState::Failed];
/// filter.queue = Some("email".to_owned());
/// filter.since = Some("2026-11-27T00:00:00Z".parse()?);
/// let mut history = admin::history(&client, filter).await?.boxed();
/// while let Some(entry) = history.try_next().await? {
///     println!("{}", serde_json::to_string(&entry)?);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when NATS does
/// not answer, also in the middle; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) in
/// the modes without streams;
/// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) for a user that may
/// not read one of the kinds.
pub async fn history(
    client: &Client,
    filter: HistoryFilter,
) -> Result<impl Stream<Item = Result<HistoryEntry>> + Send + use<>> {
    let newest_first = filter.newest_first;
    let mut sources = Vec::new();
    for kind in filter.kinds_read() {
        let (of, source) = match kind {
            HistoryKind::Task => (PastOf::Outcomes(filter.id.clone()), Source::Outcomes),
            HistoryKind::Audit => (PastOf::Actions, Source::Audit),
            HistoryKind::Worker => (PastOf::Workers(filter.worker.clone()), Source::Events),
        };
        let skew = i64::try_from(SKEW.as_millis()).unwrap_or(0);
        let since = filter.since.map(Timestamp::as_millis);
        let since = since.map(|since| Timestamp::from_millis(since.saturating_sub(skew)));
        let query = PastQuery {
            of,
            since,
            newest_first,
        };
        let filter = filter.clone();
        let found = client.0.broker.past(query).await?;
        let found = found.try_filter_map(move |recorded| {
            let record = Record::of(source, &recorded);
            let entry = HistoryEntry::of(kind, record, recorded.stored_at);
            std::future::ready(Ok(filter.has(&entry).then_some(entry)))
        });
        sources.push(found.boxed());
    }
    Ok(merged(sources, newest_first))
}

/// Several streams as one, by their times.
fn merged(
    sources: Vec<BoxStream<'static, Result<HistoryEntry>>>,
    newest_first: bool,
) -> impl Stream<Item = Result<HistoryEntry>> + Send {
    let heads: Vec<_> = sources.into_iter().map(StreamExt::peekable).collect();
    stream::unfold(heads, move |mut heads| async move {
        let mut next: Option<(usize, Timestamp)> = None;
        for (place, head) in heads.iter_mut().enumerate() {
            let at = match Pin::new(head).peek().await {
                Some(Ok(entry)) => entry.at,
                Some(Err(_)) => {
                    // It is told at once.
                    next = Some((place, Timestamp::from_millis(0)));
                    break;
                }
                None => continue,
            };
            if next.is_none_or(|(_, first)| (at < first) != newest_first && at != first) {
                next = Some((place, at));
            }
        }
        let (place, _) = next?;
        let entry = heads[place].next().await?;
        Some((entry, heads))
    })
}
