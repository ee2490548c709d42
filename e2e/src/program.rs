//! The real programs, run by tests.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;

/// A command to run with none of this machine's settings for taskq.
#[must_use]
pub fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars() {
        let keeps_server = name == "TASKQ_NATS_SERVER" || name == "TASKQ_CACHE_DIR";
        if (name.starts_with("TASKQ_") || name.starts_with("NATS_")) && !keeps_server {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
///
/// # Panics
/// When it has not ended after [`PATIENCE`].
pub fn run(command: &mut Command) -> Ended {
    Program::start(command).end()
}

/// A program that runs. It is killed with this.
#[derive(Debug)]
pub struct Program {
    process: Child,
    stdout: Output,
    stderr: Output,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
}

impl Ended {
    /// The exit code.
    ///
    /// # Panics
    /// When a signal ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// The lines of its stdout, each one JSON object.
    ///
    /// # Panics
    /// When one is not.
    #[must_use]
    pub fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| match serde_json::from_str(line) {
                Ok(value @ Value::Object(_)) => value,
                _ => panic!("not a JSON object: {line}\n{}", self.stderr),
            })
            .collect()
    }
}

impl Program {
    /// Starts a command.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self {
            stdout: Output::of(process.stdout.take().expect("a pipe")),
            stderr: Output::of(process.stderr.take().expect("a pipe")),
            process,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a line of stdout that has `part` in it.
    ///
    /// # Panics
    /// When there is none after [`PATIENCE`].
    #[must_use]
    pub fn stdout_line(&self, part: &str) -> String {
        self.line(part, |program| &program.stdout)
    }

    /// Waits for a line of stderr that has `part` in it.
    ///
    /// # Panics
    /// When there is none after [`PATIENCE`].
    #[must_use]
    pub fn stderr_line(&self, part: &str) -> String {
        self.line(part, |program| &program.stderr)
    }

    fn line(&self, part: &str, output: impl Fn(&Self) -> &Output) -> String {
        self.wait(part, || {
            let text = output(self).text();
            let line = text.lines().find(|line| line.contains(part));
            line.map(str::to_owned)
        })
    }

    /// Waits until its stdout, so far, is as it should be.
    ///
    /// # Panics
    /// When it is not after [`PATIENCE`].
    pub fn until_stdout(&self, mut is_so: impl FnMut(&str) -> bool) {
        self.wait("what stdout should be", || {
            is_so(&self.stdout.text()).then_some(())
        });
    }

    /// Its stderr, so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text().clone()
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let limit = Instant::now() + PATIENCE;
        loop {
            let over = self.stdout.is_over() && self.stderr.is_over();
            if let Some(found) = look() {
                return found;
            }
            assert!(
                Instant::now() < limit && !over,
                "in vain for `{what}`; stdout: {}; stderr: {}",
                self.stdout.text(),
                self.stderr.text()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal: `TERM`, `INT`, `KILL`, `STOP`.
    ///
    /// # Panics
    /// When there is no such signal.
    pub fn signal(&self, name: &str) {
        let told = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(told.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// Ends it at once, with SIGKILL, and returns when it is gone.
    ///
    /// # Panics
    /// When the system does not end it.
    pub fn kill(&mut self) {
        self.process.kill().expect("a signal");
        self.process.wait().expect("an end");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it has not ended after [`PATIENCE`].
    #[must_use]
    pub fn end(mut self) -> Ended {
        let limit = Instant::now() + PATIENCE;
        let status = loop {
            if let Ok(Some(status)) = self.process.try_wait() {
                break status;
            }
            assert!(
                Instant::now() < limit,
                "does not end; stdout: {}; stderr: {}",
                self.stdout.text(),
                self.stderr.text()
            );
            thread::sleep(Duration::from_millis(2));
        };
        Ended {
            status,
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a program says, as it says it, line by line.
#[derive(Debug)]
struct Output {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                into.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    /// Whether nothing more will come.
    fn is_over(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, once the pipe is closed.
    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.text().clone()
    }
}

/// Whether a process of this id is there, and no zombie.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let state = Command::new("ps")
        .args(["-o", "state=", "-p", &pid.to_string()])
        .output()
        .expect("ps runs");
    let state = state.stdout.trim_ascii();
    !state.is_empty() && !state.starts_with(b"Z")
}
