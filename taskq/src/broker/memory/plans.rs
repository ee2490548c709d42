//! Plans in memory.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::{self, BoxStream, StreamExt as _};

use super::govern::FULL_PAUSE;
use super::{EndNumber, Memory, Message, Store};
use crate::broker::{Plan, PlanName, PlanQuery, Plans, Replan, Status};
use crate::error::Result;
use crate::message::TaskId;
use crate::time::Timestamp;

/// The key of a plan in the store.
type At = (Timestamp, u64);

/// How long what a worker gave back is left to the others.
const COURTESY: Duration = Duration::from_millis(50);

impl Store {
    pub(super) fn plan(&mut self, message: Message, due: Timestamp) -> At {
        let id = message.publication.id.clone();
        self.live.insert(id, Status::Scheduled);
        self.planned_count += 1;
        let at = (due, self.planned_count);
        self.planned.insert(at, message);
        at
    }

    /// Takes back what a worker had.
    pub(super) fn give_back(&mut self, message: Message, delay: Duration) {
        if delay.is_zero() {
            self.line_up(message, true);
        } else {
            // It is on its way back, not put off by its sender.
            let due = Timestamp::now().plus(delay);
            self.plan(message, due);
        }
    }

    /// Moves to its queue what is due for the one who asks, if it is a
    /// worker's end; tells when the next will be.
    pub(super) fn promote(&mut self, now: Timestamp, who: Option<EndNumber>) -> Option<Timestamp> {
        // Who wakes first would have it each time: it may never come to the
        // only worker that knows its task.
        let due = |(at, message): (&At, &Message)| match message.passed_by {
            Some(by) if who.is_none_or(|who| who == by) => at.0.plus(COURTESY),
            _ => at.0,
        };
        let so_far = self.planned.range(..=(now, u64::MAX));
        let ready: Vec<At> = so_far
            .filter(|entry| due(*entry) <= now)
            .map(|(at, _)| *at)
            .collect();
        for at in ready {
            let message = self.planned.remove(&at);
            if let Some(message) = message {
                self.fall_due(message, now);
            }
        }
        let first = self.planned.first_key_value()?;
        let last = (first.0.0.plus(COURTESY), u64::MAX);
        self.planned.range(..=last).map(due).min()
    }

    fn fall_due(&mut self, mut message: Message, now: Timestamp) {
        if self.is_full(&message.publication.queue, 1) {
            self.plan(message, now.plus(FULL_PAUSE));
            return;
        }
        let publication = &mut message.publication;
        publication.due = None;
        if let Some(key) = publication.id.burst() {
            // What has fallen due is no burst's plan any more.
            let key = burst(&publication.queue, &publication.task, key);
            if self
                .bursts
                .get(&key)
                .is_some_and(|at| !self.planned.contains_key(at))
            {
                self.bursts.remove(&key);
            }
        }
        self.line_up(message, false);
    }

    /// What was put off by its sender or for a retry; what is merely on its
    /// way back to its queue is no plan.
    fn is_plan(message: &Message) -> bool {
        message.publication.due.is_some()
    }

    fn plan_of(&self, id: &TaskId) -> Option<(At, &Message)> {
        if self.live.get(id) != Some(&Status::Scheduled) {
            return None;
        }
        let found = self
            .planned
            .iter()
            .find(|(_, message)| message.publication.id == *id && Self::is_plan(message));
        found.map(|(at, message)| (*at, message))
    }

    fn plan_of_burst(&self, burst: &str) -> Option<(At, &Message)> {
        let at = *self.bursts.get(burst)?;
        // A number is given once, so what is there is the burst's.
        Some((at, self.planned.get(&at)?))
    }
}

/// What a burst is kept under.
pub(super) fn burst(queue: &str, task: &str, key: &str) -> String {
    format!("{queue} {task} {key}")
}

fn plan(store: &Store, at: At, message: &Message) -> Plan {
    let publication = &message.publication;
    let (queue, task) = (&publication.queue, &publication.task);
    // A retry of a burst's run is no burst's plan.
    let key = publication
        .id
        .burst()
        .filter(|key| store.bursts.get(&burst(queue, task, key)) == Some(&at));
    Plan {
        id: publication.id.clone(),
        task: publication.task.clone(),
        queue: publication.queue.clone(),
        priority: publication.priority,
        due: at.0,
        stored_at: message.stored_at,
        body: publication.body.clone(),
        burst: key.map(str::to_owned),
        revision: at.1,
    }
}

impl Plans for Arc<Memory> {
    fn plans(&self, query: PlanQuery) -> BoxFuture<'_, Result<BoxStream<'static, Result<Plan>>>> {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|it| it == is);
        let mut store = self.store();
        store.promote(Timestamp::now(), None);
        let mut plans: Vec<Plan> = store
            .planned
            .iter()
            .filter(|(_, message)| {
                let publication = &message.publication;
                Store::is_plan(message)
                    && is(&query.queue, &publication.queue)
                    && is(&query.task, &publication.task)
            })
            .map(|(at, message)| plan(&store, *at, message))
            .filter(|plan| plan.revision > query.after)
            .collect();
        plans.sort_unstable_by_key(|plan| plan.revision);
        ready(Ok(stream::iter(plans).map(Ok).boxed())).boxed()
    }

    fn plan<'a>(&'a self, name: PlanName<'a>) -> BoxFuture<'a, Result<Option<Plan>>> {
        let mut store = self.store();
        store.promote(Timestamp::now(), None);
        let found = match name {
            PlanName::Task(id) => store.plan_of(id),
            PlanName::Burst { queue, task, key } => store.plan_of_burst(&burst(queue, task, key)),
        };
        let found = found.map(|(at, message)| plan(&store, at, message));
        ready(Ok(found)).boxed()
    }

    fn is_falling_due<'a>(&'a self, _: &'a TaskId) -> BoxFuture<'a, Result<bool>> {
        ready(Ok(false)).boxed()
    }

    fn replan(&self, replan: Replan) -> BoxFuture<'_, Result<bool>> {
        let Replan {
            mut publication,
            burst: key,
            revision,
            release,
        } = replan;
        let now = Timestamp::now();
        let mut store = self.store();
        store.promote(now, None);
        let key = key.map(|key| burst(&publication.queue, &publication.task, &key));
        let at = match &key {
            Some(key) => store.plan_of_burst(key),
            None => store.plan_of(&publication.id),
        }
        .map(|(at, _)| at);
        if at.map_or(0, |at| at.1) != revision {
            return ready(Ok(false)).boxed();
        }
        if let Some(at) = at {
            store.planned.remove(&at);
        }
        if release {
            publication.due = None;
        }
        let entered = store.enter(publication, now);
        if let Some(key) = key {
            match entered {
                Some(at) => store.bursts.insert(key, at),
                None => store.bursts.remove(&key),
            };
        }
        drop(store);
        self.changed.notify_waiters();
        ready(Ok(true)).boxed()
    }
}
