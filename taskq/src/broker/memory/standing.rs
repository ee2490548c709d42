//! Where a task stands, in memory.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::operate::task;
use super::{Memory, Store};
use crate::broker::names::PRIORITIES;
use crate::broker::standing::{Answering, Finder, Holder, Locate, Standing};
use crate::error::Result;
use crate::message::{Outcome, TaskId};
use crate::time::Timestamp;

type Find = dyn Fn(&TaskId) -> Option<Holder> + Send + Sync;

/// The workers of this memory, as long as they live.
#[derive(Default)]
pub(super) struct Finders(Mutex<Vec<Weak<Find>>>);

impl fmt::Debug for Finders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Finders")
    }
}

impl Finders {
    fn add(&self, finder: &Finder) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(finder));
    }

    fn find(&self, id: &TaskId) -> Option<Holder> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let living: Vec<Finder> = all.iter().filter_map(Weak::upgrade).collect();
        drop(all);
        living.iter().find_map(|finder| finder(id))
    }
}

impl Store {
    fn standing(&self, id: &TaskId) -> Standing {
        let planned = self.planned.iter();
        if let Some(((due, _), message)) = planned
            .clone()
            .find(|(_, message)| message.publication.id == *id)
        {
            return Standing::Planned {
                task: task(message),
                due: Some(*due),
            };
        }
        if let Some(message) = self.running.values().find(|it| it.publication.id == *id) {
            return Standing::Given {
                task: task(message),
                lease: Duration::MAX,
            };
        }
        for ((queue, priority), lane) in &self.ready {
            let Some(place) = lane.iter().position(|it| it.publication.id == *id) else {
                continue;
            };
            let urgent = PRIORITIES.into_iter().take_while(|other| other != priority);
            let waiting = urgent.filter_map(|other| {
                let waiting = self.ready.get(&(queue.clone(), other))?.len();
                (waiting > 0).then_some((other, waiting as u64))
            });
            return Standing::Waiting {
                task: task(&lane[place]),
                priority: *priority,
                ahead: place as u64,
                urgent: waiting.collect(),
            };
        }
        self.held_standing(id).unwrap_or(Standing::Unknown)
    }
}

impl Locate for Arc<Memory> {
    fn standing<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Standing>> {
        let now = Timestamp::now();
        let mut store = self.store();
        store.promote(now, None);
        let standing = match store.outcome(id, now).map(|body| Outcome::decode(body)) {
            Some(outcome) => outcome.map(|outcome| Standing::Ended(Box::new(outcome))),
            None => Ok(store.standing(id)),
        };
        drop(store);
        ready(standing).boxed()
    }

    fn holder<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Option<Holder>>> {
        ready(Ok(self.finders.find(id))).boxed()
    }

    fn answer(&self, finder: Finder) -> BoxFuture<'_, Result<Answering>> {
        self.finders.add(&finder);
        ready(Ok(Box::new(finder) as Answering)).boxed()
    }
}
