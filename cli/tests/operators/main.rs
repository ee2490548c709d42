//! What operators do: cancelling, dead letters, events, progress. The
//! workers are processes of their own: this program, run as one.

#![cfg(unix)]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

mod audit;
mod bulk;
mod cancel;
mod dead;
mod delayed;
mod doctor;
mod enqueue;
mod events;
mod explain;
mod history;
mod pool;
mod progress;
mod queues;
mod retry;
mod schedules;
mod types;
mod worker;
mod workers;

use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use taskq::{Client, Mode};
use taskq_e2e::{Ended, Fixture, PATIENCE, Program, program, run};

/// A server, workers in processes of their own, and the command.
struct System {
    fixture: Fixture,
    client: Client,
    /// What tasks wait for, and what they leave behind.
    folder: tempfile::TempDir,
}

impl System {
    async fn new() -> Self {
        let fixture = Fixture::new(Mode::JetStream);
        Self {
            client: fixture.client().await,
            folder: tempfile::tempdir().unwrap(),
            fixture,
        }
    }

    fn url(&self) -> &str {
        self.fixture.url()
    }

    /// The path of a file that a task looks at or makes.
    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn make(&self, name: &str) {
        std::fs::write(self.file(name), "").unwrap();
    }

    async fn until_there(&self, name: &str) {
        let path = self.file(name);
        taskq_e2e::until(name, || std::path::Path::new(&path).exists()).await;
    }

    /// A worker process that takes messages.
    fn worker(&self, name: &str) -> Program {
        let worker = Program::start(&mut worker::command(self.url(), name));
        let _ = worker.stderr_line("worker started");
        worker
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(env!("CARGO_BIN_EXE_taskq"));
        command.args(args).args(["--url", self.url()]);
        command
    }

    fn taskq(&self, args: &[&str]) -> Ended {
        run(&mut self.command(args))
    }

    /// Runs the command with JSON, and gives its lines.
    fn json(&self, args: &[&str]) -> Vec<Value> {
        self.taskq(&[args, &["--json"]].concat()).json()
    }

    /// Runs the command with JSON until its lines are as they should be: what is told of a task
    /// is told a moment before or after its end.
    fn until_json(&self, args: &[&str], is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let limit = Instant::now() + PATIENCE;
        loop {
            let lines = self.json(args);
            if is_so(&lines) {
                return lines;
            }
            assert!(Instant::now() < limit, "in vain: {args:?}: {lines:?}");
        }
    }

    /// Sends a task with one argument, and tells its id.
    async fn send(&self, task: &str, id: &str, file: &str) {
        // The id makes it safe to try again while the server is away.
        let limit = Instant::now() + PATIENCE;
        loop {
            let call = self.client.call(task).id(id);
            let call = call.arg("file", &self.file(file));
            match call.enqueue(&self.client).await {
                Ok(_) => return,
                Err(error) if error.is_retryable() && Instant::now() < limit => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits for a task to end, and tells its state.
    async fn ended(&self, id: &str) -> String {
        let handle = self.client.handle::<Value>(id);
        handle.outcome().await.unwrap().state.to_string()
    }
}
