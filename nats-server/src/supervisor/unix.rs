//! The server below a shell that ends it with its owner.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, kill_process};

use super::Signal;
use crate::run_dir::RunDir;

const SCRIPT: &str = include_str!("supervisor.sh");

/// A server that was started, and may have ended since.
#[derive(Debug)]
pub(crate) struct Process {
    /// The shell. It lives until it is let go, whatever the server does.
    shell: Mutex<Child>,
    server: Pid,
    /// Where the shell writes how the server ended.
    exit: PathBuf,
}

impl Process {
    /// Starts `program` with the configuration of `run`. When the owner is
    /// gone it has `patience`, in seconds, to end.
    pub(crate) fn spawn(
        program: &Path,
        run: &RunDir,
        patience: u64,
        env: &[(String, String)],
    ) -> io::Result<Self> {
        let exit = run.path().join("exit");
        match fs::remove_file(&exit) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "supervisor"])
            .arg(run.path())
            .arg(patience.to_string())
            .arg(program)
            .arg("--config")
            .arg(run.config())
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A Ctrl-C is the owner's to act on, which may still need the
            // server in order to end well.
            .process_group(0)
            .spawn()?;

        let mut line = String::new();
        if let Some(stdout) = shell.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let server = line.trim().parse().ok().and_then(Pid::from_raw);
        let server = server.ok_or_else(|| io::Error::other("its supervisor told no pid"))?;
        Ok(Self {
            shell: Mutex::new(shell),
            server,
            exit,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.as_raw_nonzero().get().unsigned_abs()
    }

    /// How the server ended, None while it runs.
    pub(crate) fn ended(&self) -> Option<String> {
        if let Ok(status) = fs::read_to_string(&self.exit) {
            // A shell adds 128 to the number of the signal that ended it.
            return Some(match status.trim().parse::<u32>() {
                Ok(status @ 129..) => format!("signal {}", status - 128),
                Ok(status) => format!("exit status {status}"),
                // A full disk, or the moment before the shell writes it.
                Err(_) => "an unknown status".to_owned(),
            });
        }
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        match shell.try_wait() {
            Ok(None) => None,
            // What is left of the supervisor ends the server when let go.
            Ok(Some(_)) | Err(_) => Some("the end of its supervisor".to_owned()),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        use rustix::process::Signal as Unix;

        let signals: &[Unix] = match signal {
            // It may be paused.
            Signal::Stop => &[Unix::TERM, Unix::CONT],
            Signal::Kill => &[Unix::KILL],
            Signal::Pause => &[Unix::STOP],
            Signal::Resume => &[Unix::CONT],
        };
        for unix in signals {
            match kill_process(self.server, *unix) {
                // It is gone, and the shell is about to say how.
                Err(Errno::SRCH) if matches!(signal, Signal::Stop | Signal::Kill) => {}
                told => told?,
            }
        }
        Ok(())
    }

    /// Whether a server that was told to pause stands still: a signal takes a
    /// moment to reach all threads of a process.
    pub(crate) fn is_paused(&self) -> io::Result<bool> {
        paused(self.pid())
    }

    /// Lets go of a server that has ended, and leaves the run folder.
    pub(crate) fn release(&self) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut pipe) = shell.stdin.take() {
            // Without a shell there is nobody to tell.
            let _ = pipe.write_all(b"done\n");
        }
        let _ = shell.wait();
    }
}

#[cfg(target_os = "linux")]
fn paused(pid: u32) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else {
            continue; // The thread ended since it was listed.
        };
        // The state is behind the program's name, which is in parentheses.
        if !stat
            .rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('T'))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
fn paused(pid: u32) -> io::Result<bool> {
    let output = Command::new("ps")
        .args(["-o", "state=", "-p", &pid.to_string()])
        .output()?;
    Ok(output.stdout.trim_ascii().starts_with(b"T"))
}
