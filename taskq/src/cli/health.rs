//! Asking a program over HTTP whether it is well.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Asks `GET /healthz` at `address` (host and port), with `timeout` for each step;
/// well is who answers with 200. It is the probe of an image that has no curl.
///
/// An address that stands for all of a machine's, such as `0.0.0.0:9090`, is asked
/// as the loopback one. Blocks. Speaks HTTP and no TLS.
///
/// # Errors
/// When nobody answers in time, or with another status.
///
/// ```no_run
/// # fn f() -> taskq::Result<()> {
/// taskq::cli::check_health("127.0.0.1:9090", std::time::Duration::from_secs(3))?;
/// # Ok(())
/// # }
/// ```
pub fn check_health(address: &str, timeout: Duration) -> Result<()> {
    let status = ask(address, timeout).map_err(|error| {
        let message = format!(
            "nobody answers at http://{address}/healthz: {error}; is it running, with \
             TASKQ_HTTP={address}?"
        );
        Error::new(ErrorKind::Connect, message).with_source(error)
    })?;
    if status != "200" {
        let message = format!(
            "http://{address}/healthz answers with status {status}, not 200; see the program's log"
        );
        return Err(Error::new(ErrorKind::Unavailable, message));
    }
    Ok(())
}

/// The status of the answer, as it stands in its first line.
fn ask(address: &str, timeout: Duration) -> io::Result<String> {
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("the name has no address"))?;
    let timeout = timeout.max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&reachable(address), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // A name that is the machine's own: the gateway refuses others where it has no login.
    write!(stream, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let mut words = answer.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (Some(version), Some(status)) if version.starts_with("HTTP/") => Ok(status.to_owned()),
        _ => Err(io::Error::other("what answers there is not HTTP")),
    }
}

/// A program that listens on every address is asked on the loopback one.
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
    fn a_program_on_every_address_is_asked_on_the_loopback_one() {
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
