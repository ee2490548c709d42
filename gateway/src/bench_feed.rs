//! What many who listen cost: `gateway bench-feed`, against a gateway and a
//! worker of the `tasks` that run already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::{Value, json};
use taskq::cli::ConnectArgs;
use taskq::{Client, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::{JoinHandle, JoinSet};

/// How large a bench.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchFeedArgs {
    /// Where the gateway listens
    #[arg(
        long,
        env = "TASKQ_BENCH_GATEWAY",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub gateway: String,

    /// How many listen
    #[arg(
        long,
        env = "TASKQ_BENCH_LISTENERS",
        value_name = "COUNT",
        default_value_t = 500
    )]
    pub listeners: usize,

    /// How many of them read nothing, in the last of the three rounds
    #[arg(
        long,
        env = "TASKQ_BENCH_STALLED",
        value_name = "COUNT",
        default_value_t = 1
    )]
    pub stalled: usize,

    /// How many tasks a second, each of which is an event
    #[arg(
        long,
        env = "TASKQ_BENCH_RATE",
        value_name = "COUNT",
        default_value_t = 1000
    )]
    pub rate: u32,

    /// How long each of the rounds is
    #[arg(
        long,
        env = "TASKQ_BENCH_TIME",
        value_name = "TIME",
        default_value = "20s",
        value_parser = taskq::parse_duration
    )]
    pub time: Duration,

    /// Where NATS is.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// How long what was told may take to be heard.
const PATIENCE: Duration = Duration::from_secs(60);
/// What begins every event that is counted.
const EVENT: &str = "event: succeeded";

/// Sends tasks at a rate in three rounds: with nobody who listens, with all of
/// them, and with some of them stalled. Prints one JSON object a round: how long
/// tasks took, what was heard, and how late.
///
/// # Errors
/// When a server does not answer, or somebody who listens misses an event.
pub async fn bench_feed(args: &BenchFeedArgs) -> anyhow::Result<()> {
    let client = args.connect.connect().await?;
    for (listeners, stalled) in [
        (0, 0),
        (args.listeners, 0),
        (args.listeners.saturating_sub(args.stalled), args.stalled),
    ] {
        let (line, missed) = round(args, &client, listeners, stalled).await?;
        println!("{line}");
        anyhow::ensure!(missed == 0, "{missed} events were not heard");
    }
    Ok(())
}

async fn round(
    args: &BenchFeedArgs,
    client: &Client,
    listeners: usize,
    stalled: usize,
) -> anyhow::Result<(Value, u64)> {
    let mut all = Vec::with_capacity(listeners);
    for number in 0..listeners {
        all.push(Listener::start(&args.gateway, number == 0).await?);
    }
    let mut silent = Vec::with_capacity(stalled);
    for _ in 0..stalled {
        let address = lookup_host(&args.gateway).await?.next();
        let socket = TcpSocket::new_v4()?;
        // The system reads for it: little, or it would not be stalled.
        socket.set_recv_buffer_size(4096)?;
        let mut stream = socket.connect(address.context("an address")?).await?;
        ask(&mut stream, &args.gateway).await?;
        silent.push(stream);
    }
    let begun = Instant::now();
    let mut took = load(args, client).await?;
    let sent = took.len() as u64;
    let seconds = begun.elapsed().as_secs_f64();
    let limit = Instant::now() + PATIENCE;
    while all.iter().any(|one| one.heard() < sent && !one.has_ended()) && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let missed: u64 = all.iter().map(|one| sent.saturating_sub(one.heard())).sum();
    let more: u64 = all.iter().map(|one| one.heard().saturating_sub(sent)).sum();
    let ended = all.iter().filter(|one| one.has_ended()).count();
    let mut late = all.first().map(Listener::late).unwrap_or_default();
    let line = json!({
        "listeners": listeners, "stalled": stalled, "tasks": sent,
        "tasks_per_s": tenth(sent as f64 / seconds),
        "task_p50_ms": share(&mut took, 0.5), "task_p99_ms": share(&mut took, 0.99),
        "events_told": all.iter().map(Listener::heard).sum::<u64>(),
        "missed": missed, "twice": more, "let_go": ended,
        "late_p50_ms": share(&mut late, 0.5), "late_p99_ms": share(&mut late, 0.99),
    });
    drop(silent);
    Ok((line, missed))
}

