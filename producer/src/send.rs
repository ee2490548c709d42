//! One round: send, wait, check, tell.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, pin_mut};
use taskq::{Client, TaskHandle};

use crate::load::load;
use crate::options::{Options, Pace};
use crate::report::{Summary, TaskReport};
use crate::sample::Sample;
use crate::show::Screen;

/// How many results are waited for at once.
const WINDOW: usize = 10_000;
/// Without a result for so long, somebody may have forgotten the workers.
const HINT_AFTER: Duration = Duration::from_secs(2);

/// Sends the tasks, waits for their results, checks each, and prints what
/// became of them on stdout. With a pace, as many as that says.
///
/// # Errors
/// When stdout is closed, or the workers are too slow for the pace. A task that fails is no error here: the summary
/// counts it.
pub async fn run(
    client: &Client,
    options: &Options,
    pace: Option<Pace>,
) -> anyhow::Result<Summary> {
    if let Some(pace) = pace {
        return load(client, options, pace).await;
    }
    let mut screen = Screen::new(options);
    let summary = round(client, options, |report| screen.tell(report)).await?;
    screen.end(&summary)?;
    Ok(summary)
}

/// Sends the tasks, and hands on what became of each, in their order.
pub(crate) async fn round(
    client: &Client,
    options: &Options,
    mut tell: impl FnMut(TaskReport) -> anyhow::Result<()>,
) -> anyhow::Result<Summary> {
    let started = Instant::now();
    let count = options.count.unwrap_or(5);
    let samples = || {
        let first_five = options.count.is_none().then(Sample::first_five);
        (0..count).map(move |number| match &first_five {
            Some(five) => five[number as usize % five.len()].clone(),
            None => Sample::of(number),
        })
    };
    // When each was handed to the client; read in the same order.
    let times = Mutex::new(VecDeque::new());
    let times = || times.lock().unwrap_or_else(PoisonError::into_inner);
    let calls = samples().map(|sample| {
        times().push_back(Instant::now());
        sample.call().queue(&options.queue)
    });
    let reports = client
        .enqueue_many(calls)
        .zip(futures::stream::iter(samples()))
        .map(|(handle, sample)| {
            let since = times().pop_front().unwrap_or(started);
            report(handle, sample, since, options)
        })
        .buffered(WINDOW);
    pin_mut!(reports);

    let mut summary = Summary::default();
    let hint = hint(client);
    pin_mut!(hint);
    let mut hinted = !options.wait;
    loop {
        let report = tokio::select! {
            report = reports.next() => report,
            () = &mut hint, if !hinted => {
                hinted = true;
                continue;
            }
        };
        let Some(report) = report else { break };
        hinted = true;
        summary.add(&report);
        tell(report)?;
    }
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

async fn report(
    handle: taskq::Result<TaskHandle<serde_json::Value>>,
    sample: Sample,
    since: Instant,
    options: &Options,
) -> TaskReport {
    let (task, args) = (sample.task(), sample.args());
    let mut report = match handle {
        Err(error) => TaskReport::unsent(task, args, &error),
        Ok(handle) if !options.wait => TaskReport::sent(task, args, handle.id().clone()),
        Ok(handle) => {
            let outcome = handle.outcome_timeout(options.timeout).await;
            let report = TaskReport::waited(task, args, handle.id().clone(), outcome);
            match sample.expected().await {
                Ok(expected) => report.checked(&expected),
                Err(_) => report,
            }
        }
    };
    report.ms = (since.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    report
}

/// Says so when nobody is there to run the tasks.
async fn hint(client: &Client) {
    tokio::time::sleep(HINT_AFTER).await;
    if let Ok(workers) = taskq::admin::workers(client).await
        && workers.is_empty()
    {
        eprintln!("no worker is running, so the tasks wait; start one: cargo run --bin worker");
    }
}
