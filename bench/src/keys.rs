//! Limits by key: what a limit of one at a time costs, that it holds, and how
//! evenly the keys share.
//!
//! Two workers in processes of their own, and a producer in this one. A
//! repetition runs the tasks without keys, and with as many keys as asked for,
//! a limit of one each: from the first call to the last outcome. Then it sends
//! them once more, with no worker there and all of one key before the next,
//! which is as unfair as an order can be, and starts the workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use taskq::prelude::*;
use taskq::{Call, Untyped};
use taskq_nats_server::NatsServer;
use tokio::time::{sleep, timeout};

use crate::DEBUG_BUILD;
use crate::options::{Load, ServerOptions};
use crate::part::{Parent, READY, say};
use crate::process::Process;
use crate::rounds::delete_streams;
use crate::summary::Spread;

/// How many workers there are.
const WORKERS: usize = 2;
/// The first, discarded repetition has so many tasks.
const WARM_UP: u64 = 2_000;
/// A phase that takes longer has come to a stand.
const LIMIT: Duration = Duration::from_secs(300);

/// When tasks ran, by key: the key, the place among those of its key, and the
/// microseconds since 1970 of its start and its end.
type Run = (u64, u64, u64, u64);

#[derive(Debug, Clone, Default)]
struct Runs {
    all: Arc<Mutex<Vec<Run>>>,
    /// How long each takes.
    work: Duration,
}

impl Runs {
    async fn run(&self, key: u64, place: u64) {
        let start = micros();
        // Long enough that two at once are seen to be.
        sleep(self.work).await;
        let run = (key, place, start, micros());
        let mut runs = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        runs.push(run);
    }
}

#[task(discover = false, name = "bench.free")]
async fn free(key: u64, place: u64, runs: State<Runs>) {
    runs.run(key, place).await;
}

#[task(discover = false, name = "bench.turn", concurrency = 1, per = "key")]
async fn turn(key: u64, place: u64, runs: State<Runs>) {
    runs.run(key, place).await;
}

/// Plays a worker.
pub(crate) async fn work(options: ServerOptions, load: Load, work: Duration) -> Result<()> {
    let mut parent = Parent::listen();
    let runs = Runs {
        work,
        ..Runs::default()
    };
    let client = Client::builder().url(&options.url).results(false);
    let worker = Worker::builder(client.connect().await?)
        .concurrency(load.concurrency)
        .discover(false)
        .task::<free>()
        .task::<turn>()
        .state(runs.clone())
        .build()?;
    say(READY)?;
    worker
        .run_until(async {
            // Gone or told: either way there is no more to do.
            let _ = parent.told().await;
        })
        .await?;
    let runs = std::mem::take(&mut *runs.all.lock().unwrap_or_else(PoisonError::into_inner));
    say(&serde_json::to_string(&runs)?)?;
    parent.gone().await;
    Ok(())
}

/// What a repetition found.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    rep: u32,
    unlimited_per_s: f64,
    limited_per_s: f64,
    ratio: f64,
    /// The most of any key that ran at once.
    most_of_a_key_at_once: usize,
    /// The longest wait of any key for a start, in fair shares: of a key with
    /// ten tasks the first has a tenth of the whole time, and so on.
    longest_wait: f64,
}

