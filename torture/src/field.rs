//! The worker processes, the servers and what is between them, and the faults
//! that befall them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::notes::{Reader, What, micros};
use crate::plan::{Fault, has_proxy};
use crate::proxy::{Direction, Proxy};
use crate::recovery::Other;
use crate::servers::Servers;
use crate::shared::Shared;
use crate::usage::memory;
use crate::worker::{Process, Signal, Start, notes_path};

/// How long a worker that is told to stop may take, above its grace: the
/// server may be down just then.
const DRAIN: Duration = Duration::from_secs(60);

/// All that faults are done to.
pub(crate) struct Field {
    pub(crate) shared: Arc<Shared>,
    folder: PathBuf,
    servers: Mutex<Servers>,
    replicas: usize,
    url: String,
    places: Vec<Place>,
    producer: Vec<Proxy>,
    next: AtomicU32,
    readers: Mutex<HashMap<u32, Reader>>,
    tally: Mutex<Tally>,
}

/// A place for a worker process.
struct Place {
    url: String,
    proxies: Vec<Proxy>,
    process: tokio::sync::Mutex<Process>,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Faults, by their kind.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// How workers ended that nobody had told to.
    pub(crate) exits: Vec<String>,
    /// Outcomes that were refused because there was one, as far as their
    /// workers lived to tell.
    pub(crate) refused_outcomes: u64,
    refused_by: HashMap<u32, u32>,
}

impl Field {
    /// Starts the servers and the workers.
    pub(crate) async fn start(
        shared: Arc<Shared>,
        folder: &Path,
        cluster: bool,
        workers: u8,
    ) -> anyhow::Result<Arc<Self>> {
        let servers = tokio::task::spawn_blocking(move || Servers::start(cluster)).await??;
        let ports = servers.ports();
        let (url, replicas) = (servers.url(), servers.replicas());
        let proxies = || -> std::io::Result<Vec<Proxy>> {
            ports.iter().map(|port| Proxy::start(*port)).collect()
        };
        let mut field = Self {
            shared,
            folder: folder.to_owned(),
            servers: Mutex::new(servers),
            replicas,
            producer: proxies()?,
            places: Vec::new(),
            next: AtomicU32::new(1),
            readers: Mutex::default(),
            tally: Mutex::default(),
            url,
        };
        for place in 0..workers {
            let proxies = if has_proxy(place) {
                proxies()?
            } else {
                Vec::new()
            };
            let url = match proxies.as_slice() {
                [] => field.url.clone(),
                proxies => join(proxies),
            };
            let process = tokio::sync::Mutex::new(field.spawn(place, &url)?);
            field.places.push(Place {
                url,
                proxies,
                process,
            });
        }
        Ok(Arc::new(field))
    }

    /// Where a client connects directly.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where the producer that is cut off now and then connects.
    pub(crate) fn producer_url(&self) -> String {
        join(&self.producer)
    }

    pub(crate) fn replicas(&self) -> usize {
        self.replicas
    }

    pub(crate) fn version(&self) -> String {
        self.servers().version()
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<u32, Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.count().clone();
        tally.refused_outcomes = tally
            .refused_by
            .values()
            .map(|count| u64::from(*count))
            .sum();
        tally
    }

