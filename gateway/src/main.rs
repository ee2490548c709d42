//! The `gateway` program.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use taskq_gateway::bench::{BenchArgs, bench_index};
use taskq_gateway::bench_feed::{BenchFeedArgs, bench_feed};
use taskq_gateway::{Args, Role, add_token, hash_password, make_token};

/// Tasks, queues, workers and dead letters over HTTP
#[derive(Debug, Parser)]
#[command(name = "gateway", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    args: Args,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token: the secret for its owner on stdout, and the line for TASKQ_TOKENS
    Token {
        /// Whose it is
        name: String,

        /// What they may do: viewer looks, operator acts, admin throws away
        #[arg(long, env = "TASKQ_ROLE", value_name = "ROLE", value_enum, default_value_t = Role::Viewer)]
        role: Role,

        /// Add the line to this file instead of printing it, unless the file knows the name: then
        /// there is nothing to do, and it is left as it is
        #[arg(long, env = "TASKQ_ADD_TO", value_name = "FILE")]
        add_to: Option<PathBuf>,

        /// Write the secret to this file instead of printing it; its owner and group may read it
        #[arg(
            long,
            env = "TASKQ_SECRET_FILE",
            value_name = "FILE",
            requires = "add_to"
        )]
        secret_file: Option<PathBuf>,
    },
    /// Asks a gateway's /healthz; exits 0 when it is well and 1 when it is not
    Healthcheck {
        /// Address of the gateway, which is asked without TLS
        #[arg(
            long,
            env = "TASKQ_HTTP",
            value_name = "HOST:PORT",
            default_value = "127.0.0.1:8080"
        )]
        http: String,

        /// How long the answer may take
        #[arg(
            long,
            env = "TASKQ_HEALTH_TIMEOUT",
            value_name = "TIME",
            default_value = "3s",
            value_parser = taskq::parse_duration
        )]
        timeout: Duration,
    },
    /// Hash a password, read from stdin: the line for TASKQ_USERS
    HashPassword {
        /// Whose it is
        name: String,

        /// What they may do: viewer looks, operator acts, admin throws away
        #[arg(long, env = "TASKQ_ROLE", value_name = "ROLE", value_enum, default_value_t = Role::Viewer)]
        role: Role,
    },
    /// Measure the index
    #[command(hide = true)]
    BenchIndex(BenchArgs),
    /// Measure the live events of a running gateway
    #[command(hide = true)]
    BenchFeed(Box<BenchFeedArgs>),
}

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Token {
            name,
            role,
            add_to: None,
            ..
        }) => token(&name, role),
        Some(Command::Token {
            name,
            role,
            add_to: Some(file),
            secret_file,
        }) => token_in(&file, &name, role, secret_file.as_deref()),
        Some(Command::Healthcheck { http, timeout }) => {
            taskq::cli::check_health(&http, timeout).map_err(Into::into)
        }
        Some(Command::HashPassword { name, role }) => password(&name, role),
        Some(Command::BenchIndex(args)) => bench_index(&args).await,
        Some(Command::BenchFeed(args)) => bench_feed(&args).await,
        None => {
            cli.args.log.init();
            taskq_gateway::run(cli.args).await
        }
    };
    taskq::telemetry::end_traces();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn token(name: &str, role: Role) -> anyhow::Result<()> {
    if name.is_empty() || name.contains([' ', '\t', '\n', ':', '#']) {
        anyhow::bail!("a name has no space, `:` or `#` in it");
    }
    let (secret, line) = make_token(name, role);
    println!("{secret}");
    println!("{line}");
    Ok(())
}

/// Adds a token to a file; once, however often it is called.
fn token_in(file: &Path, name: &str, role: Role, secret_file: Option<&Path>) -> anyhow::Result<()> {
    match add_token(file, name, role, secret_file)? {
        None => eprintln!(
            "{} has a token of {name} already, which stays as it is; remove the line for another",
            file.display()
        ),
        Some(secret) => match secret_file {
            None => println!("{secret}"),
            Some(path) => eprintln!("the token of {name} is in {}", path.display()),
        },
    }
    Ok(())
}

fn password(name: &str, role: Role) -> anyhow::Result<()> {
    if std::io::stdin().is_terminal() {
        eprintln!("The password, and then the return key (it is shown as you type):");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let password = line.trim_end_matches(['\n', '\r']);
    println!("{}", hash_password(name, role, password)?);
    Ok(())
}
