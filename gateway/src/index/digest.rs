//! What a record changes in the index, whichever store it is in.

use serde_json::{Map, Value};
use taskq::admin::{Record, RecordBody};
use taskq::{
    Arguments, DeadLetter, DeadReason, Event, EventKind, Hidden, Outcome, TaskMessage, Timestamp,
};

use super::SOON;
use super::values::{LONGEST_ERROR, cut, leaves, plain, start, words};

/// What a task is found by, and the kind of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Word {
    Task = 0,
    Queue = 1,
    Worker = 2,
    State = 3,
    /// The name of a label.
    Label = 4,
    /// Where in the arguments a value is.
    Path = 5,
    /// Its keys; there is one such word, the empty one.
    Key = 6,
    /// The words of its error; there is one such word, the empty one.
    Error = 7,
}

/// A value that a task is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clue {
    pub(super) kind: Word,
    /// The label, or the path.
    pub(super) name: String,
    pub(super) value: String,
}

impl Clue {
    pub(super) fn new(kind: Word, name: &str, value: String) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            value,
        }
    }
}

/// One change.
#[derive(Debug)]
pub(super) enum Change {
    /// A task has ended.
    Ended(Box<Ended>),
    /// Something was heard of a task that has not ended.
    Live(Box<Live>),
    /// A task was sent again: what was before does not count, however late it
    /// is read.
    Again { id: String, at: i64 },
    /// A dead letter was removed.
    Discarded { id: String, at: i64 },
    /// A task has become a dead letter.
    Letter(Box<Letter>),
}

/// What is shown of a task, whether it has ended or not.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// The start of its error.
    pub(super) error: Option<String>,
    pub(super) key: Option<String>,
    pub(super) limit_key: Option<String>,
    /// The user's labels, as JSON.
    pub(super) labels: Option<String>,
}

#[derive(Debug)]
pub(super) struct Ended {
    /// Its outcome's place.
    pub(super) n: i64,
    pub(super) id: String,
    pub(super) at: i64,
    pub(super) state: &'static str,
    pub(super) task: String,
    pub(super) queue: String,
    pub(super) worker: String,
    pub(super) attempt: i64,
    pub(super) enqueued_at: i64,
    pub(super) started_at: Option<i64>,
    pub(super) seconds: f64,
    pub(super) dead: Option<&'static str>,
    pub(super) cancelled_by: Option<String>,
    pub(super) shown: Shown,
    pub(super) clues: Vec<Clue>,
}

impl Ended {
    /// The words of its row, in the order of its columns.
    pub(super) fn words(&self) -> [(Word, &str); 4] {
        [
            (Word::State, self.state),
            (Word::Task, &self.task),
            (Word::Queue, &self.queue),
            (Word::Worker, &self.worker),
        ]
    }
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: String,
    pub(super) at: i64,
    pub(super) state: &'static str,
    pub(super) task: String,
    pub(super) queue: String,
    /// Empty if this does not tell.
    pub(super) worker: String,
    pub(super) attempt: i64,
    pub(super) shown: Shown,
    pub(super) clues: Vec<Clue>,
}

impl Live {
    /// What ended before this moment does not count any more, where this is
    /// heard. A worker that wakes up and tells that it lost a task, or that an
    /// attempt failed, tells nothing new of one that has ended; nor does a
    /// start that was told a little late.
    pub(super) fn outdates(&self) -> i64 {
        match self.state {
            "retrying" => i64::MIN,
            _ => self.at.saturating_sub(SOON),
        }
    }
}

#[derive(Debug)]
pub(super) struct Letter {
    pub(super) n: i64,
    pub(super) id: String,
    pub(super) at: i64,
    pub(super) task: String,
    pub(super) queue: String,
    pub(super) reason: &'static str,
    pub(super) error: String,
    pub(super) worker: String,
    pub(super) attempts: i64,
    pub(super) replays: i64,
    /// Its arguments, and nothing else.
    pub(super) clues: Vec<Clue>,
}

