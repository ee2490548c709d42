//! The comparison: repetitions of sides of phases.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use futures::TryStreamExt;
use taskq_nats_server::NatsServer;
use tokio::time::sleep;

use crate::DEBUG_BUILD;
use crate::args::Args;
use crate::contender::takes_part;
use crate::options::{Contender, PartOptions, Phase, Role};
use crate::process::Process;
use crate::summary::{Measured, Summary, Usage};
use crate::table;
use crate::watch::Watch;

/// What the first, discarded repetition is cut down to.
const WARM_UP_COUNT: u64 = 5_000;
const WARM_UP_LATENCY_COUNT: u64 = 100;
/// How often memory is looked at for its peak.
const SAMPLE: Duration = Duration::from_millis(50);
/// After connecting, until what a process uses is called idle.
const SETTLE: Duration = Duration::from_millis(200);

/// One column of the report.
#[derive(Debug, Clone, Copy)]
struct Side {
    contender: Contender,
    label: &'static str,
}

/// Runs and reports all of it.
pub(crate) async fn run(args: &Args) -> Result<()> {
    if let Some(warning) = DEBUG_BUILD {
        eprintln!("bench: {warning}");
    }
    // It blocks, and may fetch a server first.
    let server = tokio::task::spawn_blocking(|| NatsServer::builder().start()).await??;
    let sides = sides(args.against);
    let bench = Bench { args, server };
    eprintln!(
        "nats-server {}, {} and {}, {} tasks, {} repetitions",
        bench.server.version(),
        sides[0].label,
        sides[1].label,
        args.count,
        args.reps
    );

    for side in sides {
        bench.repetition(0, side).await?;
    }
    let mut measured = Vec::new();
    for rep in 1..=args.reps {
        let mut order = sides;
        order.rotate_left(rep as usize % sides.len());
        for side in order {
            for one in bench.repetition(rep, side).await? {
                match args.json {
                    true => println!("{}", serde_json::to_string(&one)?),
                    false => eprintln!("{one}"),
                }
                measured.push(one);
            }
        }
    }

    let summary = Summary::of(&measured, [sides[0].label, sides[1].label]);
    match args.json {
        true => println!("{}", summary.json()?),
        false => println!("{}", table::render(&summary)),
    }
    Ok(())
}

/// The raw loop, and what is compared with it. Two columns cannot have one
/// name.
fn sides(against: Contender) -> [Side; 2] {
    let label = match against {
        Contender::Raw => "raw_again",
        Contender::Taskq => against.name(),
    };
    let raw = Contender::Raw;
    [
        Side {
            contender: raw,
            label: raw.name(),
        },
        Side {
            contender: against,
            label,
        },
    ]
}

/// A server to measure on.
struct Bench<'a> {
    args: &'a Args,
    server: NatsServer,
}

impl Bench<'_> {
    /// Runs a side through all phases. Repetition 0 is the warm-up.
    async fn repetition(&self, rep: u32, side: Side) -> Result<Vec<Measured>> {
        let mut measured = Vec::new();
        for phase in Phase::ALL {
            let one = match phase {
                Phase::Start => self.measure_start(rep, side).await,
                Phase::Enqueue | Phase::EndToEnd | Phase::Latency => {
                    self.measure(rep, side, phase).await
                }
            };
            measured.push(one.with_context(|| {
                format!("{} of {}, repetition {rep}", phase.name(), side.label)
            })?);
        }
        Ok(measured)
    }

    /// Makes the streams of a side anew.
    async fn set_up(&self, side: Side) -> Result<()> {
        delete_streams(self.server.url()).await?;
        side.contender.set_up(self.server.url()).await
    }

    /// A part of a side.
    fn part(&self, side: Side, role: Role, phase: Phase, tasks: u64) -> PartOptions {
        PartOptions {
            contender: side.contender,
            role,
            phase,
            tasks,
            per_second: self.args.rate,
            url: self.server.url().to_owned(),
        }
    }

    /// Times a worker from its start until the outcome of a task that waits
    /// for one.
    async fn measure_start(&self, rep: u32, side: Side) -> Result<Measured> {
        self.set_up(side).await?;
        let part = |role| self.part(side, role, Phase::Start, 1);
        let mut producer = Process::start(&part(Role::Producer)).await?;
        producer.tell().await?;
        sleep(SETTLE).await;

        let begin = Instant::now();
        let mut worker = Process::start(&part(Role::Worker)).await?;
        let mut report = producer.report().await?;
        report.seconds = begin.elapsed().as_secs_f64();
        worker.tell().await?;
        worker.report().await?;
        producer.end().await?;
        worker.end().await?;
        let (phase, usage) = (Phase::Start, Usage::default());
        Ok(Measured::new(rep, side.label, phase, &report, usage, None))
    }

    /// Runs a side through another phase.
    async fn measure(&self, rep: u32, side: Side, phase: Phase) -> Result<Measured> {
        let (count, most) = match phase {
            Phase::Latency => (self.args.latency_count, WARM_UP_LATENCY_COUNT),
            Phase::Enqueue | Phase::EndToEnd => (self.args.count, WARM_UP_COUNT),
            Phase::Start => (1, 1),
        };
        let tasks = if rep == 0 { count.min(most) } else { count };
        self.set_up(side).await?;
        let part = |role| self.part(side, role, phase, tasks);
        let mut worker = match takes_part(Role::Worker, phase) {
            true => Some(Process::start(&part(Role::Worker)).await?),
            false => None,
        };
        let mut producer = Process::start(&part(Role::Producer)).await?;
        sleep(SETTLE).await;

        let pids = [
            Some(self.server.pid()),
            Some(producer.pid()),
            worker.as_ref().map(Process::pid),
        ];
        let mut watch = Watch::begin(pids);
        producer.tell().await?;
        let report = {
            let report = producer.report();
            tokio::pin!(report);
            loop {
                tokio::select! {
                    report = &mut report => break report?,
                    () = sleep(SAMPLE) => watch.sample(),
                }
            }
        };
        if let Some(worker) = &mut worker {
            worker.tell().await?;
            let run = worker.report().await?.tasks;
            ensure!(run >= tasks, "the worker ran {run} of {tasks} tasks");
        }
        let (usage, foreign_cpu) = watch.end(report.tasks);
        producer.end().await?;
        if let Some(worker) = worker {
            worker.end().await?;
        }
        Ok(Measured::new(
            rep,
            side.label,
            phase,
            &report,
            usage,
            foreign_cpu,
        ))
    }
}

/// Deletes every stream of the server, which is this comparison's own.
pub(crate) async fn delete_streams(url: &str) -> Result<()> {
    let jetstream = jetstream::new(async_nats::connect(url).await?);
    let names: Vec<String> = jetstream.stream_names().try_collect().await?;
    for name in names {
        jetstream.delete_stream(name).await?;
    }
    Ok(())
}
