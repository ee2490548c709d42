//! What not every machine has.

use std::process::{Command, Stdio};
use std::sync::Arc;

use taskq_e2e::PostgresServer;

/// What a document needs, once it is there.
#[derive(Default)]
pub(crate) struct Needs {
    postgres: Option<Arc<PostgresServer>>,
}

impl Needs {
    /// Sees to what is needed, and tells what to say of it to the shell; or why
    /// it cannot be had.
    pub(crate) fn meet(&mut self, what: &str) -> Result<String, String> {
        let runs = |program: &str, args: &[&str]| {
            let status = Command::new(program)
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success())
        };
        match what {
            "postgres" => {
                if self.postgres.is_none() {
                    self.postgres = PostgresServer::start().map(Arc::new);
                }
                match &self.postgres {
                    Some(server) => Ok(format!("export DATABASE_URL='{}'\n", server.url())),
                    None => Err("PostgreSQL is not installed".to_owned()),
                }
            }
            "compose" if runs("docker", &["compose", "version"]) => Ok(String::new()),
            // Compose 1 is a program of its own.
            "compose" if runs("docker-compose", &["version"]) => {
                Ok("docker() { shift; docker-compose \"$@\"; }\n".to_owned())
            }
            "compose" => Err("docker compose is not installed".to_owned()),
            "kubectl" if runs("kubectl", &["version", "--client"]) => Ok(String::new()),
            "kubectl" => Err("kubectl is not installed".to_owned()),
            "nginx" if runs("nginx", &["-v"]) => Ok(String::new()),
            "nginx" => Err("nginx is not installed".to_owned()),
            other => Err(format!("nobody knows how to have {other}")),
        }
    }
}
