//! Who sees to the workers when the pool is killed.
//!
//! A small shell holds a pipe from the pool, which the system closes however the
//! pool ends, as with the supervisor of the `nats-server` crate; but one shell
//! for all workers, and beside them: they stay the pool's own children, whose
//! ends it sees as they are.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SCRIPT: &str = include_str!("guard.sh");

/// A running guard. Dropped without [`Guard::release`], it takes the pool for
/// dead, and ends the workers.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
}

impl Guard {
    /// Starts it. It ends what is left of the workers after this time.
    pub(crate) fn start(run: &Path, patience: Duration) -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(run)
            .arg(patience.as_secs().to_string())
            .stdin(Stdio::piped())
            // A Ctrl-C is the pool's to act on.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    /// Tells it of a worker that was started.
    pub(crate) fn add(&mut self, pid: u32, name: &str) {
        self.tell(format_args!("+ {pid} {name}"));
    }

    /// Tells it of a worker that has ended: its number may be another's now.
    pub(crate) fn remove(&mut self, pid: u32) {
        self.tell(format_args!("- {pid}"));
    }

    /// Whether it lives, as it should.
    pub(crate) fn lives(&mut self) -> bool {
        matches!(self.shell.try_wait(), Ok(None))
    }

    /// Lets it go: nothing is left to see to.
    pub(crate) fn release(mut self) {
        self.tell(format_args!("done"));
        let _ = self.shell.wait();
    }

    fn tell(&mut self, line: std::fmt::Arguments<'_>) {
        if let Some(pipe) = &mut self.shell.stdin {
            // One that is gone is noticed, and started again.
            let _ = pipe.write_all(format!("{line}\n").as_bytes());
        }
    }
}
