//! NATS and workers on this machine, for as long as this process lives.

mod gateway;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use taskq::cli::LogArgs;
use taskq::{Client, admin};
use taskq_nats_server::{Error, NatsServer};
use tokio::time::Instant;

pub(crate) use gateway::LocalGateway;
use worker::WorkerProcess;
pub(crate) use worker::{WORKER_COMMAND, work};

/// How long workers may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long the tasks that run may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// A nats-server and worker processes. Dropped, it ends them at once.
#[derive(Debug)]
pub(crate) struct Local {
    // Fields are dropped in order: the workers go before the server.
    workers: Vec<WorkerProcess>,
    server: NatsServer,
    log: LogArgs,
}

impl Local {
    /// Starts the workers, and waits until all are ready.
    pub(crate) async fn start(
        server: NatsServer,
        workers: usize,
        log: &LogArgs,
    ) -> anyhow::Result<(Self, Client)> {
        let mut local = Self {
            workers: Vec::with_capacity(workers),
            server,
            log: log.clone(),
        };
        for number in 1..=workers {
            local.workers.push(WorkerProcess::spawn(
                format!("worker-{number}"),
                local.server.url(),
                log,
            )?);
        }
        let client = Client::builder()
            .url(local.server.url())
            .name("taskq command")
            .connect()
            .await?;
        local.wait_until_ready(&client).await?;
        Ok((local, client))
    }

    async fn wait_until_ready(&mut self, client: &Client) -> anyhow::Result<()> {
        let limit = Instant::now() + READY_LIMIT;
        loop {
            let living = admin::workers(client).await?;
            let ready = |name: &str| living.iter().any(|worker| worker.worker == name);
            if self.workers.iter().all(|worker| ready(worker.name())) {
                return Ok(());
            }
            for worker in &mut self.workers {
                if let Some(status) = worker.ended()? {
                    bail!(
                        "{} ended before it was ready ({status}); what it says is above, and \
                         `--log info` says more",
                        worker.name()
                    );
                }
            }
            if Instant::now() > limit {
                bail!(
                    "the workers were not ready within {}; `--log info` shows what they do",
                    taskq::format_duration(READY_LIMIT)
                );
            }
            // Where nobody listens the answer comes at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `nats-server 2.15.1 at nats://127.0.0.1:4222`
    pub(crate) fn describe_server(&self) -> String {
        format!(
            "nats-server {} at {}",
            self.server.version(),
            self.server.url()
        )
    }

    /// `2 workers: worker-1, worker-2`
    pub(crate) fn describe_workers(&self) -> String {
        let names: Vec<&str> = self.workers.iter().map(WorkerProcess::name).collect();
        let workers = if names.len() == 1 {
            "worker"
        } else {
            "workers"
        };
        format!("{} {workers}: {}", names.len(), names.join(", "))
    }

    pub(crate) fn server(&self) -> &NatsServer {
        &self.server
    }

    /// Starts again what has ended by itself.
    ///
    /// # Errors
    /// When the server has ended: what it kept may be gone with it.
    pub(crate) fn mend(&mut self) -> anyhow::Result<()> {
        if !self.server.is_running() {
            bail!(
                "nats-server has ended; the end of its log: {}",
                self.server.log().lines().last().unwrap_or("(empty)")
            );
        }
        for worker in &mut self.workers {
            if let Some(status) = worker.ended()? {
                eprintln!("{} ended ({status}); starting it again", worker.name());
                *worker =
                    WorkerProcess::spawn(worker.name().to_owned(), self.server.url(), &self.log)?;
            }
        }
        Ok(())
    }

    /// Ends everything in good order: running tasks finish first.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for worker in &mut self.workers {
            worker.tell_to_stop();
        }
        let limit = Instant::now() + GRACE + Duration::from_secs(2);
        for worker in &mut self.workers {
            worker.stop_by(limit).await?;
        }
        tokio::task::spawn_blocking(move || self.server.stop()).await??;
        Ok(())
    }
}

/// What kind of server to start.
#[derive(Debug, Default)]
pub(crate) struct ServerOptions {
    /// 0 for a free port.
    pub(crate) port: u16,
    pub(crate) store: Option<PathBuf>,
}

/// Starts a nats-server, which is fetched first where there is none.
pub(crate) async fn start_server(options: ServerOptions) -> anyhow::Result<NatsServer, Error> {
    let started = tokio::task::spawn_blocking(move || {
        if let Ok(None) = taskq_nats_server::locate() {
            eprintln!("fetching nats-server, once for this machine ...");
        }
        let mut builder = NatsServer::builder().port(options.port);
        if let Some(store) = options.store {
            builder = builder.store_dir(store);
        }
        builder.start()
    });
    match started.await {
        Ok(started) => started,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only the end of the runtime cancels it.
            Err(_) => std::future::pending().await,
        },
    }
}
