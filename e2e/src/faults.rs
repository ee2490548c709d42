//! What the fault tests share.

use std::process::Command;
use std::time::Duration;

use taskq::{Client, ClientBuilder};
use tokio::time::Instant;

use crate::history::History;
use crate::{Program, program};

/// How long a fault may take to be got over: an election on a busy machine is
/// a part of it.
pub const RECOVERY: Duration = Duration::from_secs(60);

/// How often each fault is injected: once, or as often as the environment's
/// `TASKQ_FAULT_REPEAT` says.
#[must_use]
pub fn repeats() -> u32 {
    let times = std::env::var("TASKQ_FAULT_REPEAT").ok();
    times.and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Tries a fault as often as is asked for.
pub async fn repeated<F: Future<Output = ()>>(mut fault: impl FnMut() -> F) {
    for time in 1..=repeats() {
        if repeats() > 1 {
            println!("time {time} of {}", repeats());
        }
        fault().await;
    }
}

/// The program `actor`, whose path only a test knows.
#[derive(Clone, Copy, Debug)]
pub struct Actor(pub &'static str);

impl Actor {
    /// A worker that is to connect to this address and note what its tasks do
    /// in this history.
    #[must_use]
    pub fn worker(&self, url: &str, history: &History, name: &str) -> Command {
        let mut command = program(self.0);
        command
            .args(["work", "--url", url, "--name", name])
            .arg("--notes")
            .arg(history.path())
            .args(["--log", "warn,taskq=info,taskq::task=error"]);
        command
    }

    /// A producer of naps that is to connect to this address.
    #[must_use]
    pub fn sender(&self, url: &str) -> Command {
        let mut command = program(self.0);
        command.args(["send", "--url", url]);
        command
    }
}

/// Starts a worker, and returns when it consumes.
#[must_use]
pub fn working(command: &mut Command) -> Program {
    let worker = Program::start(command);
    let _ = worker.stderr_line("worker started");
    worker
}

/// The settings of a client that knows the server by this address.
pub fn client(url: &str) -> ClientBuilder {
    Client::builder().url(url).result_timeout(RECOVERY)
}

/// A client that knows the server by this address.
///
/// # Panics
/// When it cannot connect.
pub async fn connected(url: &str) -> Client {
    client(url).connect().await.expect("a client")
}

/// A connection to NATS that owes nothing to the library under test.
///
/// # Errors
/// When no server answers.
pub async fn nats(url: &str) -> Result<async_nats::Client, async_nats::Error> {
    let servers = url.split(',').map(str::parse);
    let servers = servers.collect::<Result<Vec<async_nats::ServerAddr>, _>>()?;
    Ok(async_nats::connect(servers).await?)
}

/// Waits until a look gives something.
///
/// # Panics
/// When it has given nothing after [`RECOVERY`].
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Instant::now() + RECOVERY;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < limit, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The name of the server that leads a stream, as the JetStream API tells.
/// None while nobody does.
pub async fn stream_leader(nats: &async_nats::Client, stream: &str) -> Option<String> {
    leader(nats, &format!("$JS.API.STREAM.INFO.{stream}")).await
}

/// The name of the server that leads a consumer. None while nobody does.
pub async fn consumer_leader(
    nats: &async_nats::Client,
    stream: &str,
    consumer: &str,
) -> Option<String> {
    leader(nats, &format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}")).await
}

async fn leader(nats: &async_nats::Client, question: &str) -> Option<String> {
    // Nobody answers while there is no leader.
    let asking = nats.request(question.to_owned(), "".into());
    let answer = tokio::time::timeout(Duration::from_secs(1), asking).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.ok()?.ok()?.payload).ok()?;
    Some(answer["cluster"]["leader"].as_str()?.to_owned())
}
