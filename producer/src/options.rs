//! What a producer is to do.

use std::time::Duration;

/// Which tasks to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mix {
    /// The five string tasks in turn
    #[default]
    Five,
    /// A realistic mix of the catalogue: many short ones, some that calculate
    Catalogue,
}

/// How many tasks to send in which time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Tasks a second.
    pub per_second: f64,
    /// For how long.
    pub length: Duration,
}

/// What to send and how to tell of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which tasks.
    pub mix: Mix,
    /// How many tasks, the five in turn; the five once if there is none.
    pub count: Option<u64>,
    /// Whether to wait for the results.
    pub wait: bool,
    /// The queue to send to.
    pub queue: String,
    /// How long to wait for each result.
    pub timeout: Duration,
    /// Whether to print JSON.
    pub json: bool,
}
