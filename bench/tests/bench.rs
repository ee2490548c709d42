//! The program as a script sees it, against a real nats-server.

// Tests of the program, whose helpers fail as tests do.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

/// Runs `bench` with these arguments.
fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(args).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn json_has_a_line_a_phase_and_ends_with_the_medians() {
    let output = bench(&["--json", "--reps=2", "--count=300", "--latency-count=20"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr.contains("--release"), cfg!(debug_assertions));

    let lines = lines(&output);
    let (summary, phases) = lines.split_last().unwrap();
    // Two repetitions of two sides of four phases.
    assert_eq!(phases.len(), 16);
    let firsts: Vec<_> = phases
        .iter()
        .filter(|line| line["phase"] == "enqueue")
        .map(|line| line["side"].as_str().unwrap())
        .collect();
    let rotated = firsts[0] != firsts[2];
    assert!(rotated, "the order does not rotate: {firsts:?}");

    for side in ["raw", "taskq"] {
        for key in [
            "enqueue_per_s",
            "tasks_per_s",
            "p50_ms",
            "p99_ms",
            "worker_start_ms",
        ] {
            let value = summary[side][key].as_f64().unwrap();
            assert!(value > 0.0, "{side} {key} {value}");
        }
        for key in ["rss_mb", "cpu_us_per_task", "worker_idle_rss_mb"] {
            let told = summary[side][key].is_f64();
            assert_eq!(told, cfg!(target_os = "linux"), "{side} {key}");
        }
    }
    for key in ["enqueue", "end_to_end", "p99"] {
        let ratio = summary["ratio"][key].as_f64().unwrap();
        let range = &summary["ratio_range"][key];
        assert!(range[0].as_f64().unwrap() <= ratio);
        assert!(ratio <= range[1].as_f64().unwrap());
    }
}

#[test]
fn the_raw_loop_is_measured_against_itself_when_asked_for() {
    let output = bench(&[
        "--json",
        "--reps=1",
        "--count=50",
        "--latency-count=5",
        "--against=raw",
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let lines = lines(&output);
    assert!(lines.last().unwrap()["raw_again"]["tasks_per_s"].is_f64());
}

#[test]
fn a_table_is_printed_without_json() {
    let output = bench(&["--reps=1", "--count=50", "--latency-count=5"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let table = String::from_utf8_lossy(&output.stdout);
    for row in [
        "taskq",
        "enqueue /s",
        "end to end tasks/s",
        "latency p99, ms",
        "worker start to first outcome, ms",
        "CPU of worker, µs a task",
        "memory of worker, idle, MB",
    ] {
        assert!(table.contains(row), "{table}");
    }
    assert_eq!(table.contains("--release"), cfg!(debug_assertions));
}

#[test]
fn bad_usage_ends_with_2_and_a_missing_server_with_1() {
    assert_eq!(bench(&["--reps=0"]).status.code(), Some(2));

    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.env("TASKQ_NATS_SERVER", "/nowhere/nats-server");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("/nowhere/nats-server"), "{error}");
}
