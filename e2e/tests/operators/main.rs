//! What operators do to tasks that have ended, to many tasks at once, and to
//! workers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

mod retry;
mod workers;
