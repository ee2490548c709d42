//! A server with the users of `deploy/nats/permissions.conf`.

use std::process::Command;

use taskq::{Client, ClientBuilder};
use taskq_nats_server::{NatsServer, NatsServerBuilder};

use crate::PATIENCE;

/// The users of the file.
pub const ROLES: [&str; 4] = ["producer", "worker", "operator", "viewer"];

/// A server of its own that has the roles.
#[derive(Debug)]
pub struct Roles {
    /// The server.
    pub server: NatsServer,
}

impl Roles {
    /// Starts the server with the file as it stands.
    #[must_use]
    pub fn start() -> Self {
        let server = Self::server().start();
        Self {
            server: server.expect("a nats-server for the test"),
        }
    }

    /// A server with the file as it stands.
    pub fn server() -> NatsServerBuilder {
        let file = include_str!("../../deploy/nats/permissions.conf");
        let server = NatsServer::builder().config(file);
        ROLES.into_iter().fold(server, |server, role| {
            let variable = format!("TASKQ_{}_PASSWORD", role.to_uppercase());
            server.env(variable, Self::password(role))
        })
    }

    /// The password of a role's user.
    #[must_use]
    pub fn password(role: &str) -> String {
        format!("pa55-of-{role}")
    }

    /// The settings of a client that has a role.
    pub fn builder(&self, role: &str) -> ClientBuilder {
        Client::builder()
            .url(self.server.url())
            .user(role, Self::password(role))
            .inbox_prefix(format!("_IN_{role}"))
            .result_timeout(PATIENCE)
    }

    /// A client that has a role.
    pub async fn client(&self, role: &str) -> Client {
        self.builder(role).connect().await.expect("a client")
    }

    /// Has a program connect with a role.
    pub fn set<'a>(&self, role: &str, command: &'a mut Command) -> &'a mut Command {
        command
            .env("NATS_URL", self.server.url())
            .env("NATS_USER", role)
            .env("NATS_PASSWORD", Self::password(role))
            .env("TASKQ_INBOX_PREFIX", format!("_IN_{role}"))
    }
}
