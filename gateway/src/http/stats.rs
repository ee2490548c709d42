//! `/v1/stats`: the totals, on one page.

use std::sync::Arc;

use axum::extract::State;
use taskq::{Timestamp, admin};

use super::Shared;
use super::extract::{Json, Params};
use super::problem::{Answer, Problems};
use super::views::{Counted, LastHour, Stats, Totals, WorkerTotals};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// The totals: queues, workers, what has ended in the last hour and how fast,
/// and how far the index is.
#[utoipa::path(
    get, path = "/v1/stats", tag = "stats",
    responses(
        (status = 200, body = Stats, description = "The numbers"),
        Problems,
    )
)]
pub(crate) async fn stats(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Answer<Json<Stats>> {
    params.end()?;
    let now = Timestamp::now().as_millis();
    let (hour, minute) = (
        Timestamp::from_millis(now - HOUR),
        Timestamp::from_millis(now - MINUTE),
    );
    let (queues, workers) =
        futures::try_join!(shared.client.queues(), admin::workers(&shared.client))?;
    let (counts, recent) =
        futures::try_join!(shared.index.counts(), shared.index.recent(hour, minute))?;
    let total: u64 = recent.states.values().sum();
    Ok(Json(Stats {
        totals: Totals {
            queues: queues.len(),
            pending: queues.iter().map(|queue| queue.pending).sum(),
            running: queues.iter().map(|queue| queue.running).sum(),
            scheduled: queues.iter().map(|queue| queue.scheduled).sum(),
        },
        workers: WorkerTotals {
            count: workers.len(),
            slots: workers.iter().map(|worker| worker.concurrency).sum(),
        },
        last_hour: LastHour {
            total,
            // Numbers of tasks, and not so many that a float would miss one.
            per_second: total as f64 / 3600.0,
            per_second_now: recent.latest as f64 / 60.0,
            states: recent.states,
        },
        queues: queues.into_iter().map(Into::into).collect(),
        ended: Counted {
            states: counts.states,
            queues: counts.queues,
            tasks: counts.tasks,
        },
        index: shared.follower.lag().into_iter().map(Into::into).collect(),
    }))
}
