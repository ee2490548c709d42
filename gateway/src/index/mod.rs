//! What has happened, found in milliseconds: an index of the records that the
//! streams hold, in a file of SQLite's or in a PostgreSQL database.
//!
//! Nothing is in it that the streams do not tell, so it can be thrown away and
//! built again at any time. A task that has ended is a row numbered by its
//! outcome's place in the stream of outcomes. That number is the order of every
//! list, and what a cursor holds: it is the same in every replica, and after
//! every rebuild.
//!
//! | table | what it has |
//! |---|---|
//! | `task` | ended tasks, as numbers only: a million are 35 MB, so that even a filter which fits nothing reads them all in a moment |
//! | `minute` | from which to which place the tasks are that ended in a minute: ends come nearly in the order of their times, so a span of time is a span of places |
//! | `detail` | what a list shows of them |
//! | `word` | the names of tasks, queues, workers and states, with how often each is used: by it the way of a search is chosen |
//! | `clue` | what they are found by: labels, arguments, keys, words of errors |
//! | `live`, `live_clue` | tasks that have begun, or were told of, and have not ended; and what they are found by |
//! | `letter` | dead letters |
//!
//! From top to bottom: what is asked and found (`query`, `cursor`, `found`), what a
//! record changes (`digest`, `values`), the way from a question to its page
//! (`search`, `way`, `sql`), and the stores that write the changes and run the
//! statements. The two stores have the same tables and answer the same.

mod cursor;
mod digest;
mod follow;
mod found;
mod postgres;
mod query;
mod recent;
mod search;
mod sql;
mod sqlite;
mod trend;
mod values;
mod way;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use taskq::Timestamp;
use taskq::admin::Record;

pub use self::cursor::Cursor;
pub(crate) use self::follow::SOURCES;
pub use self::follow::{Follower, Lag};
pub use self::found::{Counts, LetterPage, LetterSummary, TaskPage, TaskSummary};
pub use self::postgres::Database;
use self::postgres::Postgres;
pub use self::query::{LetterQuery, Order, TaskQuery, TaskState};
pub use self::recent::Recent;
use self::sqlite::{Place, Sqlite};
pub use self::trend::{Timed, Trend, TrendQuery, TypeCount};

/// A task that has begun and of which nothing more is heard is forgotten
/// after so long, in milliseconds: its outcome's record has expired by then.
const SILENT: i64 = 4 * 24 * 3600 * 1000;

/// What is told to have begun so soon after a task's end, in milliseconds, began
/// before it: the clocks of those who tell are not quite the same, and no task
/// begins anew without it being told that it was sent again.
const SOON: i64 = 10_000;

/// Why the index cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite says so.
    #[error("the index failed: {0}; it is built again from the streams when its file is removed")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL says so, or cannot be reached.
    #[error("the index's database failed: {0}; TASKQ_DATABASE_URL names it")]
    Postgres(String),
    /// Somebody else writes the index, or has emptied it.
    #[error("another replica writes the index")]
    Follows,
    /// A search that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It is being closed.
    #[error("the index is closed")]
    Closed,
}

/// What the index gives.
pub type Result<T> = std::result::Result<T, IndexError>;

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Ended tasks and dead letters no older than this.
    pub age: Duration,
    /// At most so many ended tasks.
    pub most: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(30 * 24 * 3600),
            most: 1_000_000,
        }
    }
}

impl Retention {
    /// What a database keeps: a year, and twenty million tasks.
    pub const LONG: Self = Self {
        age: Duration::from_secs(365 * 24 * 3600),
        most: 20_000_000,
    };

    /// What is older than this moment goes, in milliseconds since 1970.
    fn oldest(self) -> i64 {
        Self::before_now(i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX))
    }

    fn before_now(millis: i64) -> i64 {
        Timestamp::now().as_millis().saturating_sub(millis)
    }
}

/// How far a source is seen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which source: `outcomes`, `events`, `dead_letters`.
    pub source: &'static str,
    /// When the source was made: milliseconds since 1970.
    pub created: i64,
    /// The place of the last record that was seen.
    pub sequence: u64,
}

/// The index.
#[derive(Clone, Debug)]
pub struct Index(Arc<Store>);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, behind an Arc")]
enum Store {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// Looks something up, in the index as it is at one moment.
macro_rules! look {
    ($index:expr, |$reader:ident| $look:expr) => {
        match &*$index.0 {
            Store::Sqlite(store) => {
                let $reader = &mut store.reader().await?;
                $look.await
            }
            Store::Postgres(store) => {
                let mut reader = store.reader().await?;
                let $reader = &mut reader;
                let found = $look.await;
                reader.finish().await;
                found
            }
        }
    };
}

impl Index {
    /// Opens the index in a file, or makes it.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when the file cannot be opened or is none of
    /// ours.
    pub fn open(path: &Path, retention: Retention) -> Result<Self> {
        let store = Sqlite::open(Place::File(path.to_owned()), retention)?;
        Ok(Self(Arc::new(Store::Sqlite(store))))
    }

