//! What operators, and callers who change their mind, can ask of a transport
//! that keeps nothing.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::{BoxStream, StreamExt as _};
use tokio::sync::mpsc;

use super::{Core, closed};
use crate::broker::{Cancelling, EventQuery, LetterQuery, Notice, Operate, Place, Record, Task};
use crate::error::Result;
use crate::message::{AuditEntry, CancelRequest, DeadLetter, Event, TaskId};

/// What can be done without keeping anything: to tell, to listen, and to ask
/// the worker that runs a task to stop.
impl Operate for Arc<Core> {
    fn tell(&self, event: Event) {
        self.teller.tell(&self.names, &event);
    }

    fn told(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.teller.told())
    }

    fn record_action<'a>(&'a self, _: &'a AuditEntry) -> BoxFuture<'a, Result<()>> {
        ready(Ok(())).boxed()
    }

    fn actions(&self, _: Option<u64>, _: usize) -> BoxFuture<'_, Result<Vec<AuditEntry>>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn events(
        &self,
        query: EventQuery,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Event>>>> {
        Box::pin(async move {
            if !query.follow {
                return Ok(futures::stream::empty().boxed());
            }
            let subject = self.names.events_in(&query.scope);
            let told = self.client.subscribe(subject).await;
            let told = told.map_err(|error| closed().with_source(error))?;
            let events = told.filter_map(move |message| {
                let event = Event::decode(&message.payload);
                ready(event.filter(|event| query.scope.has(event)).map(Ok))
            });
            Ok(events.boxed())
        })
    }

    fn wish<'a>(&'a self, request: &'a CancelRequest) -> BoxFuture<'a, Result<Cancelling>> {
        Box::pin(async move {
            let subject = self.names.core_cancel(&request.id);
            let body = Bytes::from(request.encode());
            let asked = self.client.request(subject, body).await;
            Ok(match asked {
                Ok(_) => Cancelling::Held(Task {
                    id: request.id.clone(),
                    queue: String::new(),
                    body: Vec::new(),
                    stored_at: request.at,
                    place: Place::Memory,
                }),
                // No worker is there to ask.
                Err(_) => Cancelling::Unknown,
            })
        })
    }

    fn conclude(&self, _: Record) -> BoxFuture<'_, Result<bool>> {
        ready(Ok(false)).boxed()
    }

    fn withdraw<'a>(&'a self, _: &'a Task) -> BoxFuture<'a, Result<()>> {
        ready(Ok(())).boxed()
    }

    fn letters(
        &self,
        _: LetterQuery,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<DeadLetter>>>> {
        ready(Ok(futures::stream::empty().boxed())).boxed()
    }

    fn remove_letter<'a>(&'a self, _: &'a DeadLetter) -> BoxFuture<'a, Result<bool>> {
        ready(Ok(false)).boxed()
    }

    fn reopen<'a>(&'a self, _: &'a TaskId) -> BoxFuture<'a, Result<()>> {
        ready(Ok(())).boxed()
    }
}

impl Core {
    pub(super) async fn listen_to_wishes(&self) -> Result<mpsc::UnboundedReceiver<Notice>> {
        let subject = self.names.core_cancel_all();
        let wishes = self.client.subscribe(subject).await;
        let mut wishes = wishes.map_err(|error| closed().with_source(error))?;
        let client = self.client.clone();
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let wish = tokio::select! {
                    wish = wishes.next() => wish,
                    () = tell.closed() => return,
                };
                let Some(wish) = wish else { return };
                if let Some(reply) = wish.reply {
                    // Who asked may be gone.
                    let _ = client.publish(reply, Bytes::new()).await;
                }
                let request = CancelRequest::decode(&wish.payload);
                if request.is_some_and(|request| tell.send(Notice::Cancel(request)).is_err()) {
                    return;
                }
            }
        });
        Ok(told)
    }
}
