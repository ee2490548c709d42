//! What happened in a run, and whether all of it may.
//!
//! | invariant | what is checked |
//! |---|---|
//! | I1 | every accepted task has an outcome |
//! | I2 | it has one, with the right value; it is the one that its waiters got, and it is still there, unchanged, at the end |
//!
//! Tasks that ran more than once are counted, and are no violation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::{self, consumer};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use taskq::{Call, Client, Outcome, OutcomeState, Returns, TaskHandle, TaskId};
use tempfile::TempDir;
use tokio::time::Instant;

/// How long the server may take to give the next record.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// The file that tasks note in what they do.
///
/// Each note is one write of one line to the file's end, so notes of several
/// processes do not mix, and what a task noted is there though its process is
/// killed the moment after.
#[derive(Debug)]
pub struct Notes {
    file: File,
    path: PathBuf,
}

/// What a task noted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Note {
    /// What it did.
    pub what: What,
    /// The id of the task.
    pub id: TaskId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The worker it ran in.
    pub worker: String,
    /// When, in microseconds since 1970 by its own clock.
    pub micros: u128,
}

/// What a task did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It began.
    Start,
    /// It had its effect: all but its return.
    Finish,
}

impl Notes {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let path = path.to_owned();
        Ok(Self { file, path })
    }

    /// Adds what the running attempt does.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn add(&self, what: What, attempt: &taskq::Context) {
        let note = Note {
            what,
            id: attempt.id().clone(),
            attempt: attempt.attempt(),
            worker: attempt.worker().to_owned(),
            micros: micros(),
        };
        let mut line = serde_json::to_vec(&note).expect("a note is JSON");
        line.push(b'\n');
        (&self.file).write_all(&line).expect("a note is written");
    }

    /// All notes of all processes so far.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[must_use]
    pub fn read(&self) -> Vec<Note> {
        let text = std::fs::read(&self.path).expect("the notes are there");
        text.split_inclusive(|byte| *byte == b'\n')
            // The last may be half written.
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }
}

/// Microseconds since 1970.
#[must_use]
pub fn micros() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros())
}

/// The history of a run.
#[derive(Debug)]
pub struct History {
    notes: Notes,
    sent: Mutex<BTreeMap<TaskId, Sent>>,
    refused: Mutex<Vec<String>>,
    // Last: the folder goes after the file.
    _folder: TempDir,
}

#[derive(Debug)]
struct Sent {
    expected: Expected,
    /// What a waiter was told.
    told: Option<Outcome>,
}

/// How a task is to end.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// With this value.
    Value(Value),
    /// Failed.
    Failure,
}

