//! Operators' verbs in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::{broadcast, mpsc};

use super::{Memory, Message, Store};
use crate::broker::{
    Broker as _, Cancelling, EventQuery, LetterQuery, Notice, Operate, Place, Record, Status, Task,
};
use crate::error::Result;
use crate::message::{AuditEntry, CancelRequest, DeadLetter, Event, TaskId};
use crate::policy::Gate;

/// How many events are remembered.
const REMEMBERED: usize = 10_000;

/// What was told, and who listens.
#[derive(Debug)]
pub(super) struct Told {
    past: Mutex<VecDeque<Event>>,
    live: broadcast::Sender<Event>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            past: Mutex::default(),
            live: broadcast::Sender::new(4096),
        }
    }
}

impl Told {
    pub(super) fn tell(&self, event: Event) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Nobody listening is fine.
        let _ = self.live.send(event);
    }

    fn read(&self, query: EventQuery) -> BoxStream<'static, Result<Event>> {
        // Both under the lock, so that nothing is missed or told twice.
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.live.subscribe();
        let EventQuery {
            scope,
            since,
            follow,
        } = query;
        let wanted: Vec<_> = match since {
            Some(since) => past
                .iter()
                .filter(|event| event.at >= since && scope.has(event))
                .cloned()
                .map(Ok)
                .collect(),
            None => Vec::new(),
        };
        drop(past);
        let past = stream::iter(wanted);
        if !follow {
            return past.boxed();
        }
        let live = stream::unfold(live, |mut live| async {
            loop {
                match live.recv().await {
                    Ok(event) => return Some((event, live)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let live = live.filter(move |event| ready(scope.has(event))).map(Ok);
        past.chain(live).boxed()
    }
}

impl Memory {
    pub(super) fn listen_to_wishes(&self) -> mpsc::UnboundedReceiver<Notice> {
        let mut wishes = self.wishes.subscribe();
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let notice = tokio::select! {
                    wish = wishes.recv() => match wish {
                        Ok(request) => Notice::Cancel(request),
                        Err(broadcast::error::RecvError::Lagged(_)) => Notice::Missed,
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                    () = tell.closed() => return,
                };
                if tell.send(notice).is_err() {
                    return;
                }
            }
        });
        told
    }
}

impl Store {
    /// The message of this id that no worker has.
    fn idle(&self, id: &TaskId) -> Option<&Message> {
        let ready = self.ready.values().flatten();
        let held = self.gates.values().flat_map(Gate::items);
        ready
            .chain(held)
            .chain(self.planned.values())
            .find(|message| message.publication.id == *id)
    }
}

pub(super) fn task(message: &Message) -> Task {
    Task {
        id: message.publication.id.clone(),
        queue: message.publication.queue.clone(),
        body: message.publication.body.to_vec(),
        stored_at: message.stored_at,
        place: Place::Memory,
    }
}

impl Operate for Arc<Memory> {
    fn tell(&self, event: Event) {
        self.told.tell(event);
    }

    fn told(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn record_action<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<()>> {
        let mut store = self.store();
        let sequence = store.actions.len() as u64 + 1;
        let entry = AuditEntry {
            sequence,
            ..entry.clone()
        };
        store.actions.push(entry);
        ready(Ok(())).boxed()
    }

    fn actions(&self, before: Option<u64>, most: usize) -> BoxFuture<'_, Result<Vec<AuditEntry>>> {
        let store = self.store();
        let newest = store.actions.iter().rev();
        let read = newest.filter(|entry| before.is_none_or(|before| entry.sequence < before));
        ready(Ok(read.take(most).cloned().collect())).boxed()
    }

    fn events(
        &self,
        query: EventQuery,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Event>>>> {
        ready(Ok(self.told.read(query))).boxed()
    }

    fn wish<'a>(&'a self, request: &'a CancelRequest) -> BoxFuture<'a, Result<Cancelling>> {
        Box::pin(async move {
            if let Status::Done(state) = self.status(&request.id).await? {
                return Ok(Cancelling::Ended(state));
            }
            let mut store = self.store();
            store.cancels.insert(request.id.clone(), request.clone());
            let held = store
                .running
                .values()
                .find(|message| message.publication.id == request.id);
            let found = match (store.idle(&request.id), held) {
                (Some(message), _) => Cancelling::Idle(task(message)),
                (None, Some(message)) => Cancelling::Held(task(message)),
                (None, None) => Cancelling::Unknown,
            };
            drop(store);
            // Nobody listening is fine.
            let _ = self.wishes.send(request.clone());
            Ok(found)
        })
    }

    fn conclude(&self, record: Record) -> BoxFuture<'_, Result<bool>> {
        let stored = self.record(&mut self.store(), record);
        ready(Ok(stored)).boxed()
    }

    fn withdraw<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Result<()>> {
        let mut store = self.store();
        let mut taken = Vec::new();
        for lane in store.ready.values_mut() {
            let of_task = |message: &Message| message.publication.id == task.id;
            taken.extend(lane.iter().filter(|it| of_task(it)).cloned());
            lane.retain(|message| !of_task(message));
        }
        for message in &taken {
            store.end_turn(message);
        }
        store.unhold(&task.id);
        store
            .planned
            .retain(|_, message| message.publication.id != task.id);
        let Store {
            bursts, planned, ..
        } = &mut *store;
        bursts.retain(|_, at| planned.contains_key(at));
        store.live.remove(&task.id);
        ready(Ok(())).boxed()
    }

    fn letters(
        &self,
        query: LetterQuery,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<DeadLetter>>>> {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|it| it == is);
        let letters: Vec<_> = self
            .store()
            .dead
            .iter()
            .filter(|(_, letter)| {
                is(&query.queue, &letter.queue)
                    && is(&query.task, &letter.task)
                    && query.id.as_ref().is_none_or(|id| *id == letter.id)
                    && query.reason.is_none_or(|reason| reason == letter.reason)
            })
            .map(|(sequence, letter)| {
                Ok(DeadLetter {
                    sequence: *sequence,
                    ..letter.clone()
                })
            })
            .collect();
        ready(Ok(stream::iter(letters).boxed())).boxed()
    }

    fn remove_letter<'a>(&'a self, letter: &'a DeadLetter) -> BoxFuture<'a, Result<bool>> {
        let removed = self.store().dead.remove(&letter.sequence);
        ready(Ok(removed.is_some())).boxed()
    }

    fn reopen<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<()>> {
        let mut store = self.store();
        store.outcomes.remove(id);
        store.journals.remove(id);
        store.cancels.remove(id);
        ready(Ok(())).boxed()
    }
}
