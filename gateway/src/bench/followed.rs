//! A gateway of its own process, which follows the streams into an index.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use taskq::Client;
use taskq::admin;

use super::peak_memory;
use crate::index::{Index, SOURCES};

/// How often it is looked whether the index is as far as the streams.
const LOOK: Duration = Duration::from_millis(20);
/// An index that takes nothing in for so long has come to a stand.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the index of a gateway is.
pub(super) enum Place<'a> {
    File(&'a Path),
    Database(&'a str),
}

/// A gateway that ends with this.
pub(super) struct Following(Child);

impl Following {
    /// Starts this program as a gateway.
    pub(super) fn start(
        url: &str,
        client: &Client,
        place: &Place<'_>,
        most: u64,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("TASKQ_") || text.starts_with("NATS_") {
                command.env_remove(name);
            }
        }
        command.args(["--http", "127.0.0.1:0", "--url", url]);
        command.args(["--namespace", client.namespace(), "--log", "warn"]);
        command.args(["--index-tasks", &most.to_string()]);
        match place {
            Place::File(path) => command.arg("--index").arg(path),
            // Not as an argument, which others on the machine could read.
            Place::Database(url) => command.env("TASKQ_DATABASE_URL", url),
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        child.map(Self).context("starting a gateway")
    }

    /// Waits until an index is as far as the streams are.
    pub(super) async fn caught_up(&mut self, client: &Client, index: &Index) -> anyhow::Result<()> {
        for (source, name) in SOURCES {
            let last = admin::extent(client, source).await?.last;
            let (mut seen, mut since) = (0, Instant::now());
            while seen < last {
                if let Some(ended) = self.0.try_wait()? {
                    anyhow::bail!("the gateway ended: {ended}");
                }
                let now = index.seen(name).await?.map_or(0, |seen| seen.sequence);
                if now > seen {
                    (seen, since) = (now, Instant::now());
                }
                anyhow::ensure!(
                    since.elapsed() < PATIENCE,
                    "the index stands at {seen} of {last} {name}"
                );
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Ends it; the most memory that it had, in MB.
    pub(super) fn end(self) -> Option<f64> {
        peak_memory(&self.0.id().to_string())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It has ended already, or is ended now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