    /// Makes an index that goes when the program does.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when there is no room for it.
    pub fn scratch(retention: Retention) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("taskq-index-")
            .tempdir()
            .map_err(|error| {
                IndexError::Invalid(format!(
                    "there is no place for the index: {error}; name a file by TASKQ_INDEX"
                ))
            })?;
        let store = Sqlite::open(Place::Scratch(folder), retention)?;
        Ok(Self(Arc::new(Store::Sqlite(store))))
    }

    /// Opens the index in a database, or makes it: all replicas of a system
    /// share one, by the name of its namespace.
    ///
    /// # Errors
    /// [`IndexError::Postgres`] when the database cannot be reached, or may not
    /// be written; [`IndexError::Invalid`] for an address that is none.
    pub async fn in_database(
        database: &Database,
        namespace: &str,
        retention: Retention,
    ) -> Result<Self> {
        let store = Postgres::open(database, namespace, retention).await?;
        Ok(Self(Arc::new(Store::Postgres(store))))
    }

    /// Whether it is this one that takes in records: of the replicas that share
    /// a database one does, and another when that is gone.
    ///
    /// # Errors
    /// [`IndexError::Postgres`] when the database does not answer.
    pub async fn lead(&self) -> Result<bool> {
        match &*self.0 {
            Store::Sqlite(_) => Ok(true),
            Store::Postgres(store) => store.lead().await,
        }
    }

    /// Takes in records, and notes how far the source is seen to. Done when
    /// a search finds them.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when they cannot be stored; none of them is
    /// then.
    pub async fn take(&self, records: Vec<Record>, seen: Seen) -> Result<()> {
        let changes = records
            .iter()
            .flat_map(|record| digest::changes(record, seen.source))
            .collect();
        match &*self.0 {
            Store::Sqlite(store) => store.take(changes, seen).await,
            Store::Postgres(store) => store.take(changes, seen).await,
        }
    }

    /// How far a source is seen to, in the source as it was made at a time.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when the index cannot be read.
    pub async fn seen(&self, source: &'static str) -> Result<Option<Seen>> {
        match &*self.0 {
            Store::Sqlite(store) => store.seen(source).await,
            Store::Postgres(store) => store.seen(source).await,
        }
    }

    /// Throws everything away.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when it cannot.
    pub async fn clear(&self) -> Result<()> {
        self.forget(&[]).await
    }

    /// Throws away what is to be read again. A database keeps what is before
    /// the first records that the sources have, by the sources' names: they
    /// cannot tell it again.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] or [`IndexError::Postgres`] when it cannot.
    pub async fn forget(&self, firsts: &[(&'static str, u64)]) -> Result<()> {
        match &*self.0 {
            Store::Sqlite(store) => store.clear().await,
            Store::Postgres(store) => store.forget(firsts).await,
        }
    }

    /// Puts what a source that was made anew tells behind all that it has told;
    /// false where that cannot be, and all is to be read again.
    async fn renew(&self, source: &'static str) -> Result<bool> {
        match &*self.0 {
            Store::Sqlite(_) => Ok(false),
            Store::Postgres(store) => store.renew(source).await.map(|()| true),
        }
    }

    /// Removes all that is too old or too much, which else happens by and by.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when it cannot.
    pub async fn tidy(&self) -> Result<()> {
        loop {
            let more = match &*self.0 {
                Store::Sqlite(store) => store.tidy().await?,
                Store::Postgres(store) => store.tidy().await?,
            };
            if !more {
                return Ok(());
            }
        }
    }

    /// The tasks that a query finds, a page of them.
    ///
    /// # Errors
    /// [`IndexError::Invalid`] for a query that makes no sense.
    pub async fn tasks(&self, query: TaskQuery) -> Result<TaskPage> {
        look!(self, |reader| search::page(reader, &query))
    }

    /// What is known of a task.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when the index cannot be read.
    pub async fn task(&self, id: String) -> Result<Option<TaskSummary>> {
        look!(self, |reader| search::one(reader, &id))
    }

    /// The dead letters that a query finds, a page of them.
    ///
    /// # Errors
    /// [`IndexError::Invalid`] for a query that makes no sense.
    pub async fn letters(&self, query: LetterQuery) -> Result<LetterPage> {
        look!(self, |reader| search::letters(reader, &query))
    }

    /// How many ended tasks there are.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when the index cannot be read.
    pub async fn counts(&self) -> Result<Counts> {
        look!(self, |reader| search::counts(reader))
    }

    /// How many tasks have ended since a moment, and how many of them since a
    /// later one.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when the index cannot be read.
    pub async fn recent(&self, since: Timestamp, latest: Timestamp) -> Result<Recent> {
        look!(self, |reader| recent::recent(reader, since, latest))
    }

    /// How tasks went over a time.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when the index cannot be read.
    pub async fn trend(&self, query: TrendQuery) -> Result<Trend> {
        look!(self, |reader| trend::trend(reader, &query))
    }

    /// How many tasks of each name ended since a moment, and how many of them
    /// failed.
    ///
    /// # Errors
    /// [`IndexError::Sqlite`] when the index cannot be read.
    pub async fn types_since(&self, since: Timestamp) -> Result<Vec<TypeCount>> {
        look!(self, |reader| trend::types(reader, since))
    }
}
