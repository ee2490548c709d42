//! Going by what is set, in memory. What is set is looked at whenever
//! something is taken in or given out, so there is little to enforce.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::{Memory, Store, operate};
use crate::broker::names::PRIORITIES;
use crate::broker::{Govern, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Label, QueueSettings, TaskMessage, labels};
use crate::policy::{Bucket, Gate};
use crate::time::Timestamp;

/// What has fallen due and finds its queue full tries again after so long.
pub(super) const FULL_PAUSE: Duration = Duration::from_millis(20);

/// In a millisecond, which is as fine as this clock goes.
const NANOS: i64 = 1_000_000;

/// The numbers of the queues' buckets.
#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<String, i64>);

impl Store {
    /// Tells who goes by what is set what that is now.
    pub(super) fn tell_rules(&mut self) {
        let rules = &self.rules;
        self.followers.retain(|(follower, queues)| {
            let follower = follower.upgrade();
            if let Some(follower) = &follower {
                follower.set(rules.of_queues(queues));
            }
            follower.is_some()
        });
    }

    /// How many messages of a queue may start now; and when more may, if the
    /// time alone will tell.
    pub(super) fn places(
        &self,
        queue: &str,
        now: Timestamp,
        room: usize,
    ) -> (usize, Option<Timestamp>) {
        let Some(settings) = self.rules.queues.get(queue) else {
            return (room, None);
        };
        if settings.paused.is_some() {
            return (0, None);
        }
        let mut places = room;
        if let Some(most) = settings.concurrency {
            let running = super::count(self.running.values(), queue);
            places = places.min((u64::from(most).saturating_sub(running)) as usize);
        }
        let Some(rate) = settings.rate else {
            return (places, None);
        };
        let bucket = Bucket::new(rate, settings.burst.unwrap_or(1));
        let number = self.buckets.0.get(queue).copied().unwrap_or(0);
        let now = now.as_millis() * NANOS;
        let taken = bucket.take(number, now, now + NANOS - 1, places);
        let next = Timestamp::from_millis((taken.next + NANOS - 1) / NANOS);
        (taken.starts.len(), Some(next))
    }

    /// So many of a queue start now.
    pub(super) fn spend(&mut self, queue: &str, now: Timestamp, count: usize) {
        let settings = self.rules.queues.get(queue);
        if let Some(rate) = settings.and_then(|settings| settings.rate) {
            let burst = settings.and_then(|settings| settings.burst);
            let bucket = Bucket::new(rate, burst.unwrap_or(1));
            let now = now.as_millis() * NANOS;
            let number = self.buckets.0.entry(queue.to_owned()).or_default();
            *number = bucket.take(*number, now, now + NANOS - 1, count).number;
        }
    }

    /// Whether a queue has all the messages that it may have, or would with
    /// so many more.
    pub(super) fn is_full(&self, queue: &str, more: usize) -> bool {
        let settings = self.rules.queues.get(queue);
        let Some(most) = settings.and_then(|settings| settings.max_backlog) else {
            return false;
        };
        let waiting: usize = PRIORITIES
            .iter()
            .filter_map(|priority| self.ready.get(&(queue.to_owned(), *priority)))
            .map(std::collections::VecDeque::len)
            .sum();
        let running = super::count(self.running.values(), queue);
        let waiting = waiting as u64 + self.held(queue);
        waiting + running + more as u64 > most
    }

    /// The error of what finds its queue full.
    pub(super) fn full(&self, what: &str, queue: &str) -> Error {
        let settings = self.rules.queues.get(queue);
        let most = settings.and_then(|settings| settings.max_backlog);
        Error::new(
            ErrorKind::QueueFull,
            crate::broker::full_queue(what, queue, most),
        )
    }
}

impl Govern for Arc<Memory> {
    fn enforce<'a>(&'a self, _: &'a str, _: &'a QueueSettings) -> BoxFuture<'a, Result<()>> {
        self.changed.notify_waiters();
        ready(Ok(())).boxed()
    }

    fn rate_until<'a>(
        &'a self,
        queue: &'a str,
        settings: &'a QueueSettings,
    ) -> BoxFuture<'a, Result<Option<Timestamp>>> {
        let until = settings.rate.and_then(|rate| {
            let bucket = Bucket::new(rate, settings.burst.unwrap_or(1));
            let number = self.store().buckets.0.get(queue).copied().unwrap_or(0);
            let now = Timestamp::now().as_millis() * NANOS;
            bucket.until(number, now)
        });
        ready(Ok(until)).boxed()
    }

    fn hasten<'a>(&'a self, task: &'a str) -> BoxFuture<'a, Result<u64>> {
        let mut store = self.store();
        let aside: Vec<_> = store
            .planned
            .iter()
            .filter(|(_, message)| message.publication.task == task)
            .filter(|(_, message)| is_aside(&message.publication.body))
            .map(|(key, _)| *key)
            .collect();
        for key in &aside {
            if let Some(message) = store.planned.remove(key) {
                store.plan(message, Timestamp::from_millis(0));
            }
        }
        drop(store);
        self.changed.notify_waiters();
        ready(Ok(aside.len() as u64)).boxed()
    }

    fn halt<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        ready(Ok(())).boxed()
    }

    fn waiting<'a>(
        &'a self,
        queue: &'a str,
        _: u64,
    ) -> BoxFuture<'a, Result<(Vec<Task>, Option<u64>)>> {
        let store = self.store();
        let lanes = PRIORITIES.iter().rev();
        let tasks = lanes
            .filter_map(|priority| store.ready.get(&(queue.to_owned(), *priority)))
            .flatten()
            .chain(store.gates.get(queue).into_iter().flat_map(Gate::items))
            .map(operate::task)
            .collect();
        drop(store);
        ready(Ok((tasks, None))).boxed()
    }
}

fn is_aside(body: &[u8]) -> bool {
    let message = TaskMessage::decode(body).ok();
    message.is_some_and(|message| {
        let label = message.labels.get(labels::ASIDE);
        label.and_then(Label::as_str).is_some()
    })
}
