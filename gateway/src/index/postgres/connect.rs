//! The way to a database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use sha2::{Digest as _, Sha256};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::{Result, failed};
use crate::index::IndexError;

/// How many searches run at once.
const READERS: usize = 8;
/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which database, and how to trust it.
#[derive(Clone)]
pub struct Database {
    /// `postgres://user:password@host:5432/database`.
    pub url: String,
    /// A file of the certificates to trust, beside those of the system.
    pub ca: Option<PathBuf>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address has a password in it.
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

/// A schema of a database.
pub(super) struct Server {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    schema: String,
    lock: i64,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// `name` is the system's namespace: each has a schema of its own.
    pub(super) fn new(database: &Database, name: &str) -> Result<Self> {
        let mut config: Config = insisting(&database.url).parse().map_err(|_| {
            // What it says may repeat what was written.
            IndexError::Invalid(
                "TASKQ_DATABASE_URL is no address of a PostgreSQL database; write \
                 postgres://user:password@host:5432/database, with %XX for what is no letter or \
                 digit in the password"
                    .to_owned(),
            )
        })?;
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        if !name.chars().all(is_plain) || name.is_empty() || name.len() > 40 {
            return Err(IndexError::Invalid(format!(
                "the namespace `{name}` cannot name a schema in the database; use up to 40 \
                 letters, digits, `_` and `-`"
            )));
        }
        let schema = format!("taskq_index_{name}");
        // A connection that is gone must not keep the lock for long.
        let own = format!(
            "-c search_path=\"{schema}\" -c tcp_keepalives_idle=20 -c tcp_keepalives_interval=5 \
             -c tcp_keepalives_count=4 -c idle_in_transaction_session_timeout=60000"
        );
        let options = match config.get_options() {
            Some(options) => format!("{options} {own}"),
            None => own,
        };
        config.options(options);
        if config.get_application_name().is_none() {
            config.application_name("taskq gateway");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        config.keepalives_idle(Duration::from_secs(20));
        config.tcp_user_timeout(Duration::from_secs(30));
        let digest = Sha256::digest(schema.as_bytes());
        let mut lock = [0; 8];
        lock.copy_from_slice(&digest[..8]);
        Ok(Self {
            tls: tls(&config, database)?,
            config,
            lock: i64::from_le_bytes(lock),
            schema,
        })
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// The number of the lock that who writes has.
    pub(super) fn lock(&self) -> i64 {
        self.lock
    }

    /// A connection to write by.
    pub(super) async fn connect(&self) -> Result<Client> {
        match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
                tokio::spawn(connection);
                Ok(client)
            }
            Some(tls) => {
                let connected = self.config.connect(tls.clone()).await;
                let (client, connection) = connected.map_err(failed)?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }

    /// Connections to read by.
    pub(super) fn pool(&self) -> Result<Pool> {
        let mut config = self.config.clone();
        let options = config.get_options().unwrap_or_default();
        config.options(format!("{options} -c statement_timeout=20000"));
        let managed = ManagerConfig {
            // A search that was given up may have left a transaction.
            recycling_method: RecyclingMethod::Custom("ROLLBACK".to_owned()),
        };
        let manager = match &self.tls {
            None => Manager::from_config(config, NoTls, managed),
            Some(tls) => Manager::from_config(config, tls.clone(), managed),
        };
        Pool::builder(manager)
            .max_size(READERS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(PATIENCE))
            .recycle_timeout(Some(PATIENCE))
            .build()
            .map_err(|error| IndexError::Postgres(error.to_string()))
    }
}

/// An address whose `sslmode` is one that the driver knows. Wherever there is TLS
/// the certificate and its name are checked, so the stricter modes of others mean
/// the same as `require`.
fn insisting(url: &str) -> String {
    let Some((before, parameters)) = url.split_once('?') else {
        return url.to_owned();
    };
    let parameters = parameters.split('&').map(|parameter| match parameter {
        "sslmode=verify-ca" | "sslmode=verify-full" => "sslmode=require",
        other => other,
    });
    let parameters: Vec<&str> = parameters.collect();
    format!("{before}?{}", parameters.join("&"))
}

/// None where the connection needs no TLS: it stays on this machine, or the
/// address says so.
fn tls(config: &Config, database: &Database) -> Result<Option<MakeRustlsConnect>> {
    let is_here = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    });
    let may_be_plain = is_here && database.ca.is_none();
    match config.get_ssl_mode() {
        SslMode::Disable => return Ok(None),
        SslMode::Prefer if may_be_plain => return Ok(None),
        _ => {}
    }
    let mut roots = RootCertStore::empty();
    // Those that cannot be read are as good as not there: what they would have
    // vouched for is refused.
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if let Some(path) = &database.ca {
        let unreadable = |error: &dyn std::fmt::Display| {
            IndexError::Invalid(format!(
                "the certificates of TASKQ_DATABASE_CA cannot be read: {}: {error}",
                path.display()
            ))
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|it| unreadable(&it))? {
            let certificate = certificate.map_err(|it| unreadable(&it))?;
            roots.add(certificate).map_err(|it| unreadable(&it))?;
        }
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| IndexError::Invalid(format!("no TLS for the database: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(client)))
}
