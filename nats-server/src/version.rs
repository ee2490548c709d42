//! Which version a nats-server is, and which one is new enough.

use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The oldest nats-server that taskq works with.
pub const MINIMUM: Version = Version::new(2, 14, 0);

/// The version of a nats-server, ordered by the rules of semantic versioning:
/// `2.14.0-RC.1` comes before `2.14.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

impl Version {
    /// The version `major.minor.patch`.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// Asks the program at `path`. The error is the reason why there is no
    /// answer, to be put after the path in a message.
    pub(crate) fn of(path: &Path) -> Result<Self, String> {
        let output = output(Command::new(path).arg("--version"))
            .map_err(|error| format!("it does not run ({error})"))?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        Self::from_answer(&stdout).ok_or_else(|| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!(
                "it answers --version with {:?} ({}) instead of \"nats-server: v…\"",
                format!("{stdout}{stderr}")
                    .trim()
                    .chars()
                    .take(200)
                    .collect::<String>(),
                output.status
            )
        })
    }

    fn from_answer(answer: &str) -> Option<Self> {
        let version = answer.trim().strip_prefix("nats-server: v")?;
        semver::Version::parse(version).ok().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Runs a command, and again while its file is "busy": a file that was just
/// written counts as open for writing in any child that another thread of
/// ours is forking at that moment, until that child reaches its own exec.
fn output(command: &mut Command) -> Result<Output, IoError> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match command.stdin(Stdio::null()).output() {
            Err(error)
                if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < until =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MINIMUM, Version};

    #[test]
    fn the_servers_answer_is_understood() {
        let answer = Version::from_answer("nats-server: v2.15.1\n");
        assert_eq!(answer, Some(Version::new(2, 15, 1)));
        assert_eq!(Version::from_answer("nats: v0.1.0"), None);
        assert_eq!(Version::from_answer("nats-server: vNext"), None);
    }

    #[test]
    fn a_release_candidate_is_older_than_its_release() {
        let candidate = Version::from_answer("nats-server: v2.14.0-RC.1");
        assert!(candidate.is_some_and(|candidate| candidate < MINIMUM));
    }
}
