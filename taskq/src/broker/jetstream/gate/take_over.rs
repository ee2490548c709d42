//! Beginning to lead: what waits and what has a turn, from the server.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use async_nats::{HeaderMap, header};
use bytes::Bytes;
use futures::{FutureExt as _, TryFutureExt as _};
use tokio::sync::mpsc;

use super::failed;
use super::lead::{Leader, Out, READING, Rates};
use super::places::Places;
use super::weigh::Doubts;
use crate::broker::jetstream::pipe::Refusal;
use crate::broker::jetstream::{JetStream, record};
use crate::error::Result;
use crate::policy::Gate;

impl Leader {
    /// Begins to lead. From the mark on that it writes, nobody else can
    /// release; what was released before is listed after that, so nothing is
    /// missed.
    pub(super) async fn take_over(
        broker: &Arc<JetStream>,
        queue: &str,
        me: &str,
        room: usize,
    ) -> Result<Self> {
        let names = &broker.layout.names;
        let subscribe = async |subject: String| {
            let subscribed = broker.client.subscribe(subject).await;
            subscribed.map_err(|error| failed(queue, error))
        };
        let stored = subscribe(names.gate_stored(queue)).await?;
        let ended = subscribe(names.gate_ended(queue)).await?;
        let rooms = subscribe(names.gate_room(queue)).await?;
        let wishes = subscribe(names.cancel_all()).await?;
        let removed = subscribe(names.gate_wake(queue)).await?;
        let questions = subscribe(names.gate_ask(queue)).await?;

        // What does not wait for one another is asked at once: a server in the
        // middle of a flood takes its time for each answer.
        let (epoch, body) = (names.epoch(queue), Bytes::copy_from_slice(me.as_bytes()));
        let mark = record::store(&broker.client, &broker.denials, &epoch, body, None, None);
        let leading =
            |refusal: Refusal| refusal.into_error(&format!("leading the gate of queue {queue}"));
        let (mark, _, ()) = futures::try_join!(
            mark.map_err(leading),
            broker.layout.ensure_hold(queue),
            // Rates are by the server's clock.
            broker.compare().map(Ok),
        )?;
        let mut fence = HeaderMap::new();
        let expected = header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
        fence.insert(expected, mark.to_string());
        fence.insert(
            "Nats-Expected-Last-Subject-Sequence-Subject",
            names.epoch(queue),
        );

        let mut gate = Gate::taking_over(broker.clock.now());
        let (stream, released) = (names.queue_stream(queue), names.released_all(queue));
        let (led_before, released) = futures::try_join!(
            broker.remove_marks(queue, mark),
            broker.stream_state(&stream, &released),
        )?;
        let mut out = HashMap::new();
        let mut before = HashSet::new();
        for subject in released.subjects.keys() {
            let Some((key, id)) = names.parse_released(subject) else {
                continue;
            };
            let id: Arc<str> = id.into();
            before.insert(Arc::clone(&id));
            let key = gate.occupy(key);
            out.insert(
                id,
                Out {
                    key,
                    since: Instant::now(),
                    stored: true,
                },
            );
        }
        let hold = names.hold_stream(queue);
        // What was released and left its lane before that is over, or planned
        // again, or back where it waits, where it stands twice then. So this
        // is asked last.
        let planned = broker.is_planning(queue).await?;
        let waiting = broker.stream_state(&hold, &names.epoch(queue)).await?;
        let doubts = Doubts {
            // Who is the first to lead has nobody's leavings.
            until: if led_before { waiting.last_seq } else { 0 },
            before: Arc::new(before),
            retries: planned || waiting.num_subjects < waiting.messages,
        };
        let (tell, told) = mpsc::unbounded_channel();
        Ok(Self {
            broker: Arc::clone(broker),
            queue: queue.to_owned(),
            hold,
            gate,
            out,
            fence,
            doubts,
            places: Places::new(),
            settled: Instant::now() + READING,
            began: waiting.last_seq,
            next: 1,
            highest: waiting.last_seq,
            reading: false,
            ahead: std::collections::VecDeque::new(),
            deferred: Vec::new(),
            undeleted: std::collections::BTreeMap::new(),
            cancelled: HashSet::new(),
            cached: 0,
            me: (me.to_owned(), room),
            rooms: HashMap::from([(me.to_owned(), (room, Instant::now()))]),
            rates: Rates::default(),
            listing: false,
            fetching: 0,
            odd: 0,
            missing: 0,
            tell,
            told,
            stored,
            ended,
            room_told: rooms,
            wishes,
            removed,
            questions,
        })
    }
}

impl JetStream {
    /// Whether anything of a queue is planned, or falls due and then waits for
    /// the turn of its key.
    async fn is_planning(&self, queue: &str) -> Result<bool> {
        let names = &self.layout.names;
        let plan = names.plan_stream();
        for subject in [names.plan_queue(queue), names.due_hold_queue(queue)] {
            if self.first(&plan, &subject).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the marks of those who led before; false if nobody did.
    async fn remove_marks(&self, queue: &str, mark: u64) -> Result<bool> {
        let names = &self.layout.names;
        let (stream, subject) = (names.queue_stream(queue), names.epoch(queue));
        let mut any = false;
        while let Some(old) = self.first(&stream, &subject).await?
            && old.sequence < mark
        {
            any = true;
            self.delete(&stream, old.sequence).await?;
        }
        Ok(any)
    }
}
