//! `taskq bench`: the measuring program runs itself again as `taskq` too.

// Tests of the program, whose helpers fail as tests do.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

#[test]
fn taskq_bench_measures_and_ends_with_the_medians() {
    let mut taskq = Command::new(env!("CARGO_BIN_EXE_taskq"));
    taskq.args(["bench", "--json", "--reps=1", "--count=50"]);
    let output = taskq.arg("--latency-count=5").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");

    let stdout = String::from_utf8(output.stdout).unwrap();
    let medians: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    for key in ["enqueue", "end_to_end", "p99"] {
        assert!(medians["ratio"][key].as_f64().unwrap() > 0.0, "{medians}");
    }
}