/// What a record changes; nothing, for what an index has no use for.
pub(super) fn changes(record: &Record, source: &str) -> Vec<Change> {
    let n = i64::try_from(record.sequence).unwrap_or(i64::MAX);
    match &record.body {
        RecordBody::Outcome(outcome) => vec![Change::Ended(Box::new(ended(n, outcome)))],
        RecordBody::Event(event) => live(event),
        RecordBody::DeadLetter(letter) => vec![Change::Letter(Box::new(dead(n, letter)))],
        RecordBody::Unreadable(why) => {
            tracing::warn!("record {n} of the {source} is left out: {why}");
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn ended(n: i64, outcome: &Outcome) -> Ended {
    let error = outcome.error.as_ref().map(|error| error.message.as_str());
    let hidden = Hidden::of_outcome(&outcome.labels);
    let (shown, mut clues) = shown(&outcome.labels, error);
    // A success may have had failures before it.
    let before = outcome.attempts.iter().filter(|_| !hidden.is_all());
    for word in before.flat_map(|attempt| words(start(&attempt.error.message, LONGEST_ERROR))) {
        let clue = Clue::new(Word::Error, "", word);
        if !clues.contains(&clue) {
            clues.push(clue);
        }
    }
    if let Some(arguments) = outcome.arguments()
        && !hidden.is_any()
    {
        clues.extend(of_arguments(&arguments));
    }
    Ended {
        n,
        id: clean(outcome.id.as_str()),
        at: outcome.finished_at.as_millis(),
        state: outcome.state.as_str(),
        task: clean(&outcome.task),
        queue: clean(&outcome.queue),
        worker: cut(&outcome.worker),
        attempt: outcome.attempt.into(),
        enqueued_at: outcome.enqueued_at.as_millis(),
        started_at: outcome.started_at.map(Timestamp::as_millis),
        seconds: outcome.execution_time,
        dead: outcome.dead.map(DeadReason::as_str),
        cancelled_by: outcome.cancelled_by.as_deref().map(clean),
        shown,
        clues,
    }
}

fn live(event: &Event) -> Vec<Change> {
    let Some(id) = event.id.as_ref().map(|id| clean(id.as_str())) else {
        return Vec::new();
    };
    let at = event.at.as_millis();
    let mut changes = Vec::new();
    let state = match event.kind {
        EventKind::Enqueued => "waiting",
        EventKind::Started => "running",
        EventKind::Retrying | EventKind::HandedBack | EventKind::LeaseLost => "retrying",
        EventKind::Replayed => {
            let id = id.clone();
            changes.push(Change::Again { id, at });
            "waiting"
        }
        EventKind::Discarded => return vec![Change::Discarded { id, at }],
        _ => return Vec::new(),
    };
    let none = Map::new();
    let detail = |name: &str| event.detail.get(name);
    let labels = detail("labels").and_then(Value::as_object);
    let error = detail("error").and_then(Value::as_str);
    let (shown, mut clues) = shown(labels.unwrap_or(&none), error);
    let mut values = Vec::new();
    let hidden = labels.map(Hidden::of_outcome).unwrap_or_default();
    let detail = |name: &str| detail(name).filter(|_| !hidden.is_any());
    for (place, value) in detail("args")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        leaves(&place.to_string(), value, &mut values);
    }
    for (name, value) in detail("kwargs")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        leaves(name, value, &mut values);
    }
    clues.extend(of_values(values));
    changes.push(Change::Live(Box::new(Live {
        id,
        at,
        state,
        task: clean(event.task.as_deref().unwrap_or_default()),
        queue: clean(event.queue.as_deref().unwrap_or_default()),
        worker: cut(event.worker.as_deref().unwrap_or_default()),
        attempt: event.attempt.unwrap_or(0).into(),
        shown,
        clues,
    })));
    changes
}

fn dead(n: i64, letter: &DeadLetter) -> Letter {
    let message = letter.message.as_ref();
    let message = message.and_then(|text| TaskMessage::decode(text.get().as_bytes()).ok());
    let hidden = message.as_ref().map(|message| Hidden::of(&message.labels));
    let hidden = hidden.unwrap_or_default();
    let message = message.filter(|_| !hidden.is_any());
    Letter {
        n,
        id: clean(letter.id.as_str()),
        at: letter.dead_at.as_millis(),
        task: clean(&letter.task),
        queue: clean(&letter.queue),
        reason: letter.reason.as_str(),
        error: clean(hidden.text(start(&letter.error, LONGEST_ERROR))),
        worker: cut(&letter.worker),
        attempts: i64::try_from(letter.attempts.len()).unwrap_or(i64::MAX),
        replays: letter.replays.into(),
        clues: message.map_or_else(Vec::new, |message| of_arguments(&message.arguments)),
    }
}

/// What is shown by the labels and the error of a task, and what it is found
/// by.
fn shown(labels: &Map<String, Value>, error: Option<&str>) -> (Shown, Vec<Clue>) {
    let text = |name: &str| labels.get(name).and_then(Value::as_str).map(cut);
    // The text that its sender gave, where one was given.
    let keys = [
        text("taskq_unique_key"),
        text("taskq_unique"),
        text("taskq_key"),
    ];
    let mut clues = Vec::new();
    for key in keys.iter().flatten() {
        let clue = Clue::new(Word::Key, "", key.clone());
        if !clues.contains(&clue) {
            clues.push(clue);
        }
    }
    let users: Map<String, Value> = labels
        .iter()
        .filter(|(name, _)| is_users(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let pairs = users.iter();
    clues.extend(pairs.map(|(name, value)| Clue::new(Word::Label, &cut(name), plain(value))));
    let hidden = Hidden::of_outcome(labels);
    let error = error.map(|error| clean(hidden.text(start(error, LONGEST_ERROR))));
    let found = error.as_deref().filter(|_| !hidden.is_all());
    let found = found.map(words).unwrap_or_default();
    clues.extend(
        found
            .into_iter()
            .map(|word| Clue::new(Word::Error, "", word)),
    );
    let [given, digest, limit_key] = keys;
    let shown = Shown {
        error,
        key: given.or(digest),
        limit_key,
        labels: (!users.is_empty()).then(|| clean(&Value::Object(users).to_string())),
    };
    (shown, clues)
}

/// Whether a label is the user's own, and none by which taskq is told what to
/// do.
fn is_users(label: &str) -> bool {
    !label.starts_with("taskq_") && !["timeout", "max_retries"].contains(&label)
}

/// The values in arguments, and where they are: `user.id`, `0`, `0.name`.
fn of_arguments(arguments: &Arguments) -> Vec<Clue> {
    let mut found = Vec::new();
    let positional = arguments.positional().enumerate();
    let positional = positional.map(|(place, text)| (place.to_string(), text));
    let named = arguments.iter_named();
    let named = named.map(|(name, text)| (name.to_owned(), text));
    for (path, text) in positional.chain(named) {
        if let Ok(value) = serde_json::from_str(text) {
            leaves(&path, &value, &mut found);
        }
    }
    of_values(found)
}

fn of_values(values: Vec<(String, String)>) -> Vec<Clue> {
    let values = values.into_iter();
    values
        .map(|(path, value)| Clue::new(Word::Path, &path, value))
        .collect()
}

/// No database takes a NUL in a text.
fn clean(text: &str) -> String {
    text.replace('\0', "")
}
