//! On whose behalf something is done, and that it is recorded.
//!
//! Who acts is known where a request comes in, and what was before and is after
//! where it is done. The first is kept beside the running of the second, as a
//! span of tracing is, so that no call between the two hands it on, and none can
//! leave it out.

use std::future::Future;
use std::time::Duration;

use super::Broker;
use crate::error::ErrorKind;
use crate::message::{Actor, AuditEntry, Event};

/// How long an event may take to its connection.
const PATIENCE: Duration = Duration::from_secs(1);

tokio::task_local! {
    static ACTOR: Actor;
}

/// Does something on somebody's behalf: what is recorded of it in the audit log
/// bears all that is known of them.
///
/// It does not reach tasks that are spawned meanwhile: wrap those too.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use taskq::admin::{self, Actor};
/// # async fn f(client: Client) -> taskq::Result<()> {
/// let ada = Actor::new("ada").via("console").address("192.0.2.1");
/// admin::acting_as(ada, admin::queues::pause(&client, "email", "ada", None)).await?;
/// # Ok(()) }
/// ```
pub async fn acting_as<F: Future>(actor: Actor, what: F) -> F::Output {
    ACTOR.scope(actor, what).await
}

/// On whose behalf this is done, if it is on somebody's.
#[must_use]
pub fn acting() -> Option<Actor> {
    ACTOR.try_with(Clone::clone).ok()
}

/// Tells of what an operator did, and records it.
pub(crate) async fn act(broker: &dyn Broker, event: Event) {
    let entry = AuditEntry::of(&event, acting());
    // Told first: a program that ends when this is recorded has told it by then.
    tell(broker, event).await;
    record(broker, entry).await;
}

/// Tells what was done, and waits until it is on its way.
async fn tell(broker: &dyn Broker, event: Event) {
    broker.tell(event);
    // There may be no connection: then it is told when there is one again.
    let _ = tokio::time::timeout(PATIENCE, broker.told()).await;
}

/// The same of what a producer or a worker can do too: recorded where it is done
/// on somebody's behalf.
pub(crate) async fn act_if_acting(broker: &dyn Broker, event: Event) {
    match acting() {
        Some(_) => act(broker, event).await,
        None => tell(broker, event).await,
    }
}

/// Records what was done. It is done: that it cannot be recorded is told loudly,
/// and undoes nothing.
async fn record(broker: &dyn Broker, entry: AuditEntry) {
    let Err(error) = broker.record_action(&entry).await else {
        return;
    };
    if error.kind() == ErrorKind::PermissionDenied {
        tracing::warn!(target: "taskq::audit", "not in the audit log: {error}");
    } else {
        let entry = String::from_utf8(entry.encode()).unwrap_or_default();
        tracing::error!(target: "taskq::audit", entry, "not in the audit log: {error}");
    }
}
