//! What the linker must not drop.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::path::Path;
use std::process::Command;

/// The worker names the catalogue only by `use tasks as _;`, and programs of users are
/// linked with LTO: the fat kind here, which drops the most. A program that is no more than
/// that, since it builds in a fraction of the worker's time; the worker itself is built so
/// for its image, and `scripts/containers-smoke --compile` has it do the five tasks.
#[test]
fn all_tasks_of_a_crate_that_is_only_named_are_found_in_a_release_build_with_lto() {
    for source in [
        include_str!("../../worker/src/lib.rs"),
        include_str!("../../user-code/examples/only_named.rs"),
    ] {
        assert!(source.contains("use tasks as _;"));
        assert_eq!(
            source.matches("tasks::").count(),
            0,
            "it is named by nothing else"
        );
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = root.join("target/lto");
    let built = Command::new(env!("CARGO"))
        .current_dir(root)
        .args([
            "build",
            "--release",
            "--package",
            "taskq-user-code",
            "--example",
            "only_named",
        ])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        // What is linked does not depend on it, and it builds in half the time.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .status()
        .unwrap();
    assert!(built.success());
    let program = target
        .join("release/examples")
        .join(format!("only_named{}", std::env::consts::EXE_SUFFIX));
    let ran = Command::new(program).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let found = String::from_utf8(ran.stdout).unwrap();
    let found: Vec<&str> = found.lines().collect();
    for task in [
        "to_uppercase",
        "to_lowercase",
        "reverse_string",
        "count_chars",
        "repeat_string",
    ] {
        assert!(found.contains(&task), "{task} is not in {found:?}");
    }
}