/// Runs and reports all of it.
pub(crate) async fn run(args: &crate::Args, keys: u64) -> Result<()> {
    if let Some(warning) = DEBUG_BUILD {
        eprintln!("bench: {warning}");
    }
    let server = tokio::task::spawn_blocking(|| NatsServer::builder().start()).await??;
    let bench = Bench {
        url: server.url(),
        keys,
    };
    eprintln!(
        "nats-server {}, {WORKERS} workers of {}, {keys} keys, {} tasks, {} repetitions",
        server.version(),
        args.load.concurrency,
        args.count,
        args.reps
    );
    let mut all = Vec::new();
    bench.repetition(0, args.count.min(WARM_UP)).await?;
    for rep in 1..=args.reps {
        let found = bench.repetition(rep, args.count).await?;
        match args.json {
            true => println!("{}", serde_json::to_string(&found)?),
            false => eprintln!(
                "{rep}: {:.0}/s without keys, {:.0}/s with, {:.2}; {} of a key at once, longest \
                 wait {:.2} fair shares",
                found.unlimited_per_s,
                found.limited_per_s,
                found.ratio,
                found.most_of_a_key_at_once,
                found.longest_wait
            ),
        }
        all.push(found);
    }
    let of = |number: fn(&Found) -> f64| {
        let spread = Spread::of(all.iter().map(number).collect());
        spread.context("there is a repetition at least")
    };
    let most = all.iter().map(|found| found.most_of_a_key_at_once).max();
    let (unlimited, limited) = (of(|it| it.unlimited_per_s)?, of(|it| it.limited_per_s)?);
    let (ratio, wait) = (of(|it| it.ratio)?, of(|it| it.longest_wait)?);
    if args.json {
        let summary = serde_json::json!({
            "keys": keys,
            "tasks": args.count,
            "unlimited_per_s": unlimited.median,
            "limited_per_s": limited.median,
            "ratio": ratio.median,
            "ratio_range": [ratio.min, ratio.max],
            "most_of_a_key_at_once": most,
            "longest_wait": wait.median,
            "longest_wait_range": [wait.min, wait.max],
        });
        println!("{summary}");
    } else {
        println!(
            "without keys          {:.0}/s\n\
             {keys} keys, one at a time  {:.0}/s\n\
             ratio                 {:.2} ({:.2} to {:.2})\n\
             of a key at once      {}\n\
             longest wait          {:.2} fair shares ({:.2} to {:.2})",
            unlimited.median,
            limited.median,
            ratio.median,
            ratio.min,
            ratio.max,
            most.unwrap_or_default(),
            wait.median,
            wait.min,
            wait.max,
        );
    }
    Ok(())
}

struct Bench<'a> {
    url: &'a str,
    keys: u64,
}

impl Bench<'_> {
    async fn repetition(&self, rep: u32, count: u64) -> Result<Found> {
        let by_turns = |n: u64| (n % self.keys, n / self.keys);
        let plain = |n| {
            let (key, place) = by_turns(n);
            free::call(key, place).untyped()
        };
        let keyed = |n| {
            let (key, place) = by_turns(n);
            turn::call(key, place).untyped()
        };
        // In turn, so that what the machine does meanwhile strikes both.
        let (unlimited, limited) = if rep.is_multiple_of(2) {
            let unlimited = self.through(count, plain).await?;
            (unlimited, self.through(count, keyed).await?)
        } else {
            let limited = self.through(count, keyed).await?;
            (self.through(count, plain).await?, limited)
        };
        let each = count.div_ceil(self.keys);
        let by_key = |n: u64| turn::call(n / each, n % each).untyped();
        let drained = self.drain(count, by_key).await?;
        let (unlimited_per_s, limited_per_s) = (rate(count, &unlimited), rate(count, &limited));
        Ok(Found {
            rep,
            unlimited_per_s,
            limited_per_s,
            ratio: limited_per_s / unlimited_per_s,
            most_of_a_key_at_once: most_at_once(&limited.1).max(most_at_once(&drained)),
            longest_wait: longest_wait(&drained, each),
        })
    }

    /// From the first call to the last outcome, with workers there.
    async fn through(
        &self,
        count: u64,
        call: impl Fn(u64) -> Call<Untyped> + Send + Sync,
    ) -> Result<(Duration, Vec<Run>)> {
        delete_streams(self.url).await?;
        let client = Client::connect(self.url).await?;
        let workers = self.workers().await?;
        let begin = Instant::now();
        let work = async {
            let calls = (0..count).map(&call);
            let handles: Vec<_> = client.enqueue_many(calls).try_collect().await?;
            for handle in handles {
                handle.result().await?;
            }
            anyhow::Ok(())
        };
        timeout(LIMIT, work).await.context("it came to a stand")??;
        let took = begin.elapsed();
        Ok((took, self.runs(workers, count).await?))
    }

    /// Sent when no worker is there, and then run.
    async fn drain(
        &self,
        count: u64,
        call: impl Fn(u64) -> Call<Untyped> + Send + Sync,
    ) -> Result<Vec<Run>> {
        delete_streams(self.url).await?;
        let client = Client::connect(self.url).await?;
        let calls = (0..count).map(&call);
        let handles: Vec<_> = client.enqueue_many(calls).try_collect().await?;
        let workers = self.workers().await?;
        let work = async {
            for handle in handles {
                handle.result().await?;
            }
            anyhow::Ok(())
        };
        timeout(LIMIT, work).await.context("it came to a stand")??;
        self.runs(workers, count).await
    }

    async fn workers(&self) -> Result<Vec<Process>> {
        let mut workers = Vec::new();
        for n in 1..=WORKERS {
            let args = ["keys-worker", "--url", self.url].map(str::to_owned);
            workers.push(Process::launch(format!("worker {n}"), &args).await?);
        }
        Ok(workers)
    }

    /// Ends the workers, and gives what they ran.
    async fn runs(&self, workers: Vec<Process>, count: u64) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        for mut worker in workers {
            worker.tell().await?;
            let of_worker: Vec<Run> = worker.told().await?;
            runs.extend(of_worker);
            worker.end().await?;
        }
        let ran = runs.len() as u64;
        ensure!(ran == count, "{ran} of {count} tasks ran");
        Ok(runs)
    }
}

