//! The parts as the comparison sees them: processes that it starts and talks
//! with.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::options::PartOptions;
use crate::part::{READY, Report};

/// How long a part may take to connect, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A part in a process of its own, which ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    /// What to call it in errors.
    name: String,
    child: Child,
    pid: u32,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program again for the part, and returns when it is
    /// connected.
    pub(crate) async fn start(part: &PartOptions) -> Result<Self> {
        let name = format!("{} {}", part.contender.name(), part.role.name());
        Self::launch(name, &part.args()).await
    }

    /// Starts this program again with these arguments more, and returns when
    /// it is ready.
    pub(crate) async fn launch(name: String, args: &[String]) -> Result<Self> {
        let program = std::env::current_exe().context("where is this program?")?;
        let mut child = Command::new(program)
            // Its own options come first: the load is read from them.
            .args(std::env::args_os().skip(1))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("the {name} does not start"))?;
        let (Some(pid), Some(stdin), Some(stdout)) =
            (child.id(), child.stdin.take(), child.stdout.take())
        else {
            bail!("the {name} ended at once");
        };
        let mut process = Self {
            name,
            child,
            pid,
            stdin,
            lines: BufReader::new(stdout).lines(),
        };
        let line = timeout(PATIENCE, process.line()).await;
        match line.with_context(|| format!("the {} does not connect", process.name))?? {
            line if line == READY => Ok(process),
            line => bail!("the {} said {line:?}, not that it is ready", process.name),
        }
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells a producer to begin, or a worker to end.
    pub(crate) async fn tell(&mut self) -> Result<()> {
        let told = self.stdin.write_all(b"now\n").await;
        told.with_context(|| format!("the {} ended before its time", self.name))
    }

    /// Waits for what it has to say. It is still there afterwards.
    pub(crate) async fn report(&mut self) -> Result<Report> {
        self.told().await
    }

    /// Waits for what it has to say, of any kind.
    pub(crate) async fn told<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.line().await?;
        serde_json::from_str(&line).with_context(|| format!("the {} said {line:?}", self.name))
    }

    /// Lets it end.
    pub(crate) async fn end(mut self) -> Result<()> {
        drop(self.stdin);
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.with_context(|| format!("the {} does not end", self.name))??;
        if !status.success() {
            bail!("the {} ended with {status}", self.name);
        }
        Ok(())
    }

    /// The next line it writes. It says why it ends on stderr, which is ours.
    async fn line(&mut self) -> Result<String> {
        let line = self.lines.next_line().await?;
        line.with_context(|| format!("the {} ended before its time", self.name))
    }
}
