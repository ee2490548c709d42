//! What tasks say: how far they are, and lines for the record.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::broker::{Broker, Leases};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, EventKind, Hidden};
use crate::task::{Attempt, Step, Voice};

/// At most so often an attempt's progress is told.
const BETWEEN_STEPS: Duration = Duration::from_millis(100);
/// The most bytes of an attempt's log that the outcome keeps.
const LONGEST_LOG: usize = 16 * 1024;
/// The most bytes of a line that is told as an event.
const LONGEST_LINE: usize = 4 * 1024;
/// How long a checkpoint is kept after the last: as long as an outcome.
const KEEP_CHECKPOINTS: Duration = Duration::from_secs(3 * 24 * 3600);
/// How many lines an attempt may tell at once, and how many a second.
const LINES_AT_ONCE: f64 = 100.0;
const LINES_A_SECOND: f64 = 20.0;

/// Passes on what the tasks of a worker say, as long as it counts.
#[derive(Debug)]
pub(super) struct Speaker {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) leases: Arc<Leases>,
}

impl Speaker {
    /// Whether what an attempt says still counts.
    fn counts(&self, attempt: &Attempt, now: Instant) -> bool {
        !attempt.over.load(Ordering::Acquire) && self.leases.is_held(attempt.lease, now)
    }

    /// An event of an attempt.
    pub(super) fn event(&self, attempt: &Attempt, kind: EventKind) -> Event {
        let at = self.broker.now();
        Event::of(kind, at, &attempt.id, attempt.task, &attempt.queue)
            .on(&attempt.worker, attempt.number)
            .traced(attempt.trace_id())
    }

    /// An event of an attempt, with what the task is found by.
    pub(super) fn whole(&self, attempt: &Attempt, kind: EventKind) -> Event {
        self.event(attempt, kind)
            .whole(&attempt.labels, &attempt.kept)
    }

    fn tell_step(&self, attempt: &Attempt, step: Step) {
        let mut event = self
            .event(attempt, EventKind::Progress)
            .with("done", step.done)
            .with("total", step.total);
        if !step.message.is_empty() {
            let message = match Hidden::of(&attempt.labels) {
                Hidden::All => Hidden::All.text("").to_owned(),
                _ => step.message,
            };
            event = event.with("message", message);
        }
        self.broker.tell(event);
    }

    /// Tells the step that an attempt kept, if it has one.
    pub(super) fn tell_kept(&self, attempt: &Attempt, now: Instant) {
        if attempt.said.get().is_none() {
            return;
        }
        let kept = {
            let mut said = attempt.said();
            if said.step.is_some() {
                said.step_told = Some(now);
            }
            said.step.take()
        };
        if let Some(step) = kept.filter(|_| self.counts(attempt, now)) {
            self.tell_step(attempt, step);
        }
    }

    /// Tells that an attempt has started, unless that is told.
    pub(super) fn tell_start(&self, attempt: &Attempt) {
        if !attempt.start_told.swap(true, Ordering::AcqRel) {
            let mut event = self.whole(attempt, EventKind::Started);
            event.at = attempt.started_at;
            self.broker.tell(event);
        }
    }
}

impl Voice for Speaker {
    fn progress(&self, attempt: &Attempt, step: Step) {
        let now = Instant::now();
        if !self.counts(attempt, now) {
            return;
        }
        {
            let mut said = attempt.said();
            if said
                .step_told
                .is_some_and(|told| now - told < BETWEEN_STEPS)
            {
                said.step = Some(step);
                return;
            }
            said.step_told = Some(now);
            said.step = None;
        }
        self.tell_step(attempt, step);
    }

    fn log(&self, attempt: &Attempt, line: &str) {
        let now = Instant::now();
        if !self.counts(attempt, now) {
            return;
        }
        let tell = {
            let mut said = attempt.said();
            if said.log.len() + line.len() < LONGEST_LOG {
                said.log.push_str(line);
                said.log.push('\n');
            } else if !said.log_is_cut {
                said.log_is_cut = true;
                said.log.push_str("... (more was said)\n");
            }
            let (mut left, since) = said.lines.unwrap_or((LINES_AT_ONCE, now));
            left = (left + (now - since).as_secs_f64() * LINES_A_SECOND).min(LINES_AT_ONCE);
            let tell = left >= 1.0;
            said.lines = Some((if tell { left - 1.0 } else { left }, now));
            tell
        };
        if tell {
            let mut end = line.len().min(LONGEST_LINE);
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            let event = self.event(attempt, EventKind::Log);
            let line = Hidden::of(&attempt.labels).text(&line[..end]).to_owned();
            self.broker.tell(event.with("message", line));
        }
    }

    fn kept<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<(u64, Option<Bytes>)>> {
        Box::pin(async move {
            let note = self.broker.note(&checkpoint(attempt)).await?;
            Ok((note.revision, note.body))
        })
    }

    fn keep<'a>(
        &'a self,
        attempt: &'a Attempt,
        body: Bytes,
        expected: u64,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            if !self.counts(attempt, Instant::now()) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "this attempt of task {} has lost its lease or its time is over: what it \
                         does no longer counts",
                        attempt.id
                    ),
                ));
            }
            let key = checkpoint(attempt);
            let keep = Some(KEEP_CHECKPOINTS);
            self.broker.write_note(&key, body, expected, keep).await
        })
    }
}

/// Where a task's checkpoint is.
fn checkpoint(attempt: &Attempt) -> String {
    format!("checkpoint.{}", attempt.id)
}
