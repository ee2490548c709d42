//! What a transport needs on the server, and what was done about it.

use std::time::Duration;

/// What [`Broker::provision`](super::Broker::provision) is to make.
#[derive(Clone, Debug)]
pub(crate) struct ProvisionOrder {
    pub(crate) queues: Vec<String>,
    /// Of consumers that are made, and of those that are there if it is set.
    pub(crate) lease: Option<Duration>,
    /// Of streams that are made, and of those that are there if it is set.
    pub(crate) replicas: Option<usize>,
    /// Changes nothing.
    pub(crate) dry_run: bool,
}

/// A stream or a consumer that taskq needs, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Provision {
    /// What it is.
    pub kind: ProvisionKind,
    /// Its name; of a consumer: its stream's, a `/` and its own.
    pub name: String,
    /// What was done.
    pub action: ProvisionAction,
    /// What an update changed: each setting, before and after.
    pub changes: Vec<String>,
}

/// What a [`Provision`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProvisionKind {
    /// A stream.
    Stream,
    /// A consumer of a stream.
    Consumer,
}

/// What was done about a [`Provision`], or in a dry run would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProvisionAction {
    /// It was missing.
    Created,
    /// It had other settings.
    Updated,
    /// It was as it should be.
    Unchanged,
}
