//! The tables.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::{IndexError, Result, Seen};

/// Another number is another layout: such a file is emptied, and filled again
/// from the streams.
const VERSION: i64 = 2;

/// Pages that a reader keeps, in KiB and negative as SQLite wants it. The
/// system's own cache has the rest.
pub(super) const READER_CACHE: i64 = -8 * 1024;
const WRITER_CACHE: i64 = -48 * 1024;

const TABLES: &str = "
    CREATE TABLE seen (
        source TEXT PRIMARY KEY,
        created INTEGER NOT NULL,
        sequence INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE word (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        text TEXT NOT NULL,
        uses INTEGER NOT NULL DEFAULT 0,
        UNIQUE (kind, text)
    );
    CREATE TABLE task (
        n INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        state INTEGER NOT NULL,
        name INTEGER NOT NULL,
        queue INTEGER NOT NULL,
        worker INTEGER NOT NULL,
        dead INTEGER NOT NULL
    );
    CREATE INDEX task_state ON task (state);
    CREATE INDEX task_name ON task (name);
    CREATE INDEX task_queue ON task (queue);
    CREATE INDEX task_worker ON task (worker);
    CREATE INDEX task_dead ON task (dead) WHERE dead = 1;
    CREATE TABLE minute (
        minute INTEGER PRIMARY KEY,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL
    );
    CREATE TABLE detail (
        n INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        attempt INTEGER NOT NULL,
        enqueued_at INTEGER NOT NULL,
        started_at INTEGER,
        seconds REAL NOT NULL,
        error TEXT,
        dead TEXT,
        cancelled_by TEXT,
        key TEXT,
        limit_key TEXT,
        labels TEXT
    );
    CREATE TABLE clue (
        name INTEGER NOT NULL,
        value TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (name, value, n)
    ) WITHOUT ROWID;
    CREATE INDEX clue_n ON clue (n);
    CREATE TABLE live (
        id TEXT PRIMARY KEY,
        at INTEGER NOT NULL,
        state TEXT NOT NULL,
        name TEXT NOT NULL,
        queue TEXT NOT NULL,
        worker TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        error TEXT,
        key TEXT,
        limit_key TEXT,
        labels TEXT
    ) WITHOUT ROWID;
    CREATE INDEX live_at ON live (at, id);
    CREATE TABLE live_clue (
        kind INTEGER NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (id, kind, name, value)
    ) WITHOUT ROWID;
    CREATE TABLE letter (
        n INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        at INTEGER NOT NULL,
        name TEXT NOT NULL,
        queue TEXT NOT NULL,
        reason TEXT NOT NULL,
        error TEXT NOT NULL,
        worker TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        replays INTEGER NOT NULL,
        arguments TEXT
    );
    CREATE INDEX letter_id ON letter (id);
    CREATE INDEX letter_name ON letter (name);
    CREATE INDEX letter_queue ON letter (queue);
    CREATE INDEX letter_reason ON letter (reason);
";

/// All that is in it but the version, by this version or one before.
const NAMES: [&str; 12] = [
    "seen",
    "word",
    "task",
    "minute",
    "detail",
    "clue",
    "live",
    "live_clue",
    "letter",
    "label",
    "argument",
    "error_text",
];

/// Makes the tables where they are missing.
pub(super) fn prepare(connection: &Connection) -> Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What a crash of the machine takes is read from the streams again.
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != VERSION {
        let foreign: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'task'",
            [],
            |row| row.get(0),
        )?;
        let tables: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table'",
            [],
            |row| row.get(0),
        )?;
        if tables > 0 && foreign == 0 {
            return Err(IndexError::Invalid(
                "the file of the index is another program's; name another by TASKQ_INDEX"
                    .to_owned(),
            ));
        }
        make(connection)?;
    }
    Ok(())
}

/// Throws away what is there, and makes the tables.
pub(super) fn make(connection: &Connection) -> Result<()> {
    let mut all = String::from("BEGIN;");
    for name in NAMES {
        all.push_str(&format!("DROP TABLE IF EXISTS {name};"));
    }
    all.push_str(TABLES);
    all.push_str(&format!("PRAGMA user_version = {VERSION}; COMMIT;"));
    connection.execute_batch(&all)?;
    Ok(())
}

/// How far a source is seen to.
pub(super) fn seen(connection: &Connection, source: &'static str) -> Result<Option<Seen>> {
    let seen = connection
        .prepare_cached("SELECT created, sequence FROM seen WHERE source = ?1")?
        .query_row(params![source], |row| {
            Ok(Seen {
                source,
                created: row.get(0)?,
                sequence: row.get::<_, i64>(1)?.unsigned_abs(),
            })
        })
        .optional()?;
    Ok(seen)
}
