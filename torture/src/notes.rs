//! What tasks note in a file while they run, so that it is known though their
//! process is killed the moment after.
//!
//! Each process has a file of its own, of short lines that are each one write
//! to its end. It is read while it grows and removed after its process, so
//! that a long run takes no more room than a short one.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use taskq::{Context, Label};

/// The label that has a task's number.
pub(crate) const NUMBER: &str = "n";

/// A file that tasks note in what they do.
#[derive(Debug)]
pub(crate) struct Notes(File);

/// What was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// An attempt began.
    Start,
    /// It had its effect: all but its return.
    Finish,
    /// It is about to fail.
    Failure,
    /// Its worker has had so many outcomes refused, all together. The
    /// number of a task is this count.
    Refused,
}

/// A line of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) what: What,
    /// The number of the task.
    pub(crate) n: u32,
    /// Microseconds since 1970.
    pub(crate) at: u64,
    /// The number of the attempt, which counts deliveries.
    pub(crate) attempt: u32,
}

/// Microseconds since 1970.
pub(crate) fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// The number of the task that runs.
pub(crate) fn number(ctx: &Context) -> u32 {
    let label = ctx.labels().get(NUMBER).and_then(Label::as_i64);
    label
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(u32::MAX)
}

impl Notes {
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(file))
    }

    /// Notes what the running attempt does.
    pub(crate) fn add(&self, what: What, ctx: &Context) -> u32 {
        let n = number(ctx);
        self.write(what, n, ctx.attempt());
        n
    }

    pub(crate) fn write(&self, what: What, n: u32, attempt: u32) {
        let letter = match what {
            What::Start => 'S',
            What::Finish => 'F',
            What::Failure => 'X',
            What::Refused => 'R',
        };
        let line = format!("{letter} {n} {attempt} {}\n", micros());
        if (&self.0).write_all(line.as_bytes()).is_err() {
            // Whatever would be concluded from a gap is wrong.
            std::process::abort();
        }
    }
}

/// Reads a file of notes while it grows.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    file: Option<File>,
    rest: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            rest: Vec::new(),
        }
    }

    /// What was added since the last time.
    pub(crate) fn read(&mut self) -> std::io::Result<Vec<Note>> {
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => self.file.insert(file),
                // The process has not begun.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            },
        };
        file.read_to_end(&mut self.rest)?;
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n');
        let rest = self.rest.split_off(whole.map_or(0, |at| at + 1));
        let lines = std::mem::replace(&mut self.rest, rest);
        let lines = lines.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(parse).collect())
    }

    /// Removes the file.
    pub(crate) fn remove(self) {
        // A file that stays goes with its folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn parse(line: &[u8]) -> Option<Note> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let what = match words.next()? {
        "S" => What::Start,
        "F" => What::Finish,
        "X" => What::Failure,
        "R" => What::Refused,
        _ => return None,
    };
    let (n, attempt) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let at = words.next()?.parse().ok()?;
    Some(Note {
        what,
        n,
        at,
        attempt,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_while_they_are_written_and_half_a_line_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.notes");
        let mut reader = Reader::new(path.clone());
        assert_eq!(reader.read().unwrap(), []);

        let notes = Notes::open(&path).unwrap();
        notes.write(What::Start, 7, 2);
        (&notes.0).write_all(b"F 7 3 1").unwrap();
        let read = reader.read().unwrap();
        assert_eq!((read.len(), read[0].what, read[0].n), (1, What::Start, 7));
        (&notes.0).write_all(b"2\n").unwrap();
        let note = Note {
            what: What::Finish,
            n: 7,
            at: 12,
            attempt: 3,
        };
        assert_eq!(reader.read().unwrap(), [note]);
        reader.remove();
        assert!(!path.exists());
    }
}
