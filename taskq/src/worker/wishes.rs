//! Wishes to cancel, as far as this worker has heard of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;

use super::execute::Executor;
use crate::message::{CancelRequest, Label, Labels, TaskId, labels};

/// A wish is remembered for so long: a message that was on its way to this
/// worker has come by then, and any later delivery looks the wish up.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The wishes that were heard lately.
#[derive(Default)]
pub(super) struct Wishes {
    heard: Mutex<HashMap<TaskId, (CancelRequest, Instant)>>,
    /// Whether there are any, for the many who need to know no more.
    any: AtomicBool,
}

impl Wishes {
    fn heard(&self) -> MutexGuard<'_, HashMap<TaskId, (CancelRequest, Instant)>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Who does not want this task to go on. A wish from before it was sent
    /// again is of its life before.
    pub(super) fn of(&self, id: &TaskId, message: &Labels) -> Option<CancelRequest> {
        if !self.any() {
            return None;
        }
        let resent_at = message.get(labels::RESENT_AT).and_then(Label::as_i64);
        let heard = self.heard();
        let (wish, _) = heard.get(id)?;
        let counts = resent_at.is_none_or(|resent| wish.at.as_millis() >= resent);
        counts.then(|| wish.clone())
    }

    fn hear(&self, wish: CancelRequest, now: Instant) {
        let mut heard = self.heard();
        heard.insert(wish.id.clone(), (wish, now));
        self.any.store(true, Ordering::Release);
    }

    /// Forgets what was heard long ago.
    pub(super) fn tidy(&self, now: Instant) {
        if self.any() {
            let mut heard = self.heard();
            heard.retain(|_, (_, at)| now.saturating_duration_since(*at) < REMEMBERED);
            self.any.store(!heard.is_empty(), Ordering::Release);
        }
    }
}

impl Executor {
    /// A wish was heard.
    pub(super) fn hear(&self, wish: &CancelRequest) {
        self.wishes.hear(wish.clone(), Instant::now());
        self.act_upon(wish);
    }

    /// Stops the task if it runs here. One that listens has its grace; one
    /// that does not is dropped at its next await point.
    pub(super) fn act_upon(&self, wish: &CancelRequest) {
        let mut active = self.active();
        let running = active
            .values_mut()
            .find(|active| active.attempt.id == wish.id && active.wish.is_none());
        let Some(running) = running else {
            return;
        };
        tracing::info!(
            target: "taskq::task",
            task_id = %wish.id,
            task = running.attempt.task,
            by = wish.by,
            "told to stop"
        );
        running.wish = Some(wish.clone());
        let listens = running.attempt.cancelled.get().is_some();
        running.attempt.cancelled().cancel();
        let abort = running.abort.clone();
        if !listens && !running.blocking {
            return abort.abort();
        }
        let grace = self.limits.cancel_grace;
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            abort.abort();
        });
    }

    /// Looks for wishes that were made while there was no connection.
    pub(super) async fn look_for_wishes(&self) {
        let running: Vec<TaskId> = {
            let active = self.active();
            active.values().map(|it| it.attempt.id.clone()).collect()
        };
        futures::stream::iter(running)
            .for_each_concurrent(16, |id| async move {
                // What is missed once more counts at the next delivery.
                if let Ok(history) = self.client.0.broker.history(&id).await
                    && let Some(wish) = history.cancel
                {
                    self.hear(&wish);
                }
            })
            .await;
    }
}
