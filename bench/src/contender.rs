//! Who is compared: what a producer and a worker must be able to do.

use std::future::Future;

use anyhow::Result;
use clap::ValueEnum;

use crate::args::Load;
use crate::part::{Parent, PartOptions, Phase, Report, Role, consume, produce};
use crate::{library, raw};

/// A way to have tasks done by NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// The loop that one would write with async-nats
    Raw,
    /// The library, as its user writes it
    Taskq,
}

impl Contender {
    /// The name in the report's columns and in the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Taskq => "taskq",
        }
    }

    /// Makes what it keeps on the server, where nothing is yet.
    pub(crate) async fn set_up(self, url: &str) -> Result<()> {
        match self {
            Self::Raw => raw::set_up(url).await,
            Self::Taskq => library::set_up(url).await,
        }
    }

    /// Plays a part of it in this process.
    pub(crate) async fn play(
        self,
        part: &PartOptions,
        load: Load,
        parent: &mut Parent,
    ) -> Result<Report> {
        match (self, part.role) {
            (Self::Raw, Role::Producer) => produce::<raw::Producer>(part, load, parent).await,
            (Self::Raw, Role::Worker) => consume::<raw::Worker>(part, load, parent).await,
            (Self::Taskq, Role::Producer) => produce::<library::Producer>(part, load, parent).await,
            (Self::Taskq, Role::Worker) => consume::<library::Worker>(part, load, parent).await,
        }
    }
}

/// The producing side of a contender. One connection.
pub(crate) trait Producer: Sized {
    /// Connects, and is ready to hear of outcomes.
    async fn connect(url: &str, load: Load) -> Result<Self>;

    /// Publishes this many tasks, and returns when the server has stored all.
    async fn enqueue(&mut self, count: u64) -> Result<()>;

    /// Publishes this many tasks, and returns when each one's outcome is known
    /// and is a success.
    async fn enqueue_and_learn(&mut self, count: u64) -> Result<()>;

    /// Publishes one task, and waits for its outcome. Not called together with
    /// the others.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send + 'static;
}

/// The consuming side of a contender.
pub(crate) trait Worker: Sized {
    /// Connects, and is ready for tasks.
    async fn connect(url: &str, load: Load) -> Result<Self>;

    /// Runs tasks until `stop` is ready and what was begun is settled. The
    /// number of tasks run.
    async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<u64>;
}

/// Whether a part of this role is there in a phase.
pub(crate) fn takes_part(role: Role, phase: Phase) -> bool {
    role == Role::Producer || phase != Phase::Enqueue
}
