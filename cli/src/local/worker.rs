//! A worker process that ends with its owner.

use std::ffi::OsStr;
use std::io::Read as _;
use std::process::{ExitCode, ExitStatus, Stdio};

use anyhow::Context as _;
use taskq::cli::LogArgs;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::GRACE;

/// The hidden subcommand that a worker process runs.
pub(crate) const WORKER_COMMAND: &str = "local-worker";

/// A running worker. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    name: String,
    process: Child,
    /// The worker stops when this is closed, so also when its owner is
    /// killed.
    leash: Option<ChildStdin>,
}

impl WorkerProcess {
    /// Starts this program once more, as a worker.
    pub(crate) fn spawn(name: String, url: &str, log: &LogArgs) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut command = Command::new(&program);
        // Settings for another NATS must not reach it.
        for (variable, _) in std::env::vars_os() {
            if is_setting(&variable) {
                command.env_remove(variable);
            }
        }
        let mut process = command
            .args([WORKER_COMMAND, "--url", url, "--name", &name])
            .args(["--grace", &taskq::format_duration(GRACE)])
            .args(["--log", &log.log, "--log-format", log.log_format.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .own_group()
            .spawn()
            .with_context(|| format!("cannot start {} as a worker", program.display()))?;
        Ok(Self {
            name,
            leash: process.stdin.take(),
            process,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, none while it runs.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    pub(crate) fn tell_to_stop(&mut self) {
        self.leash = None;
    }

    /// Waits for it to end, and kills it at the limit.
    pub(crate) async fn stop_by(&mut self, limit: Instant) -> anyhow::Result<()> {
        self.tell_to_stop();
        if timeout_at(limit, self.process.wait()).await.is_err() {
            self.process.kill().await?;
        }
        Ok(())
    }
}

/// A Ctrl-C is the owner's to act on: it still needs the workers to end well.
trait OwnGroup {
    fn own_group(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn own_group(&mut self) -> &mut Self {
        #[cfg(unix)]
        self.process_group(0);
        self
    }
}

fn is_setting(variable: &OsStr) -> bool {
    let name = variable.as_encoded_bytes();
    name.starts_with(b"NATS_") || name.starts_with(b"TASKQ_")
}

/// The worker's side: works until stdin is closed.
pub(crate) fn work(args: taskq_worker::Args) -> anyhow::Result<ExitCode> {
    args.log.init();
    let (closed, stop) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        // Nothing is ever written: whatever ends this is the end.
        let _ = stdin.read(&mut [0]);
        drop(closed);
    });
    let done = taskq_worker::run_until(args, async {
        let _ = stop.await;
    });
    taskq::telemetry::end_traces();
    done?;
    Ok(ExitCode::SUCCESS)
}
