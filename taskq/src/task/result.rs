//! What a task may return: `T`, `()`, or `Result<T, E>` under any name.

use std::marker::PhantomData;

use serde::Serialize;

use super::TaskError;

/// A return type, read as plain (`FALLIBLE` is false) or as a `Result`.
///
/// The parameter keeps the two readings of `Result<T, E>` apart: serde can
/// write a `Result` as a value too.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "neither JSON nor a `Result` of it",
    note = "return a type that implements `serde::Serialize` and `serde::Deserialize`",
    note = "or `Result<T, E>` of one, with an error that is a `std::error::Error`, `anyhow::Error`, text or `TaskError`"
)]
pub trait TaskReturn<const FALLIBLE: bool> {
    /// What the caller gets when the task succeeds.
    type Output;

    /// The value, or why there is none.
    ///
    /// # Errors
    /// The task's own.
    fn into_result(self) -> Result<Self::Output, TaskError>;
}

impl<T: Serialize> TaskReturn<false> for T {
    type Output = T;

    fn into_result(self) -> Result<T, TaskError> {
        Ok(self)
    }
}

impl<T: Serialize, E: Into<TaskError>> TaskReturn<true> for Result<T, E> {
    type Output = T;

    fn into_result(self) -> Result<T, TaskError> {
        self.map_err(Into::into)
    }
}

/// Tells by the type, not by its name, whether a return type is a `Result`:
/// `ReturnProbe::<R>::FALLIBLE` is the inherent constant for one, and
/// [`PlainReturn`]'s for any other.
#[derive(Debug)]
pub struct ReturnProbe<R>(PhantomData<R>);

impl<T, E> ReturnProbe<Result<T, E>> {
    /// A `Result` can fail.
    pub const FALLIBLE: bool = true;
}

/// The constant of [`ReturnProbe`] for a type that is not a `Result`.
pub trait PlainReturn {
    /// A plain value cannot fail.
    const FALLIBLE: bool = false;
}

impl<R> PlainReturn for ReturnProbe<R> {}
