//! The one thread that writes.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::super::digest::Change;
use super::super::{IndexError, Result, Retention, Seen};
use super::apply::Apply;

/// How many batches may wait.
const WAITING: usize = 4;
/// How often what is too old is looked for.
const TIDY: Duration = Duration::from_secs(2);

enum Command {
    Take(Vec<Change>, Seen, oneshot::Sender<Result<()>>),
    Clear(oneshot::Sender<Result<()>>),
    Tidy(oneshot::Sender<Result<bool>>),
}

/// The way to the thread that writes. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer(mpsc::Sender<Command>);

impl Writer {
    pub(super) fn start(connection: Connection, retention: Retention) -> Result<Self> {
        let (commands, mut waiting) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("index".to_owned())
            .spawn(move || {
                let mut apply = Apply::new(connection, retention);
                let mut tidied = Instant::now();
                while let Some(command) = waiting.blocking_recv() {
                    // Who asked may be gone.
                    match command {
                        Command::Take(changes, seen, done) => {
                            let _ = done.send(apply.take(&changes, &seen));
                        }
                        Command::Clear(done) => {
                            let _ = done.send(apply.clear());
                        }
                        Command::Tidy(done) => {
                            let _ = done.send(apply.tidy());
                        }
                    }
                    if tidied.elapsed() >= TIDY {
                        tidied = Instant::now();
                        if let Err(error) = apply.tidy() {
                            tracing::warn!("the index keeps what is too old: {error}");
                        }
                    }
                }
            })
            .map_err(|error| IndexError::Invalid(format!("no thread for the index: {error}")))?;
        Ok(Self(commands))
    }

    pub(super) async fn take(&self, changes: Vec<Change>, seen: Seen) -> Result<()> {
        self.ask(|done| Command::Take(changes, seen, done)).await
    }

    pub(super) async fn clear(&self) -> Result<()> {
        self.ask(Command::Clear).await
    }

    /// Removes some of what is too old or too much; whether there may be more.
    pub(super) async fn tidy(&self) -> Result<bool> {
        self.ask(Command::Tidy).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        let (done, answer) = oneshot::channel();
        let sent = self.0.send(command(done)).await;
        sent.map_err(|_| IndexError::Closed)?;
        answer.await.map_err(|_| IndexError::Closed)?
    }
}