/// What was found in a history that has nothing wrong in it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Tasks that were accepted, each with its one outcome.
    pub accepted: usize,
    /// Calls that were refused, or not answered in time.
    pub refused: usize,
    /// Outcomes of tasks whose sender was told that they were not accepted:
    /// their answer was lost.
    pub unknown: usize,
    /// Attempts that were started.
    pub starts: usize,
    /// Tasks that were started more than once.
    pub started_again: usize,
    /// Tasks that had their effect more than once.
    pub finished_again: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted, {} refused, none lost, one outcome each; {} attempts, {} tasks started \
             more than once, {} finished more than once, {} outcomes of refused calls",
            self.accepted,
            self.refused,
            self.starts,
            self.started_again,
            self.finished_again,
            self.unknown
        )
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl History {
    /// A history without events.
    ///
    /// # Panics
    /// When there is no place for its file.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("taskq-history-").tempdir();
        let folder = folder.expect("a folder for the history");
        let notes = Notes::open(&folder.path().join("notes.jsonl"));
        Self {
            notes: notes.expect("a file for the history"),
            sent: Mutex::default(),
            refused: Mutex::default(),
            _folder: folder,
        }
    }

    /// The file that tasks write their notes to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.notes.path
    }

    fn sent(&self) -> MutexGuard<'_, BTreeMap<TaskId, Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a task was accepted, and how it is to end.
    pub fn accepted(&self, id: &TaskId, expected: Expected) {
        let told = None;
        self.sent().insert(id.clone(), Sent { expected, told });
    }

    /// Sends a call, and notes what came of it: nothing of what is refused is
    /// expected, though it may have been stored.
    ///
    /// # Errors
    /// As [`Call::enqueue`].
    pub async fn send<T: Returns>(
        &self,
        client: &Client,
        call: Call<T>,
        expected: Expected,
    ) -> taskq::Result<TaskHandle<T::Output>> {
        match call.enqueue(client).await {
            Ok(handle) => {
                self.accepted(handle.id(), expected);
                Ok(handle)
            }
            Err(error) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.push(error.to_string());
                Err(error)
            }
        }
    }

    /// Notes the outcome that a waiter was told.
    ///
    /// # Panics
    /// When it is another one than was told before.
    pub fn told(&self, outcome: Outcome) {
        if let Some(sent) = self.sent().get_mut(&outcome.id) {
            match &sent.told {
                Some(before) => assert_eq!(text(before), text(&outcome), "I2: it changed"),
                None => sent.told = Some(outcome),
            }
        }
    }

    /// How many tasks were accepted so far.
    #[must_use]
    pub fn count_accepted(&self) -> usize {
        self.sent().len()
    }

    /// How many calls were refused so far, and the last one's reason.
    #[must_use]
    pub fn refusals(&self) -> (usize, Option<String>) {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        (refused.len(), refused.last().cloned())
    }

    /// What all tasks noted so far.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        self.notes.read()
    }

    /// The starts, of all tasks or of one worker's.
    #[must_use]
    pub fn starts(&self, worker: Option<&str>) -> Vec<Note> {
        self.noted(What::Start, worker)
    }

    /// The finishes, of all tasks or of one worker's.
    #[must_use]
    pub fn finishes(&self, worker: Option<&str>) -> Vec<Note> {
        self.noted(What::Finish, worker)
    }

    fn noted(&self, what: What, worker: Option<&str>) -> Vec<Note> {
        let mut notes = self.notes();
        notes.retain(|note| note.what == what && worker.is_none_or(|name| note.worker == name));
        notes
    }

    /// Waits until every accepted task has an outcome and every queue is
    /// empty, and checks the whole history against the records on the server.
    ///
    /// # Panics
    /// When something in it must not be, or the limit is over before the end.
    pub async fn check(&self, client: &Client, url: &str, limit: Duration) -> Report {
        let until = Instant::now() + limit;
        let records = loop {
            match records(url).await {
                Ok(records) => {
                    let lost = self.without_outcome(&records);
                    if lost.is_empty() {
                        break records;
                    }
                    assert!(
                        Instant::now() < until,
                        "I1: {} of {} accepted tasks have no outcome after {limit:?}: {lost:?}",
                        lost.len(),
                        self.count_accepted()
                    );
                }
                Err(error) => assert!(Instant::now() < until, "no records: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        // Acked a moment after the outcome is stored.
        loop {
            let queues = client.queues().await;
            let is_empty = |queues: &Vec<taskq::QueueDepth>| {
                queues
                    .iter()
                    .all(|queue| (queue.pending, queue.running) == (0, 0))
            };
            if queues.as_ref().is_ok_and(is_empty) {
                break;
            }
            assert!(
                Instant::now() < until,
                "the queues do not get empty: {queues:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.compare(&records)
    }

    fn without_outcome(&self, records: &BTreeMap<TaskId, Vec<Outcome>>) -> Vec<TaskId> {
        let sent = self.sent();
        let lost = sent.keys().filter(|id| !records.contains_key(*id));
        lost.cloned().collect()
    }

    fn compare(&self, records: &BTreeMap<TaskId, Vec<Outcome>>) -> Report {
        let sent = self.sent();
        for (id, sent) in &*sent {
            let recorded = &records[id];
            assert_eq!(recorded.len(), 1, "I2: more than one outcome: {recorded:?}");
            let outcome = &recorded[0];
            match &sent.expected {
                Expected::Failure => assert_eq!(outcome.state, OutcomeState::Failed, "{outcome:?}"),
                Expected::Value(value) => {
                    let found = outcome.value::<Value>();
                    let found = found.unwrap_or_else(|error| panic!("I2: {error}"));
                    assert_eq!(found, *value, "I2: the wrong value: {outcome:?}");
                }
            }
            if let Some(told) = &sent.told {
                assert_eq!(
                    text(told),
                    text(outcome),
                    "I2: a waiter was told another outcome than is recorded"
                );
            }
        }
        let (mut starts, mut finishes) = (BTreeMap::new(), BTreeMap::new());
        let notes = self.notes();
        for note in &notes {
            let counts = match note.what {
                What::Start => &mut starts,
                What::Finish => &mut finishes,
            };
            *counts.entry(note.id.clone()).or_insert(0) += 1;
        }
        let more_than_once =
            |counts: &BTreeMap<TaskId, usize>| counts.values().filter(|count| **count > 1).count();
        let known: BTreeSet<&TaskId> = sent.keys().collect();
        Report {
            accepted: sent.len(),
            refused: self.refusals().0,
            unknown: records.keys().filter(|id| !known.contains(id)).count(),
            starts: starts.values().sum(),
            started_again: more_than_once(&starts),
            finished_again: more_than_once(&finishes),
        }
    }
}

/// All that an outcome says.
fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.encode()).into_owned()
}

/// All outcomes that the server has, by a reader of its own: it does not ask
/// the code that is under test.
async fn records(url: &str) -> Result<BTreeMap<TaskId, Vec<Outcome>>, async_nats::Error> {
    let js = jetstream::new(crate::nats(url).await?);
    let mut stream = js.get_stream("TASKQ_DONE").await?;
    let last = stream.info().await?.state.last_sequence;
    let mut records = BTreeMap::<TaskId, Vec<Outcome>>::new();
    if stream.cached_info().state.messages == 0 {
        return Ok(records);
    }
    let reader = stream
        .create_consumer(consumer::pull::OrderedConfig::default())
        .await?;
    let mut messages = reader.messages().await?;
    while let Some(message) = tokio::time::timeout(READ_LIMIT, messages.next()).await? {
        let message = message?;
        let outcome = Outcome::decode(&message.payload)?;
        records.entry(outcome.id.clone()).or_default().push(outcome);
        if message.info()?.stream_sequence >= last {
            break;
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(id: &str, value: u32) -> Outcome {
        let record = serde_json::json!({
            "task_id": id, "task_name": "nap", "queue": "default", "state": "succeeded",
            "is_err": false, "return_value": value, "error": null, "execution_time": 0.0,
            "attempt": 1, "worker": "one", "enqueued_at": "2026-01-01T00:00:00.000Z",
            "started_at": null, "finished_at": "2026-01-01T00:00:00.000Z",
        });
        Outcome::decode(record.to_string().as_bytes()).unwrap()
    }

    /// A history of one accepted task, which is to return 7.
    fn history() -> History {
        let history = History::new();
        history.accepted(&"a".into(), Expected::Value(7.into()));
        history
    }

    fn records(outcomes: &[Outcome]) -> BTreeMap<TaskId, Vec<Outcome>> {
        let mut records = BTreeMap::<_, Vec<_>>::new();
        for outcome in outcomes {
            let of_id = records.entry(outcome.id.clone()).or_default();
            of_id.push(outcome.clone());
        }
        records
    }

    #[test]
    fn a_good_history_is_counted() {
        let history = history();
        history.told(outcome("a", 7));
        history.told(outcome("a", 7));
        for (what, times) in [(What::Start, 3), (What::Finish, 1)] {
            for _ in 0..times {
                history.notes.add(what, &taskq::Context::test());
            }
        }
        let report = history.compare(&records(&[outcome("a", 7), outcome("b", 1)]));
        assert_eq!((report.accepted, report.unknown), (1, 1));
        assert_eq!(
            (report.starts, report.started_again, report.finished_again),
            (3, 1, 0)
        );
    }

    #[test]
    fn a_lost_task_is_found() {
        let lost = history().without_outcome(&records(&[outcome("b", 7)]));
        assert_eq!(lost, ["a".into()]);
    }

    #[test]
    #[should_panic(expected = "more than one outcome")]
    fn a_second_outcome_is_found() {
        history().compare(&records(&[outcome("a", 7), outcome("a", 7)]));
    }

    #[test]
    #[should_panic(expected = "the wrong value")]
    fn a_wrong_value_is_found() {
        history().compare(&records(&[outcome("a", 8)]));
    }

    #[test]
    #[should_panic(expected = "another outcome than is recorded")]
    fn an_outcome_that_differs_from_what_a_waiter_was_told_is_found() {
        let history = history();
        history.told(outcome("a", 7));
        let mut other = outcome("a", 7);
        other.worker = "two".to_owned();
        history.compare(&records(&[other]));
    }
}
