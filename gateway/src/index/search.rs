//! From a question to a page: the same in both stores.

use std::collections::HashMap;

use serde_json::Map;
use taskq::Timestamp;

use super::found::{Counts, LetterPage, LetterSummary, TaskPage, TaskSummary};
use super::query::{LetterQuery, MOST, Order, TaskQuery};
use super::sql::{Reader, Row, Select, Value};
use super::way::{self, Known, Wanted};
use super::{Cursor, IndexError, Result};

/// A minute, in milliseconds.
pub(super) const MINUTE: i64 = 60_000;

/// A page of what a query finds.
pub(super) async fn page(reader: &mut impl Reader, query: &TaskQuery) -> Result<TaskPage> {
    let limit = query.limit.clamp(1, MOST);
    let wanted = Wanted::of(query)?;
    let live_first = query.order == Order::Newest;
    let mut page = TaskPage::default();
    // The cursor tells in which of the two parts the page begins.
    let parts: &[bool] = match (&query.after, live_first) {
        (Some(Cursor::Ended { .. }), true) => &[false],
        (Some(Cursor::Live { .. }), false) => &[true],
        (_, true) => &[true, false],
        (_, false) => &[false, true],
    };
    for live in parts {
        let room = limit - page.tasks.len();
        // One more than is shown, to see whether there is one.
        let found = if *live {
            live_rows(reader, query, &wanted, room + 1).await?
        } else {
            ended_rows(reader, query, &wanted, room + 1).await?
        };
        let more = found.len() > room;
        for (cursor, task) in found.into_iter().take(room) {
            page.tasks.push(task);
            page.next = Some(cursor);
        }
        if more {
            return Ok(page);
        }
    }
    page.next = None;
    Ok(page)
}

type Found = Vec<(Cursor, TaskSummary)>;

async fn live_rows(
    reader: &mut impl Reader,
    query: &TaskQuery,
    wanted: &Wanted,
    limit: usize,
) -> Result<Found> {
    let Some(sql) = way::live(reader.dialect(), query, wanted, limit) else {
        return Ok(Vec::new());
    };
    let rows = reader.rows(sql).await?;
    Ok(rows.into_iter().map(live_row).collect())
}

async fn ended_rows(
    reader: &mut impl Reader,
    query: &TaskQuery,
    wanted: &Wanted,
    limit: usize,
) -> Result<Found> {
    let Some(known) = known(reader, query, wanted).await? else {
        return Ok(Vec::new());
    };
    let sql = way::ended(reader.dialect(), query, wanted, &known, limit);
    let rows = reader.rows(sql).await?;
    Ok(rows.into_iter().map(ended_row).collect())
}

/// What the index knows of the words that are asked for; nothing if there is
/// one that no task has.
async fn known(
    reader: &mut impl Reader,
    query: &TaskQuery,
    wanted: &Wanted,
) -> Result<Option<Known>> {
    if wanted.no_end {
        return Ok(None);
    }
    let mut known = Known::default();
    let words = wanted.words();
    if !words.is_empty() {
        let mut sql = Select::new(
            reader.dialect(),
            "SELECT kind, text, id, uses FROM word WHERE ",
        );
        for (place, (kind, text)) in words.into_iter().enumerate() {
            let either = if place > 0 { " OR " } else { "" };
            let values = [Value::Int(kind as i64), Value::Text(text)];
            sql.push(&format!("{either}(kind = ? AND text = ?)"), values);
        }
        let mut found = HashMap::new();
        for mut row in reader.rows(sql).await? {
            found.insert((row.int(), row.text()), (row.int(), row.int()));
        }
        if !known.learn(wanted, &found) {
            return Ok(None);
        }
    }
    if known.must_count(wanted) {
        for clue in &wanted.clues {
            let name = known.name_of(clue);
            let mut sql = Select::new(reader.dialect(), "");
            sql.push(
                &format!(
                    "SELECT count(*) FROM (SELECT 1 FROM clue WHERE name = ? AND value = ?
                     LIMIT {}) c",
                    way::COMMON
                ),
                [Value::Int(name), Value::Text(clue.value.clone())],
            );
            let counted = reader.rows(sql).await?.pop().map_or(0, |mut row| row.int());
            if counted == 0 {
                return Ok(None);
            }
            known.counted.push(counted);
        }
    }
    let minute = |time: Timestamp| time.as_millis().div_euclid(MINUTE);
    if let Some(since) = query.since {
        let mut sql = Select::new(reader.dialect(), "");
        let values = [Value::Int(minute(since))];
        sql.push("SELECT min(first) FROM minute WHERE minute >= ?", values);
        let first = reader
            .rows(sql)
            .await?
            .pop()
            .and_then(|mut row| row.maybe_int());
        known.first = Some(first.unwrap_or(i64::MAX));
    }
    if let Some(until) = query.until {
        let mut sql = Select::new(reader.dialect(), "");
        let values = [Value::Int(minute(until))];
        sql.push("SELECT max(last) FROM minute WHERE minute <= ?", values);
        let last = reader
            .rows(sql)
            .await?
            .pop()
            .and_then(|mut row| row.maybe_int());
        known.last = Some(last.unwrap_or(i64::MIN));
    }
    Ok(Some(known))
}

