//! What has been set for all: of queues, task types and schedules.
//!
//! A setting is a body under a kind and a name, with the revision at which it
//! was set. It is changed by compare-and-set on that revision, so that of two
//! who change it at once one is told; and whoever goes by settings is told
//! when any has changed.

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::error::Result;

/// What a setting is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SettingKind {
    /// A queue: paused, its limits and defaults.
    Queue,
    /// A task type, in all queues: paused.
    Task,
    /// A schedule: what to run when.
    Schedule,
}

impl SettingKind {
    /// The kind in one word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Task => "task",
            Self::Schedule => "schedule",
        }
    }
}

/// What has been set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// Greater at each change; 0 for what was never set.
    pub(crate) revision: u64,
    /// None if it was never set, or was removed.
    pub(crate) body: Option<Bytes>,
}

/// Where settings are kept.
pub(crate) trait Settings {
    /// One setting.
    fn setting<'a>(&'a self, kind: SettingKind, name: &'a str) -> BoxFuture<'a, Result<Setting>>;

    /// All of a kind that are set, sorted by name.
    fn settings(&self, kind: SettingKind) -> BoxFuture<'_, Result<Vec<Setting>>>;

    /// Sets, or removes where there is no body, if the revision is still the
    /// expected one; false if it is not.
    fn set<'a>(
        &'a self,
        kind: SettingKind,
        name: &'a str,
        body: Option<Bytes>,
        expected: u64,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Tells that something has been set, or may have been. Told soon after,
    /// but the change may not be readable for a moment yet.
    fn setting_changes(&self) -> BoxFuture<'_, Result<mpsc::Receiver<()>>>;
}
