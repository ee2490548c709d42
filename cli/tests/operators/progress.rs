//! What a person sees of a task that runs.

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::System;

/// A terminal, and what is written to it.
struct Terminal {
    path: String,
    text: Arc<Mutex<String>>,
}

impl Terminal {
    fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        std::thread::spawn(move || {
            let mut master = File::from(master);
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut bytes) {
                let part = String::from_utf8_lossy(&bytes[..count]);
                into.lock().unwrap().push_str(&part);
            }
        });
        Self {
            path: path.into_string().unwrap(),
            text,
        }
    }

    fn side(&self) -> File {
        File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .unwrap()
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_shows_how_far_a_task_is_while_it_is_waited_for() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    for command in ["enqueue", "result"] {
        let file = format!("{command}.end");
        let kwargs = serde_json::json!({ "file": system.file(&file) }).to_string();
        let enqueue = [
            "enqueue",
            "step_by_step",
            "--kwargs",
            &kwargs,
            "--id",
            command,
        ];
        let terminal = Terminal::open();
        let mut waiting = if command == "enqueue" {
            system.command(&[&enqueue[..], &["--wait", "--json"]].concat())
        } else {
            assert_eq!(system.taskq(&enqueue).code(), 0);
            system.command(&["result", command, "--wait"])
        };
        waiting
            .env("TERM", "xterm")
            .stdout(Stdio::piped())
            .stderr(terminal.side());
        let waiting = waiting.spawn().unwrap();
        taskq_e2e::until("the bar", || {
            let text = terminal.text();
            text.contains("3/10") && text.contains("three are done")
        })
        .await;
        system.make(&file);
        let ended = waiting.wait_with_output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        // Nothing but the result is on stdout.
        let stdout = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        assert!(stdout.contains("10"), "{stdout}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_terminal_nothing_is_shown_but_the_result() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    taskq_e2e::found(&system.client, 1).await;
    system.make("end");
    let kwargs = serde_json::json!({ "file": system.file("end") }).to_string();
    let call = ["enqueue", "step_by_step", "--kwargs", &kwargs, "--wait"];
    let ended = system.taskq(&call);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert_eq!(ended.stderr, "");
    assert!(ended.stdout.ends_with("\n10\n"), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 2, "{ended:?}");
}
