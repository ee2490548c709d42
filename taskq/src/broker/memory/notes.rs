//! Notes in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};

use super::{Memory, Store};
use crate::broker::{Note, Notes, Status};
use crate::error::Result;
use crate::message::TaskId;
use crate::time::Timestamp;

impl Store {
    fn live_note(&self, key: &str, now: Timestamp) -> Note {
        let found = self.notes.get(key);
        let lives = |until: &Option<Timestamp>| until.is_none_or(|until| now < until);
        found
            .filter(|(_, until)| lives(until))
            .map_or_else(Note::default, |(note, _)| note.clone())
    }
}

impl Notes for Arc<Memory> {
    fn note<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Note>> {
        ready(Ok(self.store().live_note(key, Timestamp::now()))).boxed()
    }

    fn write_note<'a>(
        &'a self,
        key: &'a str,
        body: Bytes,
        expected: u64,
        keep: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool>> {
        let now = Timestamp::now();
        let mut store = self.store();
        let is_expected = store.live_note(key, now).revision == expected;
        if is_expected {
            store.notes_count += 1;
            if store.notes_count.is_multiple_of(1024) {
                let ended = |until: &Option<Timestamp>| until.is_some_and(|until| until <= now);
                store.notes.retain(|_, (_, until)| !ended(until));
            }
            let note = Note {
                revision: store.notes_count,
                body: Some(body),
            };
            let until = keep.map(|keep| now.plus(keep));
            store.notes.insert(key.to_owned(), (note, until));
        }
        ready(Ok(is_expected)).boxed()
    }

    fn unplan<'a>(
        &'a self,
        _queue: &'a str,
        _task: &'a str,
        id: &'a TaskId,
    ) -> BoxFuture<'a, Result<()>> {
        let mut store = self.store();
        if store.live.get(id) == Some(&Status::Scheduled) {
            store
                .planned
                .retain(|_, message| message.publication.id != *id);
            store.live.remove(id);
        }
        ready(Ok(())).boxed()
    }
}
