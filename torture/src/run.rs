//! A run from its start to its verdict.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use taskq::cli::stop_signal;
use taskq::{Client, admin};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::args::Args;
use crate::field::Field;
use crate::load::Load;
use crate::plan::{self, Planned, Setting};
use crate::records::{self, Seen};
use crate::recovery;
use crate::shared::Shared;
use crate::verdict::{Backlog, Memory, Verdict};

/// How long the workers may take to be there.
const READY: Duration = Duration::from_secs(60);
/// How often notes are read.
const READ: Duration = Duration::from_millis(50);
/// How often to look whether it is over.
const LOOK: Duration = Duration::from_millis(200);
/// When memory is first looked at, after the start of the load.
const WARM: Duration = Duration::from_secs(10);
/// How long reading everything at the end may be tried.
const READ_ALL: Duration = Duration::from_secs(300);

/// Ends a task with this value.
struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs it. Whether all was well.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
    let planned = plan::plan(&Setting {
        seed,
        length: args.length(),
        kills_per_second: args.kills_per_second,
        workers: args.workers,
        cluster: args.cluster,
    });
    if args.plan {
        return print_plan(&planned).map(|()| true);
    }
    let folder = tempfile::Builder::new()
        .prefix("taskq-torture-")
        .tempdir()?;
    eprintln!(
        "seed {seed}: {} faults; logs in {}",
        planned.len(),
        folder.path().display()
    );

    match run_in(args, seed, &planned, folder.path()).await {
        Ok((verdict, keep)) => {
            let passed = verdict.passed;
            let logs = keep.then(|| folder.keep());
            Verdict { logs, ..verdict }.print(args.json)?;
            Ok(passed)
        }
        Err(error) => {
            let logs = folder.keep();
            Err(anyhow!("{error:#}; the logs are in {}", logs.display()))
        }
    }
}

/// Runs it with its logs in this folder. What it has shown, and whether the
/// logs are worth keeping.
async fn run_in(
    args: &Args,
    seed: u64,
    planned: &[Planned],
    folder: &Path,
) -> anyhow::Result<(Verdict, bool)> {
    let shared = Arc::new(Shared::default());
    let field = Field::start(Arc::clone(&shared), folder, args.cluster, args.workers).await?;
    let seen = Seen::default();
    let following = Background(tokio::spawn(records::follow(
        field.url().to_owned(),
        seen.clone(),
        {
            let shared = Arc::clone(&shared);
            move |n, outcome, at| {
                let mut ledger = shared.ledger();
                match n {
                    Some(n) => {
                        ledger.recorded(n, outcome, at);
                        let attempt = recovery::attempt_of(outcome);
                        shared.recovery().recorded(n, at, attempt);
                    }
                    None => ledger.violate(
                        "an outcome without its labels",
                        outcome.id.to_string(),
                        format!("{outcome:?}"),
                    ),
                }
            }
        },
    )));
    let clients = clients(&field).await?;
    ready(&field, &clients[0], args.workers).await?;
    let reading = Background(tokio::spawn({
        let field = Arc::clone(&field);
        async move {
            while field.read_notes().is_ok() {
                tokio::time::sleep(READ).await;
            }
        }
    }));

    let bar = progress(args, planned.len());
    let begun = Instant::now();
    let load = Load::start(&clients[..2], &clients[2], &shared, args.rate, seed);
    let (mut memory, mut backlog) = (Memory::default(), Backlog::default());
    let mut injected = JoinSet::new();
    let stop = stop_signal();
    tokio::pin!(stop);
    let mut rest = planned.iter().peekable();
    let mut is_stopped = false;
    while begun.elapsed() < args.length() && !is_stopped {
        let next = rest.peek().map_or(args.length(), |planned| planned.at);
        let next = (begun + next).min(Instant::now() + LOOK);
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = &mut stop => is_stopped = true,
        }
        while let Some(due) = rest.next_if(|planned| planned.at <= begun.elapsed()) {
            injected.spawn(Arc::clone(&field).inject(due.fault));
        }
        while let Some(done) = injected.try_join_next() {
            done?.context("a fault cannot be injected")?;
        }
        field.mend().await?;
        if memory.at_start.is_none() && begun.elapsed() > WARM.min(args.length() / 2) {
            memory.at_start = Some(field.memory().await);
        }
        backlog.see(shared.ledger().pending());
        tell(&bar, &shared, begun, args.length());
    }
    let faults_took = begun.elapsed();
    load.end().await;
    memory.at_end = Some(field.memory().await);
    while let Some(done) = injected.join_next().await {
        done?.context("a fault cannot be injected")?;
    }
    let draining = Instant::now();
    bar.set_message("waiting for the rest");
    let drained = drain(&field, &clients[0], args.drain).await?;
    let drain_took = draining.elapsed();
    drop(reading);
    field.stop().await?;
    field.read_notes()?;
    // It would begin anew when what it has seen is taken.
    drop(following);
    bar.set_message("reading what is recorded");
    let (changes, letters) = read_all(field.url(), &seen).await?;
    bar.finish_and_clear();

    let mut ledger = shared.ledger();
    ledger.close(&letters);
    for subject in changes.changed {
        ledger.violate("an outcome has changed", subject, String::new());
    }
    if changes.gone > 0 {
        let detail = format!("{} that were read are not there at the end", changes.gone);
        ledger.violate("outcomes are gone", String::new(), detail);
    }
    if let Err(reason) = drained {
        ledger.violate("the queues do not get empty", String::new(), reason);
    }
    let (measured, late) = shared.recovery().measured(args.recovery);
    for late in late {
        let detail = format!(
            "{:.1?} after the kill; {:.1?} are allowed",
            late.took, late.allowed
        );
        let id = ledger.id(late.n);
        ledger.violate("a recovery took too long", id, detail);
    }
    let mut verdict = Verdict {
        seed,
        seconds: faults_took.as_secs_f64(),
        drain_seconds: drain_took.as_secs_f64(),
        server: field.version(),
        records: changes.records,
        counts: ledger.counts(),
        recovery: measured,
        memory,
        backlog: backlog.median(),
        ..Verdict::default()
    };
    let tally = field.tally();
    verdict.faults = tally.faults;
    verdict.worker_exits = tally.exits;
    verdict.refused_outcomes = tally.refused_outcomes;
    let (violations, count) = ledger.violations();
    verdict.violations = violations.to_vec();
    verdict.count_violations = count;
    verdict.passed = ledger.is_blameless();
    let keep = args.keep || !verdict.passed;
    if keep {
        field.write_logs()?;
    }
    Ok((verdict, keep))
}

