//! What an index answers: the same suite for each store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

#[path = "../certificates/mod.rs"]
mod certificates;
mod database;
mod filters;
mod given;
mod keeping;
mod letters;
mod live;
mod pages;
mod rebuild;
mod stores;
mod trend;
