//! What kind of server to start.

use std::path::PathBuf;
use std::time::Duration;

use crate::binary::Binary;

/// When JetStream writes through to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// As nats-server does by itself: at once to the system, and every two
    /// minutes to the disk. What was acknowledged survives the server's end by
    /// any signal, not a power cut.
    #[default]
    Default,
    /// To the disk before every acknowledgement (`sync_interval: always`).
    /// What was acknowledged survives a power cut.
    Synced,
}

/// What clients must give to be admitted.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    User(String, String),
    Token(String),
}

/// The options of a server, from [`NatsServer::builder`](crate::NatsServer::builder).
#[derive(Debug, Clone)]
#[must_use = "no server starts until `start` is called"]
pub struct NatsServerBuilder {
    /// The program. None to find or fetch one.
    pub(crate) binary: Option<Binary>,
    /// The port for clients, 0 for a free one.
    pub(crate) port: u16,
    /// Where JetStream keeps its streams. None for a folder of its own.
    pub(crate) store_dir: Option<PathBuf>,
    /// When JetStream writes through to the disk.
    pub(crate) durability: Durability,
    /// Whether JetStream is on.
    pub(crate) jetstream: bool,
    /// Whether there is an HTTP port that tells how the server does.
    pub(crate) monitoring: bool,
    /// The largest message, in bytes.
    pub(crate) max_payload: Option<u32>,
    /// The most that JetStream keeps in memory, in bytes.
    pub(crate) max_memory_store: Option<u64>,
    /// The most that JetStream keeps on the disk, in bytes.
    pub(crate) max_file_store: Option<u64>,
    /// What clients must give.
    pub(crate) login: Option<Login>,
    /// The server's name.
    pub(crate) server_name: Option<String>,
    /// More lines of configuration.
    pub(crate) config: String,
    /// Environment variables of the server.
    pub(crate) env: Vec<(String, String)>,
    /// How long to wait for the server to be ready.
    pub(crate) start_timeout: Duration,
}

impl Default for NatsServerBuilder {
    fn default() -> Self {
        Self {
            binary: None,
            port: 0,
            store_dir: None,
            durability: Durability::Default,
            jetstream: true,
            monitoring: false,
            max_payload: None,
            max_memory_store: None,
            max_file_store: None,
            login: None,
            server_name: None,
            config: String::new(),
            env: Vec::new(),
            start_timeout: Duration::from_secs(30),
        }
    }
}

impl NatsServerBuilder {
    /// Runs this program. [`ensure`](crate::ensure) finds or fetches one if
    /// this is not called.
    pub fn binary(mut self, binary: Binary) -> Self {
        self.binary = Some(binary);
        self
    }

    /// Listens on this port of 127.0.0.1. A free one by default, and for 0.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Keeps streams below `path`, which is created if need be and stays when
    /// the server ends. By default they are kept in a folder for temporary
    /// files, which is removed with the server.
    pub fn store_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(path.into());
        self
    }

    /// Sets when JetStream writes through to the disk.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Turns JetStream on or off. On by default.
    pub fn jetstream(mut self, on: bool) -> Self {
        self.jetstream = on;
        self
    }

    /// Turns the HTTP monitoring port on or off: a free port of 127.0.0.1, told
    /// by [`NatsServer::monitor_url`](crate::NatsServer::monitor_url). Off by default.
    pub fn monitoring(mut self, on: bool) -> Self {
        self.monitoring = on;
        self
    }

    /// Refuses messages larger than this, in bytes. 1 MiB by default.
    pub fn max_payload(mut self, bytes: u32) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// Lets JetStream keep at most this much in memory, in bytes. Three
    /// quarters of the machine's memory by default.
    pub fn max_memory_store(mut self, bytes: u64) -> Self {
        self.max_memory_store = Some(bytes);
        self
    }

    /// Lets JetStream keep at most this much on the disk, in bytes. Three
    /// quarters of what is free on it by default.
    pub fn max_file_store(mut self, bytes: u64) -> Self {
        self.max_file_store = Some(bytes);
        self
    }

    /// Admits only clients that give this name and password. Takes the place of
    /// a [`token`](Self::token).
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some(Login::User(name.into(), password.into()));
        self
    }

    /// Admits only clients that give this token. Takes the place of a
    /// [`user`](Self::user).
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.login = Some(Login::Token(token.into()));
        self
    }

    /// Names the server. The name must be without spaces.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Adds lines to the server's [configuration file], below what the other
    /// options write there. Called again, it adds more. Where the server logs
    /// is not to be changed: the log is read to see whether it is ready.
    ///
    /// [configuration file]: https://docs.nats.io/running-a-nats-service/configuration
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Sets an environment variable of the server, which its configuration may
    /// name as `$NAME`.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Gives up on a server that is not ready by then. 30 seconds by default.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }
}
