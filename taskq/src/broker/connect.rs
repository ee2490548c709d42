//! One connection to NATS: where, as whom, and what its errors mean.

mod explain;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Event, ServerAddr};
use tokio::sync::broadcast;

use super::denial::{Denial, Denials};
use crate::error::{Error, ErrorKind, Result};

/// Where NATS is and how to identify to it. `Debug` shows no secret.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    pub(crate) url: String,
    pub(crate) creds: Option<PathBuf>,
    pub(crate) user: Option<(String, String)>,
    pub(crate) token: Option<String>,
    pub(crate) nkey: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) name: String,
    pub(crate) inbox_prefix: Option<String>,
    pub(crate) connect_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            creds: None,
            user: None,
            token: None,
            nkey: None,
            ca: None,
            identity: None,
            name: "taskq".to_owned(),
            inbox_prefix: None,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// What happens to a connection after it is made.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// It is there for the first time.
    Connected,
    /// It is back after it was gone.
    Reconnected,
    /// A subscription overflowed: messages were dropped.
    SlowConsumer,
    /// The server refused an operation.
    Denied(Denial),
}

/// A connection, and what happens to it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: async_nats::Client,
    pub(crate) happenings: broadcast::Receiver<Happening>,
    pub(crate) denials: Denials,
}

impl ConnectOptions {
    /// The address without the user and password that it may hold.
    pub(crate) fn public_url(&self) -> String {
        self.url
            .split(',')
            .map(|url| match (url.find("://"), url.rfind('@')) {
                (Some(scheme), Some(at)) if scheme < at => {
                    format!("{}://{}", &url[..scheme], &url[at + 1..])
                }
                (None, Some(at)) => url[at + 1..].to_owned(),
                _ => url.to_owned(),
            })
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Connects, trying again until the connect time-out.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let servers = self.servers()?;
        let started = Instant::now();
        let mut told = false;
        loop {
            let left = self.connect_timeout.saturating_sub(started.elapsed());
            let (happens, happenings) = broadcast::channel(256);
            let denials = Denials::new(self.inbox_prefix.as_deref());
            let options = self.options(happens, denials.clone()).await?;
            let attempt = options
                .connection_timeout(left.clamp(Duration::from_millis(200), Duration::from_secs(5)))
                .connect(servers.clone());
            let error = match attempt.await {
                Ok(client) => {
                    return Ok(Connection {
                        client,
                        happenings,
                        denials,
                    });
                }
                Err(error) => error,
            };
            if let Some(told) = explain::explain(self, &error) {
                return Err(told.with_source(error));
            }
            if started.elapsed() >= self.connect_timeout {
                return Err(Error::new(
                    ErrorKind::Connect,
                    format!(
                        "no NATS server answered at {} within {}: {error}; start one \
                         (`taskq dev`, or `nats-server -js`), or set NATS_URL",
                        self.public_url(),
                        taskq_syntax::format_duration(self.connect_timeout)
                    ),
                )
                .with_source(error));
            }
            if !told {
                told = true;
                tracing::warn!(
                    url = self.public_url(),
                    "no NATS server answers yet ({error}); trying for {}",
                    taskq_syntax::format_duration(self.connect_timeout)
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The servers' addresses, without what identifies: async-nats logs them.
    fn servers(&self) -> Result<Vec<ServerAddr>> {
        parse(&self.public_url()).map_err(|error| self.bad_url(&error))
    }

    /// The user and the password, or the token alone, that the address holds.
    fn in_url(&self) -> Result<Option<(String, Option<String>)>> {
        let servers = parse(&self.url).map_err(|error| self.bad_url(&error))?;
        Ok(servers.iter().find_map(|server| {
            let user = server.username()?.to_owned();
            Some((user, server.password().map(str::to_owned)))
        }))
    }

    fn bad_url(&self, error: &std::io::Error) -> Error {
        Error::invalid(format!(
            "`{}` is not the address of a NATS server: {error}; write it like \
             nats://127.0.0.1:4222",
            self.public_url()
        ))
    }

    async fn options(
        &self,
        happens: broadcast::Sender<Happening>,
        denials: Denials,
    ) -> Result<async_nats::ConnectOptions> {
        let in_url = self.in_url()?;
        let connected = Arc::new(AtomicBool::new(false));
        let had_connected = Arc::clone(&connected);
        let mut options = async_nats::ConnectOptions::new()
            .name(&self.name)
            // A dead peer is noticed after three of these.
            .ping_interval(Duration::from_secs(5))
            .reconnect_delay_callback(move |attempts| {
                // It is asked before the first attempt of all too.
                if !had_connected.load(Ordering::Relaxed) {
                    return Duration::ZERO;
                }
                let steps = u32::try_from(attempts.min(6)).unwrap_or(6);
                let delay = Duration::from_millis(50) * 2u32.pow(steps);
                delay
                    .min(Duration::from_secs(2))
                    .mul_f64(0.5 + fastrand::f64() / 2.0)
            })
            .event_callback(move |event| {
                let first =
                    matches!(event, Event::Connected) && !connected.swap(true, Ordering::Relaxed);
                let (happens, denials) = (happens.clone(), denials.clone());
                async move { tell(&happens, &denials, event, first) }
            });
        if let Some(prefix) = &self.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        if let Some((user, password)) = &self.user {
            options = options.user_and_password(user.clone(), password.clone());
        } else if let Some((user, Some(password))) = &in_url {
            options = options.user_and_password(user.clone(), password.clone());
        } else if let Some((token, None)) = in_url {
            options = options.token(token);
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        if let Some(seed) = &self.nkey {
            options = options.nkey(seed.clone());
        }
        if let Some(path) = &self.creds {
            options = options.credentials_file(path).await.map_err(|error| {
                Error::invalid(format!(
                    "cannot read the credentials in {}: {error}; check NATS_CREDS",
                    path.display()
                ))
                .with_source(error)
            })?;
        }
        if let Some(ca) = &self.ca {
            readable(ca, "the certificates to trust", "NATS_CA")?;
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        if let Some((cert, key)) = &self.identity {
            readable(cert, "the certificate", "NATS_CERT")?;
            readable(key, "the certificate's key", "NATS_KEY")?;
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Ok(options)
    }
}

impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("url", &self.public_url())
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn parse(urls: &str) -> std::io::Result<Vec<ServerAddr>> {
    urls.split(',').map(|url| url.trim().parse()).collect()
}

/// async-nats would tell of a missing file without its name.
fn readable(path: &Path, what: &str, variable: &str) -> Result<()> {
    std::fs::File::open(path).map(drop).map_err(|error| {
        Error::invalid(format!(
            "cannot read {what} in {}: {error}; check {variable}",
            path.display()
        ))
        .with_source(error)
    })
}

fn tell(happens: &broadcast::Sender<Happening>, denials: &Denials, event: Event, first: bool) {
    let happening = match event {
        Event::Connected => {
            tracing::debug!("connected to NATS");
            match first {
                true => Happening::Connected,
                false => Happening::Reconnected,
            }
        }
        Event::Disconnected => {
            tracing::warn!("the connection to NATS is gone; reconnecting");
            return;
        }
        Event::SlowConsumer(_) => Happening::SlowConsumer,
        Event::ServerError(error) => {
            let text = error.to_string();
            match Denial::read(&text) {
                Some(denial) => {
                    // Who asked is told, with what to do.
                    tracing::debug!("the NATS server refused an operation: {text}");
                    denials.tell(denial.clone());
                    Happening::Denied(denial)
                }
                None => {
                    tracing::warn!("the NATS server reports an error: {text}");
                    return;
                }
            }
        }
        Event::ClientError(error) => {
            tracing::debug!("the NATS client reports an error: {error}");
            return;
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::debug!("NATS connection: {event}");
            return;
        }
    };
    // Nobody listening is fine.
    let _ = happens.send(happening);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let options = ConnectOptions {
            url: "nats://ada:s3cret@a:4222,nats://b:4222".to_owned(),
            token: Some("t0ken".to_owned()),
            user: Some(("ada".to_owned(), "pa55".to_owned())),
            ..ConnectOptions::default()
        };
        assert_eq!(options.public_url(), "nats://a:4222,nats://b:4222");
        let shown = format!("{options:?}");
        for secret in ["s3cret", "t0ken", "pa55"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