fn live_row(mut row: Row) -> (Cursor, TaskSummary) {
    let (id, at) = (row.text(), row.int());
    let task = TaskSummary {
        id: id.clone(),
        state: row.text(),
        task: row.text(),
        queue: row.text(),
        worker: Some(row.text()).filter(|worker| !worker.is_empty()),
        attempt: attempt(row.int()),
        enqueued_at: None,
        started_at: None,
        finished_at: None,
        heard_at: Some(Timestamp::from_millis(at)),
        seconds: None,
        error: row.maybe_text(),
        dead: None,
        cancelled_by: None,
        key: row.maybe_text(),
        limit_key: row.maybe_text(),
        labels: labels(row.maybe_text()),
    };
    (Cursor::Live { at, id }, task)
}

fn ended_row(mut row: Row) -> (Cursor, TaskSummary) {
    let time = |at: Option<i64>| at.map(Timestamp::from_millis);
    let n = row.int();
    let task = TaskSummary {
        finished_at: time(row.maybe_int()),
        state: row.text(),
        task: row.text(),
        queue: row.text(),
        worker: Some(row.text()).filter(|worker| !worker.is_empty()),
        id: row.text(),
        attempt: attempt(row.int()),
        enqueued_at: time(row.maybe_int()),
        started_at: time(row.maybe_int()),
        heard_at: None,
        seconds: row.maybe_real(),
        error: row.maybe_text(),
        dead: row.maybe_text(),
        cancelled_by: row.maybe_text(),
        key: row.maybe_text(),
        limit_key: row.maybe_text(),
        labels: labels(row.maybe_text()),
    };
    (Cursor::Ended { n }, task)
}

fn attempt(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

fn labels(text: Option<String>) -> Map<String, serde_json::Value> {
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// What is known of one task.
pub(super) async fn one(reader: &mut impl Reader, id: &str) -> Result<Option<TaskSummary>> {
    let dialect = reader.dialect();
    let id = || [Value::from(id)];
    let mut sql = Select::new(dialect, way::LIVE);
    sql.and("id = ?", id());
    if let Some(row) = reader.rows(sql).await?.pop() {
        // Of what was sent again, its old end does not count.
        return Ok(Some(live_row(row).1));
    }
    let mut found = Select::new(dialect, "");
    found.push("SELECT n FROM detail WHERE id = ?", id());
    let row = reader.rows(way::shown(dialect, found, "f.n")).await?.pop();
    Ok(row.map(|row| ended_row(row).1))
}

/// How many tasks of each state, queue and name have ended.
pub(super) async fn counts(reader: &mut impl Reader) -> Result<Counts> {
    let sql = Select::new(
        reader.dialect(),
        "SELECT kind, text, uses FROM word WHERE kind IN (0, 1, 3) AND uses > 0
         ORDER BY uses DESC LIMIT 2000",
    );
    let mut counts = Counts::default();
    for mut row in reader.rows(sql).await? {
        let of = match row.int() {
            0 => &mut counts.tasks,
            1 => &mut counts.queues,
            _ => &mut counts.states,
        };
        let text = row.text();
        of.insert(text, row.int().unsigned_abs());
    }
    Ok(counts)
}

/// A page of dead letters.
pub(super) async fn letters(reader: &mut impl Reader, query: &LetterQuery) -> Result<LetterPage> {
    let limit = query.limit.clamp(1, MOST);
    let mut sql = Select::new(
        reader.dialect(),
        "SELECT n, id, name, queue, reason, error, worker, attempts, replays, at FROM letter
         WHERE n IS NOT NULL",
    );
    let reason = query.reason.map(|reason| reason.as_str().to_owned());
    for (column, wanted) in [
        ("name", &query.task),
        ("queue", &query.queue),
        ("reason", &reason),
    ] {
        if let Some(wanted) = wanted {
            sql.and(&format!("{column} = ?"), [Value::from(wanted.as_str())]);
        }
    }
    let (comparison, direction) = way::direction(query.order);
    match query.after {
        Some(Cursor::Ended { n }) => sql.and(&format!("n {comparison} ?"), [Value::Int(n)]),
        Some(Cursor::Live { .. }) => {
            return Err(IndexError::Invalid(
                "this cursor is of another list".to_owned(),
            ));
        }
        None => {}
    }
    sql.end(&format!("n {direction}"), limit + 1);
    let rows = reader.rows(sql).await?;
    let more = rows.len() > limit;
    let mut page = LetterPage::default();
    for mut row in rows.into_iter().take(limit) {
        page.next = Some(Cursor::Ended { n: row.int() });
        page.letters.push(LetterSummary {
            id: row.text(),
            task: row.text(),
            queue: row.text(),
            reason: row.text(),
            error: row.text(),
            worker: row.text(),
            attempts: row.int().unsigned_abs(),
            replays: attempt(row.int()),
            dead_at: Timestamp::from_millis(row.int()),
        });
    }
    page.next = page.next.filter(|_| more);
    Ok(page)
}
