//! `taskq schedules`

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_added_listed_paused_resumed_run_and_removed() {
    let system = System::new().await;
    let kwargs = format!(r#"{{"file": "{}"}}"#, system.file("x"));
    let add = |more: &[&str]| {
        let add = ["schedules", "add", "nightly", "read_file"];
        let call = ["--kwargs", kwargs.as_str(), "--by", "ada"];
        system.taskq(&[&add[..], &call[..], more].concat())
    };
    let bad = add(&["--cron", "0 9 * *"]);
    assert_eq!(bad.code(), 1, "{bad:?}");
    assert!(bad.stderr.contains("this has 4 fields"), "{bad:?}");
    assert_eq!(add(&[]).code(), 2, "no time");
    assert_eq!(add(&["--cron", "@daily", "--every", "5m"]).code(), 2);
    let berlin = ["--cron", "0 9 * * MON-FRI", "--tz", "Europe/Berlin"];
    let added = add(&[&berlin[..], &["--overlap", "queue-one"]].concat());
    assert_eq!(added.code(), 0, "{added:?}");
    assert!(added.stdout.contains("nightly: "), "{added:?}");
    assert!(added.stdout.contains("09:00:00 CE"), "{added:?}");

    let listed = system.taskq(&["schedules", "list"]);
    for part in ["nightly", "read_file", "Europe/Berlin"] {
        assert!(listed.stdout.contains(part), "{listed:?}");
    }
    let info = &system.json(&["schedules", "list"])[0];
    assert_eq!(
        (&info["name"], &info["overlap"]),
        (&"nightly".into(), &"queue one".into())
    );
    assert_eq!(
        (&info["source"], &info["by"]),
        (&"operator".into(), &"ada".into())
    );
    let next = &system.json(&["schedules", "next", "nightly", "-n", "3"]);
    assert_eq!(next.len(), 3);
    assert_eq!(next[0]["at"], info["next"]);

    let pause = [
        "schedules",
        "pause",
        "nightly",
        "--by",
        "bob",
        "--because",
        "holidays",
    ];
    let paused = system.taskq(&pause);
    assert_eq!(paused.code(), 0, "{paused:?}");
    let listed = system.taskq(&["schedules", "list"]);
    assert!(
        listed.stdout.contains("paused by bob: holidays"),
        "{listed:?}"
    );
    let again = &system.json(&["schedules", "pause", "nightly"])[0];
    assert_eq!(again["changed"], false);
    let resumed = system.taskq(&["schedules", "resume", "nightly"]);
    assert!(resumed.stdout.contains("fires next at"), "{resumed:?}");

    let _worker = system.worker("w1");
    system.make("x");
    let run = system.taskq(&["schedules", "run", "nightly"]);
    assert_eq!(run.code(), 0, "{run:?}");
    system.ended(run.stdout.trim()).await;
    let shown = system.taskq(&["schedules", "show", "nightly"]);
    for part in [
        "queue one",
        "0 9 * * MON-FRI Europe/Berlin",
        "ada (operator)",
    ] {
        assert!(shown.stdout.contains(part), "{shown:?}");
    }
    let removed = system.taskq(&["schedules", "rm", "nightly"]);
    assert_eq!(removed.code(), 0, "{removed:?}");
    let gone = system.taskq(&["schedules", "show", "nightly"]);
    assert_eq!(gone.code(), 1, "{gone:?}");
    assert!(gone.stderr.contains("no schedule `nightly`"), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_off_is_added_and_its_end_is_listed() {
    let system = System::new().await;
    system.make("y");
    let _worker = system.worker("w1");
    let kwargs = format!(r#"{{"file": "{}"}}"#, system.file("y"));
    let add = ["schedules", "add", "once", "read_file", "--at", "4s"];
    let added = system.taskq(&[&add[..], &["--kwargs", &kwargs]].concat());
    assert_eq!(added.code(), 0, "{added:?}");
    let ended = async || {
        let info = &system.json(&["schedules", "show", "once"])[0];
        info["last"]["status"] == "succeeded" && info["next"].is_null()
    };
    let limit = std::time::Instant::now() + taskq_e2e::PATIENCE;
    while !ended().await {
        assert!(std::time::Instant::now() < limit, "in vain: it has run");
    }
}

#[test]
fn the_times_of_a_pattern_are_told_without_a_server() {
    let mut command = taskq_e2e::program(env!("CARGO_BIN_EXE_taskq"));
    let pattern = ["--cron", "30 2 * * *", "--tz", "Europe/Berlin", "-n", "2"];
    let args = [
        &["schedules", "next", "--after", "2026-03-28T00:00:00Z"][..],
        &pattern,
    ]
    .concat();
    let told = taskq_e2e::run(command.args(args));
    assert_eq!(told.code(), 0, "{told:?}");
    // The second is at the jump of the clocks.
    assert_eq!(
        told.stdout,
        "2026-03-28 02:30:00 CET\n2026-03-29 03:00:00 CEST\n"
    );
}
