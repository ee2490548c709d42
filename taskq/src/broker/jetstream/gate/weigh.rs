//! Reading what waits, and what to think of it.
//!
//! Whoever led before may have died between a release and the removal of the
//! message from where it waited. So what waited already is looked up before it
//! counts: in its lane, among the outcomes and the plans, and where it waits,
//! since a retry may have come back there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::broker::jetstream::JetStream;
use crate::broker::jetstream::events::Found;
use crate::broker::names::untoken;
use crate::error::Result;
use crate::message::TaskId;

/// How many messages are read at once: the server answers for up to 1024
/// subjects.
const BATCH: usize = 1024;
/// The same where each is looked up in the plan too, under two subjects.
const SMALL_BATCH: usize = 256;
/// How long the stream that is read may be behind the one that is written.
const BEHIND: Duration = Duration::from_millis(50);

/// What of the messages that waited before a leader began has to be looked up.
#[derive(Clone, Debug)]
pub(super) struct Doubts {
    /// Up to here they were there before.
    pub(super) until: u64,
    /// What is known to have been released.
    pub(super) before: Arc<HashSet<Arc<str>>>,
    /// Whether a retry may be on its way back, or have come back.
    pub(super) retries: bool,
}

/// What was read.
#[derive(Default)]
pub(super) struct Weighed {
    /// What waits.
    pub(super) waiting: Vec<Found>,
    /// What was released before, and is to be removed.
    pub(super) over: Vec<u64>,
    /// What cannot be told yet.
    pub(super) unsure: Vec<Found>,
    /// Where to go on; none at the end.
    pub(super) next: Option<u64>,
}

impl JetStream {
    /// Reads what waits from a place on, where the last that is known of is at
    /// `known`.
    pub(super) async fn read_held(
        &self,
        queue: &str,
        from: u64,
        known: u64,
        doubts: &Doubts,
    ) -> Result<Weighed> {
        let names = &self.layout.names;
        let (stream, all) = (names.hold_stream(queue), names.hold_all(queue));
        let most = if doubts.retries { SMALL_BATCH } else { BATCH };
        let query = json!({ "seq": from, "batch": most, "next_by_subj": all });
        let batch = self.read_batch(&stream, &query).await?;
        let last = batch.messages.last().map(|found| found.sequence);
        let mut next = batch.next;
        let end = last.map_or(from, |last| last + 1);
        if next.is_none() && end <= known {
            // Removed, or not yet where it was read: a replica may be behind.
            // The leader knows.
            let query = json!({ "seq": end, "next_by_subj": all });
            if self.get(&stream, query).await?.is_some() {
                tokio::time::sleep(BEHIND).await;
                next = Some(end);
            }
        }
        let sure = |found: &Found| found.sequence > doubts.until;
        let (waiting, unsure) = batch.messages.into_iter().partition(sure);
        let weighed = self.weigh(queue, unsure, doubts, false).await?;
        Ok(Weighed {
            waiting: weighed.waiting.into_iter().chain(waiting).collect(),
            next,
            ..weighed
        })
    }

    /// Finds out what of these was released before. `again` if they were
    /// looked up before and it could not be told.
    pub(super) async fn weigh(
        &self,
        queue: &str,
        found: Vec<Found>,
        doubts: &Doubts,
        again: bool,
    ) -> Result<Weighed> {
        let mut weighed = Weighed::default();
        if found.is_empty() {
            return Ok(weighed);
        }
        let names = &self.layout.names;
        let (mut done, mut plans, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for found in &found {
            if let Some(name) = names.parse_hold(&found.subject) {
                let id = TaskId::from(untoken(name.id).unwrap_or_default());
                done.push(names.done(&id));
                if doubts.retries {
                    plans.push(names.plan_of_held(queue, &name));
                    plans.push(names.due_of_held(queue, &name));
                    places.push(found.subject.clone());
                }
            }
        }
        let (done_stream, plan, hold) = (
            names.done_stream(),
            names.plan_stream(),
            names.hold_stream(queue),
        );
        let (done, plans, places) = futures::try_join!(
            self.last_of(&done_stream, done),
            self.last_of(&plan, plans),
            self.last_of(&hold, places)
        )?;
        for found in found {
            let Some(name) = names.parse_hold(&found.subject) else {
                weighed.waiting.push(found);
                continue;
            };
            let id = TaskId::from(untoken(name.id).unwrap_or_default());
            let newest = places.get(&found.subject);
            if doubts.retries && newest.is_none() {
                // Removed since it was read, as by who cancels it; or not yet
                // where it was asked for.
                if !again {
                    weighed.unsure.push(found);
                }
            } else if doubts.before.contains(name.id)
                || done.contains_key(&names.done(&id))
                || plans.contains_key(&names.plan_of_held(queue, &name))
                || newest.is_some_and(|newest| *newest > found.sequence)
            {
                weighed.over.push(found.sequence);
            } else if plans.contains_key(&names.due_of_held(queue, &name)) {
                // What it came from stays in the plan for a moment; or it is
                // on its way back, and this is what was left behind.
                weighed.unsure.push(found);
            } else {
                weighed.waiting.push(found);
            }
        }
        Ok(weighed)
    }

    /// Where the last message of each subject is that has one.
    async fn last_of(&self, stream: &str, subjects: Vec<String>) -> Result<HashMap<String, u64>> {
        if subjects.is_empty() {
            return Ok(HashMap::new());
        }
        let query = json!({ "multi_last": subjects });
        let batch = self.read_batch(stream, &query).await?;
        let found = batch.messages.into_iter();
        Ok(found.map(|it| (it.subject, it.sequence)).collect())
    }
}
