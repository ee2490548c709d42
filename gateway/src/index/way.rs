//! The way to what is asked for.
//!
//! A list is in the order of the outcomes' places, so every way to find tasks
//! must give them in that order, and a page costs what a page is long:
//!
//! - what tasks are found by (`clue`: labels, arguments, keys, words of errors)
//!   is in that order for each value;
//! - so are the indexes of a task's name, its queue, its worker and its state. Of
//!   several ways, the one that leads to the fewest is taken;
//! - when all of them lead to many, the tasks themselves are read in order. A
//!   page is full soon, or the reading ends with the table, which is numbers
//!   only.

use std::collections::HashMap;

use super::digest::{Clue, Word};
use super::query::{Order, TaskQuery};
use super::sql::{Dialect, Select, Value};
use super::values::{cut, words};
use super::{Cursor, IndexError, Result};

/// A word that is used more often than this is no way to find anything: as
/// many looks into the table cost as much as reading all of it.
pub(super) const COMMON: i64 = 60_000;

/// What a query asks for, in the words that the index knows.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Columns and what is to be in them: one of these words.
    columns: Vec<(&'static str, Word, Vec<String>)>,
    pub(super) clues: Vec<Clue>,
    /// Only tasks that have not ended are asked for.
    pub(super) no_end: bool,
}

impl Wanted {
    pub(super) fn of(query: &TaskQuery) -> Result<Self> {
        let mut wanted = Self::default();
        for (column, kind, text) in [
            ("name", Word::Task, &query.task),
            ("queue", Word::Queue, &query.queue),
            ("worker", Word::Worker, &query.worker),
        ] {
            if let Some(text) = text {
                wanted.columns.push((column, kind, vec![text.clone()]));
            }
        }
        if !query.states.is_empty() {
            let ends = query.states.iter().filter(|state| state.is_end());
            let ends: Vec<String> = ends.map(|state| state.as_str().to_owned()).collect();
            wanted.no_end = ends.is_empty();
            wanted.columns.push(("state", Word::State, ends));
        }
        for (name, value) in &query.labels {
            let clue = Clue::new(Word::Label, &cut(name), cut(value));
            wanted.clues.push(clue);
        }
        for (path, value) in &query.arguments {
            wanted.clues.push(Clue::new(Word::Path, path, cut(value)));
        }
        if let Some(key) = &query.key {
            wanted.clues.push(Clue::new(Word::Key, "", cut(key)));
        }
        if let Some(text) = &query.error {
            let words = words(text);
            if words.is_empty() {
                return Err(IndexError::Invalid(
                    "there is no word to look for in errors; write some letters or digits"
                        .to_owned(),
                ));
            }
            let words = words.into_iter();
            let clues = words.map(|word| Clue::new(Word::Error, "", word));
            wanted.clues.extend(clues);
        }
        Ok(wanted)
    }

    /// The words to be looked up.
    pub(super) fn words(&self) -> Vec<(Word, String)> {
        let columns = self.columns.iter();
        let columns = columns.flat_map(|(_, kind, texts)| texts.iter().map(|it| (*kind, it)));
        let clues = self.clues.iter().map(|clue| (clue.kind, &clue.name));
        let mut words: Vec<(Word, String)> = columns
            .chain(clues)
            .map(|(kind, text)| (kind, text.clone()))
            .collect();
        words.sort_unstable();
        words.dedup();
        words
    }
}

/// What the index knows of what is asked for.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The words of each column, and how many tasks have one of them.
    columns: Vec<(&'static str, Vec<i64>, i64)>,
    names: HashMap<(Word, String), i64>,
    /// How many tasks each clue leads to, up to [`COMMON`]; empty if that was
    /// not asked.
    pub(super) counted: Vec<i64>,
    /// From where to where the tasks of the asked-for time can be.
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
}

