//! The gateway's flags.

use std::path::PathBuf;
use std::time::Duration;

use taskq::cli::{ConnectArgs, LogArgs};

use crate::access::{Access, JwtRules, Proxies};
use crate::http::Prefix;
use crate::server::Tls;

/// The settings of a gateway.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen at; any but a loopback address needs tokens
    #[arg(
        long,
        env = "TASKQ_HTTP",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub http: String,

    /// The most bytes of the latest events that are kept for who listens; who is further behind
    /// is let go
    #[arg(
        long,
        env = "TASKQ_LIVE_MEMORY",
        value_name = "BYTES",
        default_value_t = 16 * 1024 * 1024
    )]
    pub live_memory: usize,

    /// Path under which a proxy shows the gateway, such as /taskq; addresses are answered with it
    /// and without it [default: none]
    #[arg(
        long,
        env = "TASKQ_PATH_PREFIX",
        value_name = "PATH",
        default_value = "",
        hide_default_value = true
    )]
    pub path_prefix: Prefix,

    /// Who may do what.
    #[command(flatten)]
    pub access: AccessArgs,

    /// File of the index, to go on with after a restart [default: built again from the streams]
    #[arg(long, env = "TASKQ_INDEX", value_name = "FILE")]
    pub index: Option<PathBuf>,

    /// PostgreSQL database for the index, shared by all replicas, instead of a file:
    /// postgres://user:password@host:5432/database
    #[arg(
        long,
        env = "TASKQ_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        conflicts_with = "index"
    )]
    pub database_url: Option<String>,

    /// File of certificates to trust for the database, beside the system's
    #[arg(
        long,
        env = "TASKQ_DATABASE_CA",
        value_name = "FILE",
        requires = "database_url"
    )]
    pub database_ca: Option<PathBuf>,

    /// How long ended tasks and dead letters stay in the index [default: 30d; 365d in a database]
    #[arg(
        long,
        env = "TASKQ_INDEX_AGE",
        value_name = "TIME",
        value_parser = taskq::parse_duration
    )]
    pub index_age: Option<Duration>,

    /// How many ended tasks stay in the index [default: 1000000; 20000000 in a database]
    #[arg(long, env = "TASKQ_INDEX_TASKS", value_name = "COUNT")]
    pub index_tasks: Option<u64>,

    /// The most bytes of a request's body
    #[arg(
        long,
        env = "TASKQ_BODY_LIMIT",
        value_name = "BYTES",
        default_value_t = 8 * 1024 * 1024
    )]
    pub body_limit: usize,

    /// How long an answer may take; a `wait` comes on top
    #[arg(
        long,
        env = "TASKQ_REQUEST_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        value_parser = taskq::parse_duration
    )]
    pub request_timeout: Duration,

    /// The most requests of a caller in a second; 0 for no limit
    #[arg(
        long,
        env = "TASKQ_RATE_LIMIT",
        value_name = "COUNT",
        default_value_t = 1000
    )]
    pub rate_limit: u32,

    /// The most logins from an address in a minute; 0 for no limit
    #[arg(
        long,
        env = "TASKQ_LOGIN_LIMIT",
        value_name = "COUNT",
        default_value_t = 10
    )]
    pub login_limit: u32,

    /// The most streams of events that a caller may have open
    #[arg(
        long,
        env = "TASKQ_STREAM_LIMIT",
        value_name = "COUNT",
        default_value_t = 1000
    )]
    pub stream_limit: usize,

    /// Addresses and networks of your own proxies, commas between: what they say of who asks
    /// (X-Forwarded-For, X-Forwarded-Proto) is believed [default: none]
    #[arg(
        long,
        env = "TASKQ_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        default_value = "",
        hide_default_value = true
    )]
    pub trusted_proxies: Proxies,

    /// File of the certificate, with its chain, in PEM form; with it connections are encrypted
    #[arg(
        long,
        env = "TASKQ_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,

    /// File of the certificate's private key
    #[arg(
        long,
        env = "TASKQ_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,

    /// File of the authorities of which one must have signed a client's certificate
    /// [default: a client needs none]
    #[arg(
        long,
        env = "TASKQ_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_client_ca: Option<PathBuf>,

    /// Make what taskq needs on the server, and these queues, before it listens; or bring it up to
    /// date, as `taskq init` does [default: nothing is made]
    #[arg(
        long,
        env = "TASKQ_INIT_QUEUES",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub init_queues: Vec<String>,

    /// Where NATS is.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

impl Args {
    /// How connections are encrypted, if they are.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        Tls::read(certificate, key, self.tls_client_ca.as_deref()).map(Some)
    }
}

/// Who may do what; without any of it there is no login, and whoever is on this
/// machine may do everything.
#[derive(Clone, Debug, clap::Args)]
pub struct AccessArgs {
    /// File of people, a line each of name, role and hash, as `gateway hash-password` makes
    /// them; they log in with a browser
    #[arg(long, env = "TASKQ_USERS", value_name = "FILE")]
    pub users: Option<PathBuf>,

    /// File of tokens, a line each of name, role and hash, as `gateway token` makes them
    /// [default: no login, and whoever is on this machine may do everything]
    #[arg(long, env = "TASKQ_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,

    /// File of the key that signs sessions, the same for all replicas; 32 bytes or more
    /// [default: made from the owner's line in the file of users or tokens]
    #[arg(long, env = "TASKQ_SESSION_KEY", value_name = "FILE")]
    pub session_key: Option<PathBuf>,

    /// File of the keys of JWTs: a set (JWKS), a public key in PEM form, or a secret of 32 bytes
    /// or more
    #[arg(long, env = "TASKQ_JWT_KEYS", value_name = "FILE")]
    pub jwt_keys: Option<PathBuf>,

    /// Whom JWTs must be for (`aud`) [default: anybody]
    #[arg(long, env = "TASKQ_JWT_AUDIENCE", value_name = "NAME")]
    pub jwt_audience: Option<String>,

    /// Who must have made JWTs (`iss`) [default: anybody with a key]
    #[arg(long, env = "TASKQ_JWT_ISSUER", value_name = "NAME")]
    pub jwt_issuer: Option<String>,

    /// The claim of JWTs that has the role, or several; with dots, within others
    #[arg(
        long,
        env = "TASKQ_JWT_ROLE_CLAIM",
        value_name = "CLAIM",
        default_value = "role"
    )]
    pub jwt_role_claim: String,

    /// The claim of JWTs that has the name
    #[arg(
        long,
        env = "TASKQ_JWT_NAME_CLAIM",
        value_name = "CLAIM",
        default_value = "sub"
    )]
    pub jwt_name_claim: String,

    /// How long a session is good
    #[arg(
        long,
        env = "TASKQ_SESSION_AGE",
        value_name = "TIME",
        default_value = "12h",
        value_parser = taskq::parse_duration
    )]
    pub session_age: Duration,
}

impl AccessArgs {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(&self) -> anyhow::Result<Access> {
        let mut access =
            Access::default().sessions(self.session_key.as_deref(), self.session_age)?;
        if let Some(path) = &self.users {
            access = access.users(path)?;
        }
        if let Some(path) = &self.tokens {
            access = access.tokens(path)?;
        }
        if let Some(path) = &self.jwt_keys {
            let rules = JwtRules {
                audience: self.jwt_audience.clone(),
                issuer: self.jwt_issuer.clone(),
                role_claim: self.jwt_role_claim.clone(),
                name_claim: self.jwt_name_claim.clone(),
            };
            access = access.jwt(path, rules)?;
        }
        Ok(access)
    }
}
