//! What the end of an attempt consists of, and what follows each of its
//! steps. Decisions only: the desk that takes the steps, and the simulation
//! that takes them between crashes, drive the same.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::{Publication, Receipt, Record, Settlement};
use crate::message::{DeadLetter, Journal, TaskId};

/// An end under way.
pub(crate) struct Ending<M> {
    pub(crate) receipt: Receipt,
    steps: VecDeque<Step<M>>,
    tries: u32,
}

pub(crate) enum Step<M> {
    /// Stores an outcome; refused means that there is one.
    Outcome { id: TaskId, message: M },
    /// Stores a message that counts as long as the lease does.
    Store(M),
    /// Keeps a dead letter, if the outcome before it is this attempt's.
    Bury(M),
    /// Stores a payload that the outcome refers to.
    PutPayload { name: String, payload: Bytes },
    /// Removes a payload that nobody needs any more.
    RemovePayload { name: String },
    /// Gives up the uniqueness lock of a task.
    Unlock { key: String, id: TaskId },
    /// The message is done with.
    Ack,
    /// The message is to be delivered again after a while.
    Nak(Duration),
}

/// Makes the messages that are stored.
pub(crate) trait Draft {
    type Message;

    fn outcome(&self, id: &TaskId, body: Vec<u8>, ttl: Option<Duration>) -> Self::Message;
    fn plan(&self, publication: Publication) -> Self::Message;
    /// `only_first`: where there is one it stays, and this one is refused.
    fn letter(&self, letter: &DeadLetter, only_first: bool) -> Self::Message;
    fn journal(&self, id: &TaskId, journal: &Journal) -> Self::Message;
}

/// What to do now.
pub(crate) enum Turn<'a, M> {
    Take(&'a Step<M>),
    /// There is nothing left to do.
    Over,
    /// The lease was lost, and with it the right to go on.
    Fenced,
}

/// What follows a step that was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Another outcome was there.
    Refused,
    /// It was done before.
    GoOn,
    /// An outcome is there, and it may be this end's own: it is to be
    /// compared.
    Compare,
    /// The step is to be taken once more after this long.
    Again(Duration),
}

impl<M> Ending<M> {
    pub(crate) fn new(
        receipt: Receipt,
        settlement: Settlement,
        draft: &impl Draft<Message = M>,
    ) -> Self {
        Self {
            receipt,
            steps: steps(settlement, draft),
            tries: 0,
        }
    }

    /// How often the step was taken without being confirmed.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// The step to take now.
    pub(crate) fn turn(&self, is_held: impl Fn() -> bool) -> Turn<'_, M> {
        match self.steps.front() {
            None => Turn::Over,
            // A next attempt, or a way back to the queue, is the holder's to
            // give. What has come to its end within its lease may still be
            // recorded: the server says who was first.
            Some(Step::Store(_) | Step::Nak(_)) if !is_held() => Turn::Fenced,
            Some(step) => Turn::Take(step),
        }
    }

    /// The step was taken.
    pub(crate) fn advance(&mut self) {
        self.steps.pop_front();
        self.tries = 0;
    }

    /// The id of the outcome that the step stores, if it stores one.
    pub(crate) fn outcome(&self) -> Option<&TaskId> {
        match self.steps.front() {
            Some(Step::Outcome { id, .. }) => Some(id),
            _ => None,
        }
    }

    /// The step was refused, or not answered. `taken` says whether there was
    /// an outcome, or a letter, already.
    pub(crate) fn refused(&mut self, taken: bool) -> After {
        match self.steps.front() {
            Some(Step::Bury(_)) if taken => {
                self.advance();
                return After::GoOn;
            }
            Some(Step::Outcome { .. }) if taken && self.tries == 0 => {
                self.leave();
                return After::Refused;
            }
            // After an unanswered try it may well be our own.
            Some(Step::Outcome { .. }) if taken => return After::Compare,
            _ => {}
        }
        self.tries += 1;
        let pause = Duration::from_millis(100) * 2u32.pow(self.tries.min(6));
        After::Again(pause.min(Duration::from_secs(5)))
    }

    /// The outcome that was there has been compared with this end's own.
    pub(crate) fn compared(&mut self, own: bool) {
        if own {
            self.advance();
        } else {
            self.leave();
        }
    }

    /// Another has ended the task, and may have died before all was done. So
    /// the message is not acked here: it is delivered once more, and what is
    /// missing is made up for then, unless the other acks it first.
    fn leave(&mut self) {
        self.advance();
        self.steps
            .retain(|step| matches!(step, Step::Unlock { .. }));
        self.steps.push_back(Step::Nak(LEFT));
    }

    /// The message that the step stores.
    pub(crate) fn message(&self) -> Option<&M> {
        match self.steps.front() {
            Some(Step::Outcome { message, .. } | Step::Store(message) | Step::Bury(message)) => {
                Some(message)
            }
            _ => None,
        }
    }
}

/// Who was first has so long to do the rest.
const LEFT: Duration = Duration::from_secs(1);

/// What an end consists of.
fn steps<M>(settlement: Settlement, draft: &impl Draft<Message = M>) -> VecDeque<Step<M>> {
    match settlement {
        Settlement::Finish(end) => record(end, draft).chain([Step::Ack]).collect(),
        Settlement::Retry(publication) => [Step::Store(draft.plan(publication)), Step::Ack].into(),
        Settlement::Bury {
            letter,
            record: end,
            payload,
        } => {
            // A letter that makes up for one that may be missing knows less.
            let letter = Step::Bury(draft.letter(&letter, end.is_none()));
            // The outcome first: it decides whose end this is. A crash
            // between the two is made up for at the redelivery.
            let outcome = end.into_iter().flat_map(|end| record(end, draft));
            let payload = payload.map(|(name, payload)| Step::PutPayload { name, payload });
            outcome.chain(payload).chain([letter, Step::Ack]).collect()
        }
        Settlement::Release { delay, journal } => {
            let journal = journal.map(|(id, journal)| Step::Store(draft.journal(&id, &journal)));
            journal.into_iter().chain([Step::Nak(delay)]).collect()
        }
        Settlement::Discard => [Step::Ack].into(),
        Settlement::Forget => VecDeque::new(),
    }
}

fn record<M, D: Draft<Message = M>>(
    record: Record,
    draft: &D,
) -> impl Iterator<Item = Step<M>> + use<M, D> {
    let outcome = Step::Outcome {
        message: draft.outcome(&record.id, record.body, record.ttl),
        id: record.id.clone(),
    };
    let id = record.id;
    let payload = record
        .payload
        .map(|(name, payload)| Step::PutPayload { name, payload });
    let unlock = record.unlock.map(|key| Step::Unlock { key, id });
    let spent = record.spent.map(|name| Step::RemovePayload { name });
    payload
        .into_iter()
        .chain([outcome])
        .chain(unlock)
        .chain(spent)
}
