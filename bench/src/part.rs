//! The process that plays one part: the producer or the worker of a contender.
//!
//! It talks with the process that started it in lines. It writes `ready` when
//! it is connected, waits for a line (which tells a producer to begin and a
//! worker to end), writes its [`Report`] as JSON, and stays until its stdin is
//! closed, so that its CPU and memory can be read while it is still there.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::options::{Load, PartOptions, Phase};
use crate::side::{Producer, Worker};

/// What the process says when it is connected.
pub(crate) const READY: &str = "ready";
/// Calls before the latency is measured, so that connections, allocators and
/// the branch predictor have seen one.
const UNMEASURED_CALLS: usize = 20;
/// A phase slower than this many tasks a second has come to a stand.
const SLOWEST_PER_S: f64 = 500.0;

/// What a part has to say when it is done.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Tasks enqueued by a producer, or run by a worker, the unmeasured ones
    /// too.
    pub(crate) tasks: u64,
    /// From the first call to the last acknowledgement or outcome.
    pub(crate) seconds: f64,
    /// From a call to its outcome at the producer, in the latency phase.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

/// Plays a producer.
pub(crate) async fn produce<P: Producer>(
    part: &PartOptions,
    load: Load,
    parent: &mut Parent,
) -> Result<Report> {
    let mut producer = P::connect(&part.url, load).await?;
    say(READY)?;
    parent.told().await?;

    let paced = match part.phase {
        Phase::Latency => part.tasks as f64 / f64::from(part.per_second),
        Phase::Enqueue | Phase::EndToEnd | Phase::Start => 0.0,
    };
    let limit = Duration::from_secs_f64(30.0 + paced + part.tasks as f64 / SLOWEST_PER_S);
    let work = timeout(limit, phase(&mut producer, part));
    tokio::select! {
        done = work => done.with_context(|| {
            format!("{} tasks were not done after {limit:?}", part.tasks)
        })?,
        () = parent.gone() => bail!("the process that started this one is gone"),
    }
}

/// What a producer does in a phase.
async fn phase<P: Producer>(producer: &mut P, part: &PartOptions) -> Result<Report> {
    let begin = Instant::now();
    let mut report = Report {
        tasks: part.tasks,
        ..Report::default()
    };
    match part.phase {
        Phase::Enqueue => producer.enqueue(part.tasks).await?,
        Phase::EndToEnd | Phase::Start => producer.enqueue_and_learn(part.tasks).await?,
        Phase::Latency => {
            let mut times = paced_calls(producer, part).await?;
            times.sort_unstable();
            report.p50_ms = percentile(&times, 0.50).map(millis);
            report.p99_ms = percentile(&times, 0.99).map(millis);
            report.tasks += UNMEASURED_CALLS as u64;
        }
    }
    report.seconds = begin.elapsed().as_secs_f64();
    Ok(report)
}

/// Calls at the fixed rate, whether or not the calls before have ended, and
/// gives what each took from its own beginning.
async fn paced_calls<P: Producer>(producer: &mut P, part: &PartOptions) -> Result<Vec<Duration>> {
    let total = usize::try_from(part.tasks)? + UNMEASURED_CALLS;
    let mut clock = interval(Duration::from_secs(1) / part.per_second);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);

    let mut running = FuturesUnordered::new();
    let mut times = Vec::with_capacity(total);
    let mut begun = 0;
    while begun < total || !running.is_empty() {
        tokio::select! {
            _ = clock.tick(), if begun < total => {
                let measured = begun >= UNMEASURED_CALLS;
                begun += 1;
                let begin = Instant::now();
                let call = producer.call();
                running.push(async move {
                    call.await.map(|()| measured.then(|| begin.elapsed()))
                });
            }
            Some(time) = running.next() => times.extend(time?),
        }
    }
    Ok(times)
}

/// Plays a worker.
pub(crate) async fn consume<W: Worker>(
    part: &PartOptions,
    load: Load,
    parent: &mut Parent,
) -> Result<Report> {
    let worker = W::connect(&part.url, load).await?;
    say(READY)?;
    let begin = Instant::now();
    let tasks = worker
        .run(async {
            // Gone or told: either way there is no more to do.
            let _ = parent.told().await;
        })
        .await?;
    Ok(Report {
        tasks,
        seconds: begin.elapsed().as_secs_f64(),
        ..Report::default()
    })
}

/// The process that started this one, at the other end of stdin.
#[derive(Debug)]
pub(crate) struct Parent {
    lines: mpsc::UnboundedReceiver<String>,
}

impl Parent {
    /// Reads stdin from now on. On a thread of its own: one of the runtime's,
    /// blocked in a read, would keep the process from ending.
    pub(crate) fn listen() -> Self {
        let (send, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self { lines }
    }

    /// Waits for its word.
    pub(crate) async fn told(&mut self) -> Result<()> {
        let word = self.lines.recv().await;
        word.map(drop)
            .context("the process that started this one is gone")
    }

    /// Waits until it is gone, or has closed stdin.
    pub(crate) async fn gone(&mut self) {
        while self.lines.recv().await.is_some() {}
    }
}

/// The smallest of the sorted values that at least this share of them do not
/// exceed.
fn percentile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Writes a line to the process that started this one.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u32> = (1..=1_000).collect();
        assert_eq!(percentile(&values, 0.50), Some(500));
        assert_eq!(percentile(&values, 0.99), Some(990));
        assert_eq!(percentile(&[7], 0.99), Some(7));
        assert_eq!(percentile::<u32>(&[], 0.5), None);
    }
}
