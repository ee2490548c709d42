//! Several servers that are one.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::builder::NatsServerBuilder;
use crate::error::{Error, Result};
use crate::server::NatsServer;

/// Where a node listens. A system hands out higher ports by itself, to
/// whatever connects somewhere; a node that is down for a while must not lose
/// its port to that.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// How often a cluster is tried anew, on other ports, when another process
/// took one between its choice and its use.
const TRIES: usize = 5;

/// How long one question to a node's monitoring port may take.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// How often the health is asked for.
const HEALTH_POLL: Duration = Duration::from_millis(50);

/// Servers on 127.0.0.1 that make up one NATS, each with a store of its own.
/// They end with this value, as a [`NatsServer`] does.
///
/// A node that was killed comes back with the same ports and the same store:
///
/// ```no_run
/// use std::time::Duration;
/// use taskq_nats_server::NatsServer;
///
/// # fn main() -> Result<(), taskq_nats_server::Error> {
/// let mut cluster = NatsServer::builder().start_cluster(3)?;
/// println!("{}", cluster.url());
///
/// cluster.node_mut(0).kill()?;
/// cluster.node_mut(0).restart()?;
/// cluster.wait_healthy(Duration::from_secs(30))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<NatsServer>,
}

impl NatsServerBuilder {
    /// Starts a cluster of so many such servers, and returns when each takes
    /// connections; [`Cluster::wait_healthy`] waits until they have found
    /// together. The port and the name are then each node's own, and each
    /// keeps its streams in a folder of its own below the
    /// [`store_dir`](Self::store_dir).
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_cluster(self, nodes: usize) -> Result<Cluster> {
        Cluster::start(&self, nodes)
    }
}

impl Cluster {
    fn start(options: &NatsServerBuilder, count: usize) -> Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::on_free_ports(options, count) {
                Err(Error::PortInUse { .. }) if tries < TRIES => {}
                started => return started,
            }
        }
    }

    fn on_free_ports(options: &NatsServerBuilder, count: usize) -> Result<Self> {
        let ports = free_ports(2 * count)?;
        let (clients, routes) = ports.split_at(count);
        let urls = routes
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""));
        let urls = urls.collect::<Vec<_>>().join(", ");
        let nodes = (0..count).map(|place| {
            let name = Self::name(place);
            let mut node = options.clone();
            if let Some(store) = &options.store_dir {
                node = node.store_dir(store.join(&name));
            }
            // Not advertised: a client is to know those addresses that it was
            // given, which may be a proxy's.
            let cluster = format!(
                "cluster {{ name: taskq, listen: \"127.0.0.1:{}\", no_advertise: true, \
                 routes: [{urls}] }}",
                routes[place]
            );
            node.port(clients[place])
                .monitoring(true)
                .server_name(name)
                .config(&cluster)
                .start()
        });
        Ok(Self {
            nodes: nodes.collect::<Result<_>>()?,
        })
    }

    /// The name that the node of this place has as a server: `n0`, `n1`, …
    pub fn name(place: usize) -> String {
        format!("n{place}")
    }

    /// The place of the node with this [name](Self::name).
    pub fn place(&self, name: &str) -> Option<usize> {
        (0..self.nodes.len()).find(|place| Self::name(*place) == name)
    }

    /// Where clients connect: the addresses of all nodes, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<&str> = self.nodes.iter().map(NatsServer::url).collect();
        urls.join(",")
    }

    /// The nodes, in the order of their names.
    pub fn nodes(&self) -> &[NatsServer] {
        &self.nodes
    }

    /// One node, to kill, stop, restart, pause or resume it.
    ///
    /// # Panics
    ///
    /// When there is no node of this place.
    pub fn node_mut(&mut self, place: usize) -> &mut NatsServer {
        &mut self.nodes[place]
    }

    /// Whether a node says that it is well: it runs, knows the leader of the
    /// cluster, and has caught up with its streams and consumers.
    ///
    /// # Panics
    ///
    /// When there is no node of this place.
    pub fn is_healthy(&self, place: usize) -> bool {
        matches!(ask(&self.nodes[place], "/healthz"), Ok((200, _)))
    }

    /// Waits until all nodes that run are [healthy](Self::is_healthy), and one
    /// of them [leads](Self::leader). Single streams and consumers may still
    /// be without a leader.
    ///
    /// # Errors
    ///
    /// [`Error::NotHealthy`] when the limit is over.
    pub fn wait_healthy(&self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while let Some((node, answer)) = self.complaint() {
            if Instant::now() > until {
                return Err(Error::NotHealthy { node, answer });
            }
            thread::sleep(HEALTH_POLL);
        }
        Ok(())
    }

    /// The first node that is not well, and what it says.
    fn complaint(&self) -> Option<(String, String)> {
        let running = self.nodes.iter().enumerate();
        for (place, node) in running.filter(|(_, node)| node.is_running()) {
            let answer = match ask(node, "/healthz") {
                Ok((200, _)) => continue,
                Ok((_, answer)) => answer,
                Err(error) => error.to_string(),
            };
            return Some((Self::name(place), answer));
        }
        let nobody = || ("none".to_owned(), "there is no leader".to_owned());
        self.leader().is_none().then(nobody)
    }

    /// The place of the node that leads the cluster: it alone makes streams
    /// and consumers. None while no node that runs knows one that does.
    pub fn leader(&self) -> Option<usize> {
        #[derive(Deserialize)]
        struct JetStream {
            meta_cluster: Option<Meta>,
        }
        #[derive(Deserialize)]
        struct Meta {
            leader: Option<String>,
        }

        let running = self.nodes.iter().filter(|node| node.is_running());
        running
            .filter_map(|node| ask(node, "/jsz").ok())
            .filter_map(|(_, body)| serde_json::from_str::<JetStream>(&body).ok())
            .filter_map(|answer| self.place(&answer.meta_cluster?.leader?))
            .find(|place| self.nodes[*place].is_running())
    }
}

/// Free ports, all different.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    // Held until all are found, so that none is found twice.
    let mut held = Vec::new();
    let mut ports = Vec::new();
    for _ in 0..10_000 {
        if ports.len() == count {
            return Ok(ports);
        }
        let port = fastrand::u16(PORTS);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push(listener);
            ports.push(port);
        }
    }
    Err(Error::io("find free ports on", Path::new("127.0.0.1"))(
        io::ErrorKind::AddrInUse.into(),
    ))
}

/// The status and the body of an answer of a node's monitoring port.
fn ask(node: &NatsServer, path: &str) -> io::Result<(u16, String)> {
    let port = node.monitor_port().ok_or(io::ErrorKind::Unsupported)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ASK_LIMIT)?;
    stream.set_read_timeout(Some(ASK_LIMIT))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