impl Known {
    /// Notes the words that were found, by kind and text; whether there can be
    /// a task that has all that is wanted.
    pub(super) fn learn(
        &mut self,
        wanted: &Wanted,
        found: &HashMap<(i64, String), (i64, i64)>,
    ) -> bool {
        for (column, kind, texts) in &wanted.columns {
            let (mut of, mut uses) = (Vec::new(), 0);
            for text in texts {
                if let Some((id, used)) = found.get(&(*kind as i64, text.clone())) {
                    of.push(*id);
                    uses += used;
                }
            }
            if of.is_empty() {
                return false;
            }
            self.columns.push((column, of, uses));
        }
        for clue in &wanted.clues {
            let Some((id, _)) = found.get(&(clue.kind as i64, clue.name.clone())) else {
                return false;
            };
            self.names.insert((clue.kind, clue.name.clone()), *id);
        }
        true
    }

    /// Whether it must be known how many tasks each clue leads to: there are
    /// several ways.
    pub(super) fn must_count(&self, wanted: &Wanted) -> bool {
        wanted.clues.len() + self.columns.len() > 1 && !wanted.clues.is_empty()
    }

    pub(super) fn name_of(&self, clue: &Clue) -> i64 {
        let name = self.names.get(&(clue.kind, clue.name.clone()));
        name.copied().unwrap_or_default()
    }

    /// The best way.
    fn way(&self, wanted: &Wanted, dead: Option<bool>) -> Way {
        let rarest = self
            .columns
            .iter()
            .filter(|(_, of, uses)| of.len() == 1 && *uses <= COMMON)
            .min_by_key(|(_, _, uses)| *uses);
        let clues = 0..wanted.clues.len();
        let fewest = clues
            .map(|place| (place, self.counted.get(place).copied().unwrap_or(0)))
            .min_by_key(|(_, count)| *count);
        match (rarest, fewest) {
            (Some((column, _, uses)), Some((_, count))) if *uses < count => Way::Column(column),
            (_, Some((place, _))) => Way::Clue(place),
            (Some((column, ..)), None) => Way::Column(column),
            (None, None) if dead == Some(true) => Way::Column("dead"),
            (None, None) => Way::All,
        }
    }
}

/// By what tasks are read, in their order.
enum Way {
    /// By one of the clues.
    Clue(usize),
    /// By the index of a column.
    Column(&'static str),
    /// One after the other.
    All,
}

/// What is read of a task that has not ended.
pub(super) const LIVE: &str = "SELECT id, at, state, name, queue, worker, attempt, error, key,
        limit_key, labels
    FROM live WHERE id IS NOT NULL";

pub(super) fn direction(order: Order) -> (&'static str, &'static str) {
    match order {
        Order::Newest => ("<", "DESC"),
        Order::Oldest => (">", "ASC"),
    }
}

/// The tasks that have not ended; none if none is asked for.
pub(super) fn live(
    dialect: Dialect,
    query: &TaskQuery,
    wanted: &Wanted,
    limit: usize,
) -> Option<Select> {
    let states = query.states.iter().filter(|state| !state.is_end());
    let states: Vec<Value> = states.map(|state| state.as_str().into()).collect();
    if query.dead == Some(true) || (states.is_empty() && !query.states.is_empty()) {
        return None;
    }
    let mut sql = Select::new(dialect, LIVE);
    if !states.is_empty() {
        sql.one_of("state", states);
    }
    for (column, kind, texts) in &wanted.columns {
        if *kind != Word::State
            && let Some(text) = texts.first()
        {
            sql.and(&format!("{column} = ?"), [text.as_str().into()]);
        }
    }
    for clue in &wanted.clues {
        sql.and(
            "EXISTS (SELECT 1 FROM live_clue c
             WHERE c.kind = ? AND c.name = ? AND c.value = ? AND c.id = live.id)",
            [
                Value::Int(clue.kind as i64),
                clue.name.as_str().into(),
                clue.value.as_str().into(),
            ],
        );
    }
    times(&mut sql, "at", query);
    let (comparison, direction) = direction(query.order);
    if let Some(Cursor::Live { at, id }) = &query.after {
        let place = [Value::Int(*at), id.as_str().into()];
        sql.and(&format!("(at, id) {comparison} (?, ?)"), place);
    }
    sql.end(&format!("at {direction}, id {direction}"), limit);
    Some(sql)
}

