//! Tasks that compute: what two workers make of the cores, and what becomes of
//! the rest meanwhile.
//!
//! A repetition computes the same numbers by a bare rayon loop in a process of
//! its own, and as tasks of two workers with their usual slots, of which there
//! are many more than cores. While the tasks run, small `async` tasks come to
//! the same workers by a queue of their own, and tell how late they start.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use futures::TryStreamExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use taskq::prelude::*;
use taskq_nats_server::NatsServer;
use tokio::time::timeout;

use crate::DEBUG_BUILD;
use crate::options::{CpuOptions, Load, ServerOptions};
use crate::part::{Parent, READY, say};
use crate::process::Process;
use crate::rounds::delete_streams;
use crate::summary::Spread;

/// How many workers there are.
const WORKERS: usize = 2;
/// A small task is sent so often.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// A phase that takes longer has come to a stand.
const LIMIT: Duration = Duration::from_secs(300);
/// Steps of the computation for a millisecond or so.
const STEPS: u64 = 1_000_000;

/// What there is to compute: steps of a generator of random numbers, each of
/// which needs the one before.
fn compute(seed: u64, millis: u64) -> u64 {
    let mut number = seed.wrapping_mul(2).wrapping_add(1);
    for _ in 0..millis * STEPS {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
    }
    number
}

#[task(discover = false, name = "bench.compute")]
fn compute_task(seed: u64, millis: u64) -> u64 {
    compute(seed, millis)
}

/// How late it starts: microseconds since it was sent.
#[task(discover = false, name = "bench.probe", queue = "probe")]
async fn probe(sent: u64) -> u64 {
    micros().saturating_sub(sent)
}

/// What a worker tells when it is done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Kept {
    leases_lost: u64,
    leases_renewed: u64,
    /// The oldest that a lease became before it was renewed, in milliseconds.
    oldest_ms: u64,
}

/// Plays a worker.
pub(crate) async fn work(options: ServerOptions, load: Load) -> Result<()> {
    let mut parent = Parent::listen();
    let client = Client::builder().url(&options.url).results(false);
    let worker = Worker::builder(client.connect().await?)
        .queues(["default", "probe"])
        .concurrency(load.concurrency)
        .discover(false)
        .task::<compute_task>()
        .task::<probe>()
        .build()?;
    let stats = worker.stats();
    say(READY)?;
    worker
        .run_until(async {
            // Gone or told: either way there is no more to do.
            let _ = parent.told().await;
        })
        .await?;
    let kept = Kept {
        leases_lost: stats.leases_lost(),
        leases_renewed: stats.leases_renewed(),
        oldest_ms: u64::try_from(stats.oldest_lease().as_millis())?,
    };
    say(&serde_json::to_string(&kept)?)?;
    parent.gone().await;
    Ok(())
}

/// Plays the bare loop, and tells how many seconds it took.
pub(crate) async fn bare(options: CpuOptions) -> Result<()> {
    let CpuOptions { tasks, millis } = options;
    let mut parent = Parent::listen();
    say(READY)?;
    parent.told().await?;
    let begin = Instant::now();
    let sum = (0..tasks)
        .into_par_iter()
        .map(|seed| compute(seed, millis))
        .reduce(|| 0, u64::wrapping_add);
    let took = begin.elapsed().as_secs_f64();
    say(&serde_json::to_string(&(took, sum))?)?;
    parent.gone().await;
    Ok(())
}

/// What a repetition found.
#[derive(Debug, Clone, Serialize)]
struct Found {
    rep: u32,
    bare_s: f64,
    tasks_s: f64,
    /// The bare loop's time in the tasks'.
    ratio: f64,
    probes: usize,
    probe_p50_ms: f64,
    probe_p99_ms: f64,
    leases_lost: u64,
    leases_renewed: u64,
    oldest_lease_ms: u64,
}

/// Runs and reports all of it.
pub(crate) async fn run(args: &crate::Args, count: u64) -> Result<()> {
    if let Some(warning) = DEBUG_BUILD {
        eprintln!("bench: {warning}");
    }
    let server = tokio::task::spawn_blocking(|| NatsServer::builder().start()).await??;
    let millis = u64::try_from(args.work.as_millis())?;
    eprintln!(
        "nats-server {}, {WORKERS} workers of {}, {count} tasks of {millis} million steps, {} \
         repetitions",
        server.version(),
        args.load.concurrency,
        args.reps
    );
    let mut all = Vec::new();
    for rep in 1..=args.reps {
        let found = repetition(server.url(), rep, count, millis).await?;
        match args.json {
            true => println!("{}", serde_json::to_string(&found)?),
            false => eprintln!(
                "{rep}: rayon {:.2} s, tasks {:.2} s, {:.2}; {} probes {:.1} ms late (p50), {:.1} \
                 ms (p99); {} leases lost, {} renewed, the oldest {} ms",
                found.bare_s,
                found.tasks_s,
                found.ratio,
                found.probes,
                found.probe_p50_ms,
                found.probe_p99_ms,
                found.leases_lost,
                found.leases_renewed,
                found.oldest_lease_ms,
            ),
        }
        all.push(found);
    }
    let of = |number: fn(&Found) -> f64| {
        let spread = Spread::of(all.iter().map(number).collect());
        spread.context("there is a repetition at least")
    };
    let ratio = of(|it| it.ratio)?;
    let (p50, p99) = (of(|it| it.probe_p50_ms)?, of(|it| it.probe_p99_ms)?);
    let lost: u64 = all.iter().map(|it| it.leases_lost).sum();
    let oldest = all.iter().map(|it| it.oldest_lease_ms).max();
    if args.json {
        let summary = serde_json::json!({
            "tasks": count,
            "ratio": ratio.median,
            "ratio_range": [ratio.min, ratio.max],
            "probe_p50_ms": p50.median,
            "probe_p99_ms": p99.median,
            "leases_lost": lost,
            "oldest_lease_ms": oldest,
        });
        println!("{summary}");
    } else {
        println!(
            "of rayon's speed   {:.2} ({:.2} to {:.2})\n\
             async tasks start  {:.1} ms late (p50), {:.1} ms (p99)\n\
             leases             {lost} lost, the oldest {} ms old when it was renewed",
            ratio.median,
            ratio.min,
            ratio.max,
            p50.median,
            p99.median,
            oldest.unwrap_or_default(),
        );
    }
    Ok(())
}

