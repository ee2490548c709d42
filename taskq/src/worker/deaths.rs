//! What is known of the workers that died while they ran a message.

use std::time::Duration;

use futures::StreamExt as _;

use super::execute::{Executor, Incoming, enqueued_at};
use crate::broker::{EventQuery, EventScope};
use crate::message::{Crash, EventKind, Journal, TaskId, WorkerDeath};
use crate::time::Timestamp;

/// How long the look for evidence may take: a letter without it is better than
/// none.
const PATIENCE: Duration = Duration::from_secs(2);
/// How far the clocks of those who tell may be apart, in milliseconds.
const SKEW_MS: i64 = 600_000;
/// So many deaths are looked through.
const MOST_DEATHS: usize = 2000;

impl Executor {
    /// The workers that died while they ran a message: those that wrote it down
    /// before, and those of which a pool did afterwards.
    pub(super) async fn crashes(&self, incoming: &Incoming) -> Vec<Crash> {
        let looking = tokio::time::timeout(PATIENCE, self.deaths(incoming));
        let deaths = looking.await.unwrap_or_default();
        crashes(&incoming.journal, &incoming.message.id, deaths)
    }

    /// The deaths that pools have told of since the message was sent.
    async fn deaths(&self, incoming: &Incoming) -> Vec<WorkerDeath> {
        let sent = enqueued_at(&incoming.message.labels, incoming.delivery.stored_at);
        let query = EventQuery {
            scope: EventScope {
                kinds: vec![EventKind::WorkerDied],
                ..EventScope::default()
            },
            since: Some(Timestamp::from_millis(
                sent.as_millis().saturating_sub(SKEW_MS),
            )),
            follow: false,
        };
        let told = match self.client.0.broker.events(query).await {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!("no evidence of deaths is looked up: {error}");
                return Vec::new();
            }
        };
        let deaths = told
            .take(MOST_DEATHS)
            .filter_map(async |event| WorkerDeath::of(&event.ok()?));
        deaths.collect().await
    }
}

/// The starts that neither ended nor were handed back, with what is known of
/// their ends; and the deaths of workers that ran the message and had not
/// written it down, as at its first delivery none does.
fn crashes(journal: &Journal, id: &TaskId, deaths: Vec<WorkerDeath>) -> Vec<Crash> {
    let (known, unknown): (Vec<_>, Vec<_>) = deaths.into_iter().partition(|death| {
        let starts = &journal.starts;
        starts.iter().any(|start| start.worker == death.worker)
    });
    let written = journal.starts.iter().map(|start| {
        let death = known.iter().find(|death| death.worker == start.worker);
        Crash {
            worker: start.worker.clone(),
            started_at: start.at,
            death: death.cloned().map(without_tasks),
        }
    });
    let seen = unknown.into_iter().filter_map(|death| {
        let since = death.ran(id)?.since;
        Some(Crash {
            worker: death.worker.clone(),
            started_at: since,
            death: Some(without_tasks(death)),
        })
    });
    let mut crashes: Vec<Crash> = seen.chain(written).collect();
    crashes.sort_by_key(|crash| crash.started_at);
    crashes
}

/// A letter is of one task; its neighbours are in the event.
fn without_tasks(death: WorkerDeath) -> WorkerDeath {
    WorkerDeath {
        running: Vec::new(),
        ..death
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RunningTask;

    fn death(worker: &str, ran: &[&str], at: i64) -> WorkerDeath {
        let at = Timestamp::from_millis(at);
        let running = |id: &&str| RunningTask::new((*id).into(), "t", "default", 1, at);
        WorkerDeath {
            worker: worker.to_owned(),
            at,
            pool: "p".to_owned(),
            host: None,
            process: 1,
            lived_ms: 1,
            code: None,
            signal: Some(9),
            signal_name: None,
            out_of_memory: false,
            peak_memory_bytes: None,
            running: ran.iter().map(running).collect(),
            log: Vec::new(),
        }
    }

    #[test]
    fn a_letter_has_each_death_once_the_first_delivery_s_too() {
        let mut journal = Journal::default().for_base(1);
        journal.start(2, "second", Timestamp::from_millis(20), false);
        journal.start(3, "third", Timestamp::from_millis(30), true);
        let deaths = vec![
            death("first", &["poison", "other"], 10),
            death("neighbour", &["other"], 15),
            death("second", &["poison"], 25),
        ];
        let found = crashes(&journal, &"poison".into(), deaths);
        let told: Vec<_> = found
            .iter()
            .map(|crash| (crash.worker.as_str(), crash.death.is_some()))
            .collect();
        assert_eq!(told, [("first", true), ("second", true), ("third", false)]);
        assert!(found[0].death.as_ref().unwrap().running.is_empty());
    }
}
