//! Who releases the messages that wait for the turn of their key.
//!
//! They wait in a stream of their own. One of the queue's workers at a time
//! leads: it knows what waits, decides whose turn it is (`policy/gate.rs`),
//! and moves that message to its lane, where it is as any other. A turn lasts
//! as long as the message is in the queue's stream, so a worker that dies
//! holds a turn no longer than its message is another's to run, and whoever
//! leads next finds on the server who has a turn.
//!
//! To lead is a lease on the server. That keeps two from leading at once most
//! of the time; what keeps them from it always is the server: whoever begins
//! to lead writes a mark into the queue's stream, and each release names the
//! mark that it expects to be the last one. A leader that was frozen, and does
//! not know that another leads, is refused.

mod lead;
mod places;
mod take_over;
mod weigh;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::lead::Leader;
use super::pipe::Refusal;
use super::{AbortOnDrop, JetStream, record};
use crate::broker::Turn;
use crate::error::{Error, ErrorKind, Result};

/// How long a leader is one that is not heard of.
const LEASE: Duration = Duration::from_secs(3);
/// How often it is heard of, and how often others look.
const LOOK: Duration = Duration::from_secs(1);
/// How often a queue is looked at that has no message with a key.
const LOOK_SELDOM: Duration = Duration::from_secs(10);
/// How long the server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A worker's part in it: to lead, or to be ready to.
pub(super) struct Attending {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Attending {
    /// Lets others lead.
    pub(super) async fn leave(&mut self) {
        self.stop.send_replace(true);
        let left = futures::future::join_all(self.tasks.iter_mut());
        let _ = tokio::time::timeout(PATIENCE, left).await;
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl JetStream {
    /// Leads for each of the queues, or is ready to, until it is dropped.
    pub(super) fn attend_gates(&self, queues: &[String], concurrency: usize) -> Attending {
        let (stop, stopped) = watch::channel(false);
        let attend = |queue: &String| {
            let attendant = Attendant {
                broker: self.me.clone(),
                queue: queue.clone(),
                me: format!("{}-{:08x}", self.options.name, fastrand::u32(..)),
                concurrency,
                stopped: stopped.clone(),
            };
            tokio::spawn(attendant.attend())
        };
        Attending {
            tasks: queues.iter().map(attend).collect(),
            stop,
        }
    }
}

/// One worker at one queue.
struct Attendant {
    broker: Weak<JetStream>,
    queue: String,
    /// Tells this worker from others.
    me: String,
    concurrency: usize,
    stopped: watch::Receiver<bool>,
}

impl Attendant {
    async fn attend(mut self) {
        let wakes = match self.broker.upgrade() {
            Some(broker) => {
                let wake = broker.layout.names.gate_wake(&self.queue);
                broker.client.subscribe(wake).await
            }
            None => return,
        };
        let Ok(mut wakes) = wakes else { return };
        loop {
            let Some(broker) = self.broker.upgrade() else {
                return;
            };
            let pause = match self.turn(&broker).await {
                Ok(pause) => pause,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    tracing::error!(queue = self.queue, "{error}");
                    LOOK_SELDOM
                }
                Err(error) => {
                    tracing::warn!(queue = self.queue, "{error}; trying on");
                    LOOK
                }
            };
            drop(broker);
            if *self.stopped.borrow() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                wake = wakes.next() => if wake.is_none() { return },
                _ = self.stopped.changed() => return,
            }
        }
    }

