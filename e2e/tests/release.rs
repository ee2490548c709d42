//! What the linker must not drop.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::path::Path;
use std::process::Command;

use taskq_e2e::{Program, program};
use taskq_nats_server::NatsServer;

/// The worker names the catalogue only by `use tasks as _;`, and the release
/// profile links with LTO: the fat kind here, which drops the most.
#[test]
fn all_tasks_of_a_crate_that_is_only_named_are_found_in_a_release_build_with_lto() {
    let source = include_str!("../../worker/src/lib.rs");
    assert!(source.contains("use tasks as _;"));
    assert_eq!(
        source.matches("tasks::").count(),
        0,
        "it is named by nothing else"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = root.join("target/lto");
    let built = Command::new(env!("CARGO"))
        .current_dir(root)
        .args([
            "build",
            "--release",
            "--package",
            "taskq-worker",
            "--bin",
            "worker",
        ])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        // What is linked does not depend on it, and it builds in half the time.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .status()
        .unwrap();
    assert!(built.success());
    let server = NatsServer::builder().start().unwrap();
    let binary = target
        .join("release")
        .join(format!("worker{}", std::env::consts::EXE_SUFFIX));
    let mut command = program(binary.to_str().unwrap());
    let worker = Program::start(command.args(["--url", server.url()]));
    let _ = worker.stderr_line("worker started with 25 tasks");
    for task in [
        "to_uppercase",
        "to_lowercase",
        "reverse_string",
        "count_chars",
        "repeat_string",
    ] {
        let _ = worker.stderr_line(&format!("task {task}("));
    }
}
