//! The audit log: what operators did.
//!
//! It is a stream of its own, which nobody may delete from: however much happens
//! to tasks, no entry goes before its time.

use std::time::Duration;

use serde::Serialize;

pub use crate::broker::{acting, acting_as};
use crate::client::Client;
use crate::error::Result;
use crate::message::TaskId;
pub use crate::message::{Actor, AuditEntry};
use crate::time::Timestamp;

/// How many entries one page looks at: what it does not reach, the next does.
const LOOKED_AT: usize = 10_000;
/// How many entries are read at once.
const AT_ONCE: usize = 500;
/// Entries have the times of those who wrote them, and come nearly in order.
const SKEW: Duration = Duration::from_secs(600);

/// Which entries: those for which all that is set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFilter {
    /// Of one of these actions; of all if there are none.
    pub actions: Vec<String>,
    /// By somebody of this name.
    pub by: Option<String>,
    /// On this queue.
    pub queue: Option<String>,
    /// On this task type, or a task of it.
    pub task: Option<String>,
    /// On this task.
    pub id: Option<TaskId>,
    /// At this moment or later.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Before this place; from the newest on if there is none.
    pub before: Option<u64>,
    /// At most so many.
    pub most: usize,
}

impl Default for AuditFilter {
    fn default() -> Self {
        Self {
            actions: Vec::new(),
            by: None,
            queue: None,
            task: None,
            id: None,
            since: None,
            until: None,
            before: None,
            most: 50,
        }
    }
}

impl AuditFilter {
    fn has(&self, entry: &AuditEntry) -> bool {
        let is = |wanted: &Option<String>, is: Option<&String>| {
            wanted.is_none() || wanted.as_ref() == is
        };
        (self.actions.is_empty() || self.actions.contains(&entry.action))
            && is(&self.by, Some(&entry.actor.name))
            && is(&self.queue, entry.queue.as_ref())
            && is(&self.task, entry.task.as_ref())
            && (self.id.is_none() || self.id == entry.id)
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
    }
}

/// Some of the entries, the newest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// The place to go on before; none at the end, which a full page may be too. A page may have fewer entries
    /// than were asked for, or none, and others may follow: it looks at 10,000.
    pub next: Option<u64>,
}

/// A page of the audit log, the newest first.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use taskq::admin::{self, AuditFilter};
/// # async fn f(client: Client) -> taskq::Result<()> {
/// let page = admin::audit(&client, &AuditFilter::default()).await?;
/// for entry in page.entries {
///     println!("{} {} by {}", entry.at, entry.action, entry.actor);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when NATS does not
/// answer. Core mode keeps no log: it is empty.
pub async fn audit(client: &Client, filter: &AuditFilter) -> Result<AuditPage> {
    let mut page = AuditPage {
        entries: Vec::new(),
        next: filter.before,
    };
    let mut looked_at = 0;
    while looked_at < LOOKED_AT {
        let read = client.0.broker.actions(page.next, AT_ONCE).await?;
        if read.is_empty() {
            page.next = None;
            break;
        }
        looked_at += read.len();
        for entry in read {
            page.next = Some(entry.sequence);
            if filter
                .since
                .is_some_and(|since| entry.at.plus(SKEW) < since)
            {
                page.next = None;
                return Ok(page);
            }
            if filter.has(&entry) {
                page.entries.push(entry);
            }
            if page.entries.len() >= filter.most {
                return Ok(page);
            }
        }
    }
    Ok(page)
}

/// Records what a program did for somebody that is none of taskq's own actions,
/// such as a login. Secrets have no place in it.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) for a user
/// that is no operator; [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable)
/// when NATS does not answer.
pub async fn record(client: &Client, entry: &AuditEntry) -> Result<()> {
    client.0.broker.record_action(entry).await
}
