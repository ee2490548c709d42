//! The index in a PostgreSQL database, shared by all replicas.
//!
//! One of them writes: the one whose connection has the advisory lock. The lock
//! is its connection's, so who has lost it cannot write any more, and the next
//! goes on where the records were seen to last. Everybody reads.
//!
//! The database may hold more than the streams do. So when a stream was made
//! anew and counts from 1 again, its records come behind all that is known
//! (`base`), and what the streams no longer have stays when the rest is built
//! again.

mod apply;
mod connect;
mod schema;
mod writer;

use deadpool_postgres::{Object, Pool};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::types::{ToSql, Type};

pub use self::connect::Database;
use self::connect::Server;
use self::writer::Writer;
use super::digest::Change;
use super::sql::{Cell, Dialect, Reader, Row, Select, Value};
use super::{IndexError, Result, Retention, Seen};

/// The index in a database.
#[derive(Debug)]
pub(super) struct Postgres {
    server: Server,
    readers: Pool,
    retention: Retention,
    /// None while there is no connection to write by.
    writer: Mutex<Option<Writer>>,
}

impl Postgres {
    /// Connects, and makes the tables where they are missing.
    pub(super) async fn open(
        database: &Database,
        name: &str,
        retention: Retention,
    ) -> Result<Self> {
        let server = Server::new(database, name)?;
        let mut client = server.connect().await?;
        // A lock of its own: who writes has the other for as long as it lives.
        schema::migrate(&mut client, server.schema(), server.lock() ^ 1).await?;
        let readers = server.pool()?;
        let writer = Writer::new(client, server.lock());
        Ok(Self {
            server,
            readers,
            retention,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// The connection that writes, which is made anew where it is gone.
    async fn hold(&self) -> Result<Held<'_>> {
        let mut place = self.writer.lock().await;
        let writer = match place.take().filter(|writer| !writer.is_closed()) {
            Some(writer) => writer,
            None => Writer::new(self.server.connect().await?, self.server.lock()),
        };
        Ok(Held { place, writer })
    }

    /// Whether this replica is the one that writes; it becomes it if nobody is.
    pub(super) async fn lead(&self) -> Result<bool> {
        let mut held = self.hold().await?;
        let leads = held.writer.lead().await;
        held.keep_after(leads)
    }

    pub(super) async fn take(&self, changes: Vec<Change>, seen: Seen) -> Result<()> {
        let mut held = self.hold().await?;
        let taken = held.writer.take(changes, &seen, self.retention).await;
        held.keep_after(taken)
    }

    pub(super) async fn forget(&self, firsts: &[(&'static str, u64)]) -> Result<()> {
        let mut held = self.hold().await?;
        let forgotten = held.writer.forget(firsts).await;
        held.keep_after(forgotten)
    }

    /// Notes that a source was made anew.
    pub(super) async fn renew(&self, source: &'static str) -> Result<()> {
        let mut held = self.hold().await?;
        let renewed = held.writer.renew(source).await;
        held.keep_after(renewed)
    }

    pub(super) async fn tidy(&self) -> Result<bool> {
        let mut held = self.hold().await?;
        let more = held.writer.tidy(self.retention).await;
        held.keep_after(more)
    }

    pub(super) async fn seen(&self, source: &'static str) -> Result<Option<Seen>> {
        let client = self.client().await?;
        let row = client
            .query_typed_opt(
                "SELECT created, sequence FROM seen WHERE source = $1",
                &[(&source, Type::TEXT)],
            )
            .await
            .map_err(failed)?;
        Ok(row.map(|row| Seen {
            source,
            created: row.get(0),
            sequence: row.get::<_, i64>(1).unsigned_abs(),
        }))
    }

    async fn client(&self) -> Result<Object> {
        self.readers.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => failed(error),
            deadpool_postgres::PoolError::Timeout(_) => IndexError::Postgres(
                "no connection in time: all are in use, or it does not answer".to_owned(),
            ),
            other => IndexError::Postgres(other.to_string()),
        })
    }

    /// A reader, which sees the index as it is now until it is finished.
    pub(super) async fn reader(&self) -> Result<PostgresReader> {
        let client = self.client().await?;
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(failed)?;
        Ok(PostgresReader(client))
    }
}

/// The connection that writes, while it does. Should the work fail, or be
/// dropped half way, the connection goes, and with it what it had begun and the
/// lock.
struct Held<'a> {
    place: MutexGuard<'a, Option<Writer>>,
    writer: Writer,
}

impl Held<'_> {
    fn keep_after<T>(mut self, done: Result<T>) -> Result<T> {
        if !matches!(done, Err(IndexError::Postgres(_))) {
            *self.place = Some(self.writer);
        }
        done
    }
}

/// What the database says, in a sentence without what it was asked: that may
/// hold users' values.
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
fn failed(error: tokio_postgres::Error) -> IndexError {
    if let Some(told) = error.as_db_error() {
        return IndexError::Postgres(format!("{} ({})", told.message(), told.code().code()));
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    IndexError::Postgres(text)
}

#[derive(Debug)]
pub(super) struct PostgresReader(Object);

impl PostgresReader {
    /// Lets go of the state that it sees. One that is dropped without it is
    /// made good by the pool.
    pub(super) async fn finish(self) {
        let _ = self.0.batch_execute("ROLLBACK").await;
    }
}

impl Reader for PostgresReader {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn rows(&mut self, sql: Select) -> Result<Vec<Row>> {
        let values: Vec<String> = sql
            .values
            .into_iter()
            .map(|value| match value {
                Value::Text(text) => text.replace('\0', ""),
                Value::Int(number) => number.to_string(),
            })
            .collect();
        let values: Vec<(&(dyn ToSql + Sync), Type)> = values
            .iter()
            .map(|text| (text as &(dyn ToSql + Sync), Type::TEXT))
            .collect();
        let rows = self
            .0
            .query_typed(&sql.text, &values)
            .await
            .map_err(failed)?;
        rows.iter().map(cells).collect()
    }
}

fn cells(row: &tokio_postgres::Row) -> Result<Row> {
    let mut cells = Vec::with_capacity(row.len());
    for (place, column) in row.columns().iter().enumerate() {
        let cell = match *column.type_() {
            Type::INT8 => row
                .try_get::<_, Option<i64>>(place)
                .map(|it| it.map(Cell::Int)),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(place)
                .map(|it| it.map(|number| Cell::Int(number.into()))),
            Type::FLOAT8 => row
                .try_get::<_, Option<f64>>(place)
                .map(|it| it.map(Cell::Real)),
            _ => row
                .try_get::<_, Option<String>>(place)
                .map(|it| it.map(Cell::Text)),
        };
        cells.push(cell.map_err(failed)?.unwrap_or(Cell::Null));
    }
    Ok(Row::new(cells))
}
