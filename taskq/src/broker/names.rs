//! The only module that spells a subject, a stream or a consumer.
//!
//! | thing | name |
//! |---|---|
//! | queue stream | `TASKQ_Q_<queue>`: `taskq.work.<queue>.<priority>.<task>.<id>` |
//! | plan stream | `TASKQ_PLAN`: `taskq.plan.<queue>.<task>.<id>`, of a burst of calls `taskq.plan.<queue>.<task>.~<key>`, firing to `taskq.due.<queue>.<priority>.<task>.<id>` |
//! | outcomes | `TASKQ_DONE`: `taskq.done.<origin>.<id>` |
//! | dead letters | `TASKQ_DEAD`: `taskq.dead.<queue>.<task>.<id>` |
//! | locks, what is known of deliveries, wishes to cancel | `TASKQ_STATE`: `taskq.state.lock.<key>`, `taskq.state.history.<origin>.<id>`, `taskq.state.cancel.<origin>.<id>` |
//! | how far schedules are planned, who has a fire, whose turn it is | the same stream: `taskq.state.fire.<key>` |
//! | operations on many tasks | the same stream: `taskq.state.operation.<id>`, the tasks in `taskq.state.targets.<id>.<n>` |
//! | events | `TASKQ_EVENTS`: `taskq.event.<kind>.<queue>.<task>.<id>`; of workers `taskq.event.<kind>.-.-.<worker>` |
//! | what operators did | `TASKQ_AUDIT`: `taskq.audit.<action>` |
//! | what is set for all: queues, task types, schedules | `TASKQ_SETTINGS`: `taskq.settings.<kind>.<name>` |
//! | places and rates of limited queues | `TASKQ_LIMITS`: `taskq.limit.slot.<queue>.<n>`, `taskq.limit.rate.<queue>`; told by workers on `taskq.slots.<queue>` |
//! | payloads over the limit | object stores `TASKQ_PAYLOADS` (arguments) and `TASKQ_RESULTS` (values) |
//! | messages that wait for their key's turn | `TASKQ_H_<queue>`: `taskq.hold.<queue>.<priority>.<key>.<task>.<id>`, told as `taskq.gate.<queue>.stored.>`; due ones come as `taskq.due.hold:<queue>.<priority>.<key>.<task>.<id>` |
//! | those, released | `taskq.work.<queue>.<priority>.<task>.<key>.<id>` |
//! | who releases them | `taskq.state.gate.<queue>`; since when, in the queue's stream: `taskq.work.<queue>.gate` |
//! | what it is told | `taskq.gate.<queue>.ended`, `.room`, `.wake`, `.ask` |
//! | core mode | `taskq.core.work.<queue>.<priority>.<task>.<id>`, `taskq.core.done.<origin>.<id>`, `taskq.core.cancel.<id>` |
//! | outcomes that are stored, told by workers | `taskq.stored.<origin>` |
//! | a worker, asked how it does | `taskq.worker.<worker>` |
//! | a worker, asked for a task's schema | `taskq.worker.<worker>.schema` |
//! | a worker, or all, asked how they do | `taskq.worker.<worker>.detail`, `taskq.worker.-.detail` |
//! | a worker, told what an operator wishes of it | `taskq.control.<worker>` |
//! | a pool of workers, or all, asked how they do | `taskq.worker.-.pool.<pool>`, `taskq.worker.-.pools` |
//! | a pool, told what an operator wishes of it | `taskq.control.-.pool.<pool>` |
//! | all workers, asked which of them has a task | `taskq.worker.-.task` |
//!
//! The server's own subjects are in [`api`]; whose right each subject is, in
//! [`mod@right`] and `deploy/nats/permissions.conf`.

pub(crate) mod api;
mod gate;
mod right;

use std::borrow::Cow;
use std::fmt::Write as _;

use taskq_syntax::Priority;

pub(crate) use self::right::Act;
pub(super) use self::right::right;
use super::operate::{EventScope, LetterQuery};
use super::settings::SettingKind;
use crate::error::{Error, Result};
use crate::message::{Event, TaskId};

/// Keeps several systems apart on one NATS; `taskq` unless it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// The first token of every subject.
    root: String,
    /// The first part of every stream's name.
    streams: String,
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            root: "taskq".to_owned(),
            streams: "TASKQ".to_owned(),
        }
    }
}

/// The group of workers that share a core queue, and the service they offer.
pub(crate) const WORKERS: &str = "taskq-worker";

/// What the key of a burst begins with where other plans have an id: no
/// [`token`] has it.
const BURST: char = '~';

