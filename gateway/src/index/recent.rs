//! What has ended lately, counted.

use std::collections::BTreeMap;

use taskq::Timestamp;

use super::Result;
use super::search::MINUTE;
use super::sql::{Reader, Select, Value};

/// How many tasks have ended since a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// By state.
    pub states: BTreeMap<String, u64>,
    /// How many of them since a later moment.
    pub latest: u64,
}

/// Counts what has ended since `since`, and how much of it since `latest`.
/// Reads the numbers of just those tasks: ends come nearly in the order of
/// their times, so a span of time is a span of places.
pub(super) async fn recent(
    reader: &mut impl Reader,
    since: Timestamp,
    latest: Timestamp,
) -> Result<Recent> {
    let (since, latest) = (since.as_millis(), latest.as_millis());
    let dialect = reader.dialect();
    let mut sql = Select::new(dialect, "");
    let minute = [Value::Int(since.div_euclid(MINUTE))];
    sql.push("SELECT min(first) FROM minute WHERE minute >= ?", minute);
    let first = reader.rows(sql).await?.pop();
    let mut found = Recent::default();
    let Some(first) = first.and_then(|mut row| row.maybe_int()) else {
        return Ok(found);
    };
    let mut sql = Select::new(dialect, "");
    sql.push(
        &format!(
            "SELECT s.text, f.many, f.latest FROM (
                 SELECT state, count(*) AS many,
                     sum(CASE WHEN at >= ? THEN 1 ELSE 0 END) AS latest
                 FROM task{} WHERE n >= ? AND at >= ? GROUP BY state
             ) f JOIN word s ON s.id = f.state",
            dialect.by(None)
        ),
        [latest.into(), first.into(), since.into()],
    );
    for mut row in reader.rows(sql).await? {
        let state = row.text();
        found.states.insert(state, row.int().unsigned_abs());
        found.latest += row.int().unsigned_abs();
    }
    Ok(found)
}
