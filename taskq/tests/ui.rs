//! What the compiler says to a user of `#[task]`: each file in `tests/ui/` is a mistake,
//! or a few of one kind, with what is told of it. `TRYBUILD=overwrite cargo test -p taskq
//! --test ui` rewrites the texts.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

/// Half of each text is the compiler's own, and differs from version to version.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn mistakes_are_told_with_their_mend() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output();
    let version = String::from_utf8(version.unwrap().stdout).unwrap();
    if version.starts_with(COMPILER) {
        trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
    } else {
        eprintln!("the texts in tests/ui/ are those of {COMPILER}x, not compared with {version}");
    }
}
