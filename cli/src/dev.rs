//! `taskq dev`: NATS, workers and a gateway while one develops.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use taskq::cli::{LogArgs, stop_signal};
use taskq_nats_server::{Error, NatsServer};

use crate::local::{Local, LocalGateway, ServerOptions, start_server};
use crate::output::say;

/// How often to see whether everything still runs.
const LOOK: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Port of 127.0.0.1 for NATS; 0 for a free one
    #[arg(long, env = "TASKQ_PORT", value_name = "PORT", default_value_t = 4222)]
    port: u16,

    /// Folder to keep queues and results in [default: a temporary one, removed at the end]
    #[arg(long, env = "TASKQ_STORE", value_name = "DIR")]
    store: Option<PathBuf>,

    /// How many worker processes to start; 0 for none but your own
    #[arg(
        long,
        env = "TASKQ_WORKERS",
        value_name = "COUNT",
        default_value_t = 2,
        value_parser = clap::value_parser!(u8).range(0..=64)
    )]
    workers: u8,

    /// Port of 127.0.0.1 for the gateway, with REST and the dashboard; a free one where it is
    /// taken, or for 0
    #[arg(
        long,
        env = "TASKQ_HTTP_PORT",
        value_name = "PORT",
        default_value_t = 8080
    )]
    http_port: u16,

    /// Start no gateway
    #[arg(long, env = "TASKQ_NO_GATEWAY")]
    no_gateway: bool,

    #[command(flatten)]
    log: LogArgs,
}

pub(crate) async fn dev(args: Args) -> anyhow::Result<ExitCode> {
    args.log.init();
    let stop = stop_signal();
    tokio::pin!(stop);
    let (mut local, gateway) = tokio::select! {
        started = start(&args) => started?,
        () = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    say(local.describe_server())?;
    say(local.describe_workers())?;
    if let Some(gateway) = &gateway {
        say(gateway.describe())?;
    }
    say(format_args!(
        "\n  export NATS_URL={}\n  cargo run --bin producer\n\nCtrl-C stops it.",
        local.server().url()
    ))?;
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(LOOK) => local.mend()?,
        }
    }
    say("\nstopping ...")?;
    tokio::select! {
        stopped = async {
            if let Some(gateway) = gateway {
                gateway.stop().await?;
            }
            local.stop().await
        } => stopped?,
        // A second one does not wait for what runs.
        () = stop_signal() => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(args: &Args) -> anyhow::Result<(Local, Option<LocalGateway>)> {
    let server = server(args).await?;
    let (local, _) = Local::start(server, args.workers.into(), &args.log).await?;
    let gateway = match args.no_gateway {
        false => Some(LocalGateway::start(local.server().url(), args.http_port).await?),
        true => None,
    };
    Ok((local, gateway))
}

async fn server(args: &Args) -> anyhow::Result<NatsServer> {
    let options = ServerOptions {
        port: args.port,
        store: args.store.clone(),
    };
    start_server(options).await.map_err(|error| match error {
        Error::PortInUse { port } => anyhow!(
            "port {port} on 127.0.0.1 is in use, perhaps by a NATS server that runs already; \
             choose another with `--port` (0 for a free one)"
        ),
        error => error.into(),
    })
}
