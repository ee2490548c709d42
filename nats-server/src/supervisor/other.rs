//! The server as a plain child. It ends with its owner, unless that is killed.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::Signal;
use crate::run_dir::RunDir;

/// A server that was started, and may have ended since.
#[derive(Debug)]
pub(crate) struct Process {
    child: Mutex<Child>,
    pid: u32,
}

impl Process {
    /// Starts `program` with the configuration of `run`.
    pub(crate) fn spawn(
        program: &Path,
        run: &RunDir,
        _patience: u64,
        env: &[(String, String)],
    ) -> io::Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(run.log_file())?;
        let child = Command::new(program)
            .arg("--config")
            .arg(run.config())
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self {
            pid: child.id(),
            child: Mutex::new(child),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How the server ended, None while it runs.
    pub(crate) fn ended(&self) -> Option<String> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        match child.try_wait() {
            Ok(status) => status.map(|status| status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Kills for [`Signal::Stop`] too: there is no gentler way here.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        match signal {
            Signal::Stop | Signal::Kill => child.kill(),
            Signal::Pause | Signal::Resume => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Nothing can be paused here.
    pub(crate) fn is_paused(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// Lets go of a server that has ended.
    pub(crate) fn release(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.wait();
    }
}
