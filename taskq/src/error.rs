use std::fmt;

use crate::failure::Failure;

/// What a fallible call of this library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error behind a pointer; what a task's own error is turned into.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The one error of this library: a kind to branch on, a sentence that tells
/// what failed, why, and what to do, and the cause when there is one.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    failure: Option<Failure>,
    source: Option<BoxError>,
}

/// The kinds of [`Error`], one for each thing that a caller may want to do
/// about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No server answered at the address within the connect time-out.
    Connect,
    /// The server refused the credentials.
    Unauthorized,
    /// The connected user may not do this (a NATS permission).
    PermissionDenied,
    /// The server lacks something this needs: JetStream is off, or the
    /// version is too old.
    Unsupported,
    /// The broker could not take the request now; the same call may go
    /// through later.
    Unavailable,
    /// There is no trace of what was named.
    NotFound,
    /// It was there, and is not kept any more: the message of a task that has
    /// ended.
    Gone,
    /// Nothing arrived within the time that the caller set.
    Timeout,
    /// Core mode only: no worker listens on the queue.
    NoWorker,
    /// The queue has reached its backlog cap.
    QueueFull,
    /// Another call of the same uniqueness is a task already, and the sender
    /// asked to be refused then.
    Duplicate,
    /// What was to be changed has been changed by another since it was read.
    Conflict,
    /// The message is larger than the broker takes.
    TooLarge,
    /// A name, an option or an argument that cannot be sent.
    Invalid,
    /// What arrived is not what this library writes.
    Undecodable,
    /// The task ran and failed; see [`Error::failure`].
    TaskFailed,
    /// The task was cancelled.
    Cancelled,
    /// The task expired before it could start.
    Expired,
    /// The worker was put together wrongly: no tasks, two of one name, a
    /// missing state.
    Registry,
    /// The client or worker is shutting down.
    Closed,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            failure: None,
            source: None,
        }))
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_failure(mut self, failure: Failure) -> Self {
        self.0.failure = Some(failure);
        self
    }

    /// A name, option or argument that cannot be sent.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// How the task failed, when this error is about a task that ran.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.0.failure.as_ref()
    }

    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Connect
                | ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::NoWorker
                | ErrorKind::QueueFull
        )
    }

    /// Whether a time-out that the caller set ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout
    }

    /// Whether the task itself ended badly: failed, cancelled or expired.
    #[must_use]
    pub fn is_task_failure(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::TaskFailed | ErrorKind::Cancelled | ErrorKind::Expired
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind)
            .field("message", &self.0.message);
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<taskq_syntax::SyntaxError> for Error {
    fn from(error: taskq_syntax::SyntaxError) -> Self {
        Self::invalid(error.to_string())
    }
}
