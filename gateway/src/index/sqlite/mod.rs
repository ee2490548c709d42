//! The index in a file, by SQLite.

mod apply;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use self::writer::Writer;
use super::digest::Change;
use super::sql::{Cell, Dialect, Reader, Row, Select, Value};
use super::{IndexError, Result, Retention, Seen};

/// How many searches keep a connection of their own for the next.
const IDLE_READERS: usize = 8;

/// One writer behind a channel, and readers that do not wait for it.
#[derive(Debug)]
pub(super) struct Sqlite {
    place: Place,
    readers: Arc<Readers>,
    writer: Writer,
}

/// Where the index is.
#[derive(Debug)]
pub(super) enum Place {
    /// In a file that stays.
    File(PathBuf),
    /// In a folder that goes with the index.
    Scratch(tempfile::TempDir),
}

impl Place {
    fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Scratch(folder) => folder.path().join("index.sqlite"),
        }
    }
}

/// Connections that wait for a search.
#[derive(Debug, Default)]
struct Readers(Mutex<Vec<Connection>>);

impl Sqlite {
    pub(super) fn open(place: Place, retention: Retention) -> Result<Self> {
        let connection = Connection::open(place.path())?;
        schema::prepare(&connection)?;
        let writer = Writer::start(connection, retention)?;
        Ok(Self {
            place,
            readers: Arc::default(),
            writer,
        })
    }

    pub(super) async fn take(&self, changes: Vec<Change>, seen: Seen) -> Result<()> {
        self.writer.take(changes, seen).await
    }

    pub(super) async fn clear(&self) -> Result<()> {
        self.writer.clear().await
    }

    pub(super) async fn tidy(&self) -> Result<bool> {
        self.writer.tidy().await
    }

    pub(super) async fn seen(&self, source: &'static str) -> Result<Option<Seen>> {
        let mut reader = self.reader().await?;
        reader
            .with(move |connection| schema::seen(connection, source))
            .await
    }

    /// A reader, which sees the index as it is now until it is dropped.
    pub(super) async fn reader(&self) -> Result<SqliteReader> {
        let idle = self.readers.0.lock();
        let idle = idle.unwrap_or_else(PoisonError::into_inner).pop();
        let path = self.place.path();
        let opened = tokio::task::spawn_blocking(move || {
            let connection = idle.map_or_else(|| open(&path), Ok)?;
            // What several statements say is of one moment.
            connection.execute_batch("BEGIN")?;
            Ok::<_, IndexError>(connection)
        });
        Ok(SqliteReader {
            connection: Some(opened.await.map_err(|_| IndexError::Closed)??),
            readers: Arc::clone(&self.readers),
        })
    }
}

fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", schema::READER_CACHE)?;
    Ok(connection)
}

/// Reads, away from the threads that must not wait.
#[derive(Debug)]
pub(super) struct SqliteReader {
    /// None while a statement runs.
    connection: Option<Connection>,
    readers: Arc<Readers>,
}

impl SqliteReader {
    async fn with<T: Send + 'static>(
        &mut self,
        look: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(connection) = self.connection.take() else {
            return Err(IndexError::Closed);
        };
        let looked = tokio::task::spawn_blocking(move || {
            let found = look(&connection);
            (connection, found)
        });
        let (connection, found) = looked.await.map_err(|_| IndexError::Closed)?;
        self.connection = Some(connection);
        found
    }
}

impl Drop for SqliteReader {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.execute_batch("COMMIT").is_ok() {
            let idle = self.readers.0.lock();
            let mut idle = idle.unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_READERS {
                idle.push(connection);
            }
        }
    }
}

impl Reader for SqliteReader {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn rows(&mut self, sql: Select) -> Result<Vec<Row>> {
        self.with(move |connection| rows(connection, &sql)).await
    }
}

fn rows(connection: &Connection, sql: &Select) -> Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(&sql.text)?;
    let columns = statement.column_count();
    let values = sql.values.iter().map(|value| match value {
        Value::Int(number) => rusqlite::types::Value::Integer(*number),
        Value::Text(text) => rusqlite::types::Value::Text(text.clone()),
    });
    let mut found = statement.query(params_from_iter(values))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let mut cells = Vec::with_capacity(columns);
        for column in 0..columns {
            cells.push(match row.get_ref(column)? {
                ValueRef::Null | ValueRef::Blob(_) => Cell::Null,
                ValueRef::Integer(number) => Cell::Int(number),
                ValueRef::Real(number) => Cell::Real(number),
                ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
            });
        }
        rows.push(Row::new(cells));
    }
    Ok(rows)
}