/// All priorities, the most urgent first.
pub(crate) const PRIORITIES: [Priority; 4] = [
    Priority::Critical,
    Priority::High,
    Priority::Normal,
    Priority::Low,
];

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let fits = (1..=32).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
        if !fits {
            return Err(Error::invalid(format!(
                "`{name}` is not a namespace; use 1 to 32 of a-z, 0-9, `-` and `_`"
            )));
        }
        Ok(Self {
            root: name.to_owned(),
            streams: name.to_ascii_uppercase(),
        })
    }

    /// The namespace's name.
    pub(crate) fn as_str(&self) -> &str {
        &self.root
    }

    pub(crate) fn queue_stream(&self, queue: &str) -> String {
        format!("{}_Q_{queue}", self.streams)
    }

    /// The queue of a queue stream; none for any other stream.
    pub(super) fn queue_of_stream<'a>(&self, stream: &'a str) -> Option<&'a str> {
        stream
            .strip_prefix(self.streams.as_str())?
            .strip_prefix("_Q_")
    }

    pub(crate) fn plan_stream(&self) -> String {
        format!("{}_PLAN", self.streams)
    }

    pub(super) fn done_stream(&self) -> String {
        format!("{}_DONE", self.streams)
    }

    pub(crate) fn dead_stream(&self) -> String {
        format!("{}_DEAD", self.streams)
    }

    pub(super) fn state_stream(&self) -> String {
        format!("{}_STATE", self.streams)
    }

    /// The durable consumer of a queue's priority.
    pub(super) fn consumer(priority: Priority) -> String {
        format!("w_{}", priority.as_str())
    }

    pub(super) fn work_all(&self, queue: &str) -> String {
        format!("{}.work.{queue}.>", self.root)
    }

    pub(super) fn work_lane(&self, queue: &str, priority: Priority) -> String {
        format!("{}.work.{queue}.{}.>", self.root, priority.as_str())
    }

    pub(super) fn work(&self, queue: &str, priority: Priority, task: &str, id: &TaskId) -> String {
        self.lane_subject("work", queue, priority, task, id)
    }

    /// Where a message is in its queue, whatever its priority and task.
    pub(super) fn work_of_id(&self, id: &TaskId) -> String {
        format!("{}.work.*.*.*.{}", self.root, token(id.as_str()))
    }

    /// Where the messages of a queue are: of one task or of all, of one id or
    /// of all.
    pub(super) fn work_like(&self, queue: &str, task: Option<&str>, id: Option<&TaskId>) -> String {
        let task = part_or("*", task);
        let id = part_or("*", id.map(TaskId::as_str));
        format!("{}.work.{queue}.*.{task}.{id}", self.root)
    }

    /// The queue and the priority of a work subject.
    pub(super) fn parse_work<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        self.parse_lane(subject)?.0.split_once('.')
    }

    /// The queue with the priority of a work subject, and what comes after
    /// them.
    pub(super) fn parse_lane<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = subject
            .strip_prefix(self.root.as_str())?
            .strip_prefix(".work.")?;
        let mut dots = rest.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
        let (end, _) = dots.nth(1)?;
        Some((&rest[..end], &rest[end + 1..]))
    }

    pub(super) fn plan_all(&self) -> String {
        format!("{}.plan.>", self.root)
    }

    pub(super) fn plan_queue(&self, queue: &str) -> String {
        format!("{}.plan.{queue}.>", self.root)
    }

    pub(super) fn plan(&self, queue: &str, task: &str, id: &TaskId) -> String {
        format!(
            "{}.plan.{queue}.{}.{}",
            self.root,
            token(task),
            token(id.as_str())
        )
    }

    /// The plans of a task type, in all queues.
    pub(super) fn plan_of_task(&self, task: &str) -> String {
        format!("{}.plan.*.{}.*", self.root, token(task))
    }

    pub(super) fn plan_of_id(&self, id: &TaskId) -> String {
        format!("{}.plan.*.*.{}", self.root, token(id.as_str()))
    }

    /// The plan of a burst of calls, which is one for its key.
    pub(super) fn burst(&self, queue: &str, task: &str, key: &str) -> String {
        format!("{}.plan.{queue}.{}.{BURST}{key}", self.root, token(task))
    }

    /// The same, whatever its queue and task.
    pub(super) fn plan_of_burst(&self, key: &str) -> String {
        format!("{}.plan.*.*.{BURST}{key}", self.root)
    }

    /// The key of a burst's plan; none for any other plan.
    pub(super) fn parse_burst<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.rsplit('.').next()?.strip_prefix(BURST)
    }

    /// The plans of a queue and a task.
    pub(super) fn plans(&self, queue: Option<&str>, task: Option<&str>) -> String {
        format!(
            "{}.plan.{}.{}.*",
            self.root,
            part_or("*", queue),
            part_or("*", task)
        )
    }

    /// The queue of a plan's subject.
    pub(super) fn parse_plan<'a>(&self, subject: &'a str) -> Option<&'a str> {
        self.queue_after(".plan.", subject)
    }

    /// The queue of the subject of what has fallen due.
    pub(super) fn parse_due<'a>(&self, subject: &'a str) -> Option<&'a str> {
        self.queue_after(".due.", subject)
    }

    /// The priority in the subject of what has fallen due.
    pub(super) fn parse_due_priority<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let rest = subject.strip_prefix(self.root.as_str())?;
        rest.strip_prefix(".due.")?.split('.').nth(1)
    }

    fn queue_after<'a>(&self, kind: &str, subject: &'a str) -> Option<&'a str> {
        let rest = subject
            .strip_prefix(self.root.as_str())?
            .strip_prefix(kind)?;
        rest.split('.').next()
    }

    pub(super) fn due_all(&self) -> String {
        format!("{}.due.>", self.root)
    }

    pub(super) fn due_queue(&self, queue: &str) -> String {
        format!("{}.due.{queue}.>", self.root)
    }

    pub(super) fn due(&self, queue: &str, priority: Priority, task: &str, id: &TaskId) -> String {
        self.lane_subject("due", queue, priority, task, id)
    }

    pub(super) fn due_of_id(&self, id: &TaskId) -> String {
        format!("{}.due.*.*.*.{}", self.root, token(id.as_str()))
    }

    pub(super) fn done_all(&self) -> String {
        format!("{}.done.>", self.root)
    }

    pub(super) fn done_origin(&self, origin: &str) -> String {
        format!("{}.done.{origin}.>", self.root)
    }

    pub(super) fn done(&self, id: &TaskId) -> String {
        // Made once a task, and joining is quicker than formatting.
        [&self.root, "done", id.origin(), &token(id.as_str())].join(".")
    }

    pub(super) fn dead_all(&self) -> String {
        format!("{}.dead.>", self.root)
    }

    pub(super) fn dead(&self, queue: &str, task: &str, id: &TaskId) -> String {
        format!(
            "{}.dead.{queue}.{}.{}",
            self.root,
            token(task),
            token(id.as_str())
        )
    }

    pub(super) fn state_all(&self) -> String {
        format!("{}.state.>", self.root)
    }

    pub(super) fn lock(&self, key: &str) -> String {
        format!("{}.state.lock.{}", self.root, token(key))
    }

    /// What is known of a message's deliveries.
    pub(super) fn history(&self, id: &TaskId) -> String {
        self.state_of("history", id)
    }

    /// The wish that a task should not go on.
    pub(super) fn cancel(&self, id: &TaskId) -> String {
        self.state_of("cancel", id)
    }

    /// What schedulers and workers tell each other of a schedule's fires, and
    /// attempts of how far their task is.
    pub(super) fn note(&self, key: &str) -> String {
        format!("{}.state.fire.{}", self.root, token(key))
    }

    /// The record of an operation on many tasks.
    pub(super) fn operation(&self, id: &str) -> String {
        format!("{}.state.operation.{}", self.root, token(id))
    }

    /// The records of all operations.
    pub(super) fn operations(&self) -> String {
        format!("{}.state.operation.*", self.root)
    }

    /// A part of the tasks that an operation is about.
    pub(super) fn targets(&self, id: &str, part: u64) -> String {
        format!("{}.state.targets.{}.{part}", self.root, token(id))
    }

    pub(super) fn cancel_all(&self) -> String {
        format!("{}.state.cancel.>", self.root)
    }

    fn state_of(&self, kind: &str, id: &TaskId) -> String {
        let (origin, id) = (id.origin(), token(id.as_str()));
        format!("{}.state.{kind}.{origin}.{id}", self.root)
    }

    pub(super) fn settings_stream(&self) -> String {
        format!("{}_SETTINGS", self.streams)
    }

    pub(super) fn settings_all(&self) -> String {
        format!("{}.settings.>", self.root)
    }

    pub(super) fn settings_of(&self, kind: SettingKind) -> String {
        format!("{}.settings.{}.*", self.root, kind.as_str())
    }

    /// What is set of this name.
    pub(super) fn setting(&self, kind: SettingKind, name: &str) -> String {
        format!("{}.settings.{}.{}", self.root, kind.as_str(), token(name))
    }

    /// What is limited for all workers together.
    pub(super) fn limits_stream(&self) -> String {
        format!("{}_LIMITS", self.streams)
    }

    pub(super) fn limits_all(&self) -> String {
        format!("{}.limit.>", self.root)
    }

    /// The places of a queue.
    pub(super) fn slots(&self, queue: &str) -> String {
        format!("{}.limit.slot.{queue}.*", self.root)
    }

    /// One place of a queue.
    pub(super) fn slot(&self, queue: &str, place: u32) -> String {
        format!("{}.limit.slot.{queue}.{place}", self.root)
    }

    /// Where workers tell each other of the places of a queue.
    pub(super) fn slot_word(&self, queue: &str) -> String {
        format!("{}.slots.{queue}", self.root)
    }

    pub(super) fn slot_words(&self) -> String {
        format!("{}.slots.*", self.root)
    }

    /// The state of a queue's rate.
    pub(super) fn rate(&self, queue: &str) -> String {
        format!("{}.limit.rate.{queue}", self.root)
    }

    pub(crate) fn events_stream(&self) -> String {
        format!("{}_EVENTS", self.streams)
    }

    pub(super) fn audit_stream(&self) -> String {
        format!("{}_AUDIT", self.streams)
    }

    pub(super) fn audit_all(&self) -> String {
        format!("{}.audit.>", self.root)
    }

    /// Where an action is recorded.
    pub(super) fn audit(&self, action: &str) -> String {
        format!("{}.audit.{}", self.root, token(action))
    }

    pub(super) fn event_all(&self) -> String {
        format!("{}.event.>", self.root)
    }

    /// Where events of workers are told, or of this worker.
    pub(super) fn events_of_worker(&self, worker: Option<&str>) -> String {
        format!("{}.event.*.-.-.{}", self.root, part_or("*", worker))
    }

    /// Where an event is told: of a task, or of a worker.
    pub(super) fn event(&self, event: &Event) -> String {
        let of = match (&event.id, &event.worker) {
            (Some(id), _) => token(id.as_str()),
            (None, Some(worker)) => token(worker),
            (None, None) => Cow::Borrowed("-"),
        };
        format!(
            "{}.event.{}.{}.{}.{of}",
            self.root,
            event.kind,
            part_or("-", event.queue.as_deref()),
            part_or("-", event.task.as_deref()),
        )
    }

    /// The subjects of the events in a scope, and where it has several
    /// kinds, of more than those.
    pub(super) fn events_in(&self, scope: &EventScope) -> String {
        let kind = match scope.kinds.as_slice() {
            [kind] => kind.as_str(),
            _ => "*",
        };
        format!(
            "{}.event.{kind}.{}.{}.{}",
            self.root,
            part_or("*", scope.queue.as_deref()),
            part_or("*", scope.task.as_deref()),
            part_or("*", scope.id.as_ref().map(TaskId::as_str)),
        )
    }

    /// The subjects of dead letters.
    pub(super) fn letters(&self, query: &LetterQuery) -> String {
        format!(
            "{}.dead.{}.{}.{}",
            self.root,
            part_or("*", query.queue.as_deref()),
            part_or("*", query.task.as_deref()),
            part_or("*", query.id.as_ref().map(TaskId::as_str)),
        )
    }

    /// The object store of payloads that are too large for a message.
    pub(super) fn payloads(&self) -> String {
        format!("{}_PAYLOADS", self.streams)
    }

    /// The object store of values that are too large for an outcome.
    pub(super) fn results(&self) -> String {
        format!("{}_RESULTS", self.streams)
    }

    /// Where a worker tells of itself to who asks.
    pub(crate) fn worker(&self, worker: &str) -> String {
        format!("{}.worker.{}", self.root, token(worker))
    }

    /// Where a worker tells the schema of a task to who asks.
    pub(crate) fn worker_schema(&self, worker: &str) -> String {
        format!("{}.schema", self.worker(worker))
    }

    /// Where a worker is asked how it does, and what it runs.
    pub(crate) fn worker_detail(&self, worker: &str) -> String {
        format!("{}.worker.{}.detail", self.root, token(worker))
    }

    /// Where all workers are asked how they do.
    pub(crate) fn all_details(&self) -> String {
        format!("{}.worker.-.detail", self.root)
    }

    /// Where a worker is told what an operator wishes of it.
    pub(crate) fn control(&self, worker: &str) -> String {
        format!("{}.control.{}", self.root, token(worker))
    }

    /// Where a pool of workers is asked how it does.
    pub(crate) fn pool(&self, pool: &str) -> String {
        format!("{}.worker.-.pool.{}", self.root, token(pool))
    }

    /// Where all pools are asked how they do.
    pub(crate) fn all_pools(&self) -> String {
        format!("{}.worker.-.pools", self.root)
    }

    /// Where a pool is told what an operator wishes of it.
    pub(crate) fn pool_control(&self, pool: &str) -> String {
        format!("{}.control.-.pool.{}", self.root, token(pool))
    }

    /// Where all workers are asked which of them has a task.
    pub(super) fn who_has(&self) -> String {
        format!("{}.worker.-.task", self.root)
    }

    pub(super) fn core_cancel(&self, id: &TaskId) -> String {
        format!("{}.core.cancel.{}", self.root, token(id.as_str()))
    }

    pub(super) fn core_cancel_all(&self) -> String {
        format!("{}.core.cancel.>", self.root)
    }

    /// Where workers tell an origin which of its outcomes are stored.
    pub(super) fn stored(&self, origin: &str) -> String {
        format!("{}.stored.{origin}", self.root)
    }

    /// Whether outcomes are heard of by a subscription to this.
    pub(super) fn tells_outcomes(&self, subject: &str) -> bool {
        let rest = subject.strip_prefix(self.root.as_str());
        rest.is_some_and(|rest| rest.starts_with(".done.") || rest.starts_with(".stored."))
    }

    pub(super) fn core_work(
        &self,
        queue: &str,
        priority: Priority,
        task: &str,
        id: &TaskId,
    ) -> String {
        self.lane_subject("core.work", queue, priority, task, id)
    }

    pub(super) fn core_work_all(&self, queue: &str) -> String {
        format!("{}.core.work.{queue}.>", self.root)
    }

    pub(super) fn core_done(&self, id: &TaskId) -> String {
        format!(
            "{}.core.done.{}.{}",
            self.root,
            id.origin(),
            token(id.as_str())
        )
    }

    pub(super) fn core_done_origin(&self, origin: &str) -> String {
        format!("{}.core.done.{origin}.>", self.root)
    }

    fn lane_subject(
        &self,
        kind: &str,
        queue: &str,
        priority: Priority,
        task: &str,
        id: &TaskId,
    ) -> String {
        // Made once a task, and joining is quicker than formatting.
        let (task, id) = (token(task), token(id.as_str()));
        [&self.root, kind, queue, priority.as_str(), &task, &id].join(".")
    }
}

