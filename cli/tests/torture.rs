//! `taskq torture`: a short run, of processes that are killed as in a long
//! one.

// Tests of the program, whose helpers fail as tests do.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;
use taskq_e2e::program;

fn torture(args: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_taskq"));
    command.arg("torture").args(args);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_third_of_a_minute_loses_nothing_and_records_nothing_twice() {
    let run = ["--seed=1", "--minutes=0.33", "--json"];
    // Other tests have the machine too: more time, and the same counts.
    let patience = ["--recovery=40s", "--drain=5m"];
    let output = torture(&[run.as_slice(), &patience].concat()).output();
    let output = output.unwrap();
    let verdict: Value = serde_json::from_str(&said(&output)).unwrap();
    assert!(output.status.success(), "{verdict:#}");
    assert_eq!(verdict["passed"], true, "{verdict:#}");
    for (counted, least) in [
        ("/accepted", 100),
        ("/faults/kill", 10),
        ("/dead_letters", 1),
    ] {
        assert!(
            verdict.pointer(counted).unwrap().as_u64() >= Some(least),
            "{verdict:#}"
        );
    }
    assert_eq!(verdict["lost"], 0, "{verdict:#}");
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    let plan = |seed| said(&torture(&["--plan", "--minutes=5", seed]).output().unwrap());
    let first = plan("--seed=1");
    assert!(first.lines().count() > 200, "{first}");
    assert_eq!(first, plan("--seed=1"));
    assert_ne!(first, plan("--seed=2"));
}

#[test]
fn its_tasks_are_in_no_other_worker() {
    let output = program(env!("CARGO_BIN_EXE_taskq"))
        .args(["tasks", "--mode=memory"])
        .output();
    let said = said(&output.unwrap());
    assert!(
        said.contains("to_uppercase") && !said.contains("hopeless"),
        "{said}"
    );
}
