//! Whether a server that was started is ready yet.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::run_dir::RunDir;
use crate::supervisor::Process;

/// How often a condition is looked at again.
pub(crate) const POLL: Duration = Duration::from_millis(3);

/// The ports that a server listens on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listening {
    pub(crate) port: u16,
    pub(crate) monitor_port: Option<u16>,
}

/// A server on its way up.
#[derive(Debug)]
pub(crate) struct Starting<'a> {
    pub(crate) process: &'a Process,
    pub(crate) run: &'a RunDir,
    /// Where in the log this run of the server begins, in bytes.
    pub(crate) log_from: usize,
    pub(crate) jetstream: bool,
    pub(crate) timeout: Duration,
}

impl Starting<'_> {
    /// Waits until the server is ready, or never will be.
    pub(crate) fn wait(&self) -> Result<Listening> {
        let until = Instant::now() + self.timeout;
        loop {
            // In this order: what a server said before its end is then seen.
            let ended = self.process.ended();
            let missing = match self.look() {
                Ok(listening) => return Ok(listening),
                Err(missing) => missing,
            };
            if let Some(status) = ended {
                return Err(self.failed(format!("it ended with {status}")));
            }
            if Instant::now() > until {
                let limit = self.timeout;
                return Err(self.failed(format!("after {limit:?} {missing}")));
            }
            thread::sleep(POLL);
        }
    }

    /// The ports if it is ready, else what it has not done yet.
    fn look(&self) -> Result<Listening, String> {
        let listening = self.ports().ok_or("it has not told its ports")?;
        let info = info(listening.port)
            .map_err(|error| format!("it does not answer on port {}: {error}", listening.port))?;
        if self.jetstream && !info.jetstream {
            return Err("its JetStream is not on".to_owned());
        }
        if !self.run.log(self.log_from).contains("Server is ready") {
            return Err("it has not logged that it is ready".to_owned());
        }
        Ok(listening)
    }

    /// None while there is no ports file, or half of one.
    fn ports(&self) -> Option<Listening> {
        #[derive(Deserialize)]
        struct PortsFile {
            nats: Vec<String>,
            #[serde(default)]
            monitoring: Vec<String>,
        }

        let suffix = format!("_{}.ports", self.process.pid());
        let files = self.run.ports_files();
        let file = files
            .iter()
            .find(|path| path.to_string_lossy().ends_with(&suffix))?;
        let ports: PortsFile = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        let port = |urls: &[String]| urls.first()?.rsplit(':').next()?.parse().ok();
        Some(Listening {
            port: port(&ports.nats)?,
            monitor_port: port(&ports.monitoring),
        })
    }

    fn failed(&self, reason: String) -> Error {
        let log = self.run.log(self.log_from);
        if let Some(port) = port_in_use(&log) {
            return Error::PortInUse { port };
        }
        let lines: Vec<_> = log.lines().collect();
        Error::DidNotStart {
            reason,
            log: lines[lines.len().saturating_sub(20)..].join("\n"),
        }
    }
}

/// What a server says to each client that connects.
#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    jetstream: bool,
}

fn info(port: u16) -> io::Result<Info> {
    let patience = Duration::from_secs(1);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let json = line
        .strip_prefix("INFO ")
        .ok_or_else(|| io::Error::other("it does not speak the NATS protocol"))?;
    Ok(serde_json::from_str(json)?)
}

/// The port of which the log says that another process has it.
fn port_in_use(log: &str) -> Option<u16> {
    let line = log.lines().find(|line| {
        line.contains("address already in use")
            || line.contains("Only one usage of each socket address")
    })?;
    let (_, after) = line.rsplit_once("127.0.0.1:")?;
    let digits = after.split(|character: char| !character.is_ascii_digit());
    digits.into_iter().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::port_in_use;

    #[test]
    fn the_port_is_read_from_the_complaint() {
        let client = "[1] 2026/01/01 [FTL] Error listening on port: 127.0.0.1:4222, \"listen tcp \
                      127.0.0.1:4222: bind: address already in use\"";
        assert_eq!(port_in_use(client), Some(4222));
        let monitor = "[1] [FTL] Can't start monitoring: can't listen to the monitor port: listen \
                       tcp 127.0.0.1:8222: bind: address already in use";
        assert_eq!(port_in_use(monitor), Some(8222));
        assert_eq!(port_in_use("[1] [INF] Server is ready"), None);
    }
}