/// The tasks that have ended.
pub(super) fn ended(
    dialect: Dialect,
    query: &TaskQuery,
    wanted: &Wanted,
    known: &Known,
    limit: usize,
) -> Select {
    let join = dialect.join();
    let way = known.way(wanted, query.dead);
    let mut sql = Select::new(dialect, "");
    let mut place = "t.n";
    match &way {
        Way::Clue(clue) => {
            let clue = &wanted.clues[*clue];
            let values = [known.name_of(clue).into(), clue.value.as_str().into()];
            place = "c.n";
            sql.push(
                &format!(
                    "SELECT c.n FROM clue c {join} task t ON t.n = c.n
                     WHERE c.name = ? AND c.value = ?"
                ),
                values,
            );
        }
        Way::Column(column) => {
            let by = dialect.by(Some(&format!("task_{column}")));
            let text = format!("SELECT t.n FROM task t{by} WHERE t.n IS NOT NULL");
            sql.push(&text, []);
        }
        Way::All => {
            let by = dialect.by(None);
            sql.push(
                &format!("SELECT t.n FROM task t{by} WHERE t.n IS NOT NULL"),
                [],
            );
        }
    }
    for (column, of, _) in &known.columns {
        match of.as_slice() {
            [one] => sql.and(&format!("t.{column} = ?"), [Value::Int(*one)]),
            _ => sql.one_of(
                &format!("t.{column}"),
                of.iter().copied().map(Value::Int).collect(),
            ),
        }
    }
    for (number, clue) in wanted.clues.iter().enumerate() {
        if !matches!(way, Way::Clue(taken) if taken == number) {
            sql.and(
                "EXISTS (SELECT 1 FROM clue e WHERE e.name = ? AND e.value = ? AND e.n = t.n)",
                [known.name_of(clue).into(), clue.value.as_str().into()],
            );
        }
    }
    match query.dead {
        // As the index of them has it.
        Some(true) => sql.and("t.dead = 1", []),
        Some(false) => sql.and("t.dead = 0", []),
        None => {}
    }
    times(&mut sql, "t.at", query);
    for (comparison, bound) in [(">=", known.first), ("<=", known.last)] {
        if let Some(bound) = bound {
            sql.and(&format!("{place} {comparison} ?"), [Value::Int(bound)]);
        }
    }
    let (comparison, direction) = direction(query.order);
    if let Some(Cursor::Ended { n }) = query.after {
        sql.and(&format!("{place} {comparison} ?"), [Value::Int(n)]);
    }
    sql.end(&format!("{place} {direction}"), limit);
    shown(dialect, sql, &format!("f.n {direction}"))
}

/// What is shown of the ended tasks whose places a statement gives.
pub(super) fn shown(dialect: Dialect, mut found: Select, order: &str) -> Select {
    let join = dialect.join();
    found.text = format!(
        "WITH found AS MATERIALIZED ({})
         SELECT t.n, t.at, s.text, m.text, q.text, w.text, d.id, d.attempt, d.enqueued_at,
             d.started_at, d.seconds, d.error, d.dead, d.cancelled_by, d.key, d.limit_key, d.labels
         FROM found f
         {join} task t ON t.n = f.n
         {join} detail d ON d.n = f.n
         JOIN word s ON s.id = t.state
         JOIN word m ON m.id = t.name
         JOIN word q ON q.id = t.queue
         JOIN word w ON w.id = t.worker
         ORDER BY {order}",
        found.text
    );
    found
}

fn times(sql: &mut Select, column: &str, query: &TaskQuery) {
    for (comparison, time) in [(">=", query.since), ("<", query.until)] {
        if let Some(time) = time {
            let time = [Value::Int(time.as_millis())];
            sql.and(&format!("{column} {comparison} ?"), time);
        }
    }
}
