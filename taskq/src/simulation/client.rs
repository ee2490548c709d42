//! Who sends tasks, and who cancels them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::broker::{Place, Read, Reply, Request, Write};
use super::world::{Event, World};
use crate::failure::FailureKind;
use crate::message::{CancelRequest, Outcome, State, TaskId, TaskMessage};

/// How long an answer may take.
const PATIENCE: u64 = 5000;
/// How long a call is tried before the caller gets an error.
const BUDGET: u64 = 15_000;

#[derive(Default)]
pub(super) struct Client {
    pending: BTreeMap<u64, Goal>,
    later: u32,
    /// What it was told that the broker has.
    pub(super) accepted: BTreeSet<TaskId>,
    /// What it was told that is cancelled.
    pub(super) cancelled: BTreeSet<TaskId>,
}

pub(super) enum Errand {
    Enqueue(TaskMessage, Option<u64>),
    Cancel(TaskId),
    Go(Goal),
    Timeout(u64),
}

/// What is to be done next.
#[derive(Clone)]
pub(super) enum Goal {
    Send {
        write: Write,
        since: u64,
    },
    LookThenSend {
        write: Write,
        since: u64,
    },
    Wish(TaskId),
    Locate(TaskId),
    Conclude {
        id: TaskId,
        place: Place,
        body: Bytes,
        asked: bool,
    },
    Own {
        id: TaskId,
        place: Place,
        body: Bytes,
    },
}

impl Client {
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.later == 0
    }
}

impl World {
    pub(super) fn client_does(&mut self, errand: Errand) {
        let since = self.now;
        match errand {
            Errand::Enqueue(message, due) => {
                let (id, body) = (message.id.clone(), Bytes::from(message.encode()));
                let only_first = false;
                let write = match due {
                    None => Write::Work {
                        id,
                        body,
                        only_first,
                    },
                    Some(due) => Write::Plan {
                        id,
                        body,
                        due,
                        only_first,
                    },
                };
                self.pursue(Goal::Send { write, since });
            }
            Errand::Cancel(id) => self.pursue(Goal::Wish(id)),
            Errand::Go(goal) => {
                self.client.later -= 1;
                self.pursue(goal);
            }
            Errand::Timeout(number) => self.client_hears(number, Reply::Unanswered),
        }
    }

    fn later(&mut self, goal: Goal) {
        self.client.later += 1;
        self.at(self.now + 100, Event::Client(Errand::Go(goal)));
    }

    fn pursue(&mut self, goal: Goal) {
        let number = self.number();
        let read = |what, id: &TaskId| Request::Read {
            number,
            what,
            id: id.clone(),
        };
        let write = |write| Request::Publish { number, write };
        let request = match &goal {
            Goal::Send { write: message, .. } => write(message.clone()),
            Goal::LookThenSend { write, .. } => match write {
                Write::Work { id, .. } | Write::Plan { id, .. } => read(Read::Place, id),
                _ => return,
            },
            Goal::Wish(id) => {
                let request = CancelRequest {
                    id: id.clone(),
                    by: "ada".to_owned(),
                    reason: None,
                    at: self.timestamp(),
                };
                let (id, body) = (id.clone(), request.encode().into());
                write(Write::Wish { id, body })
            }
            Goal::Locate(id) => read(Read::Place, id),
            Goal::Conclude { id, body, .. } => write(Write::Outcome {
                id: id.clone(),
                body: body.clone(),
            }),
            Goal::Own { id, .. } => read(Read::Outcome, id),
        };
        self.note(|| format!("client: {request:?}").chars().take(110).collect());
        self.client.pending.insert(number, goal);
        self.at(self.now + PATIENCE, Event::Client(Errand::Timeout(number)));
        let party = self.workers.len();
        self.send(party, request);
    }

