//! The process of a server, tied to the life of its owner.
//!
//! On Unix a small shell script stands between the two (`supervisor.sh`). It
//! holds a pipe from the owner, which the system closes however the owner
//! ends, so a server never outlives even an owner that was killed. Linux could
//! do it with a signal on the parent's death, but macOS could not, it is tied
//! to a thread instead of the process, and setting it between fork and exec
//! is unsafe code.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use other::Process;
#[cfg(unix)]
pub(crate) use unix::Process;

/// What a server can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To end in good order.
    Stop,
    /// To end at once.
    Kill,
    /// To stand still.
    Pause,
    /// To go on.
    Resume,
}

impl Signal {
    /// The verb for messages.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}
