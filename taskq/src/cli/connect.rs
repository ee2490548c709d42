//! Where NATS is, and as whom to connect.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::broker::Mode;
use crate::client::{Client, ClientBuilder};
use crate::error::Result;

/// How to connect: every setting of a [`ClientBuilder`] that differs from
/// one place to the next, each a flag and an environment variable.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// Address of the NATS server, or of several, separated by commas
    #[arg(
        long,
        env = "NATS_URL",
        value_name = "URL",
        default_value = "nats://127.0.0.1:4222",
        hide_env_values = true
    )]
    pub url: String,

    /// File of NATS credentials (a JWT and a seed)
    #[arg(long, env = "NATS_CREDS", value_name = "FILE")]
    pub creds: Option<PathBuf>,

    /// User name
    #[arg(long, env = "NATS_USER", value_name = "NAME", requires = "password")]
    pub user: Option<String>,

    /// The user's password
    #[arg(
        long,
        env = "NATS_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true,
        requires = "user"
    )]
    pub password: Option<String>,

    /// Token, where the server asks for one
    #[arg(long, env = "NATS_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// Seed of an nkey
    #[arg(long, env = "NATS_NKEY", value_name = "SEED", hide_env_values = true)]
    pub nkey: Option<String>,

    /// File of certificates to trust; the connection is encrypted then
    #[arg(long, env = "NATS_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// File of this program's own certificate
    #[arg(long, env = "NATS_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// File of the certificate's key
    #[arg(long, env = "NATS_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,

    /// Keeps several systems apart on one NATS
    #[arg(
        long,
        env = "TASKQ_NAMESPACE",
        value_name = "NAME",
        default_value = "taskq"
    )]
    pub namespace: String,

    /// Transport: jetstream (stored, at least once), core (not stored, at most once), memory
    #[arg(
        long,
        env = "TASKQ_MODE",
        value_name = "MODE",
        default_value_t = Mode::JetStream
    )]
    pub mode: Mode,

    /// Nodes of a NATS cluster that store each message of the streams made here: 1 (if not set), 3 or 5
    #[arg(long, env = "TASKQ_REPLICAS", value_name = "COUNT")]
    pub replicas: Option<usize>,

    /// Start of the subjects that answers come to, where `_INBOX.>` is not allowed
    #[arg(long, env = "TASKQ_INBOX_PREFIX", value_name = "PREFIX")]
    pub inbox_prefix: Option<String>,

    /// How long to try to connect
    #[arg(
        long,
        env = "TASKQ_CONNECT_TIMEOUT",
        value_name = "TIME",
        default_value = "10s",
        value_parser = crate::parse_duration
    )]
    pub connect_timeout: Duration,
}

impl ConnectArgs {
    /// A client's settings with these; add your own and connect.
    pub fn builder(&self) -> ClientBuilder {
        let mut builder = Client::builder()
            .url(&self.url)
            .namespace(&self.namespace)
            .mode(self.mode)
            .connect_timeout(self.connect_timeout);
        if let Some(replicas) = self.replicas {
            builder = builder.replicas(replicas);
        }
        if let Some(creds) = &self.creds {
            builder = builder.credentials_file(creds);
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            builder = builder.user(user, password);
        }
        if let Some(token) = &self.token {
            builder = builder.token(token);
        }
        if let Some(seed) = &self.nkey {
            builder = builder.nkey(seed);
        }
        if let Some(ca) = &self.ca {
            builder = builder.ca(ca);
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            builder = builder.identity(cert, key);
        }
        if let Some(prefix) = &self.inbox_prefix {
            builder = builder.inbox_prefix(prefix);
        }
        builder
    }

    /// These settings as environment variables, for a program that is started
    /// with them. It needs no more than these to connect as this does.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut set = vec![
            ("NATS_URL", OsString::from(&self.url)),
            ("TASKQ_NAMESPACE", OsString::from(&self.namespace)),
            ("TASKQ_MODE", OsString::from(self.mode.as_str())),
            (
                "TASKQ_CONNECT_TIMEOUT",
                taskq_syntax::format_duration(self.connect_timeout).into(),
            ),
        ];
        let files = [
            ("NATS_CREDS", &self.creds),
            ("NATS_CA", &self.ca),
            ("NATS_CERT", &self.cert),
            ("NATS_KEY", &self.key),
        ];
        let files = files.into_iter();
        set.extend(files.filter_map(|(name, file)| Some((name, file.clone()?.into()))));
        let texts = [
            ("NATS_USER", &self.user),
            ("NATS_PASSWORD", &self.password),
            ("NATS_TOKEN", &self.token),
            ("NATS_NKEY", &self.nkey),
            ("TASKQ_INBOX_PREFIX", &self.inbox_prefix),
        ];
        let texts = texts.into_iter();
        set.extend(texts.filter_map(|(name, text)| Some((name, text.clone()?.into()))));
        if let Some(replicas) = self.replicas {
            set.push(("TASKQ_REPLICAS", replicas.to_string().into()));
        }
        set
    }

    /// Connects with these settings.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect(&self) -> Result<Client> {
        self.builder().connect().await
    }
}

impl fmt::Debug for ConnectArgs {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectArgs").field(&self.builder()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    fn command() -> clap::Command {
        ConnectArgs::augment_args(clap::Command::new("test"))
    }

    fn parse(args: &[&str]) -> Result<ConnectArgs, clap::Error> {
        let matches = command().try_get_matches_from(["test"].iter().chain(args))?;
        ConnectArgs::from_arg_matches(&matches)
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        for arg in command().get_arguments() {
            let id = arg.get_id();
            assert!(arg.get_env().is_some(), "{id}");
            assert!(arg.get_help().is_some(), "{id}");
        }
    }

    #[test]
    fn a_program_that_is_started_with_the_environment_has_every_setting() {
        let args = [
            "--url",
            "nats://there:4222",
            "--creds",
            "a.creds",
            "--user",
            "ada",
            "--password",
            "pa55",
            "--token",
            "t0ken",
            "--nkey",
            "SUA",
            "--ca",
            "ca.pem",
            "--cert",
            "a.pem",
            "--key",
            "a.key",
            "--namespace",
            "shop",
            "--mode",
            "core",
            "--replicas",
            "3",
            "--inbox-prefix",
            "_IN",
            "--connect-timeout",
            "3s",
        ];
        let set = parse(&args).unwrap().environment();
        for arg in command().get_arguments() {
            let name = arg.get_env().unwrap();
            let found = set.iter().find(|(it, _)| *it == name);
            let given = args
                .iter()
                .position(|it| it.strip_prefix("--") == arg.get_long());
            let given = args[given.unwrap() + 1];
            assert_eq!(found.unwrap().1, given, "{name:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let args = parse(&["--user", "ada", "--password", "pa55", "--token", "t0ken"]).unwrap();
        let shown = format!("{args:?}");
        assert!(
            !shown.contains("pa55") && !shown.contains("t0ken"),
            "{shown}"
        );
    }

    #[test]
    fn settings_that_make_no_sense_are_bad_usage() {
        for args in [
            &["--user", "ada"][..],
            &["--cert", "a.pem"],
            &["--mode", "postgres"],
            &["--connect-timeout", "soon"],
        ] {
            let error = parse(args).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        }
    }
}
