//! A worker process: started, listened to, told to stop, seen to its end.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use taskq::Timestamp;
use taskq::pool::{RECORDER, WorkerNotes, read_notes};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::system;

/// Longer lines are cut into several.
const LONGEST_LINE: u64 = 16 * 1024;
/// Of a line so many bytes are kept as evidence.
const KEPT_OF_LINE: usize = 500;
/// How long what a dead worker said may take to be read.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How workers are started.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// The folder of what belongs to a worker for as long as it lives.
    pub(crate) run: PathBuf,
    /// How many lines are kept as evidence.
    pub(crate) lines: usize,
    /// How long one that was told to stop may take.
    pub(crate) patience: Duration,
}

/// A worker process that was started and is not known to have ended.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) started: Instant,
    pub(crate) started_at: Timestamp,
    /// Whether it was told to stop.
    pub(crate) draining: bool,
    /// What it noted when it was last looked at.
    pub(crate) notes: Option<WorkerNotes>,
    pub(crate) peak_memory: Option<u64>,
    files: Files,
    tail: Tail,
    orders: mpsc::UnboundedSender<Signal>,
}

/// The end of a worker process.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) pid: u32,
    pub(crate) status: io::Result<ExitStatus>,
    /// Whether it was killed here, since it took too long to stop.
    pub(crate) overdue: bool,
}

impl Member {
    /// Starts a worker. Its end is told through `exits`.
    pub(crate) fn start(
        recipe: &Recipe,
        name: String,
        exits: mpsc::UnboundedSender<Exit>,
    ) -> anyhow::Result<Self> {
        let files = Files::of(&recipe.run, &name);
        files.make().context("cannot make a worker's pipes")?;
        let (out, err) = (Pipe::open(&files.out)?, Pipe::open(&files.err)?);
        let mut command = Command::new(&recipe.program);
        command
            .args(&recipe.args)
            // Two workers cannot listen at one address.
            .env_remove("TASKQ_HTTP")
            .envs(recipe.environment.iter().map(|(name, value)| (name, value)))
            .env("TASKQ_WORKER_NAME", &name)
            .env(RECORDER, &files.notes)
            .stdin(Stdio::null())
            .stdout(out.end)
            .stderr(err.end)
            // A Ctrl-C is the pool's to act on.
            .process_group(0);
        let child = command.spawn();
        // The ends that it has are in it until then.
        drop(command);
        let child = child
            .with_context(|| format!("cannot start {} as a worker", recipe.program.display()))?;
        let pid = child.id().unwrap_or_default();
        let tail = Tail::new(recipe.lines);
        let mut readers = JoinSet::new();
        let (told, heard) = (name.clone(), tail.clone());
        readers.spawn(pass_on(out.reader, told, heard, |text| {
            let _ = io::stdout().lock().write_all(text);
        }));
        let (told, heard) = (name.clone(), tail.clone());
        readers.spawn(pass_on(err.reader, told, heard, |text| {
            let _ = io::stderr().lock().write_all(text);
        }));
        let (orders, told) = mpsc::unbounded_channel();
        tokio::spawn(see_to_end(
            child,
            pid,
            told,
            recipe.patience,
            readers,
            exits,
        ));
        Ok(Self {
            name,
            pid,
            started: Instant::now(),
            started_at: Timestamp::now(),
            draining: false,
            notes: None,
            peak_memory: None,
            files,
            tail,
            orders,
        })
    }

    /// Looks at what it noted, and at its memory.
    pub(crate) fn look(&mut self) {
        if let Ok(Some(notes)) = read_notes(&self.files.notes) {
            self.notes = Some(notes);
        }
        self.peak_memory = system::peak_memory(self.pid).max(self.peak_memory);
    }

    /// Tells it to finish what runs, and to end; told again, to end at once.
    pub(crate) fn stop(&mut self) {
        self.draining = true;
        // It may have ended.
        let _ = self.orders.send(Signal::TERM);
    }

    /// How many tasks it runs.
    pub(crate) fn busy(&self) -> usize {
        self.notes.as_ref().map_or(0, |notes| notes.running.len())
    }

    /// Its state in one word.
    pub(crate) fn state(&self) -> &str {
        match &self.notes {
            _ if self.draining => "draining",
            Some(notes) => &notes.state,
            None => "starting",
        }
    }

    /// The last lines that it said.
    pub(crate) fn last_words(&self) -> Vec<String> {
        self.tail.lines().iter().cloned().collect()
    }