    /// Leads if there is something to lead, and nobody does; tells when to
    /// look again.
    async fn turn(&mut self, broker: &Arc<JetStream>) -> Result<Duration> {
        if !broker.has_hold(&self.queue).await? {
            return Ok(LOOK_SELDOM);
        }
        let names = &broker.layout.names;
        let room = format!("{} {}", self.me, self.concurrency);
        let _ = broker
            .client
            .publish(names.gate_room(&self.queue), room.into())
            .await;
        let Some(lease) = Lease::take(broker, &self.queue, &self.me).await? else {
            return Ok(LOOK);
        };
        tracing::debug!(queue = self.queue, "leads the gate of its queue");
        let led = loop {
            let mut leader =
                Leader::take_over(broker, &self.queue, &self.me, self.concurrency).await;
            let ended = match &mut leader {
                Ok(leader) => leader.lead(&lease, &mut self.stopped).await,
                Err(_) => lead::Ended::Lost,
            };
            match ended {
                // What is not known for sure is looked up.
                lead::Ended::Unsure if !lease.is_lost() => {
                    tracing::debug!(queue = self.queue, "looks anew at what waits and runs");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                _ => break leader.map(|_| ()),
            }
        };
        lease.give_up(broker).await;
        if *self.stopped.borrow() {
            // So that another leads at once.
            let wake = broker.layout.names.gate_wake(&self.queue);
            let _ = broker.client.publish(wake, Bytes::new()).await;
            let _ = broker.client.flush().await;
        }
        led.map(|()| LOOK)
    }
}

impl JetStream {
    pub(super) async fn has_hold(&self, queue: &str) -> Result<bool> {
        let names = &self.layout.names;
        let hold = names.hold_stream(queue);
        match self.stream_state(&hold, &names.epoch(queue)).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the lease to lead, or renews it; tells its revision.
    async fn store_lease(
        &self,
        subject: &str,
        me: &str,
        revision: u64,
    ) -> std::result::Result<u64, Refusal> {
        let body = Bytes::copy_from_slice(me.as_bytes());
        let (client, denials) = (&self.client, &self.denials);
        record::store(client, denials, subject, body, Some(revision), Some(LEASE)).await
    }
}

/// The lease to lead a queue, renewed until it is dropped.
struct Lease {
    subject: String,
    revision: Arc<AtomicU64>,
    lost: watch::Receiver<bool>,
    _renewing: AbortOnDrop,
}

impl Lease {
    /// Takes it; none if another has it.
    async fn take(broker: &Arc<JetStream>, queue: &str, me: &str) -> Result<Option<Self>> {
        broker.layout.ensure_shared().await?;
        let subject = broker.layout.names.gate_lease(queue);
        let revision = match broker.store_lease(&subject, me, 0).await {
            Ok(revision) => Arc::new(AtomicU64::new(revision)),
            Err(refusal) if refusal.is_wrong_last_sequence() => return Ok(None),
            Err(refusal) => {
                return Err(refusal.into_error(&format!("leading the gate of queue {queue}")));
            }
        };
        let (lose, lost) = watch::channel(false);
        let renewing = tokio::spawn(renew(
            Arc::downgrade(broker),
            subject.clone(),
            me.to_owned(),
            Arc::clone(&revision),
            lose,
        ));
        Ok(Some(Self {
            subject,
            revision,
            lost,
            _renewing: AbortOnDrop(renewing),
        }))
    }

    fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Gives it up, if it is still this one's.
    async fn give_up(self, broker: &JetStream) {
        let state = broker.layout.names.state_stream();
        let held = broker.last(&state, &self.subject).await;
        if let Ok(Some(held)) = held
            && held.sequence == self.revision.load(Ordering::Acquire)
            && let Err(error) = broker.delete(&state, held.sequence).await
        {
            tracing::debug!("the lease of a gate ends by itself: {error}");
        }
    }
}

async fn renew(
    broker: Weak<JetStream>,
    subject: String,
    me: String,
    revision: Arc<AtomicU64>,
    lose: watch::Sender<bool>,
) {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(broker) = broker.upgrade() else {
            return;
        };
        let asked = Instant::now();
        let held = revision.load(Ordering::Acquire);
        match broker.store_lease(&subject, &me, held).await {
            Ok(next) => {
                revision.store(next, Ordering::Release);
                renewed = asked;
            }
            Err(refusal) if refusal.is_wrong_last_sequence() => break,
            Err(_) if renewed.elapsed() > LEASE => break,
            Err(_) => {}
        }
    }
    lose.send_replace(true);
}

/// Whose turns are over, to tell whoever leads.
#[derive(Default)]
pub(super) struct Ended(HashMap<Arc<str>, String>);

impl Ended {
    pub(super) fn note(&mut self, turn: &Turn) {
        let ids = self.0.entry(Arc::clone(&turn.queue)).or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(ids, "{}", turn.id);
    }

    /// Tells what was noted: many in one message, when there are many. What
    /// is not heard is found out by who leads.
    pub(super) async fn tell(&mut self, broker: &JetStream) {
        for (queue, ids) in self.0.drain() {
            let subject = broker.layout.names.gate_ended(&queue);
            let _ = broker.client.publish(subject, ids.into()).await;
        }
    }
}

/// The error of what cannot be told.
fn failed(queue: &str, why: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("leading the gate of queue {queue} failed: {why}"),
    )
}
