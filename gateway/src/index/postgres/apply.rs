//! Changes become rows, many at once.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::{Result, failed};
use crate::index::digest::{Change, Clue, Ended, Letter, Live, Word};
use crate::index::search::MINUTE;
use crate::index::{Retention, SILENT};

/// How many tasks are removed at once.
const TIDY: i64 = 20_000;
/// How many words are remembered.
const MOST_WORDS: usize = 100_000;

/// What is written in one transaction.
pub(super) struct Batch<'a> {
    transaction: &'a Transaction<'a>,
    words: &'a mut HashMap<(Word, String), i32>,
    /// By how much each word is used more, or less.
    uses: HashMap<i32, i64>,
}

/// What tasks are found by: a word, a value, a place.
#[derive(Default)]
struct Found {
    names: Vec<i32>,
    values: Vec<String>,
    places: Vec<i64>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        transaction: &'a Transaction<'a>,
        words: &'a mut HashMap<(Word, String), i32>,
    ) -> Self {
        Self {
            transaction,
            words,
            uses: HashMap::new(),
        }
    }

    async fn run(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        let statement = self.transaction.prepare(sql).await.map_err(failed)?;
        let done = self.transaction.execute(&statement, values).await;
        done.map_err(failed)
    }

    async fn rows(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>> {
        self.transaction.query(sql, values).await.map_err(failed)
    }

    /// Changes in their order; those of one kind that come one after the other
    /// are written at once.
    pub(super) async fn changes(&mut self, changes: Vec<Change>, base: i64) -> Result<()> {
        let (mut ended, mut live, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            if !ended.is_empty() && !matches!(change, Change::Ended(_)) {
                self.ended(std::mem::take(&mut ended)).await?;
            }
            if !live.is_empty() && !matches!(change, Change::Live(_)) {
                self.live(std::mem::take(&mut live)).await?;
            }
            if !letters.is_empty() && !matches!(change, Change::Letter(_)) {
                self.letters(std::mem::take(&mut letters)).await?;
            }
            match change {
                Change::Ended(mut one) => {
                    one.n = one.n.saturating_add(base);
                    ended.push(*one);
                }
                Change::Live(one) => live.push(*one),
                Change::Letter(mut one) => {
                    one.n = one.n.saturating_add(base);
                    letters.push(*one);
                }
                Change::Again { id, at } => {
                    let ended = "SELECT d.n FROM detail d JOIN task t ON t.n = d.n
                                 WHERE d.id = $1 AND t.at < $2";
                    let places = self.rows(ended, &[&id, &at]).await?;
                    let places: Vec<i64> = places.iter().map(|row| row.get(0)).collect();
                    self.remove(&places).await?;
                    // Should the end not have been read yet.
                    for forget in [
                        "DELETE FROM live_clue WHERE id = $1 AND EXISTS
                             (SELECT 1 FROM live WHERE live.id = $1 AND live.at < $2)",
                        "DELETE FROM live WHERE id = $1 AND at < $2",
                    ] {
                        self.run(forget, &[&id, &at]).await?;
                    }
                    self.forget_letters(&id, at).await?;
                }
                Change::Discarded { id, at } => self.discarded(&id, at).await?,
            }
        }
        self.ended(ended).await?;
        self.live(live).await?;
        self.letters(letters).await
    }

    /// Takes away a dead letter, and with it the arguments that only it had:
    /// nothing tells them any more.
    async fn discarded(&mut self, id: &str, at: i64) -> Result<()> {
        let rows = self
            .rows(
                "WITH gone AS (
                     DELETE FROM clue WHERE n IN (
                         SELECT t.n FROM detail d JOIN task t ON t.n = d.n
                         WHERE d.id = $1 AND t.dead = 1 AND t.at < $2
                     ) AND name IN (SELECT id FROM word WHERE kind = $3) RETURNING name
                 ) SELECT name, count(*) FROM gone GROUP BY name",
                &[&id, &at, &(Word::Path as i32)],
            )
            .await?;
        for row in rows {
            self.used(row.get(0), -row.get::<_, i64>(1));
        }
        self.forget_letters(id, at).await
    }

    async fn forget_letters(&self, id: &str, at: i64) -> Result<()> {
        let forget = "DELETE FROM letter WHERE id = $1 AND at < $2";
        self.run(forget, &[&id, &at]).await.map(drop)
    }

    /// Makes the words that are new, so that each has a number.
    async fn learn(&mut self, wanted: HashSet<(Word, String)>) -> Result<()> {
        if self.words.len() > MOST_WORDS {
            self.words.clear();
        }
        let (mut kinds, mut texts) = (Vec::new(), Vec::new());
        for word in &wanted {
            if !self.words.contains_key(word) {
                kinds.push(word.0 as i32);
                texts.push(word.1.as_str());
            }
        }
        if kinds.is_empty() {
            return Ok(());
        }
        self.run(
            "INSERT INTO word (kind, text)
             SELECT * FROM unnest($1::integer[], $2::text[]) ON CONFLICT DO NOTHING",
            &[&kinds, &texts],
        )
        .await?;
        let rows = self
            .rows(
                "SELECT w.id, u.place FROM unnest($1::integer[], $2::text[])
                     WITH ORDINALITY AS u (kind, text, place)
                 JOIN word w ON w.kind = u.kind AND w.text = u.text",
                &[&kinds, &texts],
            )
            .await?;
        let mut made = HashMap::new();
        for row in rows {
            let place = usize::try_from(row.get::<_, i64>(1) - 1).unwrap_or_default();
            made.insert(
                (kinds[place], texts[place].to_owned()),
                row.get::<_, i32>(0),
            );
        }
        for word in wanted {
            if let Some(id) = made.get(&(word.0 as i32, word.1.clone())) {
                self.words.insert(word, *id);
            }
        }
        Ok(())
    }

    fn word(&self, kind: Word, text: &str) -> i32 {
        let word = self.words.get(&(kind, text.to_owned()));
        word.copied().unwrap_or_default()
    }

    fn used(&mut self, word: i32, more: i64) {
        *self.uses.entry(word).or_default() += more;
    }

    pub(super) async fn write_sums(&mut self) -> Result<()> {
        let uses = std::mem::take(&mut self.uses);
        let uses = uses.into_iter().filter(|(_, more)| *more != 0);
        let (words, more): (Vec<i32>, Vec<i64>) = uses.unzip();
        if words.is_empty() {
            return Ok(());
        }
        self.run(
            "UPDATE word SET uses = uses + u.more
             FROM unnest($1::integer[], $2::bigint[]) u (id, more) WHERE word.id = u.id",
            &[&words, &more],
        )
        .await
        .map(drop)
    }

    async fn ended(&mut self, all: Vec<Ended>) -> Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        // Read again after a restart, or replayed: the latest counts.
        let mut latest: HashMap<String, Ended> = HashMap::with_capacity(all.len());
        for one in all {
            match latest.get(&one.id) {
                Some(other) if other.n > one.n => {}
                _ => drop(latest.insert(one.id.clone(), one)),
            }
        }
        let ids: Vec<&str> = latest.keys().map(String::as_str).collect();
        let known = "SELECT id, n FROM detail WHERE id = ANY($1)";
        let mut old = Vec::new();
        for row in self.rows(known, &[&ids]).await? {
            let (id, n): (String, i64) = (row.get(0), row.get(1));
            if latest.get(&id).is_some_and(|one| one.n < n) {
                latest.remove(&id);
            } else {
                old.push(n);
            }
        }
        self.remove(&old).await?;
        let mut all: Vec<Ended> = latest.into_values().collect();
        all.sort_unstable_by_key(|one| one.n);
        self.insert(&all).await
    }

    async fn insert(&mut self, all: &[Ended]) -> Result<()> {
        let mut wanted = HashSet::new();
        for one in all {
            wanted.extend(one.words().map(|(kind, text)| (kind, text.to_owned())));
            wanted.extend(one.clues.iter().map(|clue| (clue.kind, clue.name.clone())));
        }
        self.learn(wanted).await?;
        let mut columns: [Vec<i32>; 4] = Default::default();
        let (mut found, mut minutes) = (Found::default(), HashMap::new());
        for one in all {
            for (column, (kind, text)) in columns.iter_mut().zip(one.words()) {
                let word = self.word(kind, text);
                column.push(word);
                *self.uses.entry(word).or_default() += 1;
            }
            for clue in &one.clues {
                found.names.push(self.word(clue.kind, &clue.name));
                found.values.push(clue.value.clone());
                found.places.push(one.n);
            }
            let span = minutes
                .entry(one.at.div_euclid(MINUTE))
                .or_insert((one.n, one.n));
            *span = (one.n.min(span.0), one.n.max(span.1));
        }
        let places = each(all, |one| one.n);
        let dead = each(all, |one| i32::from(one.dead.is_some()));
        let [state, name, queue, worker] = &columns;
        self.run(
            "INSERT INTO task (n, at, state, name, queue, worker, dead)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::integer[],
                                  $5::integer[], $6::integer[], $7::integer[])",
            &[
                &places,
                &each(all, |one| one.at),
                state,
                name,
                queue,
                worker,
                &dead,
            ],
        )
        .await?;
        let ids = each(all, |one| one.id.as_str());
        self.run(
            "INSERT INTO detail (n, id, attempt, enqueued_at, started_at, seconds, error, dead,
                                 cancelled_by, key, limit_key, labels)
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[],
                                  $5::bigint[], $6::double precision[], $7::text[], $8::text[],
                                  $9::text[], $10::text[], $11::text[], $12::text[])",
            &[
                &places,
                &ids,
                &each(all, |one| one.attempt),
                &each(all, |one| one.enqueued_at),
                &each(all, |one| one.started_at),
                &each(all, |one| one.seconds),
                &each(all, |one| one.shown.error.as_deref()),
                &each(all, |one| one.dead),
                &each(all, |one| one.cancelled_by.as_deref()),
                &each(all, |one| one.shown.key.as_deref()),
                &each(all, |one| one.shown.limit_key.as_deref()),
                &each(all, |one| one.shown.labels.as_deref()),
            ],
        )
        .await?;
        self.clues(found).await?;
        for forget in [
            "DELETE FROM live_clue WHERE id = ANY($1)",
            "DELETE FROM live WHERE id = ANY($1)",
        ] {
            self.run(forget, &[&ids]).await?;
        }
        let (minutes, spans): (Vec<i64>, Vec<(i64, i64)>) = minutes.into_iter().unzip();
        let (first, last): (Vec<i64>, Vec<i64>) = spans.into_iter().unzip();
        self.run(
            "INSERT INTO minute (minute, first, last)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
             ON CONFLICT (minute) DO UPDATE SET first = least(minute.first, excluded.first),
                 last = greatest(minute.last, excluded.last)",
            &[&minutes, &first, &last],
        )
        .await?;
        let dead: Vec<&str> = all
            .iter()
            .filter(|one| one.dead.is_some())
            .map(|one| one.id.as_str())
            .collect();
        self.of_letters(&dead).await
    }

    /// Lets dead tasks be found by the arguments of their letters, which may
    /// have been read before them.
    async fn of_letters(&mut self, ids: &[&str]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let rows = self
            .rows(
                "SELECT DISTINCT ON (l.id) d.n, l.arguments
                 FROM letter l JOIN detail d ON d.id = l.id
                 WHERE l.id = ANY($1) AND l.arguments IS NOT NULL ORDER BY l.id, l.n DESC",
                &[&ids],
            )
            .await?;
        let (mut found, mut wanted) = (Vec::new(), HashSet::new());
        for row in rows {
            let (n, text): (i64, String) = (row.get(0), row.get(1));
            let pairs: Vec<(String, String)> = serde_json::from_str(&text).unwrap_or_default();
            for (path, value) in pairs {
                wanted.insert((Word::Path, path.clone()));
                found.push((n, path, value));
            }
        }
        self.learn(wanted).await?;
        let mut clues = Found::default();
        for (n, path, value) in found {
            clues.names.push(self.word(Word::Path, &path));
            clues.values.push(value);
            clues.places.push(n);
        }
        self.clues(clues).await
    }

    async fn clues(&mut self, found: Found) -> Result<()> {
        if found.names.is_empty() {
            return Ok(());
        }
        let added = self
            .rows(
                "WITH added AS (
                     INSERT INTO clue (name, value, n)
                     SELECT * FROM unnest($1::integer[], $2::text[], $3::bigint[])
                     ON CONFLICT DO NOTHING RETURNING name
                 ) SELECT name, count(*) FROM added GROUP BY name",
                &[&found.names, &found.values, &found.places],
            )
            .await?;
        for row in added {
            self.used(row.get(0), row.get(1));
        }
        Ok(())
    }

    async fn remove(&mut self, places: &[i64]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let mut gone = self
            .rows(
                "WITH gone AS (
                     DELETE FROM task WHERE n = ANY($1) RETURNING state, name, queue, worker
                 ) SELECT word, count(*) FROM (
                     SELECT state AS word FROM gone UNION ALL SELECT name FROM gone
                     UNION ALL SELECT queue FROM gone UNION ALL SELECT worker FROM gone
                 ) g GROUP BY word",
                &[&places],
            )
            .await?;
        let clues = "WITH gone AS (DELETE FROM clue WHERE n = ANY($1) RETURNING name)
                     SELECT name, count(*) FROM gone GROUP BY name";
        gone.extend(self.rows(clues, &[&places]).await?);
        for row in gone {
            self.used(row.get(0), -row.get::<_, i64>(1));
        }
        let detail = "DELETE FROM detail WHERE n = ANY($1)";
        self.run(detail, &[&places]).await.map(drop)
    }

    async fn live(&mut self, all: Vec<Live>) -> Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        let (mut clues, mut latest): (Vec<(String, Clue)>, HashMap<String, Live>) =
            Default::default();
        for mut one in all {
            let its = std::mem::take(&mut one.clues).into_iter();
            clues.extend(its.map(|clue| (one.id.clone(), clue)));
            match latest.get_mut(&one.id) {
                Some(other) if other.at > one.at => {}
                Some(other) => follow(other, one),
                None => drop(latest.insert(one.id.clone(), one)),
            }
        }
        let all: Vec<Live> = latest.into_values().collect();
        // An end that was read before its beginning stays.
        self.run(
            "INSERT INTO live (id, at, state, name, queue, worker, attempt, error, key, limit_key,
                               labels)
             SELECT u.id, u.at, u.state, u.name, u.queue, u.worker, u.attempt, u.error, u.key,
                    u.limit_key, u.labels
             FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                         $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[],
                         $12::bigint[])
                 AS u (id, at, state, name, queue, worker, attempt, error, key, limit_key, labels,
                       outdates)
             WHERE NOT EXISTS (SELECT 1 FROM detail d JOIN task t ON t.n = d.n
                               WHERE d.id = u.id AND t.at >= u.outdates)
             ON CONFLICT (id) DO UPDATE SET at = excluded.at, state = excluded.state,
                 worker = CASE excluded.worker WHEN '' THEN live.worker ELSE excluded.worker END,
                 attempt = greatest(live.attempt, excluded.attempt),
                 error = coalesce(excluded.error, live.error),
                 key = coalesce(excluded.key, live.key),
                 limit_key = coalesce(excluded.limit_key, live.limit_key),
                 labels = coalesce(excluded.labels, live.labels)
             WHERE live.at <= excluded.at",
            &[
                &each(&all, |one| one.id.as_str()),
                &each(&all, |one| one.at),
                &each(&all, |one| one.state),
                &each(&all, |one| one.task.as_str()),
                &each(&all, |one| one.queue.as_str()),
                &each(&all, |one| one.worker.as_str()),
                &each(&all, |one| one.attempt),
                &each(&all, |one| one.shown.error.as_deref()),
                &each(&all, |one| one.shown.key.as_deref()),
                &each(&all, |one| one.shown.limit_key.as_deref()),
                &each(&all, |one| one.shown.labels.as_deref()),
                &each(&all, Live::outdates),
            ],
        )
        .await?;
        if clues.is_empty() {
            return Ok(());
        }
        self.run(
            "INSERT INTO live_clue (id, kind, name, value)
             SELECT u.* FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[])
                 AS u (id, kind, name, value)
             WHERE EXISTS (SELECT 1 FROM live WHERE live.id = u.id) ON CONFLICT DO NOTHING",
            &[
                &each(&clues, |(id, _)| id.as_str()),
                &each(&clues, |(_, clue)| clue.kind as i32),
                &each(&clues, |(_, clue)| clue.name.as_str()),
                &each(&clues, |(_, clue)| clue.value.as_str()),
            ],
        )
        .await
        .map(drop)
    }

    async fn letters(&mut self, all: Vec<Letter>) -> Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        // One place has one letter; should a batch have it twice, the later.
        let all: HashMap<i64, Letter> = all.into_iter().map(|one| (one.n, one)).collect();
        let all: Vec<Letter> = all.into_values().collect();
        let arguments = each(&all, |one| {
            let pairs = one.clues.iter();
            let pairs: Vec<(&str, &str)> = pairs
                .map(|clue| (clue.name.as_str(), clue.value.as_str()))
                .collect();
            (!pairs.is_empty()).then(|| serde_json::to_string(&pairs).unwrap_or_default())
        });
        self.run(
            "INSERT INTO letter (n, id, at, name, queue, reason, error, worker, attempts, replays,
                                 arguments)
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[],
                                  $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[],
                                  $11::text[])
             ON CONFLICT (n) DO UPDATE SET id = excluded.id, at = excluded.at,
                 name = excluded.name, queue = excluded.queue, reason = excluded.reason,
                 error = excluded.error, worker = excluded.worker, attempts = excluded.attempts,
                 replays = excluded.replays, arguments = excluded.arguments",
            &[
                &each(&all, |one| one.n),
                &each(&all, |one| one.id.as_str()),
                &each(&all, |one| one.at),
                &each(&all, |one| one.task.as_str()),
                &each(&all, |one| one.queue.as_str()),
                &each(&all, |one| one.reason),
                &each(&all, |one| one.error.as_str()),
                &each(&all, |one| one.worker.as_str()),
                &each(&all, |one| one.attempts),
                &each(&all, |one| one.replays),
                &arguments,
            ],
        )
        .await?;
        let ids = each(&all, |one| one.id.as_str());
        self.of_letters(&ids).await
    }

    /// Removes the oldest tasks, and whatever else is too old; whether there
    /// may be more.
    pub(super) async fn remove_oldest(&mut self, retention: Retention) -> Result<bool> {
        let oldest = retention.oldest();
        let total = "SELECT coalesce(sum(uses), 0)::bigint FROM word WHERE kind = 3";
        let total = self.rows(total, &[]).await?;
        let total: i64 = total.first().map_or(0, |row| row.get(0));
        let too_many = total.saturating_sub(i64::try_from(retention.most).unwrap_or(i64::MAX));
        let rows = "SELECT n, at FROM task ORDER BY n LIMIT $1";
        let rows = self.rows(rows, &[&TIDY]).await?;
        let places: Vec<i64> = rows
            .iter()
            .zip(0_i64..)
            .take_while(|(row, position)| *position < too_many || row.get::<_, i64>(1) < oldest)
            .map(|(row, _)| row.get(0))
            .collect();
        self.remove(&places).await?;
        if !places.is_empty() {
            let minutes = "DELETE FROM minute WHERE last < (SELECT coalesce(min(n), 0) FROM task)";
            self.run(minutes, &[]).await?;
        }
        self.run("DELETE FROM letter WHERE at < $1", &[&oldest])
            .await?;
        let silent = Retention::before_now(SILENT);
        for forget in [
            "DELETE FROM live_clue WHERE id IN (SELECT id FROM live WHERE at < $1)",
            "DELETE FROM live WHERE at < $1",
        ] {
            self.run(forget, &[&silent]).await?;
        }
        Ok(places.len() as i64 >= TIDY)
    }

    /// Forgets what the streams can tell again, from their first records on.
    pub(super) async fn forget(&mut self, firsts: &[(&'static str, u64)]) -> Result<()> {
        let mut from = HashMap::new();
        for row in self.rows("SELECT source, base FROM base", &[]).await? {
            from.insert(row.get::<_, String>(0), row.get::<_, i64>(1));
        }
        let first = |source: &str| {
            let first = firsts.iter().find(|(one, _)| *one == source);
            match first {
                Some((_, first)) => {
                    let base = from.get(source).copied().unwrap_or(0);
                    base.saturating_add(i64::try_from(*first).unwrap_or(i64::MAX))
                }
                // Nothing is said of it: all of it goes.
                None => i64::MIN,
            }
        };
        loop {
            let places = "SELECT n FROM task WHERE n >= $1 ORDER BY n LIMIT $2";
            let rows = self.rows(places, &[&first("outcomes"), &TIDY]).await?;
            let places: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            if places.is_empty() {
                break;
            }
            self.remove(&places).await?;
        }
        let letters = "DELETE FROM letter WHERE n >= $1";
        self.run(letters, &[&first("dead_letters")]).await?;
        for all in ["live", "live_clue", "seen"] {
            self.run(&format!("DELETE FROM {all}"), &[]).await?;
        }
        // What is left of a minute may reach further than its tasks do; that
        // costs a look and hides nothing.
        let minutes = "DELETE FROM minute WHERE first >= $1";
        self.run(minutes, &[&first("outcomes")]).await.map(drop)
    }
}

/// What is heard of a task after something else was.
fn follow(one: &mut Live, next: Live) {
    one.at = next.at;
    one.state = next.state;
    if !next.worker.is_empty() {
        one.worker = next.worker;
    }
    one.attempt = one.attempt.max(next.attempt);
    let (shown, next) = (&mut one.shown, next.shown);
    shown.error = next.error.or(shown.error.take());
    shown.key = next.key.or(shown.key.take());
    shown.limit_key = next.limit_key.or(shown.limit_key.take());
    shown.labels = next.labels.or(shown.labels.take());
}

fn each<'a, T, V>(all: &'a [T], of: impl Fn(&'a T) -> V) -> Vec<V> {
    all.iter().map(of).collect()
}