async fn repetition(url: &str, rep: u32, count: u64, millis: u64) -> Result<Found> {
    // In turn, so that what the machine does meanwhile strikes both.
    let ((bare_s, bare_sum), tasks) = if rep.is_multiple_of(2) {
        let bare = by_rayon(count, millis).await?;
        (bare, by_tasks(url, count, millis).await?)
    } else {
        let tasks = by_tasks(url, count, millis).await?;
        (by_rayon(count, millis).await?, tasks)
    };
    anyhow::ensure!(bare_sum == tasks.sum, "the two computed different numbers");
    let mut late = tasks.late;
    late.sort_unstable();
    let at = |hundredths: usize| {
        let place = (late.len() * hundredths / 100).min(late.len().saturating_sub(1));
        late.get(place)
            .map_or(0.0, |micros| *micros as f64 / 1000.0)
    };
    Ok(Found {
        rep,
        bare_s,
        tasks_s: tasks.seconds,
        ratio: bare_s / tasks.seconds,
        probes: late.len(),
        probe_p50_ms: at(50),
        probe_p99_ms: at(99),
        leases_lost: tasks.kept.iter().map(|kept| kept.leases_lost).sum(),
        leases_renewed: tasks.kept.iter().map(|kept| kept.leases_renewed).sum(),
        oldest_lease_ms: tasks
            .kept
            .iter()
            .map(|kept| kept.oldest_ms)
            .max()
            .unwrap_or(0),
    })
}

async fn by_rayon(count: u64, millis: u64) -> Result<(f64, u64)> {
    let args = [
        "cpu-bare",
        "--tasks",
        &count.to_string(),
        "--millis",
        &millis.to_string(),
    ];
    let mut bare = Process::launch("bare loop".to_owned(), &args.map(str::to_owned)).await?;
    bare.tell().await?;
    let told = bare.told().await?;
    bare.end().await?;
    Ok(told)
}

/// What the tasks did.
struct Tasks {
    seconds: f64,
    sum: u64,
    /// By how many microseconds each small task was late.
    late: Vec<u64>,
    kept: Vec<Kept>,
}

async fn by_tasks(url: &str, count: u64, millis: u64) -> Result<Tasks> {
    delete_streams(url).await?;
    let client = Client::connect(url).await?;
    let mut workers = Vec::new();
    for n in 1..=WORKERS {
        let args = ["cpu-worker", "--url", url].map(str::to_owned);
        workers.push(Process::launch(format!("worker {n}"), &args).await?);
    }
    // Streams and consumers are there, and both workers have been given one.
    for _ in 0..WORKERS * 8 {
        compute_task::enqueue(&client, 1, 1).await?.result().await?;
        probe::enqueue(&client, micros()).await?.result().await?;
    }
    let begin = Instant::now();
    let computed = async {
        let calls = (0..count).map(|seed| compute_task::call(seed, millis));
        let handles: Vec<_> = client.enqueue_many(calls).try_collect().await?;
        let mut sum = 0u64;
        for handle in handles {
            sum = sum.wrapping_add(handle.result().await?);
        }
        anyhow::Ok((begin.elapsed().as_secs_f64(), sum))
    };
    let mut probes = Vec::new();
    let mut every = tokio::time::interval(PROBE_EVERY);
    let mut computed = std::pin::pin!(timeout(LIMIT, computed));
    let (seconds, sum) = loop {
        tokio::select! {
            done = &mut computed => break done.context("it came to a stand")??,
            _ = every.tick() => probes.push(probe::enqueue(&client, micros()).await?),
        }
    };
    let mut late = Vec::new();
    for probe in probes {
        late.push(
            timeout(LIMIT, probe.result())
                .await
                .context("a probe is lost")??,
        );
    }
    let mut kept = Vec::new();
    for mut worker in workers {
        worker.tell().await?;
        kept.push(worker.told().await?);
        worker.end().await?;
    }
    Ok(Tasks {
        seconds,
        sum,
        late,
        kept,
    })
}

fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}
