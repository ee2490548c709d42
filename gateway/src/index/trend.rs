//! How tasks went over a time: how many ended in each part of it, how long
//! they waited and ran.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use taskq::Timestamp;

use super::Result;
use super::digest::Word;
use super::search::MINUTE;
use super::sql::{Reader, Select, Value};

/// How many of the tasks of a time are looked at for how long they took.
const MOST_TIMED: i64 = 6000;

/// Over which time, and of which tasks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrendQuery {
    /// From this moment on.
    pub since: Timestamp,
    /// How long each part is.
    pub step: Duration,
    /// Of this name.
    pub task: Option<String>,
    /// Of this queue.
    pub queue: Option<String>,
}

/// How tasks went over a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trend {
    /// How many ended, by the beginning of the part of time and the state. Of
    /// parts in which none did there is nothing.
    pub ended: BTreeMap<i64, BTreeMap<String, u64>>,
    /// How long some of them took: all, if they are few.
    pub timed: Vec<Timed>,
}

/// How long a task took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timed {
    /// When it ended.
    pub at: Timestamp,
    /// Seconds from when it was accepted to the start of its last attempt.
    pub waited: f64,
    /// Seconds that its last attempt ran.
    pub ran: f64,
}

/// How a task type went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypeCount {
    /// Its name.
    pub task: String,
    /// How many ended.
    pub ended: u64,
    /// How many of those failed.
    pub failed: u64,
}

/// From which to which place tasks ended since a moment.
async fn places(reader: &mut impl Reader, since: Timestamp) -> Result<Option<(i64, i64)>> {
    let mut sql = Select::new(reader.dialect(), "");
    sql.push(
        "SELECT min(first), max(last) FROM minute WHERE minute >= ?",
        [Value::Int(since.as_millis().div_euclid(MINUTE))],
    );
    let row = reader.rows(sql).await?.pop();
    Ok(row.and_then(|mut row| row.maybe_int().zip(row.maybe_int())))
}

pub(super) async fn trend(reader: &mut impl Reader, query: &TrendQuery) -> Result<Trend> {
    let Some((first, last)) = places(reader, query.since).await? else {
        return Ok(Trend::default());
    };
    let dialect = reader.dialect();
    let step = i64::try_from(query.step.as_millis())
        .unwrap_or(MINUTE)
        .max(1);
    let which = |sql: &mut Select| {
        let since = query.since.as_millis();
        sql.push(
            " WHERE t.n BETWEEN ? AND ? AND t.at >= ?",
            [first.into(), last.into(), since.into()],
        );
        for (column, kind, wanted) in [
            ("name", Word::Task, &query.task),
            ("queue", Word::Queue, &query.queue),
        ] {
            if let Some(wanted) = wanted {
                let word = "(SELECT id FROM word WHERE kind = ? AND text = ?)";
                sql.and(
                    &format!("t.{column} = {word}"),
                    [Value::Int(kind as i64), wanted.as_str().into()],
                );
            }
        }
    };
    let mut names = BTreeMap::new();
    let sql = Select::new(dialect, "SELECT id, text FROM word WHERE kind = 3");
    for mut row in reader.rows(sql).await? {
        names.insert(row.int(), row.text());
    }
    let mut trend = Trend::default();
    let mut sql = Select::new(dialect, "");
    let text = format!("SELECT t.at / {step} AS part, t.state, count(*) FROM task t");
    sql.push(&text, []);
    which(&mut sql);
    sql.push(" GROUP BY 1, 2", []);
    let mut all = 0;
    for mut row in reader.rows(sql).await? {
        let (part, state, count) = (row.int(), row.int(), row.int());
        all += count;
        let part = trend.ended.entry(part * step).or_default();
        let state = names.get(&state).cloned().unwrap_or_default();
        part.insert(state, count.unsigned_abs());
    }
    // Places are given out to all alike, so every so-many-th is a fair choice.
    let each = (all / MOST_TIMED).max(1);
    let mut sql = Select::new(dialect, "");
    let text = format!(
        "SELECT t.at, d.started_at - d.enqueued_at, d.seconds
         FROM task t {} detail d ON d.n = t.n",
        dialect.join()
    );
    sql.push(&text, []);
    which(&mut sql);
    let some = format!("t.n % {each} = 0 AND d.started_at IS NOT NULL");
    sql.and(&some, []);
    sql.end("t.n", 2 * usize::try_from(MOST_TIMED).unwrap_or_default());
    for mut row in reader.rows(sql).await? {
        let (at, waited) = (row.int(), row.int());
        trend.timed.push(Timed {
            at: Timestamp::from_millis(at),
            waited: waited.max(0) as f64 / 1000.0,
            ran: row.maybe_real().unwrap_or_default(),
        });
    }
    Ok(trend)
}

pub(super) async fn types(reader: &mut impl Reader, since: Timestamp) -> Result<Vec<TypeCount>> {
    let Some((first, last)) = places(reader, since).await? else {
        return Ok(Vec::new());
    };
    let mut sql = Select::new(reader.dialect(), "");
    sql.push(
        "SELECT m.text, f.ended, f.failed FROM (
             SELECT t.name, count(*) AS ended, sum(CASE WHEN t.state =
                 (SELECT id FROM word WHERE kind = 3 AND text = 'failed') THEN 1 ELSE 0 END)
                 AS failed
             FROM task t WHERE t.n BETWEEN ? AND ? AND t.at >= ? GROUP BY t.name
         ) f JOIN word m ON m.id = f.name ORDER BY m.text",
        [first.into(), last.into(), since.as_millis().into()],
    );
    let mut types = Vec::new();
    for mut row in reader.rows(sql).await? {
        types.push(TypeCount {
            task: row.text(),
            ended: row.int().unsigned_abs(),
            failed: row.int().unsigned_abs(),
        });
    }
    Ok(types)
}
