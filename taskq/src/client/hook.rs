//! Middleware on the sending side.

use crate::error::{Error, Result};
use crate::message::{TaskId, TaskMessage};

/// Sees every message that a client sends: to add labels, to refuse, to
/// count.
///
/// ```
/// use taskq::prelude::*;
/// use taskq::{EnqueueHook, TaskMessage};
///
/// struct Tenant(&'static str);
///
/// impl EnqueueHook for Tenant {
///     fn before(&self, message: &mut TaskMessage) -> taskq::Result<()> {
///         message.labels.set("tenant", self.0);
///         Ok(())
///     }
/// }
///
/// let client = Client::builder().hook(Tenant("acme")).memory();
/// ```
pub trait EnqueueHook: Send + Sync + 'static {
    /// Called before a message is sent; may change it.
    ///
    /// # Errors
    /// An error refuses the message; the sender gets it.
    fn before(&self, message: &mut TaskMessage) -> Result<()> {
        let _ = message;
        Ok(())
    }

    /// Called after: with the id when the broker has it (another id than the
    /// message's for a duplicate), or with the reason why not.
    fn after(&self, message: &TaskMessage, sent: std::result::Result<&TaskId, &Error>) {
        let _ = (message, sent);
    }
}
