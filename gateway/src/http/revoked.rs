//! Sessions that were ended before their time, in any replica: each logout is in
//! the audit log, which all replicas follow.

use std::time::Duration;

use futures::StreamExt as _;
use taskq::admin::{self, AuditEntry, AuditFilter, RecordBody, Source};
use taskq::{Client, Timestamp};
use tokio::task::JoinHandle;

use crate::access::Sessions;

/// What a logout is called in the audit log.
pub(crate) const LOGGED_OUT: &str = "logged_out";
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the logouts until it is dropped.
#[derive(Debug)]
pub(crate) struct Revoked(JoinHandle<()>);

impl Drop for Revoked {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Revoked {
    pub(crate) fn follow(client: Client, sessions: Sessions) -> Self {
        Self(tokio::spawn(async move {
            loop {
                if let Err(error) = follow(&client, &sessions).await {
                    tracing::warn!("logouts in other replicas are not heard of now: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }))
    }
}

async fn follow(client: &Client, sessions: &Sessions) -> taskq::Result<()> {
    let now = admin::extent(client, Source::Audit).await?.last;
    // First those whose sessions would still be good, then those to come.
    let age = i64::try_from(sessions.age.as_millis()).unwrap_or(i64::MAX);
    let mut filter = AuditFilter::default();
    filter.actions = vec![LOGGED_OUT.to_owned()];
    filter.since = Some(Timestamp::from_millis(
        Timestamp::now().as_millis().saturating_sub(age),
    ));
    filter.most = 500;
    loop {
        let page = admin::audit(client, &filter).await?;
        page.entries.iter().for_each(|entry| end(sessions, entry));
        filter.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    let mut records = admin::records(client, Source::Audit, now).await?;
    while let Some(record) = records.next().await {
        if let RecordBody::Action(entry) = record?.body {
            end(sessions, &entry);
        }
    }
    Ok(())
}

fn end(sessions: &Sessions, entry: &AuditEntry) {
    if entry.action != LOGGED_OUT {
        return;
    }
    let text = |name: &str| entry.detail.get(name).and_then(serde_json::Value::as_str);
    let until = text("until").and_then(|until| until.parse::<Timestamp>().ok());
    if let (Some(id), Some(until)) = (text("session"), until) {
        sessions.end(id, until);
    }
}