    pub(super) fn client_hears(&mut self, number: u64, reply: Reply) {
        let Some(goal) = self.client.pending.remove(&number) else {
            return;
        };
        match (goal, reply) {
            (Goal::Send { write, .. }, Reply::Stored | Reply::Taken) => self.accept(&write),
            (Goal::Send { write, since } | Goal::LookThenSend { write, since }, reply)
                if !matches!(reply, Reply::At(..)) =>
            {
                if self.now > since + BUDGET {
                    return;
                }
                // What was not answered may be there.
                let careful = matches!(reply, Reply::Unanswered) || write.is_careful();
                let write = if careful { write.careful() } else { write };
                self.later(if careful {
                    Goal::LookThenSend { write, since }
                } else {
                    Goal::Send { write, since }
                });
            }
            (Goal::LookThenSend { write, .. }, Reply::At(place, _)) if place != Place::Unknown => {
                self.accept(&write);
            }
            (Goal::LookThenSend { write, since }, _) => self.pursue(Goal::Send { write, since }),
            (Goal::Send { .. }, _) => {}
            (Goal::Wish(id), Reply::Stored) => self.pursue(Goal::Locate(id)),
            // An operator would try again.
            (Goal::Wish(id), _) => self.later(Goal::Wish(id)),
            (Goal::Locate(id), Reply::At(place @ (Place::Plan | Place::Queue(_)), body)) => {
                let body = body.unwrap_or_default();
                self.conclude(id, place, &body);
            }
            (Goal::Locate(_), Reply::At(..)) => {}
            (Goal::Locate(id), _) => self.later(Goal::Locate(id)),
            (Goal::Conclude { id, place, .. }, Reply::Stored) => self.withdraw(id, place),
            (
                Goal::Conclude {
                    id,
                    place,
                    body,
                    asked,
                    ..
                },
                Reply::Taken,
            ) => {
                if asked {
                    self.pursue(Goal::Own { id, place, body });
                }
            }
            (
                Goal::Conclude {
                    id, place, body, ..
                },
                _,
            ) => {
                let asked = true;
                self.later(Goal::Conclude {
                    id,
                    place,
                    body,
                    asked,
                });
            }
            (Goal::Own { id, place, body }, Reply::Found(found)) => {
                if found.as_ref() == Some(&body) {
                    self.withdraw(id, place);
                }
            }
            (Goal::Own { id, place, body }, _) => self.later(Goal::Own { id, place, body }),
        }
    }

    fn accept(&mut self, write: &Write) {
        if let Write::Work { id, .. } | Write::Plan { id, .. } = write {
            self.client.accepted.insert(id.clone());
        }
    }

    fn conclude(&mut self, id: TaskId, place: Place, message: &[u8]) {
        let message = TaskMessage::decode(message).expect("messages can be read");
        let trail = crate::message::Trail::of(&message.labels).into_vec();
        let outcome = Outcome {
            id: id.clone(),
            task: message.task,
            queue: "default".to_owned(),
            state: State::Cancelled,
            is_err: true,
            return_value: None,
            error: Some(crate::failure::Failure::new(FailureKind::Cancelled, "ada")),
            execution_time: 0.0,
            attempt: trail.last().map_or(0, |last| last.attempt),
            worker: String::new(),
            enqueued_at: self.timestamp(),
            due_at: None,
            started_at: None,
            finished_at: self.timestamp(),
            labels: serde_json::Map::new(),
            log: None,
            attempts: trail,
            dead: None,
            cancelled_by: Some("ada".to_owned()),
            payload: None,
            message: None,
            start_told: false,
            args: None,
            kwargs: None,
        };
        let body = outcome.encode().into();
        let asked = false;
        self.pursue(Goal::Conclude {
            id,
            place,
            body,
            asked,
        });
    }

    fn withdraw(&mut self, id: TaskId, place: Place) {
        self.note(|| format!("{id} is cancelled where it waited"));
        self.client.cancelled.insert(id.clone());
        let party = self.workers.len();
        self.send(party, Request::Remove(id, place));
    }
}

impl Write {
    fn is_careful(&self) -> bool {
        matches!(
            self,
            Self::Work {
                only_first: true,
                ..
            } | Self::Plan {
                only_first: true,
                ..
            }
        )
    }

    fn careful(self) -> Self {
        match self {
            Self::Work { id, body, .. } => Self::Work {
                id,
                body,
                only_first: true,
            },
            Self::Plan { id, body, due, .. } => Self::Plan {
                id,
                body,
                due,
                only_first: true,
            },
            other => other,
        }
    }
}
