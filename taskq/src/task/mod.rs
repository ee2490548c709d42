//! What a task is: its name and options, how its arguments are bound, what
//! it may ask of the worker, and where the worker finds it.

mod call;
mod checkpoint;
mod context;
mod contract;
mod declaration;
mod error;
mod options;
mod registry;
mod result;
mod run;
mod schema;
mod state;

pub use call::{Call, OnConflict, Returns, Untyped};
pub(crate) use call::{CallParts, GatherBy, KeyBy, UniqueLock, When};
pub(crate) use context::Attempt;
pub use context::Context;
#[cfg(feature = "worker")]
pub(crate) use context::{Step, Voice};
pub use contract::Declared;
pub use declaration::Declaration;
#[cfg(feature = "worker")]
pub(crate) use error::RetryAdvice;
pub use error::TaskError;
#[cfg(feature = "worker")]
pub(crate) use options::BACKOFF;
pub(crate) use options::RETRIES;
pub use options::{Sensitivity, TaskOptions, Unique};
#[cfg(feature = "worker")]
pub(crate) use registry::Registry;
pub use registry::{Param, Registration, StateNeed};
pub use result::{Finish, PlainReturn, ReturnProbe, TaskReturn};
pub use run::{Argument, Bound, Inject, Invocation, Job};
#[cfg(feature = "worker")]
pub(crate) use run::{JobKind, Returned};
pub use schema::{AnySchema, ParamSchema, SchemaProbe, TaskSchema, ValueSchema};
pub use state::State;
pub(crate) use state::States;

use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::message::Arguments;

/// A registered function, named by the type that `#[task]` makes beside it.
///
/// The macro implements it; you name it: `.task::<send_email>()`,
/// `send_email::NAME`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    note = "annotate the function with `#[task]`; the type it makes has the function's name"
)]
pub trait Task: Sized + Send + 'static {
    /// The name that crosses the wire.
    const NAME: &'static str;
    /// The names of the arguments, in their order.
    const PARAMS: &'static [&'static str];
    /// The defaults for calls of this task.
    const OPTIONS: TaskOptions;
    /// What its arguments and its result look like, as far as their types tell.
    const SCHEMA: TaskSchema = TaskSchema::UNKNOWN;
    /// What a worker needs to run it; none where only the signature is known.
    const REGISTRATION: Option<&'static Registration> = None;
    /// The arguments, as a tuple.
    type Args;
    /// What it returns when it succeeds.
    type Output: DeserializeOwned;

    /// Writes the arguments as JSON.
    ///
    /// # Errors
    /// When an argument has no JSON form.
    fn encode(args: Self::Args) -> Result<Arguments>;
}
