//! A stretch of network between clients and a nats-server that fails when it
//! is told to.

mod frame;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use frame::{Direction, Frame};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is lost.
    Drop,
    /// It goes on, and once more.
    Twice,
    /// It goes on later, behind what comes in the meantime.
    Late(Duration),
}

type Filter = Arc<dyn Fn(&Frame) -> Verdict + Send + Sync>;

/// A TCP proxy in front of a nats-server. It has a thread of its own, so that
/// a test which blocks holds nothing up. Connections end with it.
///
/// It forwards whole frames of the NATS protocol, so it can lose or repeat a
/// single message and leave the connection good.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    rules: watch::Sender<Rules>,
    open: Mutex<HashMap<u64, Open>>,
}

#[derive(Clone, Default)]
struct Rules {
    /// New connections are closed at once.
    refuse: bool,
    swallow: Vec<Direction>,
    hold: Vec<Direction>,
    delay: Duration,
    filter: Option<Filter>,
}

/// A connection that is open.
struct Open {
    name: Arc<str>,
    /// Whether it lost something that its ends rely on.
    is_broken: bool,
    abort: AbortHandle,
}

impl Proxy {
    /// A proxy in front of the server that listens on this port.
    ///
    /// # Errors
    /// When the system has no port or thread for it.
    pub fn start(port: u16) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let thread = std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    runtime.block_on(async {
                        select(Box::pin(accept(listener, port, shared)), Box::pin(stopped)).await;
                    });
                }
            })?;
        Ok(Self {
            url: format!("nats://{address}"),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The names of the connections that are open.
    #[must_use]
    pub fn connections(&self) -> Vec<String> {
        let open = self.shared.open();
        let mut names: Vec<String> = open.values().map(|open| open.name.to_string()).collect();
        names.sort();
        names
    }

    /// Closes all connections. New ones are taken.
    pub fn cut(&self) {
        self.cut_where(|_| true);
    }

    /// Closes the connections whose name is such.
    pub fn cut_where(&self, name: impl Fn(&str) -> bool) {
        self.shared.end_where(|open| name(&open.name));
    }

    /// Closes all connections and takes no new ones.
    pub fn refuse(&self) {
        self.shared.rules.send_modify(|rules| rules.refuse = true);
        self.cut();
    }

    /// Loses all that goes this way from now on, and closes nothing: half of
    /// a connection is dead, or all of it when both ways are swallowed, and
    /// neither end is told. New connections fare no better.
    pub fn swallow(&self, ways: &[Direction]) {
        let change = |rules: &mut Rules| rules.swallow = ways.to_vec();
        self.shared.rules.send_modify(change);
    }

    /// Lets nothing through this way, and loses nothing: it all comes when
    /// this heals.
    pub fn hold(&self, ways: &[Direction]) {
        let change = |rules: &mut Rules| rules.hold = ways.to_vec();
        self.shared.rules.send_modify(change);
    }

    /// Makes each way take this long.
    pub fn delay(&self, delay: Duration) {
        self.shared.rules.send_modify(|rules| rules.delay = delay);
    }

    /// Asks this about each frame from now on.
    pub fn filter(&self, filter: impl Fn(&Frame) -> Verdict + Send + Sync + 'static) {
        let filter: Filter = Arc::new(filter);
        let change = |rules: &mut Rules| rules.filter = Some(filter);
        self.shared.rules.send_modify(change);
    }

    /// Is a good stretch of network again. Connections that lost a part of
    /// what was said on them are closed: what they miss never comes.
    pub fn heal(&self) {
        self.shared
            .rules
            .send_modify(|rules| *rules = Rules::default());
        self.shared.end_where(|open| open.is_broken);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // What it panicked with was printed.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("url", &self.url)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_where(&self, is_such: impl Fn(&Open) -> bool) {
        for (_, open) in self.open().extract_if(|_, open| is_such(open)) {
            open.abort.abort();
        }
    }

    /// What becomes of a frame.
    fn judge(&self, key: u64, frame: &Frame) -> Verdict {
        let rules = self.rules.borrow();
        if rules.swallow.contains(&frame.direction) {
            if let Some(open) = self.open().get_mut(&key) {
                open.is_broken = true;
            }
            return Verdict::Drop;
        }
        match &rules.filter {
            Some(filter) => filter(frame),
            None => Verdict::Pass,
        }
    }
}

async fn accept(listener: TcpListener, port: u16, shared: Arc<Shared>) {
    for key in 0.. {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if shared.rules.borrow().refuse {
            continue;
        }
        let (tell, told) = oneshot::channel::<()>();
        let connection = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                // It is known before anything goes through.
                let _ = told.await;
                connect(client, port, key, &shared).await;
                shared.open().remove(&key);
            }
        });
        let open = Open {
            name: "".into(),
            is_broken: false,
            abort: connection.abort_handle(),
        };
        shared.open().insert(key, open);
        let _ = tell.send(());
    }
}