fn print_plan(planned: &[Planned]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    for planned in planned {
        writeln!(stdout, "{planned}")?;
    }
    Ok(())
}

/// Two clients that send, of which one is cut off now and then, and one that
/// is told of outcomes.
async fn clients(field: &Field) -> anyhow::Result<[Client; 3]> {
    let cut_off = field.producer_url();
    let connect = async |url: &str, results| {
        let client = Client::builder()
            .url(url)
            .name("torture")
            .replicas(field.replicas())
            .results(results);
        client.connect().await
    };
    Ok([
        connect(field.url(), false).await?,
        connect(&cut_off, false).await?,
        connect(field.url(), true).await?,
    ])
}

async fn ready(field: &Field, client: &Client, workers: u8) -> anyhow::Result<()> {
    let limit = Instant::now() + READY;
    while admin::workers(client).await?.len() < usize::from(workers) {
        if Instant::now() > limit {
            bail!("the workers were not there within {READY:?}");
        }
        field.mend().await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Waits until everything that was accepted has ended, and nothing is left in
/// the queues. What is left, if the limit is over before.
async fn drain(
    field: &Arc<Field>,
    client: &Client,
    limit: Duration,
) -> anyhow::Result<Result<(), String>> {
    let until = Instant::now() + limit;
    loop {
        field.mend().await?;
        let pending = field.shared.ledger().pending();
        let left = match client.queues().await {
            Ok(queues) if records::is_empty(&queues) => None,
            Ok(queues) => Some(format!("{queues:?}")),
            Err(error) => Some(error.to_string()),
        };
        if pending == 0 && left.is_none() {
            return Ok(Ok(()));
        }
        if Instant::now() > until {
            let left = left.unwrap_or_else(|| "the queues are empty".to_owned());
            return Ok(Err(format!(
                "{pending} have no outcome after {limit:?}; {left}"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn read_all(
    url: &str,
    seen: &Seen,
) -> anyhow::Result<(
    records::Changes,
    std::collections::HashMap<u32, taskq::DeadReason>,
)> {
    let limit = Instant::now() + READ_ALL;
    let changes = loop {
        match records::compare(url, seen).await {
            Ok(changes) => break changes,
            Err(error) if Instant::now() > limit => bail!("the outcomes cannot be read: {error}"),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    };
    let letters = loop {
        match records::letters(url).await {
            Ok(letters) => break letters,
            Err(error) if Instant::now() > limit => {
                bail!("the dead letters cannot be read: {error}")
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    };
    Ok((changes, letters))
}

fn progress(args: &Args, faults: usize) -> ProgressBar {
    let bar = ProgressBar::new(args.length().as_secs());
    let style = ProgressStyle::with_template("{bar:30} {elapsed} of {len} s  {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(format!("{faults} faults to come"));
    bar
}

fn tell(bar: &ProgressBar, shared: &Shared, begun: Instant, length: Duration) {
    bar.set_position(begun.elapsed().min(length).as_secs());
    let ledger = shared.ledger();
    let (sent, pending) = (ledger.len(), ledger.pending());
    let (_, violations) = ledger.violations();
    bar.set_message(format!(
        "{sent} sent, {pending} under way, {violations} violations"
    ));
}