    /// Starts a process in a place.
    fn spawn(&self, place: u8, url: &str) -> anyhow::Result<Process> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let process = Process::start(&Start {
            number,
            place,
            url,
            replicas: self.replicas,
            folder: &self.folder,
        })?;
        let reader = Reader::new(notes_path(&self.folder, number));
        self.readers().insert(number, reader);
        Ok(process)
    }

    /// Reads what was noted since the last time.
    pub(crate) fn read_notes(&self) -> anyhow::Result<()> {
        let mut readers = self.readers();
        for (number, reader) in &mut *readers {
            self.take_notes(*number, reader)?;
        }
        Ok(())
    }

    fn take_notes(&self, number: u32, reader: &mut Reader) -> anyhow::Result<()> {
        for note in reader.read()? {
            if note.what == What::Refused {
                self.count().refused_by.insert(number, note.n);
                continue;
            }
            self.shared.ledger().noted(note);
            self.shared.recovery().noted(number, note);
        }
        Ok(())
    }

    /// A process is gone: reads the last of its notes, and removes them.
    fn gone(&self, number: u32, killed: Option<u64>) -> anyhow::Result<()> {
        let mut readers = self.readers();
        if let Some(mut reader) = readers.remove(&number) {
            self.take_notes(number, &mut reader)?;
            reader.remove();
        }
        drop(readers);
        let ledger = self.shared.ledger();
        let mut recovery = self.shared.recovery();
        match killed {
            Some(at) => recovery.killed(number, at, |n| ledger.has_ended(n)),
            None => recovery.ended(number),
        }
        Ok(())
    }

    /// Starts again what has ended by itself, and notes that it has.
    pub(crate) async fn mend(&self) -> anyhow::Result<()> {
        for (number, place) in (0..).zip(&self.places) {
            // It is being looked after.
            let Ok(mut process) = place.process.try_lock() else {
                continue;
            };
            let Some(status) = process.ended()? else {
                continue;
            };
            let old = std::mem::replace(&mut *process, self.spawn(number, &place.url)?);
            self.gone(old.number, None)?;
            self.count()
                .exits
                .push(format!("worker {number}: {status}"));
            if status.code().is_none() {
                let detail = status.to_string();
                let what = "a worker died by itself";
                self.shared.ledger().violate(what, String::new(), detail);
            }
        }
        Ok(())
    }

    /// Does what is planned, and returns when it is over.
    pub(crate) async fn inject(self: Arc<Self>, fault: Fault) -> anyhow::Result<()> {
        *self.count().faults.entry(fault.kind()).or_default() += 1;
        let from = micros();
        match fault {
            Fault::Kill(place) => return self.kill(place).await,
            Fault::Freeze(place, time) => self.freeze(place, time).await?,
            Fault::Drain(place) => self.drain(place).await?,
            Fault::Cut(place) => self.network(place, Proxy::cut),
            Fault::Hold(place, time) => {
                let ways = [Direction::ToServer, Direction::ToClient];
                self.spell(place, time, |proxy| proxy.hold(&ways)).await;
            }
            Fault::HalfOpen(place, says, time) => {
                let way = if says {
                    Direction::ToServer
                } else {
                    Direction::ToClient
                };
                self.spell(place, time, |proxy| proxy.swallow(&[way])).await;
            }
            Fault::Delay(place, by, time) => {
                self.spell(place, time, |proxy| proxy.delay(by)).await;
            }
            Fault::CutProducer => {
                self.producer.iter().for_each(Proxy::cut);
                return Ok(());
            }
            Fault::KillServer(place, time) => {
                self.on_servers(move |servers| {
                    servers.kill(place)?;
                    // Nobody else has a use for the servers in the meantime.
                    std::thread::sleep(time);
                    servers.restart(place)
                })
                .await?;
            }
            Fault::RollingRestart => self.on_servers(Servers::roll).await?,
        }
        let to = micros();
        self.shared.recovery().other(Other { from, to });
        Ok(())
    }

    fn place(&self, place: u8) -> &Place {
        &self.places[usize::from(place)]
    }

    async fn kill(&self, place: u8) -> anyhow::Result<()> {
        let it = self.place(place);
        let mut process = it.process.lock().await;
        let at = micros();
        process.kill().await?;
        let old = std::mem::replace(&mut *process, self.spawn(place, &it.url)?);
        drop(process);
        self.gone(old.number, Some(at))
    }

    async fn freeze(&self, place: u8, time: Duration) -> anyhow::Result<()> {
        let it = self.place(place);
        let number = {
            let process = it.process.lock().await;
            process.signal(Signal::Freeze)?;
            process.number
        };
        tokio::time::sleep(time).await;
        let process = it.process.lock().await;
        // Else it was killed in the meantime.
        if process.number == number {
            process.signal(Signal::Thaw)?;
        }
        Ok(())
    }

    async fn drain(self: &Arc<Self>, place: u8) -> anyhow::Result<()> {
        let it = self.place(place);
        let mut old = {
            let mut process = it.process.lock().await;
            std::mem::replace(&mut *process, self.spawn(place, &it.url)?)
        };
        old.signal(Signal::Stop)?;
        // It may be frozen.
        old.signal(Signal::Thaw)?;
        match tokio::time::timeout(DRAIN, old.wait()).await {
            Ok(status) => {
                let status = status?;
                // One that was just begun does not know the signal yet.
                if !status.success() && !is_by_sigterm(status) {
                    let exit = format!("worker {place}, told to stop: {status}");
                    self.count().exits.push(exit);
                }
                self.gone(old.number, None)
            }
            Err(_) => {
                let what = "a worker did not stop";
                let detail = format!("worker {place} after {DRAIN:?}");
                self.shared.ledger().violate(what, String::new(), detail);
                let at = micros();
                old.kill().await?;
                self.gone(old.number, Some(at))
            }
        }
    }

    fn network(&self, place: u8, change: impl Fn(&Proxy)) {
        self.place(place).proxies.iter().for_each(change);
    }

    /// Changes a stretch of network for a while.
    async fn spell(&self, place: u8, time: Duration, change: impl Fn(&Proxy)) {
        self.network(place, change);
        tokio::time::sleep(time).await;
        self.network(place, Proxy::heal);
    }

    async fn on_servers(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Servers) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let field = Arc::clone(self);
        tokio::task::spawn_blocking(move || change(&mut field.servers())).await?
    }

    /// Stops the workers, and reads the last of their notes.
    pub(crate) async fn stop(self: &Arc<Self>) -> anyhow::Result<()> {
        for it in &self.places {
            let mut process = it.process.lock().await;
            process.signal(Signal::Stop)?;
            if tokio::time::timeout(DRAIN, process.wait()).await.is_err() {
                process.kill().await?;
            }
            self.gone(process.number, None)?;
        }
        Ok(())
    }

    /// Physical memory of the servers, and of the workers, in bytes.
    pub(crate) async fn memory(&self) -> (u64, u64) {
        // Not waited for, where a server is down just now.
        let servers = self.servers.try_lock().map(|servers| servers.pids());
        let servers = servers.unwrap_or_default();
        let mut workers = Vec::new();
        for it in &self.places {
            workers.push(it.process.lock().await.pid());
        }
        let sum = |pids: Vec<u32>| pids.into_iter().filter_map(memory).sum();
        (sum(servers), sum(workers))
    }

    /// Keeps what the servers logged.
    pub(crate) fn write_logs(&self) -> anyhow::Result<()> {
        self.servers().write_logs(&self.folder)
    }
}

#[cfg(unix)]
fn is_by_sigterm(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(rustix::process::Signal::TERM.as_raw())
}

#[cfg(not(unix))]
fn is_by_sigterm(_: ExitStatus) -> bool {
    false
}

fn join(proxies: &[Proxy]) -> String {
    let urls: Vec<&str> = proxies.iter().map(Proxy::url).collect();
    urls.join(",")
}
