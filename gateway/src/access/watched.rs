//! A file that is read again when it has changed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;

/// How often it is looked whether a file has changed.
const LOOK: Duration = Duration::from_secs(1);

/// What was read from some files, as they are now: a changed file is read at the
/// next look. One that cannot be read any more is told of, and what was read
/// before goes on to count.
pub(crate) struct Watched<T>(Arc<Inner<T>>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<T> {
    paths: Vec<PathBuf>,
    read: Box<dyn Fn() -> anyhow::Result<T> + Send + Sync>,
    now: Mutex<Now<T>>,
}

struct Now<T> {
    value: Arc<T>,
    stamp: Vec<Stamp>,
    looked: Instant,
}

/// What tells a changed file: its time, its length, and which file it is (a
/// mounted secret is changed by another file in its place).
type Stamp = Option<(SystemTime, u64, u64)>;

impl<T> Watched<T> {
    /// Reads files for the first time.
    ///
    /// # Errors
    /// As reading does.
    pub(crate) fn new(
        paths: Vec<PathBuf>,
        read: impl Fn() -> anyhow::Result<T> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let stamp = stamps(&paths);
        let now = Mutex::new(Now {
            value: Arc::new(read()?),
            stamp,
            looked: Instant::now(),
        });
        let read = Box::new(read);
        Ok(Self(Arc::new(Inner { paths, read, now })))
    }

    /// Reads a file of text for the first time.
    ///
    /// # Errors
    /// When it cannot be read, or `parse` refuses it.
    pub(crate) fn text(
        path: &Path,
        what: &'static str,
        parse: impl Fn(&str) -> anyhow::Result<T> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let file = path.to_owned();
        Self::new(vec![path.to_owned()], move || {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read the {what} in {}", file.display()))?;
            parse(&text).with_context(|| format!("the file of {what} {} is none", file.display()))
        })
    }

    /// What never changes.
    pub(crate) fn fixed(value: T) -> Self {
        let now = Now {
            value: Arc::new(value),
            stamp: Vec::new(),
            looked: Instant::now(),
        };
        Self(Arc::new(Inner {
            paths: Vec::new(),
            read: Box::new(|| anyhow::bail!("there is no file")),
            now: Mutex::new(now),
        }))
    }

    /// What is in the files.
    pub(crate) fn get(&self) -> Arc<T> {
        let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.looked.elapsed() < LOOK || self.0.paths.is_empty() {
            return Arc::clone(&now.value);
        }
        now.looked = Instant::now();
        let stamp = stamps(&self.0.paths);
        if stamp != now.stamp {
            match (self.0.read)() {
                Ok(value) => {
                    tracing::info!(files = ?self.0.paths, "read again: it has changed");
                    now.value = Arc::new(value);
                    now.stamp = stamp;
                }
                // Tried again at the next look: it may be half written.
                Err(error) => tracing::error!("{error:#}; what was read before goes on to count"),
            }
        }
        Arc::clone(&now.value)
    }
}

impl<T> fmt::Debug for Watched<T> {
    /// Names the files, and shows nothing of what is in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.0.paths).finish()
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len(), inode(&data)))
    };
    paths.iter().map(stamp).collect()
}

#[cfg(unix)]
fn inode(data: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(data)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}
