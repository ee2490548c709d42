//! `worker healthcheck`: the probe of an image that has no curl.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};

/// What to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct HealthArgs {
    /// Address of the worker's HTTP port
    #[arg(
        long,
        env = "TASKQ_HTTP",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9090"
    )]
    pub http: String,

    /// How long the answer may take
    #[arg(
        long,
        value_name = "TIME",
        env = "TASKQ_HEALTH_TIMEOUT",
        default_value = "3s",
        value_parser = taskq::parse_duration
    )]
    pub timeout: Duration,
}

/// Asks a worker's `/healthz`. Ok when it answers with 200.
///
/// # Errors
/// When nobody answers in time, or with another status.
pub fn healthcheck(args: &HealthArgs) -> anyhow::Result<()> {
    let status = ask(args).map_err(|error| {
        anyhow!(
            "no worker answers at http://{}/healthz: {error}; start one with TASKQ_HTTP={0}",
            args.http
        )
    })?;
    if status != "200" {
        bail!(
            "http://{}/healthz answers with status {status}, not 200; see the worker's log",
            args.http
        );
    }
    Ok(())
}

/// The status of the answer, as it stands in its first line.
fn ask(args: &HealthArgs) -> anyhow::Result<String> {
    let address = args
        .http
        .to_socket_addrs()?
        .next()
        .context("the name has no address")?;
    let timeout = args.timeout.max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&reachable(address), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET /healthz HTTP/1.0\r\nHost: worker\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let mut words = answer.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (Some(version), Some(status)) if version.starts_with("HTTP/") => Ok(status.to_owned()),
        _ => bail!("what answers there is not HTTP"),
    }
}

/// A worker that listens on every address is asked on the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_on_every_address_is_asked_on_the_loopback_one() {
        for (address, asked) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(reachable(address).to_string(), asked);
        }
    }
}
