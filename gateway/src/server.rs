//! The socket: connections, encrypted or not, and how long they may take.

mod tls;
mod unstalled;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

pub use self::tls::Tls;
use self::unstalled::Unstalled;

/// How long a client may take to encrypt its connection.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to say what it wants.
const HEADERS: Duration = Duration::from_secs(30);
/// The most bytes that it may take for that.
const MOST_HEADERS: usize = 64 * 1024;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub(crate) SocketAddr);

/// A request came over a connection that is encrypted by this program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encrypted;

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    listener: TcpListener,
    tls: Option<Tls>,
}

impl Socket {
    /// Listens at an address.
    ///
    /// # Errors
    /// When the address is taken, or is none.
    pub async fn bind(address: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            anyhow!(
                "cannot listen for HTTP at {address}: {error}; set TASKQ_HTTP (--http) to a free \
                 address"
            )
        })?;
        Ok(Self {
            listener,
            tls: None,
        })
    }

    /// Encrypts its connections.
    #[must_use = "this returns a socket, and changes none"]
    pub fn tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is ready, and what was begun is answered.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let open = GracefulShutdown::new();
        let mut stop = pin!(stop);
        loop {
            let (stream, address) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!("a connection was not accepted: {error}");
                        // Most likely there are too many: some will end.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = &mut stop => break,
            };
            let connection = Connection {
                router: router.clone(),
                peer: Peer(address),
                watcher: open.watcher(),
            };
            tokio::spawn(connection.answer(stream, self.tls.clone()));
        }
        // Nobody else is let in meanwhile.
        drop(self.listener);
        open.shutdown().await;
        Ok(())
    }
}

struct Connection {
    router: Router,
    peer: Peer,
    watcher: Watcher,
}

impl Connection {
    async fn answer(self, stream: TcpStream, tls: Option<Tls>) {
        // Events are small and are not to wait for more.
        let _ = stream.set_nodelay(true);
        let stream = Unstalled::new(stream);
        let Some(tls) = tls else {
            return self.talk(stream, false).await;
        };
        match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.talk(stream, true).await,
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer.0, "a connection was not encrypted: {error}");
            }
            Err(_) => {
                tracing::debug!(peer = %self.peer.0, "a connection was not encrypted in time");
            }
        }
    }

    async fn talk<S>(self, stream: S, encrypted: bool)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let peer = self.peer;
        let service = self
            .router
            .map_request(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                if encrypted {
                    request.extensions_mut().insert(Encrypted);
                }
                request.map(Body::new)
            });
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(MOST_HEADERS);
        let service = TowerToHyperService::new(service);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(peer = %peer.0, "a connection broke off: {error}");
        }
    }
}
