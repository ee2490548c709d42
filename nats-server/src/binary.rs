//! The server's program.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::version::{MINIMUM, Version};

/// The file name of the server.
pub(crate) const FILE_NAME: &str = if cfg!(windows) {
    "nats-server.exe"
} else {
    "nats-server"
};

/// A nats-server that runs on this machine and is new enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    path: PathBuf,
    version: Version,
}

impl Binary {
    /// Checks the file by asking it for its version.
    ///
    /// # Errors
    ///
    /// [`Error::DoesNotRun`] and [`Error::TooOld`].
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        match Version::of(&path) {
            Ok(version) if version >= MINIMUM => Ok(Self { path, version }),
            Ok(found) => Err(Error::TooOld { path, found }),
            Err(reason) => Err(Error::DoesNotRun { path, reason }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        &self.version
    }
}
