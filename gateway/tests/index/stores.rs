//! The stores that answer the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use taskq_e2e::PostgresServer;
use taskq_gateway::index::{Database, Index, Retention, TaskPage, TaskQuery};

use crate::given::{forever, outcome, seen};

/// Where an index is, to be opened again.
#[derive(Debug)]
pub(crate) enum Store {
    File(tempfile::TempDir),
    Database(Arc<PostgresServer>, String),
}

/// One of each kind, empty.
pub(crate) async fn stores() -> Vec<Store> {
    let mut stores = vec![Store::File(tempfile::tempdir().unwrap())];
    stores.extend(Store::database());
    stores
}

impl Store {
    /// A schema of its own; none, and a word of it, where there is no server.
    pub(crate) fn database() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Some(server) = PostgresServer::shared() else {
            eprintln!("skipped: no PostgreSQL");
            return None;
        };
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Some(Self::Database(server, name))
    }

    pub(crate) async fn open(&self, retention: Retention) -> Index {
        match self {
            Self::File(folder) => Index::open(&folder.path().join("i.sqlite"), retention).unwrap(),
            Self::Database(server, name) => {
                let database = Database {
                    url: server.url(),
                    ca: None,
                };
                let index = Index::in_database(&database, name, retention).await;
                let index = index.unwrap();
                // One that was closed just before may have the lock a moment more.
                while !index.lead().await.unwrap() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                index
            }
        }
    }

    /// An index of the outcomes 1 to `most`.
    pub(crate) async fn filled(&self, most: u64) -> Index {
        let index = self.open(forever()).await;
        let records = (1..=most).map(outcome).collect();
        index.take(records, seen("outcomes", most)).await.unwrap();
        index
    }
}

pub(crate) fn ids(page: &TaskPage) -> Vec<&str> {
    page.tasks.iter().map(|task| task.id.as_str()).collect()
}

/// All that a query finds, page by page.
pub(crate) async fn all(index: &Index, query: TaskQuery) -> Vec<String> {
    let mut query = query;
    let mut found = Vec::new();
    loop {
        let page = index.tasks(query.clone()).await.unwrap();
        found.extend(page.tasks.into_iter().map(|task| task.id));
        match page.next {
            // As a client has it: as text.
            Some(next) => query.after = Some(next.to_string().parse().unwrap()),
            None => return found,
        }
    }
}