async fn connect(client: TcpStream, port: u16, key: u64, shared: &Arc<Shared>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The end of either way is the end of both.
    select(
        Box::pin(carry(
            Direction::ToServer,
            from_client,
            to_server,
            key,
            shared,
        )),
        Box::pin(carry(
            Direction::ToClient,
            from_server,
            to_client,
            key,
            shared,
        )),
    )
    .await;
}

/// What is to be written, and not before when.
type Due = (Instant, Vec<u8>);

async fn carry(
    direction: Direction,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    key: u64,
    shared: &Arc<Shared>,
) {
    let (due, write) = mpsc::unbounded_channel();
    let reading = Box::pin(read(direction, from, due, key, shared));
    let writing = Box::pin(write_when_due(direction, to, write, shared));
    match select(reading, writing).await {
        // What was read is written yet, as by a network.
        Either::Left(((), writing)) => writing.await,
        Either::Right(_) => {}
    }
}

async fn read(
    direction: Direction,
    mut from: OwnedReadHalf,
    due: mpsc::UnboundedSender<Due>,
    key: u64,
    shared: &Arc<Shared>,
) {
    let mut buffer = Vec::new();
    let mut name: Arc<str> = "".into();
    while matches!(from.read_buf(&mut buffer).await, Ok(1..)) {
        while let Some(frame) = Frame::take(&mut buffer, &name, direction) {
            if let Some(told) = frame.client_name() {
                name = Arc::clone(&told);
                if let Some(open) = shared.open().get_mut(&key) {
                    open.name = told;
                }
            }
            // The server's frames are asked about by the client's name too.
            if direction == Direction::ToClient
                && let Some(open) = shared.open().get(&key)
            {
                name = Arc::clone(&open.name);
            }
            let verdict = shared.judge(key, &frame);
            let now = Instant::now() + shared.rules.borrow().delay;
            let copies = match verdict {
                Verdict::Pass => 1,
                Verdict::Twice => 2,
                Verdict::Drop => 0,
                Verdict::Late(by) => {
                    let due = due.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(by).await;
                        // The connection may be gone by then.
                        let _ = due.send((now, frame.bytes));
                    });
                    continue;
                }
            };
            for _ in 0..copies {
                if due.send((now, frame.bytes.clone())).is_err() {
                    return;
                }
            }
        }
    }
}

async fn write_when_due(
    direction: Direction,
    mut to: OwnedWriteHalf,
    mut write: mpsc::UnboundedReceiver<Due>,
    shared: &Arc<Shared>,
) {
    let mut rules = shared.rules.subscribe();
    while let Some((due, bytes)) = write.recv().await {
        tokio::time::sleep_until(due).await;
        let goes_on = |rules: &Rules| !rules.hold.contains(&direction);
        if rules.wait_for(goes_on).await.is_err() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
