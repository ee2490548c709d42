//! A server that runs.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::binary::Binary;
use crate::builder::NatsServerBuilder;
use crate::config::{Ports, render};
use crate::error::{Error, Result};
use crate::locate::ensure;
use crate::ready::{Listening, POLL, Starting};
use crate::run_dir::RunDir;
use crate::supervisor::{Process, Signal};
use crate::version::Version;

/// How long a server may take to end in good order.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long the system may take to end or to pause a process.
const SIGNAL_LIMIT: Duration = Duration::from_secs(10);

/// How long a restart waits for its port: an outgoing connection of any
/// process may have been given it in the meantime.
const PORT_LIMIT: Duration = Duration::from_secs(5);

/// A nats-server on 127.0.0.1 that ends with this value, and with this process
/// even when that is killed (on Windows: unless it is killed).
///
/// ```no_run
/// use taskq_nats_server::NatsServer;
///
/// # fn main() -> Result<(), taskq_nats_server::Error> {
/// let server = NatsServer::builder().monitoring(true).start()?;
/// println!("{} {:?}", server.url(), server.monitor_url());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NatsServer {
    binary: Binary,
    options: NatsServerBuilder,
    process: Process,
    listening: Listening,
    url: String,
    monitor_url: Option<String>,
    // Last, as fields are dropped in order: the folder goes after the server.
    run: RunDir,
}

impl NatsServerBuilder {
    /// Starts the server, and returns when it takes connections (and JetStream
    /// has recovered its streams).
    ///
    /// # Errors
    ///
    /// As [`ensure`](crate::ensure) when no server is at hand;
    /// [`Error::PortInUse`](crate::Error::PortInUse);
    /// [`Error::DidNotStart`](crate::Error::DidNotStart) with the end of the
    /// server's log; and [`Error::Io`](crate::Error::Io).
    pub fn start(self) -> Result<NatsServer> {
        NatsServer::start(self)
    }
}

impl NatsServer {
    /// A server with JetStream on a free port, unless told otherwise.
    pub fn builder() -> NatsServerBuilder {
        NatsServerBuilder::default()
    }

