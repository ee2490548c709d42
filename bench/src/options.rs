//! What is measured: who, in which part, with what load.

use clap::{Args, ValueEnum};
use serde::Serialize;

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
}

/// What one task is, and how many run at once.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Load {
    /// Tasks that the worker runs at once
    #[arg(long, env = "TASKQ_BENCH_CONCURRENCY", default_value_t = 256, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    pub(crate) concurrency: usize,

    /// Bytes of the raw loop's message; taskq gets the same argument in its own envelope
    #[arg(long, env = "TASKQ_BENCH_PAYLOAD", default_value_t = 200, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(150..=500_000))]
    pub(crate) payload: usize,
}

/// Which part, of whom, in what.
#[derive(Debug, Clone, Args)]
pub(crate) struct PartOptions {
    #[arg(long, value_enum)]
    pub(crate) contender: Contender,
    #[arg(long, value_enum)]
    pub(crate) role: Role,
    #[arg(long, value_enum)]
    pub(crate) phase: Phase,
    /// Tasks of this phase.
    #[arg(long)]
    pub(crate) tasks: u64,
    /// Tasks a second, in the latency phase.
    #[arg(long)]
    pub(crate) per_second: u32,
    /// The server.
    #[arg(long)]
    pub(crate) url: String,
}

impl PartOptions {
    /// The hidden subcommand that says the same.
    pub(crate) fn args(&self) -> [String; 13] {
        [
            "part".to_owned(),
            "--contender".to_owned(),
            self.contender.name().to_owned(),
            "--role".to_owned(),
            self.role.name().to_owned(),
            "--phase".to_owned(),
            self.phase.name().to_owned(),
            "--tasks".to_owned(),
            self.tasks.to_string(),
            "--per-second".to_owned(),
            self.per_second.to_string(),
            "--url".to_owned(),
            self.url.clone(),
        ]
    }
}

/// A side of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Producer,
    Worker,
}

impl Role {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
        }
    }
}

/// What is measured at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[clap(rename_all = "snake_case")]
pub(crate) enum Phase {
    Enqueue,
    EndToEnd,
    Latency,
    Start,
}

impl Phase {
    /// In the order in which a side goes through them.
    pub(crate) const ALL: [Self; 4] = [Self::Enqueue, Self::EndToEnd, Self::Latency, Self::Start];

    /// As on the command line and in the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::EndToEnd => "end_to_end",
            Self::Latency => "latency",
            Self::Start => "start",
        }
    }
}

/// What the process of a bare loop is told.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct CpuOptions {
    /// How many numbers to compute.
    #[arg(long)]
    pub(crate) tasks: u64,
    /// Million steps for each.
    #[arg(long)]
    pub(crate) millis: u64,
}

/// What a worker's process is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerOptions {
    /// The server.
    #[arg(long)]
    pub(crate) url: String,
}
