//! Messages that may have killed the workers that ran them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::execute::{Executor, Incoming};
use crate::message::{Journal, TaskId};

/// A suspect that has lived for so many leases has company from then on:
/// others must not wait for it for ever.
const PROBATION: u32 = 5;

/// The suspects that run here.
#[derive(Default)]
pub(super) struct Suspects(Mutex<HashMap<u64, Suspect>>);

struct Suspect {
    id: TaskId,
    since: Instant,
    /// What is written down of it; none until it is.
    journal: Option<Journal>,
}

/// A suspect's place, until it has ended.
pub(super) struct Place<'a> {
    suspects: &'a Suspects,
    lease: u64,
    /// Whether it has no company.
    pub(super) alone: bool,
}

impl Suspects {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, Suspect>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more; none while another is on probation. Those that
    /// have company from now on have it written down first.
    pub(super) async fn enter<'a>(
        &'a self,
        executor: &Executor,
        incoming: &Incoming,
    ) -> Option<Place<'a>> {
        let lease = incoming.delivery.receipt.lease;
        let now = Instant::now();
        let probation = executor.leases.term() * PROBATION;
        let (place, joined) = {
            let mut all = self.all();
            let on_probation = |it: &Suspect| now.saturating_duration_since(it.since) < probation;
            if all.values().any(on_probation) {
                return None;
            }
            let joined: Vec<(TaskId, Journal)> = all
                .values_mut()
                .filter_map(|it| {
                    let journal = it.journal.as_mut()?;
                    journal.join();
                    Some((it.id.clone(), journal.clone()))
                })
                .collect();
            let alone = all.is_empty();
            let suspect = Suspect {
                id: incoming.message.id.clone(),
                since: now,
                journal: None,
            };
            all.insert(lease, suspect);
            let place = Place {
                suspects: self,
                lease,
                alone,
            };
            (place, joined)
        };
        for (id, journal) in joined {
            if let Err(error) = executor.client.0.broker.write_journal(&id, &journal).await {
                // This one waits; the others are alone for as long.
                tracing::debug!(task_id = %id, "{error}");
                return None;
            }
        }
        Some(place)
    }
}

impl Place<'_> {
    /// What is written down of it.
    pub(super) fn written(&self, journal: &Journal) {
        if let Some(suspect) = self.suspects.all().get_mut(&self.lease) {
            suspect.journal = Some(journal.clone());
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.suspects.all().remove(&self.lease);
    }
}
