//! Changes become rows.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::digest::{Change, Clue, Ended, Letter, Live, Word};
use super::super::search::MINUTE;
use super::super::{Result, Retention, SILENT, Seen};
use super::schema;

/// How many rows are removed at once.
const TIDY: i64 = 20_000;
/// Writes changes.
pub(super) struct Apply {
    connection: Connection,
    retention: Retention,
    words: HashMap<(Word, String), i64>,
}

impl Apply {
    pub(super) fn new(connection: Connection, retention: Retention) -> Self {
        Self {
            connection,
            retention,
            words: HashMap::new(),
        }
    }

    /// All of the changes and how far the source is seen to, or nothing.
    pub(super) fn take(&mut self, changes: &[Change], seen: &Seen) -> Result<()> {
        self.all_or_nothing(|batch| {
            for change in changes {
                batch.change(change)?;
            }
            batch
                .transaction
                .prepare_cached(
                    "INSERT INTO seen (source, created, sequence) VALUES (?1, ?2, ?3)
                     ON CONFLICT (source) DO UPDATE SET created = ?2, sequence = ?3",
                )?
                .execute(params![
                    seen.source,
                    seen.created,
                    i64::try_from(seen.sequence).unwrap_or(i64::MAX)
                ])?;
            Ok(())
        })
    }

    fn all_or_nothing(&mut self, write: impl FnOnce(&mut Batch<'_>) -> Result<()>) -> Result<()> {
        let transaction = self.connection.transaction()?;
        let mut batch = Batch {
            transaction: &transaction,
            words: &mut self.words,
            uses: HashMap::new(),
            minutes: HashMap::new(),
        };
        let written = write(&mut batch).and_then(|()| batch.write_sums());
        if let Err(error) = written {
            // Words that were made are gone again.
            self.words.clear();
            return Err(error);
        }
        transaction.commit()?;
        Ok(())
    }

    pub(super) fn clear(&mut self) -> Result<()> {
        self.words.clear();
        schema::make(&self.connection)
    }

    /// Removes what is too old or too much: the oldest, some at once. Whether
    /// there may be more.
    pub(super) fn tidy(&mut self) -> Result<bool> {
        let retention = self.retention;
        let (oldest, silent) = (retention.oldest(), Retention::before_now(SILENT));
        let mut removed = 0;
        self.all_or_nothing(|batch| {
            removed = batch.remove_oldest(oldest, retention.most)?;
            let transaction = batch.transaction;
            transaction.execute("DELETE FROM letter WHERE at < ?1", params![oldest])?;
            transaction.execute(
                "DELETE FROM live_clue WHERE id IN (SELECT id FROM live WHERE at < ?1)",
                params![silent],
            )?;
            transaction.execute("DELETE FROM live WHERE at < ?1", params![silent])?;
            Ok(())
        })?;
        if removed > 0 {
            let unused = "DELETE FROM word WHERE uses <= 0";
            if self.connection.execute(unused, [])? > 0 {
                self.words.clear();
            }
        }
        Ok(removed >= TIDY)
    }
}

struct Batch<'a> {
    transaction: &'a Transaction<'a>,
    words: &'a mut HashMap<(Word, String), i64>,
    /// By how much each word is used more, or less.
    uses: HashMap<i64, i64>,
    /// From where to where the tasks are that ended in a minute.
    minutes: HashMap<i64, (i64, i64)>,
}

