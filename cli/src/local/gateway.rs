//! A gateway in this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use taskq::Client;
use taskq_gateway::index::{Index, Retention};
use taskq_gateway::{Access, Gateway, Limits, Socket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long what it does beside answering may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// A gateway that serves. Dropped, it ends at once.
#[derive(Debug)]
pub(crate) struct LocalGateway {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<anyhow::Result<()>>,
    runtime: OwnRuntime,
}

/// With it ends all that the gateway does beside answering, and its connection,
/// before the server does.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // Else it would wait, which a task must not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl LocalGateway {
    /// Serves at a port of 127.0.0.1, or at a free one where that is taken. What
    /// it knows is forgotten with it: the streams have it.
    pub(crate) async fn start(url: &str, port: u16) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let runtime = OwnRuntime(Some(runtime));
        let (gateway, socket) = handle.spawn(make(url.to_owned(), port)).await??;
        let address = socket.address()?;
        let (stop, stopped) = oneshot::channel();
        let serving = handle.spawn(taskq_gateway::serve(gateway, socket, async {
            let _ = stopped.await;
        }));
        Ok(Self {
            address,
            stop: Some(stop),
            serving,
            runtime,
        })
    }

    /// `gateway at http://127.0.0.1:8080`
    pub(crate) fn describe(&self) -> String {
        format!("gateway at http://{}", self.address)
    }

    /// Ends it when what is being answered is answered.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop = None;
        let served = (&mut self.serving).await?;
        if let Some(runtime) = self.runtime.0.take() {
            tokio::task::spawn_blocking(|| runtime.shutdown_timeout(END_LIMIT)).await?;
        }
        served
    }
}

async fn make(url: String, port: u16) -> anyhow::Result<(Gateway, Socket)> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
    let socket = match Socket::bind(&at(port)).await {
        Ok(socket) => socket,
        Err(_) if port != 0 => Socket::bind(&at(0)).await?,
        Err(error) => return Err(error),
    };
    let client = Client::builder().url(url).name("taskq gateway");
    let client = client.connect().await?;
    // Open to whoever is on this machine, as NATS is beside it.
    let (access, limits) = (Access::default(), Limits::default());
    let index = Index::scratch(Retention::default())?;
    Ok((Gateway::new(client, index, access, limits), socket))
}
