//! A distributed task queue, native to NATS: annotate a function with
//! `#[task]`, call it from anywhere, and whichever worker is free runs it.
//!
//! ```standalone_crate
//! use taskq::prelude::*;
//!
//! /// Converts a string to uppercase.
//! #[task]
//! async fn to_uppercase(text: String) -> String {
//!     text.to_uppercase()
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> taskq::Result<()> {
//! // A worker, here in the same process and without a server:
//! let client = Client::memory();
//! let worker = Worker::builder(client.clone()).build()?;
//! let running = tokio::spawn(worker.run());
//!
//! // A producer:
//! let handle = to_uppercase::enqueue(&client, "hello").await?;
//! assert_eq!(handle.result().await?, "HELLO"); // pushed, not polled
//!
//! // A unit test: it is still the function you wrote.
//! assert_eq!(to_uppercase("hello".into()).await, "HELLO");
//! # running.abort();
//! # Ok(()) }
//! ```
//!
//! A real system connects: `Client::connect("nats://localhost:4222")`, in
//! the producer and in the worker.
//!
//! # Where things are
//!
//! - [`task`](macro@task) makes a function a task; [`Call`] is a call of it
//!   that is not sent yet.
//! - [`Client`] sends calls, [`TaskHandle`] waits for what they return.
//! - [`Worker`] runs tasks; [`Context`] and [`State`] are what a task may
//!   ask of it.
//! - [`TaskError`] steers retries; [`Outcome`] is the one record of how a
//!   task ended.
//! - [`admin`] is for operators.
//!
//! The [guides](guide) are the longer texts: [writing tasks](guide::tasks),
//! [sending and waiting](guide::client), [running workers](guide::worker),
//! [schedules](guide::schedules).
//!
//! # Features
//!
//! - `worker` (default): the consuming side. A producer does without it:
//!   `default-features = false`.
//! - `schema` (with `worker`): tasks tell the JSON Schema of their arguments and
//!   result ([`TaskSchema`]).
//! - `check`: `admin::ArgumentCheck`, which checks calls against what workers tell
//!   of a task.
//! - `cli`: `taskq::cli`, the flags, environment variables and logging of
//!   a program with a command line.
//! - `otlp`: traces of what is sent and run, see [`telemetry`].

// A producer's build has the whole transports, of which it uses one half.
#![cfg_attr(not(feature = "worker"), allow(dead_code))]

mod broker;
mod client;
mod error;
mod failure;
mod message;
mod policy;
mod schedule;
#[cfg(all(test, feature = "worker"))]
mod simulation;
mod task;
mod time;
#[cfg(feature = "worker")]
mod worker;

pub mod admin;
#[cfg(feature = "cli")]
pub mod cli;
// Text only, so a program has no use for it.
#[cfg(all(any(doc, doctest), feature = "worker"))]
pub mod guide;
#[cfg(feature = "worker")]
pub mod pool;
pub mod telemetry;

pub use broker::{Mode, QueueDepth, Status};
pub use client::{
    Cancel, Cancellation, Client, ClientBuilder, Enqueue, EnqueueHook, Progress, Rescheduled,
    TaskHandle,
};
pub use error::{BoxError, Error, ErrorKind, Result};
pub use failure::{Failure, FailureKind};
pub use message::{
    Arguments, CancelRequest, Crash, DeadLetter, DeadReason, Event, EventKind, FailedAttempt,
    Hidden, Label, LabelType, Labels, Outcome, Paused, QueueSettings, State as OutcomeState,
    TaskId, TaskMessage, TaskSettings,
};
pub use schedule::{NewSchedule, Schedule, ScheduleSource};
/// The crate by which types tell what they look like: derive its `JsonSchema`
/// with `#[schemars(crate = "taskq::schemars")]`.
#[cfg(feature = "schema")]
pub use schemars;
pub use task::{
    Call, Context, Declaration, Inject, Invocation, OnConflict, Param, ParamSchema, Registration,
    Returns, Sensitivity, State, StateNeed, Task, TaskError, TaskOptions, TaskSchema, Unique,
    Untyped, ValueSchema,
};
pub use taskq_macros::task;
pub use taskq_syntax::{
    Backoff, BackoffKind, Misfire, Overlap, Priority, Rate, format_duration, parse_duration,
};
pub use time::{Lengths, Timestamp};
#[cfg(feature = "worker")]
pub use worker::{
    Execution, Lateness, QueueWeight, TaskService, TaskValue, Worker, WorkerBuilder, WorkerState,
    WorkerStats,
};

/// What most programs name: `use taskq::prelude::*;`.
pub mod prelude {
    #[cfg(feature = "worker")]
    pub use crate::Worker;
    pub use crate::{Client, Context, Lengths, Priority, State, Task, TaskError, TaskHandle, task};
}

/// What the expansion of `#[task]` names. Not for you: it changes with the
/// macro.
#[doc(hidden)]
pub mod __private {
    pub use std::time::Duration;

    #[cfg(feature = "worker")]
    pub use inventory;
    pub use taskq_syntax::{Backoff, Misfire, Overlap, Priority};

    pub use crate::client::{Client, Enqueue};
    pub use crate::error::Error;
    pub use crate::message::Arguments;
    pub use crate::task::{
        AnySchema, Argument, Bound, Call, Declaration, Declared, Finish, Inject, Invocation, Job,
        Param, ParamSchema, PlainReturn, Registration, ReturnProbe, SchemaProbe, StateNeed, Task,
        TaskError, TaskOptions, TaskReturn, TaskSchema, Unique,
    };
}

#[cfg(feature = "worker")]
inventory::collect!(Registration);

/// Puts a task in the program, where there is a worker to find it.
#[doc(hidden)]
#[cfg(feature = "worker")]
#[macro_export]
macro_rules! __register_task {
    ($registration:expr) => {
        $crate::__private::inventory::submit! { $registration }
    };
}

/// A producer has no use for the body.
#[doc(hidden)]
#[cfg(not(feature = "worker"))]
#[macro_export]
macro_rules! __register_task {
    ($registration:expr) => {};
}

/// The registration, where there is a worker to run it.
#[doc(hidden)]
#[cfg(feature = "worker")]
#[macro_export]
macro_rules! __registration {
    ($registration:expr) => {
        ::core::option::Option::Some(&$registration)
    };
}

/// A producer has no use for the body.
#[doc(hidden)]
#[cfg(not(feature = "worker"))]
#[macro_export]
macro_rules! __registration {
    ($registration:expr) => {
        ::core::option::Option::None
    };
}
