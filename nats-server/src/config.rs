//! The server's configuration file.

use std::fmt::Write as _;
use std::path::Path;

use crate::builder::{Durability, Login, NatsServerBuilder};
use crate::run_dir::RunDir;

/// The ports to listen on, None for a free one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ports {
    pub(crate) client: Option<u16>,
    pub(crate) monitor: Option<u16>,
}

/// Writes out the configuration of a server.
pub(crate) fn render(options: &NatsServerBuilder, ports: Ports, run: &RunDir) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    };

    line("listen", address(ports.client));
    line("ports_file_dir", path(run.path()));
    if options.monitoring {
        line("http", address(ports.monitor));
    }
    if let Some(name) = &options.server_name {
        line("server_name", quoted(name));
    }
    if let Some(bytes) = options.max_payload {
        line("max_payload", bytes.to_string());
    }
    if options.jetstream {
        let mut jetstream = format!("store_dir: {}", path(run.store_dir()));
        if options.durability == Durability::Synced {
            jetstream.push_str(", sync_interval: always");
        }
        for (name, limit) in [
            ("max_memory_store", options.max_memory_store),
            ("max_file_store", options.max_file_store),
        ] {
            if let Some(bytes) = limit {
                let _ = write!(jetstream, ", {name}: {bytes}");
            }
        }
        line("jetstream", format!("{{ {jetstream} }}"));
    }
    match &options.login {
        Some(Login::User(user, password)) => {
            let (user, password) = (quoted(user), quoted(password));
            line(
                "authorization",
                format!("{{ user: {user}, password: {password} }}"),
            );
        }
        Some(Login::Token(token)) => {
            line("authorization", format!("{{ token: {} }}", quoted(token)));
        }
        None => {}
    }
    text + &options.config
}

fn address(port: Option<u16>) -> String {
    match port {
        Some(port) => format!("\"127.0.0.1:{port}\""),
        None => "\"127.0.0.1:-1\"".to_owned(),
    }
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A string between quotes: without them, `$x` would be a variable and `1k` a
/// number.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{Ports, quoted, render};
    use crate::builder::Durability;
    use crate::run_dir::RunDir;
    use crate::server::NatsServer;

    #[test]
    fn every_option_has_its_line() {
        let run = RunDir::create(None).unwrap();
        let options = NatsServer::builder()
            .monitoring(true)
            .durability(Durability::Synced)
            .server_name("one")
            .max_payload(10)
            .max_memory_store(20)
            .max_file_store(30)
            .user("me", "it's \"$ecret\"")
            .config("max_connections: 40")
            .config("lame_duck_duration: 30s");
        let ports = Ports {
            client: Some(4222),
            monitor: None,
        };
        let folder = run.path().display();
        let expected = format!(
            "listen: \"127.0.0.1:4222\"\n\
             ports_file_dir: \"{folder}\"\n\
             http: \"127.0.0.1:-1\"\n\
             server_name: \"one\"\n\
             max_payload: 10\n\
             jetstream: {{ store_dir: \"{folder}/store\", sync_interval: always, \
             max_memory_store: 20, max_file_store: 30 }}\n\
             authorization: {{ user: \"me\", password: \"it's \\\"$ecret\\\"\" }}\n\
             max_connections: 40\n\
             lame_duck_duration: 30s\n"
        );
        assert_eq!(render(&options, ports, &run), expected);
    }

    #[test]
    fn what_would_end_a_string_is_escaped() {
        assert_eq!(quoted("a\\b\n\"c\""), r#""a\\b\n\"c\"""#);
    }
}
