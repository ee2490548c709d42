//! Running operations: every replica looks for those that nobody runs, its own
//! or a dead one's.

use std::sync::Arc;
use std::time::Duration;

use taskq::Client;
use taskq::admin::operations;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How often it is looked for operations that nobody runs.
const LOOK: Duration = Duration::from_secs(2);

/// Runs operations until it is dropped.
#[derive(Debug)]
pub(crate) struct Runner {
    news: Arc<Notify>,
    running: JoinHandle<()>,
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Runner {
    pub(crate) fn start(client: &Client) -> Self {
        let news = Arc::new(Notify::new());
        let running = tokio::spawn(run(client.clone(), Arc::clone(&news)));
        Self { news, running }
    }

    /// Looks now: an operation was begun here.
    pub(crate) fn look(&self) {
        self.news.notify_one();
    }
}

async fn run(client: Client, news: Arc<Notify>) {
    let name = format!(
        "gateway-{}-{:08x}",
        std::process::id(),
        uuid::Uuid::new_v4().as_fields().0
    );
    // What runs here ends with this.
    let mut under_way = tokio::task::JoinSet::new();
    let mut own = std::collections::HashSet::new();
    loop {
        while let Some(ended) = under_way.try_join_next() {
            match ended {
                Ok(id) => {
                    own.remove(&id);
                }
                Err(error) => tracing::warn!("an operation ended by a panic: {error}"),
            }
        }
        match operations::waiting(&client).await {
            Ok(waiting) => {
                for operation in waiting {
                    let id = operation.id;
                    if !own.insert(id.clone()) {
                        continue;
                    }
                    let (client, name) = (client.clone(), name.clone());
                    under_way.spawn(async move {
                        match operations::run(&client, &id, &name).await {
                            Ok(Some(ended)) => tracing::info!(
                                operation = ended.id,
                                action = ended.action.as_str(),
                                done = ended.done,
                                total = ended.total,
                                "an operation has ended"
                            ),
                            // Another replica was quicker.
                            Ok(None) => {}
                            Err(error) => {
                                tracing::warn!(operation = id, "to be gone on with: {error}");
                            }
                        }
                        id
                    });
                }
            }
            // It is away, or this may not look; others say so.
            Err(error) => tracing::debug!("cannot look for operations: {error}"),
        }
        tokio::select! {
            () = news.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
