//! From a filter to the tasks: what has begun or ended is in the index, what
//! waits in its queue, what is put off in the plan.

use std::collections::HashSet;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value};
use taskq::admin::operations::{BulkAction, MOST};
use taskq::admin::{self, DelayedFilter, QueueFilter};
use taskq::{TaskId, Timestamp};

use super::filter::Filter;
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::tasks::has_label;
use crate::index::{Order, TaskQuery, TaskState};

/// How many are read at once.
const PAGE: usize = 500;

/// The tasks that were found, each once.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pub(super) ids: Vec<TaskId>,
    /// Whether there are more than one operation takes.
    pub(super) more: bool,
    seen: HashSet<TaskId>,
}

impl Selected {
    pub(super) fn of(ids: Vec<String>) -> Self {
        let mut selected = Self::default();
        for id in ids {
            selected.add(id.into());
        }
        selected
    }

    fn add(&mut self, id: TaskId) {
        if !self.seen.insert(id.clone()) {
            return;
        }
        if self.ids.len() < MOST {
            self.ids.push(id);
        } else {
            self.more = true;
        }
    }
}

/// Finds the tasks of a filter to which an action can be done.
pub(super) async fn select(
    shared: &Shared,
    action: BulkAction,
    filter: &Filter,
) -> Answer<Selected> {
    let states = filter.states(action)?;
    let wants = |state: &str| states.contains(&state);
    let mut selected = Selected::default();
    // What ends from now on is not meant.
    let now = Timestamp::now();
    let ends: Vec<TaskState> = known(&states, true);
    if !ends.is_empty() {
        let mut query = query(filter, ends);
        query.until = Some(query.until.map_or(now, |until| until.min(now)));
        if action == BulkAction::Discard {
            query.dead = Some(true);
        }
        of_index(shared, query, &mut selected).await?;
    }
    if action == BulkAction::Cancel {
        let live = known(&states, false);
        if !live.is_empty() {
            of_index(shared, query(filter, live), &mut selected).await?;
        }
        if wants("waiting") && !filter.asks_for_the_past() {
            of_queues(shared, filter, &mut selected).await?;
        }
    }
    let put_off = (wants("scheduled"), wants("retrying"));
    if put_off != (false, false) && !filter.asks_for_the_past() {
        of_plan(shared, filter, put_off, &mut selected).await?;
    }
    Ok(selected)
}

/// Those of the states that the index knows.
fn known(states: &[&str], ends: bool) -> Vec<TaskState> {
    let all = states.iter().filter_map(|state| state.parse().ok());
    all.filter(|state: &TaskState| state.is_end() == ends)
        .collect()
}

fn query(filter: &Filter, states: Vec<TaskState>) -> TaskQuery {
    let pairs = |pairs: &std::collections::BTreeMap<String, String>| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    TaskQuery {
        states,
        task: filter.task.clone(),
        queue: filter.queue.clone(),
        worker: filter.worker.clone(),
        dead: filter.dead,
        since: filter.since,
        until: filter.until,
        key: filter.key.clone(),
        labels: pairs(&filter.label),
        arguments: pairs(&filter.arg),
        error: filter.error.clone(),
        // What ends while it is read comes behind.
        order: Order::Oldest,
        limit: PAGE,
        ..TaskQuery::default()
    }
}

async fn of_index(shared: &Shared, mut query: TaskQuery, selected: &mut Selected) -> Answer<()> {
    while !selected.more {
        let page = shared.index.tasks(query.clone()).await?;
        for task in page.tasks {
            selected.add(task.id.into());
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    Ok(())
}

async fn of_queues(shared: &Shared, filter: &Filter, selected: &mut Selected) -> Answer<()> {
    let queues = match &filter.queue {
        Some(queue) => vec![queue.clone()],
        None => {
            let queues = shared.client.queues().await?.into_iter();
            queues.map(|queue| queue.queue).collect()
        }
    };
    for queue in queues {
        let mut page = QueueFilter::of(queue);
        page.task.clone_from(&filter.task);
        page.most = PAGE;
        while !selected.more {
            let found = match admin::queued(&shared.client, page.clone()).await {
                Ok(found) => found,
                // Nothing was ever sent to it.
                Err(error) if error.kind() == taskq::ErrorKind::NotFound => break,
                Err(error) => return Err(error.into()),
            };
            for task in found.tasks {
                if !task.given && is_meant(filter, task.enqueued_at, &task.labels) {
                    selected.add(task.id);
                }
            }
            match found.next {
                Some(next) => page.after = next,
                None => break,
            }
        }
    }
    Ok(())
}

async fn of_plan(
    shared: &Shared,
    filter: &Filter,
    put_off: (bool, bool),
    selected: &mut Selected,
) -> Answer<()> {
    let delayed = DelayedFilter {
        queue: filter.queue.clone(),
        task: filter.task.clone(),
        retries: match put_off {
            (true, true) => None,
            (_, retries) => Some(retries),
        },
        ..DelayedFilter::default()
    };
    let mut found = admin::delayed(&shared.client, delayed).await?.boxed();
    while let Some(task) = found.try_next().await? {
        if is_meant(filter, task.enqueued_at, &task.labels) {
            selected.add(task.id);
        }
        if selected.more {
            break;
        }
    }
    Ok(())
}

/// Whether a task that has not begun is among those of a filter.
fn is_meant(filter: &Filter, at: Timestamp, labels: &Map<String, Value>) -> bool {
    let mut wanted = filter.label.iter();
    filter.since.is_none_or(|since| at >= since)
        && filter.until.is_none_or(|until| at < until)
        && wanted.all(|(name, wanted)| has_label(labels, name, wanted))
}
