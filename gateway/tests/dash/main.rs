//! The dashboard in a real Chromium, against a real server and real workers.
//!
//! Needs `chromium` and `chromedriver`, and says so where they are missing.
//! `TASKQ_SCREENSHOTS=folder` writes a picture of every page, at three widths
//! and in both themes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

mod browser;
mod live;
mod operate;
mod pages;
#[path = "../pool/mod.rs"]
mod pool;
mod pools;
mod system;
mod tasks;
