//! The folder of one running server: its configuration, its log and, unless
//! the user named another place, its store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};

use tempfile::TempDir;

use crate::error::{Error, Result};

/// A private folder, removed with its owner: by [`Drop`], or by the supervisor
/// when the owner was killed.
#[derive(Debug)]
pub(crate) struct RunDir {
    dir: TempDir,
    store_dir: PathBuf,
}

impl RunDir {
    pub(crate) fn create(store_dir: Option<&Path>) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("taskq-nats-")
            .tempdir()
            .map_err(Error::io("create a folder in", &std::env::temp_dir()))?;
        let store_dir = match store_dir {
            Some(path) => absolute(path).map_err(Error::io("use the folder", path))?,
            None => dir.path().join("store"),
        };
        // The path goes into a configuration file, which is Unicode.
        if store_dir.to_str().is_none() || dir.path().to_str().is_none() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "its path is not Unicode");
            return Err(Error::io("use the folder", &store_dir)(error));
        }
        fs::create_dir_all(&store_dir).map_err(Error::io("create the folder", &store_dir))?;
        Ok(Self { dir, store_dir })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn store_dir(&self) -> &Path {
        &self.store_dir
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("nats-server.conf")
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.path().join("nats-server.log")
    }

    /// How long the log is, in bytes.
    pub(crate) fn log_len(&self) -> usize {
        fs::read(self.log_file()).map_or(0, |log| log.len())
    }

    /// The log from a byte on.
    pub(crate) fn log(&self, from: usize) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(log.get(from..).unwrap_or_default()).into_owned()
    }

    /// The files in which servers wrote their ports, each named
    /// `<program>_<pid>.ports`.
    pub(crate) fn ports_files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path())
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|name| name == "ports"))
            .collect()
    }
}