    /// Removes what it leaves behind.
    pub(crate) fn clear(&self) {
        for file in [&self.files.out, &self.files.err, &self.files.notes] {
            // What stays goes with the folder.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Waits for the end of a process. Signals are sent from here only, where it is
/// known that its number is not another's yet.
async fn see_to_end(
    mut child: Child,
    pid: u32,
    mut orders: mpsc::UnboundedReceiver<Signal>,
    patience: Duration,
    mut readers: JoinSet<()>,
    exits: mpsc::UnboundedSender<Exit>,
) {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let tell = |signal| {
        if let Some(process) = process {
            let _ = kill_process(process, signal);
        }
    };
    let mut limit = None;
    let mut overdue = false;
    let status = loop {
        let late = async {
            match limit {
                Some(limit) => tokio::time::sleep_until(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = child.wait() => break status,
            Some(signal) = orders.recv() => {
                tell(signal);
                // It may be paused.
                tell(Signal::CONT);
                limit.get_or_insert(tokio::time::Instant::now() + patience);
            }
            () = late => {
                overdue = true;
                limit = None;
                tell(Signal::KILL);
            }
        }
    };
    // What it started may hold the pipes open, and says nothing of interest.
    let reading = async { while readers.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_WORDS, reading).await;
    readers.detach_all();
    // The pool may be gone.
    let _ = exits.send(Exit {
        pid,
        status,
        overdue,
    });
}

/// The paths of what belongs to a worker.
#[derive(Debug)]
struct Files {
    out: PathBuf,
    err: PathBuf,
    notes: PathBuf,
}

impl Files {
    fn of(run: &Path, name: &str) -> Self {
        let file = |end| run.join(format!("{name}.{end}"));
        Self {
            out: file("out"),
            err: file("err"),
            notes: file("notes"),
        }
    }

    fn make(&self) -> io::Result<()> {
        let mode = Mode::RUSR | Mode::WUSR;
        for pipe in [&self.out, &self.err] {
            mknodat(CWD, pipe, FileType::Fifo, mode, 0)?;
        }
        File::create(&self.notes)?;
        Ok(())
    }
}

/// What a worker says, on its way here.
///
/// A pipe with a name: when the pool is killed, its guard reads on. Until then
/// the worker itself has a reading end, so that it does not die of a write that
/// nobody reads.
struct Pipe {
    end: File,
    reader: pipe::Receiver,
}

impl Pipe {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || {
            // The writing end first, or the reading one would be at its end.
            let end = File::options().read(true).write(true).open(path)?;
            let reader = pipe::OpenOptions::new().open_receiver(path)?;
            Ok::<_, io::Error>(Self { end, reader })
        };
        open().with_context(|| format!("cannot open {}", path.display()))
    }
}

/// Passes lines on, with the worker's name before each, and keeps the last.
async fn pass_on(
    pipe: pipe::Receiver,
    name: String,
    tail: Tail,
    write: impl Fn(&[u8]) + Send + 'static,
) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut pipe).take(LONGEST_LINE);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while line
            .last()
            .is_some_and(|byte| [b'\n', b'\r'].contains(byte))
        {
            line.pop();
        }
        tail.push(&line);
        let mut text = format!("[{name}] ").into_bytes();
        text.extend_from_slice(&line);
        text.push(b'\n');
        write(&text);
    }
}

/// The last lines of a worker.
#[derive(Clone, Debug)]
struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    most: usize,
}

impl Tail {
    fn new(most: usize) -> Self {
        Self {
            lines: Arc::default(),
            most,
        }
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        if self.most == 0 {
            return;
        }
        let kept = &line[..line.len().min(KEPT_OF_LINE)];
        let mut lines = self.lines();
        if lines.len() == self.most {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(kept).into_owned());
    }
}

/// The name of a program, for people.
pub(crate) fn program_name(program: &Path) -> String {
    let name = program.file_name().unwrap_or(OsStr::new("worker"));
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_no_more() {
        let tail = Tail::new(2);
        for line in ["one", "two", "three"] {
            tail.push(line.as_bytes());
        }
        tail.push(&[b'x'; 1000]);
        let lines = tail.lines().clone();
        assert_eq!((lines[0].as_str(), lines[1].len()), ("three", KEPT_OF_LINE));
        let none = Tail::new(0);
        none.push(b"one");
        assert!(none.lines().is_empty());
    }
}
