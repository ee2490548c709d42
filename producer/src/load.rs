//! Many tasks at a steady rate, for a while.

use std::collections::BTreeMap;
use std::io::{Write as _, stdout};
use std::time::{Duration, Instant};

use anyhow::bail;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use taskq::Client;
use tokio::time::MissedTickBehavior;

use crate::mix::{Order, order};
use crate::options::{Mix, Options, Pace};
use crate::report::{Summary, TaskReport};
use crate::sample::Sample;
use crate::show::{sentence, table};

/// The most tasks that may be under way: more are more than a producer's memory
/// is for.
const MOST: usize = 100_000;
/// How many failures are told of one by one.
const MOST_FAILURES: u64 = 5;

/// What became of the tasks of one type.
#[derive(Clone, Debug, Default, Serialize)]
struct OfTask {
    succeeded: u64,
    failed: u64,
    /// Milliseconds from the sending to the result, of half of them.
    p50_ms: f64,
    /// Of 99 in a hundred.
    p99_ms: f64,
    #[serde(skip)]
    times: Vec<f64>,
}

#[derive(Serialize)]
struct Last<'a> {
    summary: &'a Summary,
    by_task: &'a BTreeMap<String, OfTask>,
}

/// Sends tasks at the rate, whether or not those before have ended; waits for
/// their results, checks them, and prints what became of each type.
///
/// # Errors
/// When stdout is closed, or the workers are so far behind that 100,000 tasks are
/// under way.
pub(crate) async fn load(
    client: &Client,
    options: &Options,
    pace: Pace,
) -> anyhow::Result<Summary> {
    let started = Instant::now();
    let total = (pace.per_second * pace.length.as_secs_f64()).round() as u64;
    let mut clock = tokio::time::interval(Duration::from_secs_f64(1.0 / pace.per_second));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = FuturesUnordered::new();
    let mut summary = Summary::default();
    let mut by_task: BTreeMap<String, OfTask> = BTreeMap::new();
    let mut begun = 0;
    let mut failures = 0;
    while begun < total || !under_way.is_empty() {
        let report: TaskReport = tokio::select! {
            _ = clock.tick(), if begun < total => {
                if under_way.len() == MOST {
                    bail!(
                        "{MOST} tasks are under way: the workers are too slow for {} a second",
                        pace.per_second
                    );
                }
                under_way.push(send(client, options, begun));
                begun += 1;
                continue;
            }
            Some(report) = under_way.next() => report,
        };
        summary.add(&report);
        let of_task = by_task.entry(report.task.clone()).or_default();
        if report.is_good() {
            of_task.succeeded += 1;
            of_task.times.push(report.ms);
        } else {
            of_task.failed += 1;
            failures += 1;
            if failures <= MOST_FAILURES && !options.json {
                let why = report.error.as_deref().unwrap_or(report.state);
                eprintln!("{} failed: {why}", report.task);
            }
        }
        if options.json {
            writeln!(stdout(), "{}", serde_json::to_string(&report)?)?;
        }
    }
    summary.seconds = started.elapsed().as_secs_f64();
    for of_task in by_task.values_mut() {
        of_task.times.sort_by(f64::total_cmp);
        (of_task.p50_ms, of_task.p99_ms) = (of_task.percentile(0.5), of_task.percentile(0.99));
    }
    show(options, &summary, &by_task)?;
    Ok(summary)
}

async fn send(client: &Client, options: &Options, number: u64) -> TaskReport {
    let order = match options.mix {
        Mix::Catalogue => order(number).await,
        Mix::Five => {
            let sample = Sample::of(number);
            Order {
                task: sample.task(),
                args: sample.args(),
                expected: sample.expected().await.ok(),
            }
        }
    };
    let since = Instant::now();
    let handle = order.call().queue(&options.queue).enqueue(client).await;
    let (task, args) = (order.task, order.args);
    let mut report = match handle {
        Err(error) => TaskReport::unsent(task, args, &error),
        Ok(handle) if !options.wait => TaskReport::sent(task, args, handle.id().clone()),
        Ok(handle) => {
            let outcome = handle.outcome_timeout(options.timeout).await;
            let report = TaskReport::waited(task, args, handle.id().clone(), outcome);
            match &order.expected {
                Some(expected) => report.checked(expected),
                None => report,
            }
        }
    };
    report.ms = (since.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    report
}

impl OfTask {
    /// What this share of the times does not exceed.
    fn percentile(&self, share: f64) -> f64 {
        let rank = (self.times.len() as f64 * share).ceil() as usize;
        self.times.get(rank.max(1) - 1).copied().unwrap_or(0.0)
    }
}

fn show(
    options: &Options,
    summary: &Summary,
    by_task: &BTreeMap<String, OfTask>,
) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    if options.json {
        let last = serde_json::to_string(&Last { summary, by_task })?;
        writeln!(out, "{last}")?;
        return Ok(());
    }
    let mut rows = table(["task", "succeeded", "failed", "p50 ms", "p99 ms"]);
    for (task, of_task) in by_task {
        rows.add_row([
            task.clone(),
            of_task.succeeded.to_string(),
            of_task.failed.to_string(),
            format!("{:.1}", of_task.p50_ms),
            format!("{:.1}", of_task.p99_ms),
        ]);
    }
    writeln!(out, "{rows}")?;
    writeln!(out, "{}", sentence(summary))?;
    Ok(())
}
