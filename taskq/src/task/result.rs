//! What a task may return: `T`, `()`, or `Result<T, E>` under any name.

use std::marker::PhantomData;

use serde::Serialize;

use super::TaskError;
use super::run::{Returned, to_returned};

/// A return type, read as plain (`FALLIBLE` is false) or as a `Result`.
///
/// The parameter keeps the two readings of `Result<T, E>` apart: serde can
/// write a `Result` as a value too. Nothing is asked of the types here but in
/// [`Finish`], so that a type which cannot be returned is one error, and not
/// another wherever the task is named.
pub trait TaskReturn<const FALLIBLE: bool> {
    /// What the caller gets when the task succeeds.
    type Output;
}

impl<T> TaskReturn<false> for T {
    type Output = T;
}

impl<T, E> TaskReturn<true> for Result<T, E> {
    type Output = T;
}

/// A return type that a worker can record.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "cannot be sent as JSON",
    note = "return a type that implements `serde::Serialize` and `serde::Deserialize`, or a `Result` of one"
)]
pub trait Finish<const FALLIBLE: bool> {
    /// The value as JSON, or why there is none.
    ///
    /// # Errors
    /// The task's own, or that the value has no JSON form.
    fn finish(self) -> Returned;
}

impl<T: Serialize> Finish<false> for T {
    fn finish(self) -> Returned {
        to_returned(Ok(self))
    }
}

impl<T: Serialize, E: TaskFailure> Finish<true> for Result<T, E> {
    fn finish(self) -> Returned {
        to_returned(self.map_err(Into::into))
    }
}

/// What may be the error of a task.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a task",
    label = "the error does not convert into a `TaskError`",
    note = "implement `std::error::Error` for `{Self}`, or return `TaskError`, `anyhow::Error` or text as the error"
)]
pub trait TaskFailure: Into<TaskError> {}

#[diagnostic::do_not_recommend]
impl<E: Into<TaskError>> TaskFailure for E {}

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