/// Any text as one token of a subject: bytes that a subject cannot hold, and
/// the `.` that would split it, are written as `%` and two hex digits.
fn token(text: &str) -> Cow<'_, str> {
    let stands_for_itself =
        |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b':');
    if text.is_empty() {
        return Cow::Borrowed("%");
    }
    if text.as_bytes().iter().all(stands_for_itself) {
        return Cow::Borrowed(text);
    }
    let mut token = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if stands_for_itself(&byte) {
            token.push(char::from(byte));
        } else {
            let _ = write!(token, "%{byte:02X}");
        }
    }
    Cow::Owned(token)
}

/// A token, or what stands for there being none.
fn part_or<'a>(none: &'static str, text: Option<&'a str>) -> Cow<'a, str> {
    text.map_or(Cow::Borrowed(none), token)
}

/// An id as it stands in subjects.
pub(super) fn id_token(id: &TaskId) -> String {
    token(id.as_str()).into_owned()
}

/// The text that a token stands for; none if it is not one of [`token`]'s.
pub(super) fn untoken(token: &str) -> Option<String> {
    if token == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_stay_apart_stay_apart() {
        let names = Namespace::new("shop").unwrap();
        let id = TaskId::from("a.b");
        assert_eq!(
            names.work("email", Priority::High, "mail.send", &id),
            "shop.work.email.high.mail%2Esend.a%2Eb"
        );
        assert_eq!(
            names.parse_work("shop.work.email.high.mail%2Esend.1"),
            Some(("email", "high"))
        );
        assert_eq!(names.queue_of_stream("SHOP_Q_e-mail"), Some("e-mail"));
        assert_eq!(names.queue_of_stream("SHOP_PLAN"), None);
        for bad in ["", "Shop", "a.b", "a b", "a*", &"x".repeat(33)] {
            assert!(Namespace::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_one_token_and_comes_back(text: String) {
            let token = token(&text);
            prop_assert!(!token.is_empty());
            prop_assert!(token.bytes().all(|b| b.is_ascii_graphic() && !b".*>".contains(&b)));
            prop_assert_eq!(untoken(&token), Some(text));
        }
    }
}