fn rate(count: u64, (took, _): &(Duration, Vec<Run>)) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// The most tasks of any key that ran at once.
fn most_at_once(runs: &[Run]) -> usize {
    let mut by_key: HashMap<u64, Vec<(u64, i64)>> = HashMap::new();
    for (key, _, start, end) in runs {
        let steps = by_key.entry(*key).or_default();
        steps.extend([(*start, 1), (*end, -1)]);
    }
    let most = by_key.into_values().map(|mut steps| {
        // Of equal times the end counts first.
        steps.sort_unstable();
        let mut now = 0;
        let counts = steps.into_iter().map(|(_, step)| {
            now += step;
            now
        });
        counts.max().unwrap_or(0)
    });
    usize::try_from(most.max().unwrap_or(0)).unwrap_or(0)
}

/// The longest wait of any key for its next start, from the first start of all
/// on, against its share of the whole time.
fn longest_wait(runs: &[Run], each: u64) -> f64 {
    let first = runs.iter().map(|(.., start, _)| *start).min().unwrap_or(0);
    let last = runs.iter().map(|(.., start, _)| *start).max().unwrap_or(0);
    let whole = (last - first).max(1) as f64;
    let mut by_key: HashMap<u64, Vec<u64>> = HashMap::new();
    for (key, _, start, _) in runs {
        by_key.entry(*key).or_default().push(*start);
    }
    let waits = by_key.into_values().flat_map(|mut starts| {
        starts.sort_unstable();
        // By the order of starts: what is sent while a stream is still being
        // made need not be stored in the order of the calls.
        starts.into_iter().zip(1u64..).map(|(start, turn)| {
            let share = whole * turn as f64 / each as f64;
            (start - first) as f64 / share
        })
    });
    waits.fold(0.0, f64::max)
}

fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_at_once_is_counted_by_key() {
        let runs = [(1, 0, 0, 10), (1, 1, 10, 20), (2, 0, 0, 20), (2, 1, 5, 6)];
        assert_eq!(most_at_once(&runs[..2]), 1);
        assert_eq!(most_at_once(&runs), 2);
        assert_eq!(most_at_once(&[]), 0);
    }

    #[test]
    fn a_wait_is_measured_in_fair_shares() {
        // Two keys of two tasks: the first of each by half of the time.
        let fair = [
            (1, 0, 0, 1),
            (2, 0, 50, 51),
            (1, 1, 60, 61),
            (2, 1, 100, 101),
        ];
        assert!((longest_wait(&fair, 2) - 1.0).abs() < 0.01);
        let unfair = [
            (1, 0, 0, 1),
            (1, 1, 50, 51),
            (2, 0, 99, 100),
            (2, 1, 100, 101),
        ];
        assert!(longest_wait(&unfair, 2) > 1.9);
    }
}
