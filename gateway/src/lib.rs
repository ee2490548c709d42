//! The gateway: what operators and other programs ask of taskq, over HTTP.
//!
//! It keeps nothing of its own. What it lists and finds is in an
//! [`index`](index::Index) that it builds from the streams, so any number of
//! replicas can run, and each can be thrown away. What it does, it does by the
//! calls of `taskq` and `taskq::admin`, as the command line does.
//!
//! [`Gateway::router`] answers requests without a socket; [`run`] is the
//! program.

pub mod access;
mod args;
#[doc(hidden)]
pub mod bench;
#[doc(hidden)]
pub mod bench_feed;
mod dash;
mod feed;
mod http;
pub mod index;
mod pulse;
mod runner;
mod server;
mod types;

use std::future::Future;
use std::time::Duration;

use anyhow::bail;

pub use access::{Access, JwtRules, Proxies, Role, add_token, hash_password, make_token};
pub use args::Args;
pub use http::{Gateway, Limits, Prefix, openapi};
use index::{Database, Index, Retention};
pub use server::{Socket, Tls};
use taskq::admin::{self, InitOptions, ProvisionAction};

/// How long what is being answered may go on after the gateway was told to
/// stop.
const LAST_MOMENT: Duration = Duration::from_secs(10);

impl Gateway {
    /// All that is answered: the interface, and the dashboard.
    pub fn router(&self) -> axum::Router {
        self.assemble(dash::pages, dash::open())
    }
}

/// Runs a gateway until the process is told to stop (SIGTERM, Ctrl-C).
///
/// # Errors
/// When NATS cannot be reached, the address is taken, or it is open to others
/// and nobody has to say who they are.
pub async fn run(args: Args) -> anyhow::Result<()> {
    run_until(args, taskq::cli::stop_signal()).await
}

/// [`run`], until `stop` is ready.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    args: Args,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let access = args.access.read()?;
    let tls = args.tls()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let socket = Socket::bind(&args.http).await?.tls(tls);
    let bound = socket.address()?;
    if access.is_open() {
        if !bound.ip().is_loopback() {
            bail!(
                "{bound} can be reached from elsewhere, and nobody has to say who they are; name a \
                 file of users by TASKQ_USERS (`gateway hash-password` makes its lines) or of \
                 tokens by TASKQ_TOKENS (`gateway token`), or listen at 127.0.0.1"
            );
        }
        tracing::warn!(
            "there is no login: whoever is on this machine may do everything at {bound}; \
             TASKQ_USERS and TASKQ_TOKENS name files of who may"
        );
    }
    let client = args.connect.connect().await?;
    if client.mode() != taskq::Mode::JetStream {
        bail!(
            "a gateway needs jetstream mode, in which records are stored; this is {} mode",
            client.mode()
        );
    }
    if !args.init_queues.is_empty() {
        let mut wanted = InitOptions::new().queues(args.init_queues);
        if let Some(replicas) = args.connect.replicas {
            wanted = wanted.replicas(replicas);
        }
        for made in admin::init(&client, wanted).await? {
            if made.action != ProvisionAction::Unchanged {
                tracing::info!(
                    name = made.name,
                    changes = made.changes.join("; "),
                    "made or brought up to date"
                );
            }
        }
    }
    let usual = match args.database_url {
        Some(_) => Retention::LONG,
        None => Retention::default(),
    };
    let retention = Retention {
        age: args.index_age.unwrap_or(usual.age),
        most: args.index_tasks.unwrap_or(usual.most),
    };
    let index = match (&args.database_url, &args.index) {
        (Some(url), _) => {
            let database = Database {
                url: url.clone(),
                ca: args.database_ca.clone(),
            };
            Index::in_database(&database, client.namespace(), retention).await?
        }
        (None, Some(path)) => Index::open(path, retention)?,
        (None, None) => Index::scratch(retention)?,
    };
    let limits = Limits {
        body: args.body_limit,
        time: args.request_timeout,
        live: args.live_memory,
        prefix: args.path_prefix,
        rate: args.rate_limit,
        logins: args.login_limit,
        streams: args.stream_limit,
        proxies: args.trusted_proxies,
    };
    let gateway = Gateway::new(client, index, access, limits);
    tracing::info!("listening at {scheme}://{bound} (/v1, /docs, /healthz, /readyz, /metrics)");
    serve(gateway, socket, stop).await
}

/// Serves a gateway until `stop` is ready, and what was begun is answered.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    gateway: Gateway,
    socket: Socket,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let closing = gateway.clone();
    let serving = socket.serve(gateway.router(), async move {
        stop.await;
        tracing::info!("stopping: what is being answered is answered");
        closing.close();
        let _ = stopping.send(());
    });
    let too_late = async {
        // Never told to stop, or told and not done.
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LAST_MOMENT).await;
    };
    tokio::select! {
        served = async {
            serving.await?;
            // Those the server has handed over, and does not wait for.
            gateway.closed().await;
            Ok(())
        } => served,
        () = too_late => Ok(()),
    }
}

/// A peer at an address, for who sends requests to a router without a socket.
#[doc(hidden)]
#[must_use]
pub fn peer(address: std::net::SocketAddr) -> server::Peer {
    server::Peer(address)
}
