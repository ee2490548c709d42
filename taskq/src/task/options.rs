//! The defaults of a task, as its author wrote them.

use std::time::Duration;

use taskq_syntax::{Backoff, Priority};

/// The defaults for calls of a task; each can be set per call too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskOptions {
    pub(crate) queue: &'static str,
    pub(crate) retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) priority: Priority,
    pub(crate) unique: Option<Unique>,
    pub(crate) ttl: Option<Duration>,
}

/// For how long a second call with the same arguments is not a second task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// Until the first one has ended.
    UntilDone,
    /// For this long after the first one was sent.
    For(Duration),
}

impl TaskOptions {
    /// Queue `default`, no retries, backoff `exponential(1s, max 10m)`, no
    /// timeout, no deadline, priority normal, not unique, the outcome kept as long as the
    /// broker keeps outcomes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: "default",
            retries: 0,
            backoff: Backoff::exponential(Duration::from_secs(1)).max(Duration::from_secs(600)),
            timeout: None,
            deadline: None,
            priority: Priority::Normal,
            unique: None,
            ttl: None,
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
        self.retries = retries;
        self
    }

    /// The wait before each retry.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
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
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self::new()
    }
}
