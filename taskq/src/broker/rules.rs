//! What is set for a worker's queues and for task types, as this process
//! knows it.
//!
//! The broker's record is the authority. This follows it: told of changes,
//! and looking every few seconds besides, should it not be told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::{Setting, SettingKind, Settings};
use crate::error::Result;
use crate::message::{QueueSettings, TaskDefaults, TaskSettings};

/// How often to look without being told.
const LOOK: Duration = Duration::from_secs(5);
/// What was told may not be readable for a moment.
const LOOKS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
];

/// What is set, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) queues: HashMap<String, Arc<QueueSettings>>,
    pub(crate) tasks: HashMap<String, Arc<TaskSettings>>,
}

/// What is set, kept up to date. Where nothing is, a look costs one load.
#[derive(Debug)]
pub(crate) struct Rules {
    plain: AtomicBool,
    now: watch::Sender<Arc<Snapshot>>,
    /// What a transport has taken for a worker and does not give it yet, by
    /// lease: the message, and what it waits for.
    parked: Mutex<HashMap<u64, (Bytes, &'static str)>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            plain: AtomicBool::new(true),
            now: watch::Sender::default(),
            parked: Mutex::default(),
        }
    }
}

impl Rules {
    /// Whether nothing is set.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Acquire)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.now.borrow())
    }

    /// Told at each change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.now.subscribe()
    }

    /// Whether a queue is paused.
    pub(crate) fn is_queue_paused(&self, queue: &str) -> bool {
        !self.is_plain() && self.now.borrow().is_queue_paused(queue)
    }

    /// Why a task type does not run now.
    pub(crate) fn paused_task(&self, task: &str) -> Option<Arc<TaskSettings>> {
        if self.is_plain() {
            return None;
        }
        let found = self.now.borrow().tasks.get(task).cloned();
        found.filter(|settings| settings.paused.is_some())
    }

    /// What tasks go by that say nothing themselves.
    pub(crate) fn defaults(&self, queue: &str) -> TaskDefaults {
        if self.is_plain() {
            return TaskDefaults::default();
        }
        let now = self.now.borrow();
        let settings = now.queues.get(queue);
        settings.map_or_else(TaskDefaults::default, |settings| settings.defaults())
    }

    fn parked(&self) -> MutexGuard<'_, HashMap<u64, (Bytes, &'static str)>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a message is here and waits.
    pub(super) fn park(&self, lease: u64, body: Bytes, waits_for: &'static str) {
        self.parked().insert(lease, (body, waits_for));
    }

    /// Notes that it waits no longer.
    pub(super) fn unpark(&self, lease: u64) {
        self.parked().remove(&lease);
    }

    /// What a message that this finds waits for, if it is here and waits.
    #[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "a worker's"))]
    pub(crate) fn waits_for(&self, is_it: impl Fn(&[u8]) -> bool) -> Option<&'static str> {
        let parked = self.parked();
        let found = parked.values().find(|(body, _)| is_it(body));
        found.map(|(_, waits_for)| *waits_for)
    }

    /// Takes over what is set now; whether that is news.
    pub(crate) fn set(&self, snapshot: Snapshot) -> bool {
        let plain = snapshot.queues.is_empty() && snapshot.tasks.is_empty();
        let changed = self.now.send_if_modified(|now| {
            let changed = **now != snapshot;
            if changed {
                *now = Arc::new(snapshot);
            }
            changed
        });
        self.plain.store(plain, Ordering::Release);
        changed
    }
}

impl Snapshot {
    pub(crate) fn is_queue_paused(&self, queue: &str) -> bool {
        let settings = self.queues.get(queue);
        settings.is_some_and(|settings| settings.paused.is_some())
    }

    /// What of it is of these queues, or of task types.
    pub(crate) fn of_queues(&self, queues: &[String]) -> Self {
        let mut own = self.clone();
        own.queues.retain(|queue, _| queues.contains(queue));
        own
    }

