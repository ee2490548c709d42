//! Turns by key in memory: the same decisions as on the server, made when a
//! worker asks for messages.

use super::operate::task;
use super::{Message, Store};
use crate::broker::Standing;
use crate::broker::names::PRIORITIES;
use crate::message::{KeyLimits, TaskId};
use crate::policy::Gate;
use crate::time::Timestamp;

impl Store {
    /// Lets a message wait for the turn of its key.
    pub(super) fn hold(&mut self, message: Message) {
        let publication = &message.publication;
        let limits = KeyLimits::of_body(&publication.body);
        let key = publication.key.clone().unwrap_or_default();
        let (queue, priority) = (publication.queue.clone(), publication.priority);
        let gate = self.gates.entry(queue).or_insert_with(Gate::new);
        gate.enter(&key, priority, limits, message);
    }

    /// Releases what there is room for; tells when the next may be.
    pub(super) fn release(
        &mut self,
        queues: &[String],
        room: usize,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if self.gates.is_empty() {
            return None;
        }
        let mut next = None;
        for queue in queues {
            let (places, _) = self.places(queue, now, room);
            let mut left = places.saturating_sub(self.ready_in(queue));
            while left > 0
                && let Some(gate) = self.gates.get_mut(queue)
                && let Some(grant) = gate.next(now)
            {
                left -= 1;
                let mut message = grant.item;
                message.turn = Some(grant.key);
                self.line_up(message, false);
            }
            let wake = self.gates.get(queue).and_then(Gate::wake_at);
            next = next.into_iter().chain(wake).min();
        }
        next
    }

    /// The turn of what has left its queue is over.
    pub(super) fn end_turn(&mut self, message: &Message) {
        if let Some(key) = &message.turn
            && let Some(gate) = self.gates.get_mut(&message.publication.queue)
        {
            gate.free(key);
        }
    }

    /// How many wait for the turn of their key.
    pub(super) fn held(&self, queue: &str) -> u64 {
        self.gates
            .get(queue)
            .map_or(0, |gate| gate.waiting() as u64)
    }

    /// Takes out what waits for its turn.
    pub(super) fn unhold(&mut self, id: &TaskId) {
        for gate in self.gates.values_mut() {
            gate.retain(|message| message.publication.id != *id);
        }
    }

    /// Where a task stands that waits for its turn.
    pub(super) fn held_standing(&self, id: &TaskId) -> Option<Standing> {
        for gate in self.gates.values() {
            let Some(message) = gate.items().find(|it| it.publication.id == *id) else {
                continue;
            };
            let key = message.publication.key.as_deref();
            let of_key = |other: &&Message| other.publication.key.as_deref() == key;
            let ready = self.ready.values().flatten();
            let released = ready.chain(self.running.values()).filter(of_key);
            let before = gate.items().filter(of_key).filter(|other| {
                other.publication.priority == message.publication.priority
                    && other.number < message.number
            });
            return Some(Standing::Held {
                task: task(message),
                priority: message.publication.priority,
                held_by: released.map(|it| it.publication.id.clone()).collect(),
                ahead: before.count() as u64,
                rate_until: gate.rate_until(key.unwrap_or_default(), Timestamp::now()),
            });
        }
        None
    }

    fn ready_in(&self, queue: &str) -> usize {
        let lanes = PRIORITIES.iter();
        lanes
            .filter_map(|priority| self.ready.get(&(queue.to_owned(), *priority)))
            .map(std::collections::VecDeque::len)
            .sum()
    }
}