    fn start(options: NatsServerBuilder) -> Result<Self> {
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => ensure()?,
        };
        let run = RunDir::create(options.store_dir.as_deref())?;
        let ports = Ports {
            client: Some(options.port).filter(|port| *port != 0),
            monitor: None,
        };
        let (process, listening) = launch(&binary, &options, ports, &run)?;
        Ok(Self {
            url: format!("nats://127.0.0.1:{}", listening.port),
            monitor_url: listening
                .monitor_port
                .map(|port| format!("http://127.0.0.1:{port}")),
            binary,
            options,
            process,
            listening,
            run,
        })
    }

    /// Where clients connect: `nats://127.0.0.1:<port>`, without the user's
    /// name, the password or the token. The same after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port for clients. The same after a restart.
    pub fn port(&self) -> u16 {
        self.listening.port
    }

    /// Where the server tells how it does, such as at `/healthz` below this:
    /// `http://127.0.0.1:<port>`. None unless
    /// [`monitoring`](NatsServerBuilder::monitoring) is on.
    pub fn monitor_url(&self) -> Option<&str> {
        self.monitor_url.as_deref()
    }

    pub(crate) fn monitor_port(&self) -> Option<u16> {
        self.listening.monitor_port
    }

    /// The id of the server's process. Another one after a restart.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where JetStream keeps its streams.
    pub fn store_dir(&self) -> &Path {
        self.run.store_dir()
    }

    /// The version of the server.
    pub fn version(&self) -> &Version {
        self.binary.version()
    }

    /// All that the server logged, over its restarts.
    pub fn log(&self) -> String {
        self.run.log(0)
    }

    /// Whether the server runs. It does too while it is paused.
    pub fn is_running(&self) -> bool {
        self.process.ended().is_none()
    }

    /// Ends the server at once, with SIGKILL, and returns when it is gone. The
    /// store stays. Does nothing if it has ended already.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system does not end it.
    pub fn kill(&mut self) -> Result<()> {
        end(&self.process, &self.binary, Signal::Kill)
    }

    /// Ends the server in good order, with SIGTERM, and returns when it is
    /// gone; one that takes more than ten seconds is killed. The store stays.
    /// Does nothing if it has ended already.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system does not end it.
    pub fn stop(&mut self) -> Result<()> {
        end(&self.process, &self.binary, Signal::Stop)
    }

    /// Starts the server again with the same ports and the same store, and
    /// returns when it is ready. [Stops](Self::stop) it first if it runs.
    ///
    /// # Errors
    ///
    /// As [`NatsServerBuilder::start`]. The server has then ended, and may be
    /// restarted once more.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.process.release();
        let ports = Ports {
            client: Some(self.listening.port),
            monitor: self.listening.monitor_port,
        };
        let until = Instant::now() + PORT_LIMIT;
        loop {
            match launch(&self.binary, &self.options, ports, &self.run) {
                Ok((process, _)) => {
                    self.process = process;
                    return Ok(());
                }
                Err(Error::PortInUse { .. }) if Instant::now() < until => thread::sleep(POLL),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the server stand still, with SIGSTOP, and returns when it does:
    /// its connections stay open and get no answer, as when a machine hangs.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] if it has ended, [`Error::Unsupported`] on
    /// Windows.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::Pause)?;
        let until = Instant::now() + SIGNAL_LIMIT;
        let failed = || Error::io(Signal::Pause.verb(), self.binary.path());
        while !self.process.is_paused().map_err(failed())? {
            if Instant::now() > until {
                return Err(failed()(io::ErrorKind::TimedOut.into()));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::Resume)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let operation = signal.verb();
        if let Some(status) = self.process.ended() {
            return Err(Error::NotRunning { operation, status });
        }
        match self.process.signal(signal) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                Err(Error::Unsupported { operation })
            }
            told => told.map_err(Error::io(operation, self.binary.path())),
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // A store that goes with the server needs no good order.
        let signal = match self.options.store_dir {
            Some(_) => Signal::Stop,
            None => Signal::Kill,
        };
        match end(&self.process, &self.binary, signal) {
            Ok(()) => self.process.release(),
            // Its supervisor tries again when it sees that we are gone.
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

/// Starts a process, and returns when it is ready.
fn launch(
    binary: &Binary,
    options: &NatsServerBuilder,
    ports: Ports,
    run: &RunDir,
) -> Result<(Process, Listening)> {
    for stale in run.ports_files() {
        fs::remove_file(&stale).map_err(Error::io("remove", &stale))?;
    }
    let config = run.config();
    fs::write(&config, render(options, ports, run)).map_err(Error::io("write", &config))?;
    let log_from = run.log_len();
    let patience = match options.store_dir {
        Some(_) => STOP_LIMIT.as_secs(),
        None => 0,
    };
    let process = Process::spawn(binary.path(), run, patience, &options.env)
        .map_err(Error::io("run", binary.path()))?;
    let starting = Starting {
        process: &process,
        run,
        log_from,
        jetstream: options.jetstream,
        timeout: options.start_timeout,
    };
    match starting.wait() {
        Ok(listening) => Ok((process, listening)),
        Err(error) => {
            // The first error says more than one about the end would.
            if end(&process, binary, Signal::Kill).is_ok() {
                process.release();
            }
            Err(error)
        }
    }
}

/// Ends a process, and returns when it is gone.
fn end(process: &Process, binary: &Binary, signal: Signal) -> Result<()> {
    if process.ended().is_some() {
        return Ok(());
    }
    let failed = || Error::io(signal.verb(), binary.path());
    process.signal(signal).map_err(failed())?;
    let limit = match signal {
        Signal::Stop => STOP_LIMIT,
        _ => SIGNAL_LIMIT,
    };
    let until = Instant::now() + limit;
    while process.ended().is_none() {
        if Instant::now() < until {
            thread::sleep(POLL);
        } else if signal == Signal::Stop {
            tracing::warn!("nats-server did not stop within {limit:?}, so it is killed");
            return end(process, binary, Signal::Kill);
        } else {
            return Err(failed()(io::ErrorKind::TimedOut.into()));
        }
    }
    Ok(())
}
