//! Doing what operators wish of this worker.
//!
//! The wishes come on a subject of the worker's own, and not by its service:
//! that ends when the worker begins to drain, so that it is found no more, and
//! one that drains can still be told to stop.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::detail::Describe;
use super::{Worker, WorkerState, WorkerStats};
use crate::admin::{WishAnswer, WorkerWish};
use crate::broker::api;

/// A server that lives has heard a worker within this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an operator has bidden this worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bidden {
    /// Nothing.
    #[default]
    Run,
    /// To take nothing new.
    Quiet,
    /// To end when nothing runs any more, or after this grace; after its own
    /// if there is none.
    Drain(Option<Duration>),
    /// To end at once.
    Stop,
}

/// What an operator has bidden, as it changes.
#[derive(Debug, Default)]
pub(super) struct Control(watch::Sender<Bidden>);

impl Control {
    pub(super) fn bidden(&self) -> Bidden {
        *self.0.borrow()
    }

    /// Waits until something else is bidden than this.
    pub(super) async fn other_than(&self, known: Bidden) {
        // The sender is this, so it does not go.
        let _ = self.0.subscribe().wait_for(|bidden| *bidden != known).await;
    }

    /// Waits for the end of all grace.
    pub(super) async fn stop(&self) {
        let _ = self
            .0
            .subscribe()
            .wait_for(|bidden| *bidden == Bidden::Stop)
            .await;
    }

    /// Does what is wished; what is ending does not go on.
    fn bid(&self, wish: WorkerWish, stats: &WorkerStats) -> WishAnswer {
        let before = stats.state();
        let ending = matches!(before, WorkerState::Draining | WorkerState::Stopped)
            || matches!(self.bidden(), Bidden::Drain(_) | Bidden::Stop);
        let (bidden, after) = match wish {
            WorkerWish::Quiet => (Bidden::Quiet, WorkerState::Quiet),
            WorkerWish::Resume => (Bidden::Run, WorkerState::Running),
            WorkerWish::Drain { grace } => (Bidden::Drain(grace), WorkerState::Draining),
            WorkerWish::Stop => (Bidden::Stop, WorkerState::Draining),
        };
        let refused = ending && matches!(wish, WorkerWish::Quiet | WorkerWish::Resume);
        if !refused {
            self.0.send_if_modified(|now| {
                let changed = *now != bidden && *now != Bidden::Stop;
                if changed {
                    *now = bidden;
                }
                changed
            });
        }
        WishAnswer {
            before: before.as_str().to_owned(),
            after: if refused { before } else { after }.as_str().to_owned(),
            refused: refused.then(|| "it is stopping, and does not go on".to_owned()),
        }
    }
}

/// Goes on until it is dropped.
pub(super) struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens to wishes, and to who asks how this worker does. Not at all where
/// there is no NATS, or it refuses.
pub(super) async fn listen(
    worker: &Worker,
    control: &Arc<Control>,
    describe: Describe,
) -> Option<Listening> {
    let nats = worker.client.0.broker.nats()?.clone();
    let names = &worker.client.0.namespace;
    let subscribed = futures::try_join!(
        nats.subscribe(names.control(&worker.name)),
        nats.subscribe(names.worker_detail(&worker.name)),
        nats.subscribe(names.all_details()),
    );
    let (mut wishes, mut own, mut all) = match subscribed {
        Ok(subscribed) => subscribed,
        Err(error) => {
            tracing::warn!("`taskq workers` cannot reach this worker: {error}");
            return None;
        }
    };
    heard(worker, &nats).await;
    let (control, stats) = (Arc::clone(control), worker.stats());
    Some(Listening(tokio::spawn(async move {
        loop {
            let (reply, answer) = tokio::select! {
                Some(message) = wishes.next() => {
                    let answer = match serde_json::from_slice(&message.payload) {
                        Ok(wish) => {
                            let answer = control.bid(wish, &stats);
                            tracing::info!(
                                wish = wish.as_str(),
                                refused = answer.refused,
                                "an operator's wish: {} -> {}",
                                answer.before,
                                answer.after
                            );
                            serde_json::to_vec(&answer)
                        }
                        Err(error) => {
                            let refused = format!("it does not know this wish: {error}");
                            serde_json::to_vec(&json!({
                                "before": stats.state().as_str(),
                                "after": stats.state().as_str(),
                                "refused": refused,
                            }))
                        }
                    };
                    (message.reply, answer)
                }
                Some(message) = own.next() => {
                    (message.reply, serde_json::to_vec(&describe.detail(true)))
                }
                Some(message) = all.next() => {
                    (message.reply, serde_json::to_vec(&describe.detail(false)))
                }
                else => return,
            };
            // Texts, numbers and times only: this does not fail. Who asked
            // may be gone.
            if let (Some(reply), Ok(answer)) = (reply, answer) {
                let _ = nats.publish(reply, answer.into()).await;
            }
        }
    })))
}

/// Waits until the server knows all that was subscribed to before: until it
/// does, it says for the worker that nobody is there. Its answer to a question
/// comes after that, whatever the answer is.
async fn heard(worker: &Worker, nats: &async_nats::Client) {
    let asked = nats.request(api::INFO, "".into());
    let answered = async {
        match worker.client.0.broker.denials() {
            Some(denials) => drop(denials.or_denied(&[api::INFO], asked).await),
            None => drop(asked.await),
        }
    };
    if tokio::time::timeout(PATIENCE, answered).await.is_err() {
        tracing::warn!("NATS is slow to hear how this worker is reached");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_goes_quiet_and_on_again_and_what_ends_does_not_go_on() {
        let (control, stats) = (Control::default(), WorkerStats::default());
        stats.set_state(WorkerState::Running);
        let answer = control.bid(WorkerWish::Quiet, &stats);
        assert_eq!(
            (answer.before.as_str(), answer.after.as_str()),
            ("running", "quiet")
        );
        assert_eq!(control.bidden(), Bidden::Quiet);
        control.bid(WorkerWish::Resume, &stats);
        assert_eq!(control.bidden(), Bidden::Run);

        control.bid(WorkerWish::Drain { grace: None }, &stats);
        let refused = control.bid(WorkerWish::Resume, &stats);
        assert!(refused.refused.is_some());
        assert_eq!(control.bidden(), Bidden::Drain(None));
        assert!(control.bid(WorkerWish::Stop, &stats).refused.is_none());
        control.bid(WorkerWish::Drain { grace: None }, &stats);
        assert_eq!(control.bidden(), Bidden::Stop);
    }
}
