//! What is named for messages with a key: where they wait, where they are
//! released to, and who releases them.

use sha2::{Digest as _, Sha256};
use taskq_syntax::Priority;

use super::{Namespace, token};
use crate::message::TaskId;

/// The longest key that stands in a subject as it is; a longer one stands
/// there as its digest.
const LONGEST_KEY: usize = 96;

/// What the subject of a message with a key tells, as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) struct HeldName<'a> {
    pub(in crate::broker) priority: Priority,
    pub(in crate::broker) key: &'a str,
    pub(in crate::broker) task: &'a str,
    pub(in crate::broker) id: &'a str,
}

impl Namespace {
    pub(in crate::broker) fn hold_stream(&self, queue: &str) -> String {
        format!("{}_H_{queue}", self.streams)
    }

    /// The queue of a stream of waiting messages; none for any other stream.
    pub(in crate::broker) fn queue_of_hold<'a>(&self, stream: &'a str) -> Option<&'a str> {
        stream
            .strip_prefix(self.streams.as_str())?
            .strip_prefix("_H_")
    }

    pub(in crate::broker) fn hold_all(&self, queue: &str) -> String {
        format!("{}.hold.{queue}.>", self.root)
    }

    /// Where a message waits for the turn of its key.
    pub(in crate::broker) fn hold(
        &self,
        queue: &str,
        priority: Priority,
        key: &str,
        task: &str,
        id: &TaskId,
    ) -> String {
        self.held_subject("hold", queue, priority, key, task, id)
    }

    /// Where a message waits, whatever its queue, priority, key and task.
    pub(in crate::broker) fn hold_of_id(&self, id: &TaskId) -> String {
        format!("{}.hold.*.*.*.*.{}", self.root, token(id.as_str()))
    }

    /// The messages of a key that wait; the key as it stands in subjects.
    pub(in crate::broker) fn hold_of_key(&self, queue: &str, key: &str) -> String {
        format!("{}.hold.{queue}.*.{key}.*.*", self.root)
    }

    /// What the subject of a waiting message tells.
    pub(in crate::broker) fn parse_hold<'a>(&self, subject: &'a str) -> Option<HeldName<'a>> {
        let rest = subject
            .strip_prefix(self.root.as_str())?
            .strip_prefix(".hold.")?;
        let mut tokens = rest.split('.').skip(1);
        let name = HeldName {
            priority: tokens.next()?.parse().ok()?,
            key: tokens.next()?,
            task: tokens.next()?,
            id: tokens.next()?,
        };
        tokens.next().is_none().then_some(name)
    }

    /// What has fallen due and waits for the turn of its key.
    pub(in crate::broker) fn due_hold_queue(&self, queue: &str) -> String {
        format!("{}.due.hold:{queue}.>", self.root)
    }

    pub(in crate::broker) fn due_hold(
        &self,
        queue: &str,
        priority: Priority,
        key: &str,
        task: &str,
        id: &TaskId,
    ) -> String {
        // No queue has a `:` in its name.
        self.held_subject("due", &format!("hold:{queue}"), priority, key, task, id)
    }

    pub(in crate::broker) fn due_hold_of_id(&self, id: &TaskId) -> String {
        format!("{}.due.*.*.*.*.{}", self.root, token(id.as_str()))
    }

    /// The same of the message that waits under this subject.
    pub(in crate::broker) fn due_of_held(&self, queue: &str, name: &HeldName<'_>) -> String {
        let HeldName {
            priority,
            key,
            task,
            id,
        } = name;
        let priority = priority.as_str();
        format!(
            "{}.due.hold:{queue}.{priority}.{key}.{task}.{id}",
            self.root
        )
    }

    /// The plan of the message that waits under this subject.
    pub(in crate::broker) fn plan_of_held(&self, queue: &str, name: &HeldName<'_>) -> String {
        format!("{}.plan.{queue}.{}.{}", self.root, name.task, name.id)
    }

    /// Where a message is released to: its lane, with its key, so that what
    /// is released of which key can be listed.
    pub(in crate::broker) fn work_of_held(&self, queue: &str, name: &HeldName<'_>) -> String {
        let HeldName {
            priority,
            key,
            task,
            id,
        } = name;
        let priority = priority.as_str();
        format!("{}.work.{queue}.{priority}.{task}.{key}.{id}", self.root)
    }

    /// All released messages of a queue.
    pub(in crate::broker) fn released_all(&self, queue: &str) -> String {
        format!("{}.work.{queue}.*.*.*.*", self.root)
    }

    /// The released messages of a key; the key as it stands in subjects.
    pub(in crate::broker) fn released_of_key(&self, queue: &str, key: &str) -> String {
        format!("{}.work.{queue}.*.*.{key}.*", self.root)
    }

    /// A released message, whatever its queue, priority, task and key.
    pub(in crate::broker) fn released_of_id(&self, id: &TaskId) -> String {
        format!("{}.work.*.*.*.*.{}", self.root, token(id.as_str()))
    }

    /// The key and the id of a released message, as they stand there; none
    /// for a message without a key.
    pub(in crate::broker) fn parse_released<'a>(
        &self,
        subject: &'a str,
    ) -> Option<(&'a str, &'a str)> {
        // Asked of every message: most have no key, which counting tells.
        let (_, rest) = self.parse_lane(subject)?;
        if rest.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return None;
        }
        rest.split_once('.')?.1.split_once('.')
    }

    /// Marks in a queue's stream who may release into it: whoever wrote the
    /// last one.
    pub(in crate::broker) fn epoch(&self, queue: &str) -> String {
        format!("{}.work.{queue}.gate", self.root)
    }

    /// Who releases the messages of a queue.
    pub(in crate::broker) fn gate_lease(&self, queue: &str) -> String {
        format!("{}.state.gate.{queue}", self.root)
    }

    /// What is told to whoever releases: that something was stored, that
    /// something ended, how much room workers have.
    pub(in crate::broker) fn gate_stored(&self, queue: &str) -> String {
        format!("{}.gate.{queue}.stored.>", self.root)
    }

    pub(in crate::broker) fn gate_ended(&self, queue: &str) -> String {
        format!("{}.gate.{queue}.ended", self.root)
    }

    pub(in crate::broker) fn gate_room(&self, queue: &str) -> String {
        format!("{}.gate.{queue}.room", self.root)
    }

    /// Where who releases is asked until when a rate holds a key back.
    pub(in crate::broker) fn gate_ask(&self, queue: &str) -> String {
        format!("{}.gate.{queue}.ask", self.root)
    }

    /// Tells that somebody should release, and may be needed to.
    pub(in crate::broker) fn gate_wake(&self, queue: &str) -> String {
        format!("{}.gate.{queue}.wake", self.root)
    }

    fn held_subject(
        &self,
        kind: &str,
        queue: &str,
        priority: Priority,
        key: &str,
        task: &str,
        id: &TaskId,
    ) -> String {
        format!(
            "{}.{kind}.{queue}.{}.{}.{}.{}",
            self.root,
            priority.as_str(),
            key_token(key),
            token(task),
            token(id.as_str())
        )
    }
}

