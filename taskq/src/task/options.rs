//! The defaults of a task, as its author wrote them.

use std::time::Duration;

use taskq_syntax::{Backoff, Priority, Rate};

use super::call::KeyBy;
use crate::message::{Labels, labels};

/// The defaults for calls of a task; each can be set per call too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskOptions {
    pub(crate) queue: &'static str,
    pub(crate) retries: Option<u32>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) priority: Priority,
    pub(crate) unique: Option<Unique>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) rate: Option<Rate>,
    pub(crate) burst: Option<u32>,
    pub(crate) per: Option<&'static str>,
    pub(crate) weight: Option<u32>,
    pub(crate) sensitive: Sensitivity,
}

/// What nobody is to see of a task's calls who does not ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sensitivity {
    /// All may be seen.
    #[default]
    None,
    /// These arguments are hidden, by name.
    Arguments(&'static [&'static str]),
    /// Arguments, result, errors and what the task says are hidden.
    All,
}

/// For how long a second call with the same arguments is not a second task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// Until the first one has ended.
    UntilDone,
    /// For this long after the first one was sent.
    For(Duration),
}

/// How many retries there are where nobody says.
pub(crate) const RETRIES: u32 = 0;
/// The wait before each where nobody says.
#[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "a worker's"))]
pub(crate) const BACKOFF: Backoff =
    Backoff::exponential(Duration::from_secs(1)).max(Duration::from_secs(600));

impl TaskOptions {
    /// Queue `default`, no retries, backoff `exponential(1s, max 10m)`, no
    /// timeout, no deadline, priority normal, not unique, the outcome kept as long as the
    /// broker keeps outcomes, no limits. What is set for the queue
    /// ([`QueueSettings`](crate::QueueSettings)) takes the place of the first
    /// three where they are not set here.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: "default",
            retries: None,
            backoff: None,
            timeout: None,
            deadline: None,
            priority: Priority::Normal,
            unique: None,
            ttl: None,
            concurrency: None,
            rate: None,
            burst: None,
            per: None,
            weight: None,
            sensitive: Sensitivity::None,
        }
    }

    /// The queue that calls go to.
    #[must_use]
    pub const fn queue(mut self, queue: &'static str) -> Self {
        self.queue = queue;
        self
    }

    /// How many times a failed attempt is followed by another.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// The wait before each retry.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// How long one attempt may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long after it was sent (or, if it was put off, was due) a task may
    /// still start, and by when it must have ended, retries included.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Which calls of a queue go first.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Whether a second call with the same arguments is the same task.
    #[must_use]
    pub const fn unique(mut self, unique: Unique) -> Self {
        self.unique = Some(unique);
        self
    }

    /// How long the outcome is kept; at most 3 days, in JetStream mode.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How many tasks of a key may run at once, over all workers; of the task
    /// altogether if it has no [`per`](Self::per).
    #[must_use]
    pub const fn concurrency(mut self, concurrency: u32) -> Self {
        self.concurrency = Some(concurrency);
        self
    }

    /// How many tasks of a key may start in a time, over all workers; of the
    /// task altogether if it has no [`per`](Self::per). Retries count. A rate
    /// of nothing, or of more than one in a microsecond, is none.
    #[must_use]
    pub const fn rate(mut self, count: u32, per: Duration) -> Self {
        self.rate = Rate::new(count, per);
        self
    }

    /// How many tasks of a key may start at once after a pause; 1 unless it
    /// is set. Counts with a [`rate`](Self::rate).
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// The argument that is the key of a call.
    #[must_use]
    pub const fn per(mut self, argument: &'static str) -> Self {
        self.per = Some(argument);
        self
    }

    /// How many tasks of a key have a turn, for one of others; 1 unless it is
    /// set.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Nobody is to see arguments, results, errors and what the task says, who
    /// does not ask for it.
    #[must_use]
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = Sensitivity::All;
        self
    }

    /// Nobody is to see these arguments who does not ask for it.
    #[must_use]
    pub const fn sensitive_arguments(mut self, names: &'static [&'static str]) -> Self {
        self.sensitive = Sensitivity::Arguments(names);
        self
    }

    /// What nobody is to see who does not ask for it.
    #[must_use]
    pub const fn sensitivity(&self) -> Sensitivity {
        self.sensitive
    }

    /// Whether calls wait for the turn of a key.
    pub(crate) const fn has_key(&self) -> bool {
        self.has_limit() || self.per.is_some()
    }

    /// Whether there is a limit to keep.
    pub(crate) const fn has_limit(&self) -> bool {
        self.concurrency.is_some() || self.rate.is_some()
    }

    /// What the key of a call is.
    pub(crate) fn key_by(&self) -> KeyBy {
        match self.per {
            _ if !self.has_key() => KeyBy::None,
            None => KeyBy::Task,
            Some(argument) => KeyBy::Argument(argument),
        }
    }

    /// Whether anything is hidden.
    pub(crate) const fn is_sensitive(&self) -> bool {
        !matches!(self.sensitive, Sensitivity::None)
    }

    /// Writes down what is hidden, for whoever shows the message.
    pub(crate) fn write_sensitivity(&self, to: &mut Labels) {
        if let Some(label) = self.sensitive.label() {
            to.set(labels::SENSITIVE, label.into_owned());
        }
    }

    /// Writes the limits down where whoever keeps them reads them.
    pub(crate) fn write_limits(&self, to: &mut Labels) {
        let count = |to: &mut Labels, name, count: Option<u32>| {
            if let Some(count) = count {
                to.set(name, count);
            }
        };
        count(to, labels::CONCURRENCY, self.concurrency);
        if let Some(rate) = self.rate {
            to.set(labels::RATE, rate.to_string());
            count(to, labels::BURST, self.burst);
        }
        count(to, labels::WEIGHT, self.weight);
    }
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self::new()
    }
}
