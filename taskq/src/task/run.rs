//! From a message to a running function: binding, injection, the job.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::{Attempt, Context, State, StateNeed, States, TaskError};
use crate::error::Error;
use crate::failure::FailureKind;
use crate::message::{Arguments, from_raw, to_raw};

/// A type that can be an argument of a task.
///
/// It has no supertraits, and its one implementation is not recommended: the
/// compiler would tell each bound that is missing as an error of its own, and
/// not the sentence here.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a task argument",
    label = "cannot be sent as JSON",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it; it must be `Send` and own what it holds",
    note = "if the worker should supply it, take a `State<{Self}>` or mark the parameter `#[inject]`"
)]
pub trait Argument: Sized {
    /// Adds it to the arguments of a call.
    ///
    /// # Errors
    /// When it has no JSON form.
    fn encode(&self, arguments: &mut Arguments, name: &'static str) -> Result<(), Error>;

    /// Takes it from the arguments of an attempt.
    ///
    /// # Errors
    /// See [`Bound::take`].
    fn decode(bound: &mut Bound<'_>, place: usize) -> Result<Self, TaskError>;

    /// Whether a call may leave it out.
    #[must_use]
    fn is_optional() -> bool;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Argument for T {
    fn encode(&self, arguments: &mut Arguments, name: &'static str) -> Result<(), Error> {
        arguments.push(name, self)
    }

    fn decode(bound: &mut Bound<'_>, place: usize) -> Result<Self, TaskError> {
        bound.take(place)
    }

    fn is_optional() -> bool {
        absent::<Self>().is_ok()
    }
}

/// A type that the worker supplies.
#[diagnostic::on_unimplemented(
    message = "the worker cannot supply a `{Self}`",
    label = "not injectable",
    note = "take a `State<{Self}>` and give the worker one by `.state(..)`, or implement `taskq::Inject`"
)]
pub trait Inject: Sized {
    /// The states it takes from the worker; checked when the worker is
    /// built.
    const NEEDS: &'static [StateNeed] = &[];

    /// Makes the value for one attempt.
    ///
    /// # Errors
    /// Any; the attempt fails with it.
    fn inject(invocation: &Invocation) -> Result<Self, TaskError>;
}

impl Inject for Context {
    fn inject(invocation: &Invocation) -> Result<Self, TaskError> {
        Ok(invocation.context())
    }
}

impl<T: Send + Sync + 'static> Inject for State<T> {
    const NEEDS: &'static [StateNeed] = &[StateNeed::of::<T>()];

    fn inject(invocation: &Invocation) -> Result<Self, TaskError> {
        invocation.states.get().ok_or_else(|| {
            TaskError::permanent(format!(
                "the worker holds no State<{}>; give it one by `.state(..)`",
                std::any::type_name::<T>()
            ))
        })
    }
}

/// One attempt, about to run.
#[derive(Debug)]
pub struct Invocation {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) arguments: Arguments,
    pub(crate) states: Arc<States>,
}

impl Invocation {
    /// The attempt's context.
    #[must_use]
    pub fn context(&self) -> Context {
        Context::new(Arc::clone(&self.attempt))
    }
}

/// The arguments of an attempt in the order of the parameters.
#[derive(Debug)]
pub struct Bound<'a> {
    params: &'static [&'static str],
    values: Vec<Option<&'a RawValue>>,
}

impl<'a> Bound<'a> {
    /// Binds the arguments to the parameters.
    ///
    /// # Errors
    /// A permanent error that names the argument which does not fit.
    pub fn new(
        invocation: &'a Invocation,
        params: &'static [&'static str],
    ) -> Result<Self, TaskError> {
        match invocation.arguments.bind(params) {
            Ok(values) => Ok(Self { params, values }),
            Err(reason) => Err(arguments_error(format!(
                "task `{}` {reason}",
                invocation.attempt.task
            ))),
        }
    }

    /// Decodes the argument at a place. An absent argument is `None` for an
    /// `Option`, so that a signature can grow.
    ///
    /// # Errors
    /// A permanent error that names the argument and what is wrong with it.
    pub fn take<T: DeserializeOwned>(&mut self, place: usize) -> Result<T, TaskError> {
        let name = self.params.get(place).copied().unwrap_or_default();
        match self.values.get(place).copied().flatten() {
            Some(value) => from_raw(value)
                .map_err(|error| arguments_error(format!("argument `{name}`: {error}"))),
            None => absent().map_err(|_| arguments_error(format!("argument `{name}` is missing"))),
        }
    }
}

fn arguments_error(message: String) -> TaskError {
    TaskError::of_kind(FailureKind::Arguments, message)
}

/// What an argument is that a call left out.
fn absent<T: DeserializeOwned>() -> serde_json::Result<T> {
    T::deserialize(Absent(PhantomData))
}

/// Deserializes an `Option` to `None` and nothing else, as serde does for a
/// missing field.
struct Absent<E>(PhantomData<E>);

impl<'de, E: serde::de::Error> Deserializer<'de> for Absent<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        Err(E::custom("absent"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// What a job gives: the value as JSON, or why there is none.
pub(crate) type Returned = Result<Box<RawValue>, TaskError>;

/// The bound function, ready to run.
pub struct Job(pub(crate) JobKind);

pub(crate) enum JobKind {
    /// Runs on the runtime.
    Future(Pin<Box<dyn Future<Output = Returned> + Send>>),
    /// Runs on the blocking pool.
    Blocking(Box<dyn FnOnce() -> Returned + Send>),
}

impl Job {
    /// An `async fn`, and what makes a record of its return value.
    #[must_use]
    pub fn future<F>(future: F, finish: fn(F::Output) -> Returned) -> Self
    where
        F: Future + Send + 'static,
    {
        Self(JobKind::Future(Box::pin(
            async move { finish(future.await) },
        )))
    }

    /// A plain `fn`: CPU work, or calls that block.
    #[must_use]
    pub fn blocking<F>(function: F) -> Self
    where
        F: FnOnce() -> Returned + Send + 'static,
    {
        Self(JobKind::Blocking(Box::new(function)))
    }
}

/// The value as JSON.
pub(super) fn to_returned<O: Serialize>(result: Result<O, TaskError>) -> Returned {
    to_raw(&result?).map_err(|error| {
        TaskError::of_kind(
            FailureKind::ReturnValue,
            format!("the returned value has no JSON form: {error}"),
        )
    })
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            JobKind::Future(_) => "Job::future",
            JobKind::Blocking(_) => "Job::blocking",
        })
    }
}
