//! Telling who asks what this worker does with a task.

use std::sync::Arc;

use super::execute::Executor;
use super::slots::Slots;
use crate::broker::{Answering, Finder, Holder};
use crate::message::{TaskId, TaskMessage};
use crate::time::Timestamp;

impl Executor {
    /// What this worker does with a task; none if it does not have it.
    fn holder(&self, slots: &Slots, id: &TaskId) -> Option<Holder> {
        let now = self.client.0.broker.now();
        let active = self.active();
        let found = active.values().find(|active| active.attempt.id == *id);
        if let Some(active) = found {
            let ran = i64::try_from(active.since.elapsed().as_millis()).unwrap_or(i64::MAX);
            return Some(Holder {
                worker: self.worker.to_string(),
                attempt: active.attempt.number,
                since: Some(Timestamp::from_millis(now.as_millis().saturating_sub(ran))),
                waits: None,
                stopping: active.wish.is_some(),
            });
        }
        drop(active);
        // Asked for seldom, and by people: to read what waits is no loss.
        let is_it = |body: &[u8]| TaskMessage::decode(body).is_ok_and(|message| message.id == *id);
        let here = slots.waits_for(|delivery| is_it(&delivery.body));
        let waits = here.or_else(|| self.rules.waits_for(is_it));
        waits.map(|waits_for| Holder {
            worker: self.worker.to_string(),
            attempt: 0,
            since: None,
            waits: Some(waits_for.to_owned()),
            stopping: false,
        })
    }
}

/// Answers for a worker until what comes back is dropped; not at all, should
/// the broker refuse.
pub(super) async fn answer(executor: &Arc<Executor>, slots: &Arc<Slots>) -> Option<Answering> {
    let broker = Arc::clone(&executor.client.0.broker);
    let (executor, slots) = (Arc::downgrade(executor), Arc::clone(slots));
    let finder: Finder = Arc::new(move |id| executor.upgrade()?.holder(&slots, id));
    match broker.answer(finder).await {
        Ok(answering) => Some(answering),
        Err(error) => {
            tracing::warn!("`taskq explain` cannot ask this worker: {error}");
            None
        }
    }
}