impl Batch<'_> {
    fn change(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Ended(ended) => self.ended(ended),
            Change::Live(live) => self.live(live),
            Change::Again { id, at } => self.again(id, *at),
            Change::Discarded { id, at } => self.discarded(id, *at),
            Change::Letter(letter) => self.letter(letter),
        }
    }

    fn write_sums(&mut self) -> Result<()> {
        let mut statement = self
            .transaction
            .prepare_cached("UPDATE word SET uses = uses + ?2 WHERE id = ?1")?;
        for (word, more) in self.uses.drain() {
            statement.execute(params![word, more])?;
        }
        let mut statement = self.transaction.prepare_cached(
            "INSERT INTO minute (minute, first, last) VALUES (?1, ?2, ?3)
             ON CONFLICT (minute) DO UPDATE SET first = min(first, ?2), last = max(last, ?3)",
        )?;
        for (minute, (first, last)) in self.minutes.drain() {
            statement.execute(params![minute, first, last])?;
        }
        Ok(())
    }

    /// The number of a word, which is made if it is new.
    fn word(&mut self, kind: Word, text: &str) -> Result<i64> {
        // A borrowed key of two parts cannot be looked up in this map; the
        // copy is small beside the row that it is for.
        let key = (kind, text.to_owned());
        if let Some(word) = self.words.get(&key) {
            return Ok(*word);
        }
        let (kind, text) = (kind as i64, text);
        self.transaction
            .prepare_cached("INSERT OR IGNORE INTO word (kind, text) VALUES (?1, ?2)")?
            .execute(params![kind, text])?;
        let word = self
            .transaction
            .prepare_cached("SELECT id FROM word WHERE kind = ?1 AND text = ?2")?
            .query_row(params![kind, text], |row| row.get(0))?;
        // A name for each task would fill the memory; it costs a look then.
        if self.words.len() < 100_000 {
            self.words.insert(key, word);
        }
        Ok(word)
    }

    fn used(&mut self, word: i64, more: i64) {
        *self.uses.entry(word).or_default() += more;
    }

    fn ended(&mut self, ended: &Ended) -> Result<()> {
        // Read again after a restart, or replayed: the latest counts.
        if let Some(old) = self.place_of(&ended.id)? {
            if old > ended.n {
                return Ok(());
            }
            self.remove(old)?;
        }
        let mut words = [0; 4];
        for (word, (kind, text)) in words.iter_mut().zip(ended.words()) {
            *word = self.word(kind, text)?;
            self.used(*word, 1);
        }
        let [state, name, queue, worker] = words;
        let n = ended.n;
        let span = self.minutes.entry(ended.at.div_euclid(MINUTE));
        let span = span.or_insert((n, n));
        *span = (span.0.min(n), span.1.max(n));
        self.transaction
            .prepare_cached(
                "INSERT INTO task (n, at, state, name, queue, worker, dead)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                n,
                ended.at,
                state,
                name,
                queue,
                worker,
                ended.dead.is_some()
            ])?;
        self.transaction
            .prepare_cached(
                "INSERT INTO detail (n, id, attempt, enqueued_at, started_at, seconds, error, dead,
                                     cancelled_by, key, limit_key, labels)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                n,
                ended.id,
                ended.attempt,
                ended.enqueued_at,
                ended.started_at,
                ended.seconds,
                ended.shown.error,
                ended.dead,
                ended.cancelled_by,
                ended.shown.key,
                ended.shown.limit_key,
                ended.shown.labels,
            ])?;
        self.clues(n, &ended.clues)?;
        self.forget_live(&ended.id)?;
        if ended.dead.is_some() {
            // Its letter may have been read before it.
            let arguments: Option<String> = self
                .transaction
                .prepare_cached(
                    "SELECT arguments FROM letter WHERE id = ?1 ORDER BY n DESC LIMIT 1",
                )?
                .query_row(params![ended.id], |row| row.get(0))
                .optional()?
                .flatten();
            let pairs: Vec<(String, String)> = arguments
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default();
            let clues = pairs.into_iter();
            let clues = clues.map(|(path, value)| Clue::new(Word::Path, &path, value));
            self.clues(n, &clues.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Lets an ended task be found.
    fn clues(&mut self, n: i64, clues: &[Clue]) -> Result<()> {
        for clue in clues {
            let name = self.word(clue.kind, &clue.name)?;
            let added = self
                .transaction
                .prepare_cached("INSERT OR IGNORE INTO clue (name, value, n) VALUES (?1, ?2, ?3)")?
                .execute(params![name, clue.value, n])?;
            if added > 0 {
                self.used(name, 1);
            }
        }
        Ok(())
    }

    fn live(&mut self, live: &Live) -> Result<()> {
        // An end that was read before its beginning stays.
        let ended: Option<i64> = self
            .transaction
            .prepare_cached("SELECT t.at FROM detail d JOIN task t ON t.n = d.n WHERE d.id = ?1")?
            .query_row(params![live.id], |row| row.get(0))
            .optional()?;
        if ended.is_some_and(|ended| ended >= live.outdates()) {
            return Ok(());
        }
        self.transaction
            .prepare_cached(
                "INSERT INTO live (id, at, state, name, queue, worker, attempt, error, key,
                                   limit_key, labels)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (id) DO UPDATE SET at = ?2, state = ?3,
                     worker = CASE ?6 WHEN '' THEN worker ELSE ?6 END, attempt = max(attempt, ?7),
                     error = coalesce(?8, error), key = coalesce(?9, key),
                     limit_key = coalesce(?10, limit_key), labels = coalesce(?11, labels)
                 WHERE at <= ?2",
            )?
            .execute(params![
                live.id,
                live.at,
                live.state,
                live.task,
                live.queue,
                live.worker,
                live.attempt,
                live.shown.error,
                live.shown.key,
                live.shown.limit_key,
                live.shown.labels,
            ])?;
        let mut statement = self.transaction.prepare_cached(
            "INSERT OR IGNORE INTO live_clue (kind, name, value, id) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for clue in &live.clues {
            statement.execute(params![clue.kind as i64, clue.name, clue.value, live.id])?;
        }
        Ok(())
    }

    fn forget_live(&self, id: &str) -> Result<()> {
        let was = self
            .transaction
            .prepare_cached("DELETE FROM live WHERE id = ?1")?
            .execute(params![id])?;
        if was > 0 {
            self.transaction
                .prepare_cached("DELETE FROM live_clue WHERE id = ?1")?
                .execute(params![id])?;
        }
        Ok(())
    }

    /// Takes away the end of a task that was sent again, and its dead letter;
    /// and what was told of it before, should the end not have been read.
    fn again(&mut self, id: &str, at: i64) -> Result<()> {
        self.transaction
            .prepare_cached(
                "DELETE FROM live_clue WHERE id = ?1
                     AND EXISTS (SELECT 1 FROM live WHERE live.id = ?1 AND live.at < ?2)",
            )?
            .execute(params![id, at])?;
        self.transaction
            .prepare_cached("DELETE FROM live WHERE id = ?1 AND at < ?2")?
            .execute(params![id, at])?;
        if let Some(n) = self.place_of(id)? {
            let ended: i64 = self
                .transaction
                .prepare_cached("SELECT at FROM task WHERE n = ?1")?
                .query_row(params![n], |row| row.get(0))?;
            if ended < at {
                self.remove(n)?;
            }
        }
        self.forget_letters(id, at)
    }

    /// Takes away a dead letter, and with it the arguments that only it had:
    /// nothing tells them any more.
    fn discarded(&mut self, id: &str, at: i64) -> Result<()> {
        let dead: Option<i64> = self
            .transaction
            .prepare_cached(
                "SELECT t.n FROM detail d JOIN task t ON t.n = d.n
                 WHERE d.id = ?1 AND t.dead = 1 AND t.at < ?2",
            )?
            .query_row(params![id, at], |row| row.get(0))
            .optional()?;
        if let Some(n) = dead {
            let names: Vec<i64> = self
                .transaction
                .prepare_cached(
                    "DELETE FROM clue WHERE n = ?1
                         AND name IN (SELECT id FROM word WHERE kind = ?2) RETURNING name",
                )?
                .query_map(params![n, Word::Path as i64], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for name in names {
                self.used(name, -1);
            }
        }
        self.forget_letters(id, at)
    }

    fn forget_letters(&mut self, id: &str, at: i64) -> Result<()> {
        self.transaction
            .prepare_cached("DELETE FROM letter WHERE id = ?1 AND at < ?2")?
            .execute(params![id, at])?;
        Ok(())
    }

    fn letter(&mut self, letter: &Letter) -> Result<()> {
        let arguments: Vec<(&str, &str)> = letter
            .clues
            .iter()
            .map(|clue| (clue.name.as_str(), clue.value.as_str()))
            .collect();
        let arguments =
            (!arguments.is_empty()).then(|| serde_json::to_string(&arguments).unwrap_or_default());
        self.transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO letter (n, id, at, name, queue, reason, error, worker,
                                                attempts, replays, arguments)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                letter.n,
                letter.id,
                letter.at,
                letter.task,
                letter.queue,
                letter.reason,
                letter.error,
                letter.worker,
                letter.attempts,
                letter.replays,
                arguments,
            ])?;
        match self.place_of(&letter.id)? {
            Some(place) => self.clues(place, &letter.clues),
            None => Ok(()),
        }
    }

    fn place_of(&self, id: &str) -> Result<Option<i64>> {
        Ok(self
            .transaction
            .prepare_cached("SELECT n FROM detail WHERE id = ?1")?
            .query_row(params![id], |row| row.get(0))
            .optional()?)
    }

    fn remove(&mut self, n: i64) -> Result<()> {
        let words: Option<[i64; 4]> = self
            .transaction
            .prepare_cached("DELETE FROM task WHERE n = ?1 RETURNING state, name, queue, worker")?
            .query_row(params![n], |row| {
                Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
            })
            .optional()?;
        for word in words.into_iter().flatten() {
            self.used(word, -1);
        }
        self.transaction
            .prepare_cached("DELETE FROM detail WHERE n = ?1")?
            .execute(params![n])?;
        let names: Vec<i64> = self
            .transaction
            .prepare_cached("DELETE FROM clue WHERE n = ?1 RETURNING name")?
            .query_map(params![n], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for name in names {
            self.used(name, -1);
        }
        Ok(())
    }

    /// Removes the oldest tasks, and tells how many.
    fn remove_oldest(&mut self, oldest: i64, most: u64) -> Result<i64> {
        let total: i64 = self
            .transaction
            .prepare_cached("SELECT coalesce(sum(uses), 0) FROM word WHERE kind = ?1")?
            .query_row(params![Word::State as i64], |row| row.get(0))?;
        let too_many = total.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
        let places: Vec<i64> = self
            .transaction
            .prepare_cached("SELECT n, at FROM task ORDER BY n LIMIT ?1")?
            .query_map(params![TIDY], |row| Ok((row.get(0)?, row.get(1)?)))?
            .enumerate()
            .take_while(|(position, row)| {
                let early = i64::try_from(*position).is_ok_and(|position| position < too_many);
                early || row.as_ref().is_ok_and(|(_, at): &(i64, i64)| *at < oldest)
            })
            .map(|(_, row)| row.map(|(n, _)| n))
            .collect::<rusqlite::Result<_>>()?;
        let removed = i64::try_from(places.len()).unwrap_or(i64::MAX);
        for n in places {
            self.remove(n)?;
        }
        self.transaction.execute(
            "DELETE FROM minute WHERE last < (SELECT coalesce(min(n), 0) FROM task)",
            [],
        )?;
        Ok(removed)
    }
}
