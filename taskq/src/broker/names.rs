//! The only module that spells a subject, a stream or a consumer.
//!
//! | thing | name |
//! |---|---|
//! | queue stream | `TASKQ_Q_<queue>`: `taskq.work.<queue>.<priority>.<task>.<id>` |
//! | plan stream | `TASKQ_PLAN`: `taskq.plan.<queue>.<task>.<id>`, firing to `taskq.due.<queue>.<priority>.<task>.<id>` |
//! | outcomes | `TASKQ_DONE`: `taskq.done.<origin>.<id>` |
//! | dead letters | `TASKQ_DEAD`: `taskq.dead.<queue>.<task>.<id>` |
//! | locks, what is known of deliveries, wishes to cancel | `TASKQ_STATE`: `taskq.state.lock.<key>`, `taskq.state.history.<origin>.<id>`, `taskq.state.cancel.<origin>.<id>` |
//! | events | `TASKQ_EVENTS`: `taskq.event.<kind>.<queue>.<task>.<id>`; of workers `taskq.event.<kind>.-.-.<worker>` |
//! | payloads over the limit | object stores `TASKQ_PAYLOADS` (arguments) and `TASKQ_RESULTS` (values) |
//! | core mode | `taskq.core.work.<queue>.<priority>.<task>.<id>`, `taskq.core.done.<origin>.<id>`, `taskq.core.cancel.<id>` |
//! | outcomes that are stored, told by workers | `taskq.stored.<origin>` |
//! | a worker, asked how it does | `taskq.worker.<worker>` |
//!
//! The server's own subjects are in [`api`]; whose right each subject is, in
//! [`mod@right`] and `deploy/nats/permissions.conf`.

pub(crate) mod api;
mod right;

use std::fmt::Write as _;

use taskq_syntax::Priority;

pub(crate) use self::right::Act;
pub(super) use self::right::right;
use super::operate::{EventScope, LetterQuery};
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

    /// The queue and the priority of a work subject.
    pub(super) fn parse_work<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = subject
            .strip_prefix(self.root.as_str())?
            .strip_prefix(".work.")?;
        let mut tokens = rest.splitn(3, '.');
        Some((tokens.next()?, tokens.next()?))
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

    pub(super) fn plan_of_id(&self, id: &TaskId) -> String {
        format!("{}.plan.*.*.{}", self.root, token(id.as_str()))
    }

    /// The queue of a plan's subject.
    pub(super) fn parse_plan<'a>(&self, subject: &'a str) -> Option<&'a str> {
        self.queue_after(".plan.", subject)
    }

    /// The queue of the subject of what has fallen due.
    pub(super) fn parse_due<'a>(&self, subject: &'a str) -> Option<&'a str> {
        self.queue_after(".due.", subject)
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
        format!("{}.done.{}.{}", self.root, id.origin(), token(id.as_str()))
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

    pub(super) fn cancel_all(&self) -> String {
        format!("{}.state.cancel.>", self.root)
    }

    fn state_of(&self, kind: &str, id: &TaskId) -> String {
        let (origin, id) = (id.origin(), token(id.as_str()));
        format!("{}.state.{kind}.{origin}.{id}", self.root)
    }

    pub(crate) fn events_stream(&self) -> String {
        format!("{}_EVENTS", self.streams)
    }

    pub(super) fn event_all(&self) -> String {
        format!("{}.event.>", self.root)
    }

    /// Where an event is told: of a task, or of a worker.
    pub(super) fn event(&self, event: &Event) -> String {
        let part = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), token);
        let of = match (&event.id, &event.worker) {
            (Some(id), _) => token(id.as_str()),
            (None, Some(worker)) => token(worker),
            (None, None) => "-".to_owned(),
        };
        format!(
            "{}.event.{}.{}.{}.{of}",
            self.root,
            event.kind,
            part(&event.queue),
            part(&event.task),
        )
    }

    /// The subjects of the events in a scope, and where it has several
    /// kinds, of more than those.
    pub(super) fn events_in(&self, scope: &EventScope) -> String {
        let part = |text: Option<&str>| text.map_or("*".to_owned(), token);
        let kind = match scope.kinds.as_slice() {
            [kind] => kind.as_str(),
            _ => "*",
        };
        format!(
            "{}.event.{kind}.{}.{}.{}",
            self.root,
            part(scope.queue.as_deref()),
            part(scope.task.as_deref()),
            part(scope.id.as_ref().map(TaskId::as_str)),
        )
    }

    /// The subjects of dead letters.
    pub(super) fn letters(&self, query: &LetterQuery) -> String {
        let part = |text: Option<&str>| text.map_or("*".to_owned(), token);
        format!(
            "{}.dead.{}.{}.{}",
            self.root,
            part(query.queue.as_deref()),
            part(query.task.as_deref()),
            part(query.id.as_ref().map(TaskId::as_str)),
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
        format!(
            "{}.{kind}.{queue}.{}.{}.{}",
            self.root,
            priority.as_str(),
            token(task),
            token(id.as_str())
        )
    }
}

/// Any text as one token of a subject: bytes that a subject cannot hold, and
/// the `.` that would split it, are written as `%` and two hex digits.
fn token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b':' => {
                token.push(char::from(byte));
            }
            other => {
                let _ = write!(token, "%{other:02X}");
            }
        }
    }
    if token.is_empty() {
        token.push('%');
    }
    token
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
