//! What a worker runs, noted in a file that outlives it however it ends.
//!
//! A file of slots of one size: the first has the worker, each of the others a
//! running task, or nothing. A note is written when an attempt starts and wiped
//! out when it ends, by one system call each into the page cache: what was
//! written is there when the process is killed a moment later.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::message::{RunningTask, TaskId};

/// The environment variable with the path of the file, which is there. A worker
/// finds it by itself, whatever program it is in; the first of a process has it.
pub const RECORDER: &str = "TASKQ_RECORDER";

/// The length of a slot, with the line feed at its end.
const SLOT: usize = 1024;
/// Of longer ids and names the beginning is noted.
const MOST_TEXT: usize = 256;

/// What a worker noted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerNotes {
    /// Its name.
    pub worker: String,
    /// Its state: `starting`, `running`, `quiet`, `draining` or `stopped`.
    pub state: String,
    /// How many attempts it runs at once.
    pub concurrency: usize,
    /// What it runs, or ran when it died; the longest first.
    pub running: Vec<RunningTask>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    worker: String,
    state: String,
    concurrency: usize,
}

/// Reads what a worker has noted; none while it has noted nothing.
///
/// # Errors
/// When the file cannot be read.
pub fn read_notes(path: &Path) -> io::Result<Option<WorkerNotes>> {
    let bytes = fs::read(path)?;
    let mut slots = bytes.chunks(SLOT).map(text);
    let Some(head) = slots
        .next()
        .and_then(|slot| serde_json::from_slice::<Head>(slot).ok())
    else {
        return Ok(None);
    };
    // One that was being written when it was read is not there yet.
    let mut running: Vec<RunningTask> = slots
        .filter_map(|slot| serde_json::from_slice(slot).ok())
        .collect();
    running.sort_by_key(|task| task.since);
    Ok(Some(WorkerNotes {
        worker: head.worker,
        state: head.state,
        concurrency: head.concurrency,
        running,
    }))
}

fn text(slot: &[u8]) -> &[u8] {
    let end = slot.iter().position(|byte| [0, b'\n'].contains(byte));
    &slot[..end.unwrap_or(slot.len())]
}

/// Where a worker notes what it runs.
#[derive(Debug)]
pub(crate) struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: File,
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    /// Slots that were used before.
    again: Vec<u64>,
    /// The first that was not.
    next: u64,
}

impl Recorder {
    /// The recorder that the environment names, if it names one and no other
    /// worker of this process has it.
    pub(crate) fn of_environment() -> Option<Self> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let path = std::env::var_os(RECORDER).filter(|path| !path.is_empty())?;
        if TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        match Self::open(Path::new(&path)) {
            Ok(recorder) => Some(recorder),
            Err(error) => {
                let path = path.to_string_lossy();
                tracing::warn!("what runs here is not noted for the pool in {path}: {error}");
                None
            }
        }
    }

    fn open(path: &Path) -> io::Result<Self> {
        let free = Free {
            again: Vec::new(),
            next: 1,
        };
        Ok(Self(Arc::new(Shared {
            file: File::options().write(true).open(path)?,
            free: Mutex::new(free),
        })))
    }

    /// Notes how the worker does.
    pub(crate) fn head(&self, worker: &str, state: &str, concurrency: usize) {
        let head = Head {
            worker: worker.to_owned(),
            state: state.to_owned(),
            concurrency,
        };
        self.0.write(0, serde_json::to_vec(&head));
    }

    /// Notes a running task, until the note is dropped.
    pub(crate) fn note(&self, task: &RunningTask) -> Note {
        let slot = {
            let mut free = self.0.free();
            free.again.pop().unwrap_or_else(|| {
                free.next += 1;
                free.next - 1
            })
        };
        let written = match task.id.as_str().len().max(task.task.len()) > MOST_TEXT {
            false => serde_json::to_vec(task),
            true => serde_json::to_vec(&RunningTask {
                id: TaskId::from(beginning(task.id.as_str())),
                task: beginning(&task.task).to_owned(),
                ..task.clone()
            }),
        };
        self.0.write(slot, written);
        Note {
            shared: Arc::clone(&self.0),
            slot,
        }
    }
}

fn beginning(text: &str) -> &str {
    let mut end = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Shared {
    fn free(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evidence is worth no failed task: a full disk leaves it out.
    fn write(&self, slot: u64, json: serde_json::Result<Vec<u8>>) {
        let Ok(mut bytes) = json else { return };
        bytes.push(b'\n');
        if bytes.len() <= SLOT {
            let _ = write_at(&self.file, &bytes, slot * SLOT as u64);
        }
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], place: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, place)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], place: u64) -> io::Result<()> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, place).map(|_| ())
}

#[cfg(not(any(unix, windows)))]
fn write_at(_: &File, _: &[u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A running task is noted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Note {
    shared: Arc<Shared>,
    slot: u64,
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = write_at(&self.shared.file, &[0], self.slot * SLOT as u64);
        self.shared.free().again.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn task(id: &str, since: i64) -> RunningTask {
        RunningTask::new(id.into(), "t", "default", 1, Timestamp::from_millis(since))
    }

    #[test]
    fn what_runs_is_noted_and_what_ended_is_not() {
        let path = std::env::temp_dir().join(format!("taskq-recorder-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let recorder = Recorder::open(&path).unwrap();
        assert_eq!(read_notes(&path).unwrap(), None);
        recorder.head("w", "running", 8);
        let first = recorder.note(&task("a longer id than the next", 2));
        let second = recorder.note(&task("b", 1));
        let notes = read_notes(&path).unwrap().unwrap();
        assert_eq!((notes.worker.as_str(), notes.concurrency), ("w", 8));
        assert_eq!(
            notes.running,
            [task("b", 1), task("a longer id than the next", 2)]
        );

        drop(first);
        let _third = recorder.note(&task("c", 3));
        assert_eq!(
            read_notes(&path).unwrap().unwrap().running,
            [task("b", 1), task("c", 3)]
        );
        // As little as it may hold is as much as was written.
        drop(second);
        let _long = recorder.note(&task(&"é".repeat(1000), 4));
        let notes = read_notes(&path).unwrap().unwrap();
        assert_eq!(notes.running[1].id.as_str(), "é".repeat(128));
        recorder.head("w", "draining", 8);
        assert_eq!(read_notes(&path).unwrap().unwrap().state, "draining");
        fs::remove_file(&path).unwrap();
    }
}
