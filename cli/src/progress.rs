//! Waiting for a task, with a look at how far it is.

use std::convert::Infallible;
use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use taskq::{Outcome, Progress, TaskHandle};

use crate::output::one_line;

/// How often a bar without news is drawn, for its clock.
const DRAWN: Duration = Duration::from_millis(250);

/// Waits for a task to end. Where a person looks on, stderr shows how far it
/// is, for as long as it runs.
pub(crate) async fn outcome(
    handle: &TaskHandle<Value>,
    timeout: Duration,
) -> taskq::Result<Outcome> {
    let outcome = handle.outcome_timeout(timeout);
    if !stderr().is_terminal() {
        return outcome.await;
    }
    let bar = Bar::default();
    tokio::select! {
        outcome = outcome => outcome,
        never = bar.follow(handle) => match never {},
    }
}

/// A bar that is there once the task has told something, and is cleared when
/// it is dropped.
#[derive(Default)]
struct Bar(std::cell::OnceCell<ProgressBar>);

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.0.get() {
            bar.finish_and_clear();
        }
    }
}

impl Bar {
    /// Shows what the task tells. Who cannot see it waits all the same.
    async fn follow(&self, handle: &TaskHandle<Value>) -> Infallible {
        match handle.progress().await {
            Ok(steps) => {
                let mut steps = steps.boxed();
                while let Some(step) = steps.next().await {
                    match step {
                        Ok(step) => self.show(&step),
                        Err(error) => tracing::debug!("its progress is not seen: {error}"),
                    }
                }
            }
            Err(error) => tracing::debug!("its progress is not seen: {error}"),
        }
        std::future::pending().await
    }

    fn show(&self, step: &Progress) {
        let bar = self.0.get_or_init(|| {
            let bar = ProgressBar::new(0);
            bar.enable_steady_tick(DRAWN);
            bar
        });
        let template = match step.total {
            0 => "{spinner} {pos}  {elapsed}  {wide_msg}",
            _ => "{bar:40} {pos}/{len}  {elapsed}  {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_length(step.total);
        bar.set_message(one_line(&step.message).into_owned());
        // A later attempt begins anew.
        bar.set_position(step.done);
    }
}