/// A key as it stands in a subject.
pub(in crate::broker) fn key_token(key: &str) -> String {
    let token = token(key);
    if token.len() <= LONGEST_KEY {
        return token.into_owned();
    }
    let digest = Sha256::digest(key.as_bytes());
    // No other key's token has a `~`.
    let mut text = "~".to_owned();
    for byte in &digest[..16] {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_waits_is_found_again_in_every_form(key: String, task: String, id: String) {
            let names = Namespace::new("shop").unwrap();
            let id = TaskId::from(id.as_str());
            let subject = names.hold("email", Priority::High, &key, &task, &id);
            let name = names.parse_hold(&subject).unwrap();
            prop_assert_eq!(name.priority, Priority::High);
            prop_assert_eq!(name.key, key_token(&key));
            prop_assert!(name.key.len() <= LONGEST_KEY);
            let released = names.work_of_held("email", &name);
            prop_assert_eq!(names.parse_released(&released), Some((name.key, name.id)));
            prop_assert_eq!(names.parse_work(&released), Some(("email", "high")));
            prop_assert_eq!(
                names.due_of_held("email", &name),
                names.due_hold("email", Priority::High, &key, &task, &id)
            );
            prop_assert_eq!(
                names.plan_of_held("email", &name),
                names.plan("email", &task, &id)
            );
            let plain = names.work("email", Priority::High, &task, &id);
            prop_assert_eq!(names.parse_released(&plain), None);
        }
    }

    #[test]
    fn long_keys_stay_apart() {
        let long = "x".repeat(500);
        assert_ne!(key_token(&long), key_token(&format!("{long}y")));
        assert_eq!(key_token("acme"), "acme");
    }
}
