//! The nats-server of a run, or the three.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use taskq_nats_server::{Cluster, NatsServer};

/// How long a cluster may take to be well.
const HEALTHY: Duration = Duration::from_secs(120);

/// One server, or a cluster of three. Its calls block.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Box<NatsServer>),
    Three(Cluster),
}

impl Servers {
    pub(crate) fn start(cluster: bool) -> anyhow::Result<Self> {
        if let Ok(None) = taskq_nats_server::locate() {
            eprintln!("fetching nats-server, once for this machine ...");
        }
        let builder = NatsServer::builder();
        if !cluster {
            return Ok(Self::One(Box::new(builder.start()?)));
        }
        let cluster = builder.start_cluster(3)?;
        cluster.wait_healthy(HEALTHY)?;
        Ok(Self::Three(cluster))
    }

    fn nodes(&self) -> &[NatsServer] {
        match self {
            Self::One(server) => std::slice::from_ref(server),
            Self::Three(cluster) => cluster.nodes(),
        }
    }

    fn node_mut(&mut self, place: u8) -> &mut NatsServer {
        match self {
            Self::One(server) => server,
            Self::Three(cluster) => cluster.node_mut(place.into()),
        }
    }

    pub(crate) fn replicas(&self) -> usize {
        self.nodes().len()
    }

    pub(crate) fn url(&self) -> String {
        let urls: Vec<&str> = self.nodes().iter().map(NatsServer::url).collect();
        urls.join(",")
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.nodes().iter().map(NatsServer::port).collect()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes().iter().map(NatsServer::pid).collect()
    }

    pub(crate) fn version(&self) -> String {
        let version = self.nodes().first().map(|node| node.version().to_string());
        version.unwrap_or_default()
    }

    /// Kills a server.
    pub(crate) fn kill(&mut self, place: u8) -> anyhow::Result<()> {
        Ok(self.node_mut(place).kill()?)
    }

    /// Starts a server again, and waits until all are well.
    pub(crate) fn restart(&mut self, place: u8) -> anyhow::Result<()> {
        self.node_mut(place).restart()?;
        if let Self::Three(cluster) = self {
            cluster.wait_healthy(HEALTHY)?;
        }
        Ok(())
    }

    /// Restarts all, one after the other.
    pub(crate) fn roll(&mut self) -> anyhow::Result<()> {
        for place in 0..self.nodes().len() {
            self.restart(u8::try_from(place)?)?;
        }
        Ok(())
    }

    /// Writes what the servers logged to files in this folder.
    pub(crate) fn write_logs(&self, folder: &Path) -> anyhow::Result<()> {
        for (place, node) in self.nodes().iter().enumerate() {
            let path = folder.join(format!("nats-server-{place}.log"));
            std::fs::write(&path, node.log())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}
