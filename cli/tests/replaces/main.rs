//! The walk-throughs of `docs/replaces`, each run from its own text: what stands
//! there behind `$` is typed, and what stands below is what must come.
//!
//! It is a harness of its own, and not libtest's, because this program is also
//! the `worker`, the `producer` and the `gateway` that the walk-throughs call: by
//! these names it is found on their `PATH`, so that no other build is needed.

#![cfg_attr(
    unix,
    allow(
        clippy::panic,
        clippy::unwrap_used,
        reason = "clippy sees no test in what tests share"
    )
)]

#[cfg(unix)]
#[path = "../../../gateway/src/main.rs"]
mod gateway;
#[cfg(unix)]
#[path = "../../../producer/src/main.rs"]
mod producer;
#[cfg(unix)]
#[path = "../../../worker/src/main.rs"]
mod worker;

#[cfg(unix)]
mod document;
#[cfg(unix)]
mod expected;
#[cfg(unix)]
mod harness;
#[cfg(unix)]
mod needs;
#[cfg(unix)]
mod walk;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let called = std::path::Path::new(&called).file_name();
    match called.and_then(std::ffi::OsStr::to_str) {
        Some("worker") => worker::main(),
        Some("producer") => producer::main(),
        Some("gateway") => gateway::main(),
        _ => harness::run(&[
            ("python_taskiq_with_nats", "taskiq-nats.md"),
            ("flask_with_redis", "flask-redis.md"),
            ("celery_with_flower", "celery-flower.md"),
            ("two_services_with_postgresql", "two-services.md"),
            ("kafka_with_redis", "kafka-redis.md"),
        ]),
    }
}

#[cfg(not(unix))]
fn main() {}