/// Sends tasks for a while; how long each took until its outcome was pushed, in
/// milliseconds.
async fn load(args: &BenchFeedArgs, client: &Client) -> anyhow::Result<Vec<f64>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / args.rate.max(1));
    let mut running = JoinSet::new();
    let mut took = Vec::new();
    let end = Instant::now() + args.time;
    while Instant::now() < end {
        ticks.tick().await;
        let call = client.call("to_uppercase").arg("text", "hello");
        let client = client.clone();
        running.spawn(async move {
            let sent = Instant::now();
            let outcome = call.enqueue(&client).await?.outcome().await;
            outcome.map(|_| sent.elapsed().as_secs_f64() * 1000.0)
        });
        while let Some(done) = running.try_join_next() {
            took.push(done??);
        }
    }
    while let Some(done) = running.join_next().await {
        took.push(done??);
    }
    Ok(took)
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn share(numbers: &mut [f64], share: f64) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let place = (numbers.len() as f64 * share) as usize;
    numbers.get(place).copied().map(tenth)
}

async fn ask(stream: &mut TcpStream, host: &str) -> std::io::Result<()> {
    let request = format!("GET /v1/events HTTP/1.1\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await
}

/// Somebody who listens, and counts, until it is dropped: the listeners of one
/// round are not to load the next.
#[derive(Debug)]
struct Listener {
    counted: Arc<Counted>,
    counting: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.counting.abort();
    }
}

#[derive(Debug, Default)]
struct Counted {
    heard: AtomicU64,
    has_ended: AtomicBool,
    /// How late events were, in milliseconds; of one listener only, for
    /// reading each is dear.
    late: Option<std::sync::Mutex<Vec<f64>>>,
}

impl Listener {
    async fn start(gateway: &str, measures: bool) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(gateway).await?;
        ask(&mut stream, gateway).await?;
        // It listens from the moment that it was told the first place.
        let mut head = vec![0; 4096];
        let mut read = 0;
        while !head[..read].windows(5).any(|word| word == b"\nid: ") {
            let more = stream.read(&mut head[read..]).await?;
            anyhow::ensure!(
                more > 0,
                "the gateway did not tell events: {}",
                String::from_utf8_lossy(&head[..read])
            );
            read += more;
        }
        let counted = Arc::new(Counted {
            late: measures.then(Default::default),
            ..Counted::default()
        });
        let counting = tokio::spawn(count(stream, Arc::clone(&counted)));
        Ok(Self { counted, counting })
    }

    fn heard(&self) -> u64 {
        self.counted.heard.load(Ordering::Relaxed)
    }

    fn has_ended(&self) -> bool {
        self.counted.has_ended.load(Ordering::Relaxed)
    }

    fn late(&self) -> Vec<f64> {
        let late = self.counted.late.as_ref().and_then(|late| late.lock().ok());
        late.map(|late| late.clone()).unwrap_or_default()
    }
}

async fn count(mut stream: TcpStream, counted: Arc<Counted>) {
    let mut text = Vec::with_capacity(64 * 1024);
    while let Ok(read) = stream.read_buf(&mut text).await
        && read > 0
    {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs_f64() * 1000.0;
        // What is told here is ASCII. The rest after the last line is not whole.
        let whole = std::str::from_utf8(&text).unwrap_or_default();
        let whole = &whole[..whole.rfind('\n').map_or(0, |end| end + 1)];
        let mut heard = 0;
        for line in whole.split('\n') {
            heard += u64::from(line == EVENT);
            if let Some(late) = &counted.late
                && let Some(at) = moment(line)
                && let Ok(mut late) = late.lock()
            {
                late.push(now - at);
            }
        }
        let read = whole.len();
        text.drain(..read);
        counted.heard.fetch_add(heard, Ordering::Relaxed);
    }
    counted.has_ended.store(true, Ordering::Relaxed);
}

/// When the event of a line happened, in milliseconds since 1970; none for a
/// line that is no event.
fn moment(line: &str) -> Option<f64> {
    let event: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
    let at: Timestamp = event["at"].as_str()?.parse().ok()?;
    Some(at.as_millis() as f64)
}