    /// Takes over one setting, as it is stored.
    pub(crate) fn take(&mut self, kind: SettingKind, setting: &Setting) {
        let body = setting.body.as_deref();
        match kind {
            SettingKind::Queue => put(&mut self.queues, &setting.name, body, |settings| {
                !settings.is_empty()
            }),
            SettingKind::Task => put(&mut self.tasks, &setting.name, body, |settings| {
                !settings.is_empty()
            }),
            SettingKind::Schedule => {}
        }
    }
}

fn put<T: serde::de::DeserializeOwned>(
    all: &mut HashMap<String, Arc<T>>,
    name: &str,
    body: Option<&[u8]>,
    counts: impl Fn(&T) -> bool,
) {
    match body.map(serde_json::from_slice::<T>) {
        Some(Ok(settings)) if counts(&settings) => {
            all.insert(name.to_owned(), Arc::new(settings));
        }
        Some(Err(error)) => tracing::warn!(
            "what is set for `{name}` cannot be read, and does not count: {error}; set it again \
             with `taskq queues set`, or update this program"
        ),
        _ => {
            all.remove(name);
        }
    }
}

/// Reads what is set for these queues, and for all task types.
pub(crate) async fn read(broker: &(impl Settings + ?Sized), queues: &[String]) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    for kind in [SettingKind::Queue, SettingKind::Task] {
        for setting in broker.settings(kind).await? {
            if kind == SettingKind::Task || queues.contains(&setting.name) {
                snapshot.take(kind, &setting);
            }
        }
    }
    Ok(snapshot)
}

/// Keeps rules up to date for as long as they are used, and the broker is
/// there to read from.
pub(crate) async fn follow(
    rules: Weak<Rules>,
    mut changes: mpsc::Receiver<()>,
    read: impl Fn() -> Option<BoxFuture<'static, Result<Snapshot>>> + Send,
) {
    loop {
        let told = match tokio::time::timeout(LOOK, changes.recv()).await {
            Ok(Some(())) => true,
            Ok(None) => return,
            Err(_) => false,
        };
        for pause in &LOOKS[..if told { LOOKS.len() } else { 1 }] {
            tokio::time::sleep(*pause).await;
            let (Some(rules), Some(reading)) = (rules.upgrade(), read()) else {
                return;
            };
            match reading.await {
                Ok(snapshot) => {
                    if rules.set(snapshot) {
                        break;
                    }
                }
                Err(error) => tracing::debug!("what is set cannot be read now: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, body: &'static str) -> Setting {
        Setting {
            name: name.to_owned(),
            revision: 1,
            body: Some(bytes::Bytes::from_static(body.as_bytes())),
        }
    }

    #[test]
    fn rules_are_plain_until_something_is_set() {
        let rules = Rules::default();
        assert!(rules.is_plain() && !rules.is_queue_paused("email"));
        let mut snapshot = Snapshot::default();
        let paused = r#"{"paused":{"by":"ada","at":"2026-01-01T00:00:00.000Z"}}"#;
        snapshot.take(SettingKind::Queue, &setting("email", paused));
        snapshot.take(SettingKind::Task, &setting("send", paused));
        assert!(rules.set(snapshot));
        assert!(!rules.is_plain() && rules.is_queue_paused("email"));
        assert!(!rules.is_queue_paused("default"));
        assert!(rules.paused_task("send").is_some() && rules.paused_task("x").is_none());
        assert!(rules.set(Snapshot::default()));
        assert!(rules.is_plain() && !rules.set(Snapshot::default()));
    }

    #[test]
    fn what_is_empty_or_cannot_be_read_does_not_count() {
        let mut snapshot = Snapshot::default();
        snapshot.take(SettingKind::Queue, &setting("a", "{}"));
        snapshot.take(SettingKind::Queue, &setting("b", "no JSON"));
        snapshot.take(SettingKind::Queue, &setting("c", r#"{"retries":2}"#));
        assert_eq!(snapshot.queues.len(), 1);
        let rules = Rules::default();
        rules.set(snapshot);
        assert_eq!(rules.defaults("c").retries, Some(2));
        assert_eq!(rules.defaults("a"), TaskDefaults::default());
    }
}
