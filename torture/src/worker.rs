//! The worker processes: what they do, and how they are started and ended.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use taskq::Worker;
use taskq::cli::{ConnectArgs, LogArgs};
use tokio::process::{Child, ChildStdin, Command};

use crate::notes::{Notes, What};
use crate::tasks;

/// How long a worker that is told to stop lets run what runs.
const GRACE: Duration = Duration::from_secs(2);
/// How long a worker may try to connect: the server may be down for a while.
const CONNECT: &str = "60s";
/// How often a worker notes what was refused.
const TELL: Duration = Duration::from_millis(300);

/// What a worker process is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    notes: PathBuf,
    #[arg(long)]
    name: String,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Works until it is told to stop, or its parent is gone.
pub(crate) async fn work(args: WorkerArgs) -> anyhow::Result<()> {
    args.log.init();
    std::thread::spawn(|| {
        // Nothing is ever written: whatever ends this is the end.
        let _ = std::io::stdin().lock().read(&mut [0]);
        std::process::exit(1);
    });
    let notes = Notes::open(&args.notes)?;
    let client = args.connect.builder().name(&args.name).results(false);
    let worker = Worker::builder(client.connect().await?)
        .name(args.name)
        .grace(GRACE)
        // What dies here is not to blame: its worker was killed.
        .max_crashes(0)
        .state(Notes::open(&args.notes)?);
    let worker = tasks::all(worker).build()?;
    let stats = worker.stats();
    tokio::spawn(async move {
        let mut told = 0;
        loop {
            tokio::time::sleep(TELL).await;
            let refused = u32::try_from(stats.outcomes_refused()).unwrap_or(u32::MAX);
            if refused != told {
                told = refused;
                notes.write(What::Refused, refused, 0);
            }
        }
    });
    Ok(worker.run().await?)
}

/// How to start a worker process.
#[derive(Clone, Debug)]
pub(crate) struct Start<'a> {
    /// Tells processes apart.
    pub(crate) number: u32,
    /// The place it takes.
    pub(crate) place: u8,
    pub(crate) url: &'a str,
    pub(crate) replicas: usize,
    pub(crate) folder: &'a Path,
}

/// A worker process. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: u32,
    child: Child,
    pid: u32,
    _leash: Option<ChildStdin>,
}

/// The signals besides SIGKILL.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Stop,
    Freeze,
    Thaw,
}

/// The file of a process's notes.
pub(crate) fn notes_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number}.notes"))
}

/// The file of a place's log.
pub(crate) fn log_path(folder: &Path, place: u8) -> PathBuf {
    folder.join(format!("worker-{place}.log"))
}

impl Process {
    /// Starts this program once more, as a worker.
    pub(crate) fn start(start: &Start<'_>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let log = log_path(start.folder, start.place);
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(&program);
        // Settings for another NATS must not reach it.
        for (variable, _) in std::env::vars_os() {
            let name = variable.as_encoded_bytes();
            if name.starts_with(b"NATS_") || name.starts_with(b"TASKQ_") {
                command.env_remove(variable);
            }
        }
        // A signal to us is ours to act on.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command
            .args(["torture", "worker", "--url", start.url])
            .arg("--notes")
            .arg(notes_path(start.folder, start.number))
            .args([
                "--name",
                &format!("worker-{}-{}", start.place, start.number),
            ])
            .args(["--replicas", &start.replicas.to_string()])
            .args(["--connect-timeout", CONNECT])
            .args(["--log", "warn,taskq=info,taskq::task=error"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {} as a worker", program.display()))?;
        Ok(Self {
            number: start.number,
            pid: child.id().context("the worker ended at once")?,
            _leash: child.stdin.take(),
            child,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills it, and returns when it is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// How it ended; none while it runs.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        use rustix::process::{Pid, Signal as Unix, kill_process};
        let unix = match signal {
            Signal::Stop => Unix::TERM,
            Signal::Freeze => Unix::STOP,
            Signal::Thaw => Unix::CONT,
        };
        // One that has ended and was waited for may be another by now.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        match pid.and_then(Pid::from_raw) {
            Some(pid) => Ok(kill_process(pid, unix)?),
            None => Ok(()),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        anyhow::bail!("this system has no signal for {signal:?}")
    }
}
