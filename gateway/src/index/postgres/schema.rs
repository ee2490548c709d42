//! The tables, and how they have come to be what they are.

use tokio_postgres::Client;

use super::{Result, failed};
use crate::index::IndexError;

/// One step after the other; a step that was released is not changed again.
const STEPS: [&str; 1] = [r#"
    CREATE TABLE state (generation BIGINT NOT NULL);
    INSERT INTO state VALUES (1);
    CREATE TABLE seen (
        source TEXT COLLATE "C" PRIMARY KEY,
        created BIGINT NOT NULL,
        sequence BIGINT NOT NULL
    );
    CREATE TABLE base (source TEXT COLLATE "C" PRIMARY KEY, base BIGINT NOT NULL);
    CREATE TABLE word (
        id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind INTEGER NOT NULL,
        text TEXT COLLATE "C" NOT NULL,
        uses BIGINT NOT NULL DEFAULT 0,
        UNIQUE (kind, text)
    );
    CREATE TABLE task (
        n BIGINT PRIMARY KEY,
        at BIGINT NOT NULL,
        state INTEGER NOT NULL,
        name INTEGER NOT NULL,
        queue INTEGER NOT NULL,
        worker INTEGER NOT NULL,
        dead INTEGER NOT NULL
    );
    CREATE INDEX task_state ON task (state, n);
    CREATE INDEX task_name ON task (name, n);
    CREATE INDEX task_queue ON task (queue, n);
    CREATE INDEX task_worker ON task (worker, n);
    CREATE INDEX task_dead ON task (n) WHERE dead = 1;
    CREATE TABLE minute (minute BIGINT PRIMARY KEY, first BIGINT NOT NULL, last BIGINT NOT NULL);
    CREATE TABLE detail (
        n BIGINT PRIMARY KEY,
        id TEXT COLLATE "C" NOT NULL UNIQUE,
        attempt BIGINT NOT NULL,
        enqueued_at BIGINT NOT NULL,
        started_at BIGINT,
        seconds DOUBLE PRECISION NOT NULL,
        error TEXT,
        dead TEXT,
        cancelled_by TEXT,
        key TEXT,
        limit_key TEXT,
        labels TEXT
    );
    CREATE TABLE clue (
        name INTEGER NOT NULL,
        value TEXT COLLATE "C" NOT NULL,
        n BIGINT NOT NULL,
        PRIMARY KEY (name, value, n)
    );
    CREATE INDEX clue_n ON clue (n);
    CREATE TABLE live (
        id TEXT COLLATE "C" PRIMARY KEY,
        at BIGINT NOT NULL,
        state TEXT COLLATE "C" NOT NULL,
        name TEXT COLLATE "C" NOT NULL,
        queue TEXT COLLATE "C" NOT NULL,
        worker TEXT COLLATE "C" NOT NULL,
        attempt BIGINT NOT NULL,
        error TEXT,
        key TEXT,
        limit_key TEXT,
        labels TEXT
    );
    CREATE INDEX live_at ON live (at, id);
    CREATE TABLE live_clue (
        id TEXT COLLATE "C" NOT NULL,
        kind INTEGER NOT NULL,
        name TEXT COLLATE "C" NOT NULL,
        value TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (id, kind, name, value)
    );
    CREATE TABLE letter (
        n BIGINT PRIMARY KEY,
        id TEXT COLLATE "C" NOT NULL,
        at BIGINT NOT NULL,
        name TEXT COLLATE "C" NOT NULL,
        queue TEXT COLLATE "C" NOT NULL,
        reason TEXT COLLATE "C" NOT NULL,
        error TEXT NOT NULL,
        worker TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        replays BIGINT NOT NULL,
        arguments TEXT
    );
    CREATE INDEX letter_id ON letter (id);
    CREATE INDEX letter_name ON letter (name, n);
    CREATE INDEX letter_queue ON letter (queue, n);
    CREATE INDEX letter_reason ON letter (reason, n);
    CREATE INDEX letter_at ON letter (at);
"#];

/// Makes the schema, and takes the steps that it has not taken. One replica at
/// a time, and the others find it done.
pub(super) async fn migrate(client: &mut Client, schema: &str, lock: i64) -> Result<()> {
    let transaction = client.transaction().await.map_err(failed)?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&lock])
        .await
        .map_err(failed)?;
    let exists = transaction
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)",
            &[&schema],
        )
        .await
        .map_err(failed)?;
    if !exists.get::<_, bool>(0) {
        // The name is checked; it can hold no quote.
        let make = format!("CREATE SCHEMA \"{schema}\"");
        transaction.batch_execute(&make).await.map_err(failed)?;
    }
    transaction
        .batch_execute("CREATE TABLE IF NOT EXISTS step (number INTEGER PRIMARY KEY)")
        .await
        .map_err(failed)?;
    let taken = transaction
        .query_one("SELECT coalesce(max(number), 0) FROM step", &[])
        .await
        .map_err(failed)?;
    let taken = usize::try_from(taken.get::<_, i32>(0)).unwrap_or_default();
    if taken > STEPS.len() {
        return Err(IndexError::Invalid(format!(
            "the index in the database is of a newer gateway (step {taken}, this one knows {}); \
             update this gateway, or name another database by TASKQ_DATABASE_URL",
            STEPS.len()
        )));
    }
    for (number, step) in STEPS.iter().enumerate().skip(taken) {
        transaction.batch_execute(step).await.map_err(failed)?;
        let number = i32::try_from(number + 1).unwrap_or(i32::MAX);
        transaction
            .execute("INSERT INTO step (number) VALUES ($1)", &[&number])
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
