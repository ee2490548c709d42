//! The connection that writes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::apply::Batch;
use super::{Result, failed};
use crate::index::digest::{Change, Word};
use crate::index::{IndexError, Retention, Seen};

/// How often what is too old is looked for.
const TIDY: Duration = Duration::from_secs(10);
/// After so many tasks the database is told to look at its tables again, by
/// which it plans: it does so by itself, but too late for a long filling.
const LOOK: usize = 100_000;

/// Begins another filling.
const NEXT: &str = "UPDATE state SET generation = generation + 1 RETURNING generation";

/// The connection that writes, if it has the lock.
#[derive(Debug)]
pub(super) struct Writer {
    client: Client,
    lock: i64,
    leads: bool,
    /// Which filling of the index this one's words and places are of.
    generation: i64,
    words: HashMap<(Word, String), i32>,
    tidied: Instant,
    /// How many changes were written since the tables were looked at.
    written: usize,
}

impl Writer {
    pub(super) fn new(client: Client, lock: i64) -> Self {
        Self {
            client,
            lock,
            leads: false,
            generation: 0,
            words: HashMap::new(),
            tidied: Instant::now(),
            written: 0,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether this one writes, or does from now on.
    pub(super) async fn lead(&mut self) -> Result<bool> {
        if !self.leads {
            let row = self
                .client
                .query_one("SELECT pg_try_advisory_lock($1)", &[&self.lock])
                .await
                .map_err(failed)?;
            self.leads = row.get(0);
            self.words.clear();
        }
        if self.leads {
            // What another one did to the index is seen from here on.
            let row = self
                .client
                .query_one("SELECT generation FROM state", &[])
                .await
                .map_err(failed)?;
            let generation = row.get(0);
            if self.generation != generation {
                self.generation = generation;
                self.words.clear();
            }
        }
        Ok(self.leads)
    }

    /// All of the changes and how far the source is seen to, or nothing.
    pub(super) async fn take(
        &mut self,
        changes: Vec<Change>,
        seen: &Seen,
        retention: Retention,
    ) -> Result<()> {
        if !self.leads && !self.lead().await? {
            return Err(IndexError::Follows);
        }
        self.written += changes.len();
        let transaction = self.client.transaction().await.map_err(failed)?;
        let row = transaction
            .query_one(
                "SELECT generation, coalesce((SELECT base FROM base WHERE source = $1), 0)
                 FROM state FOR SHARE",
                &[&seen.source],
            )
            .await
            .map_err(failed)?;
        let (generation, base): (i64, i64) = (row.get(0), row.get(1));
        if generation != self.generation {
            self.words.clear();
            return Err(IndexError::Follows);
        }
        let mut batch = Batch::new(&transaction, &mut self.words);
        let written = async {
            batch.changes(changes, base).await?;
            batch.write_sums().await?;
            transaction
                .execute(
                    "INSERT INTO seen (source, created, sequence) VALUES ($1, $2, $3)
                     ON CONFLICT (source) DO UPDATE SET created = $2, sequence = $3",
                    &[
                        &seen.source,
                        &seen.created,
                        &i64::try_from(seen.sequence).unwrap_or(i64::MAX),
                    ],
                )
                .await
                .map_err(failed)
        };
        if let Err(error) = written.await {
            // Words that were made are gone again.
            self.words.clear();
            return Err(error);
        }
        if let Err(error) = transaction.commit().await {
            self.words.clear();
            return Err(failed(error));
        }
        if self.written >= LOOK {
            self.written = 0;
            let look = "ANALYZE task; ANALYZE detail; ANALYZE clue; ANALYZE word";
            self.client.batch_execute(look).await.map_err(failed)?;
        }
        if self.tidied.elapsed() >= TIDY {
            self.tidied = Instant::now();
            self.tidy(retention).await?;
        }
        Ok(())
    }

    /// Removes some of what is too old or too much; whether there may be more.
    pub(super) async fn tidy(&mut self, retention: Retention) -> Result<bool> {
        let transaction = self.client.transaction().await.map_err(failed)?;
        let mut batch = Batch::new(&transaction, &mut self.words);
        let more = async {
            let more = batch.remove_oldest(retention).await?;
            batch.write_sums().await?;
            Ok(more)
        };
        let more: Result<bool> = more.await;
        let unused = match more {
            Ok(_) => transaction
                .execute("DELETE FROM word WHERE uses <= 0", &[])
                .await
                .map_err(failed),
            Err(_) => Ok(1),
        };
        if !matches!(unused, Ok(0)) {
            self.words.clear();
        }
        let more = more?;
        unused?;
        transaction.commit().await.map_err(failed)?;
        Ok(more)
    }

    /// Forgets what the streams can tell again: all that is not before the
    /// first record that they have.
    pub(super) async fn forget(&mut self, firsts: &[(&'static str, u64)]) -> Result<()> {
        let transaction = self.client.transaction().await.map_err(failed)?;
        // Whoever writes is waited for, and knows then.
        let row = transaction.query_one(NEXT, &[]).await.map_err(failed)?;
        let mut batch = Batch::new(&transaction, &mut self.words);
        batch.forget(firsts).await?;
        batch.write_sums().await?;
        self.words.clear();
        let generation = row.get(0);
        transaction.commit().await.map_err(failed)?;
        // Its own doing is no surprise to who writes.
        self.generation = generation;
        Ok(())
    }

    /// Puts what a source tells from now on behind all that it has told.
    pub(super) async fn renew(&mut self, source: &'static str) -> Result<()> {
        let table = match source {
            "dead_letters" => "letter",
            _ => "task",
        };
        let transaction = self.client.transaction().await.map_err(failed)?;
        let row = transaction.query_one(NEXT, &[]).await.map_err(failed)?;
        let renew = format!(
            "INSERT INTO base (source, base) SELECT $1, coalesce(max(n), 0) FROM {table}
             ON CONFLICT (source) DO UPDATE SET base = greatest(base.base, excluded.base)"
        );
        transaction
            .execute(&renew, &[&source])
            .await
            .map_err(failed)?;
        transaction
            .execute("DELETE FROM seen WHERE source = $1", &[&source])
            .await
            .map_err(failed)?;
        self.words.clear();
        let generation = row.get(0);
        transaction.commit().await.map_err(failed)?;
        // Its own doing is no surprise to who writes.
        self.generation = generation;
        Ok(())
    }
}
