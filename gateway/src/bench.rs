//! How fast the index answers, and what it takes: `gateway bench-index`.

mod answers;
mod followed;
mod history;
mod rebuild;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use taskq::Timestamp;
use taskq::admin::{Record, RecordBody};

use crate::index::{Database, Index, Order, Retention, Seen, TaskQuery, TaskState};

/// How large a bench.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// How many finished tasks
    #[arg(
        long,
        env = "TASKQ_BENCH_TASKS",
        value_name = "COUNT",
        default_value_t = 1_000_000
    )]
    pub tasks: u64,

    /// How often each question is asked
    #[arg(
        long,
        env = "TASKQ_BENCH_ROUNDS",
        value_name = "COUNT",
        default_value_t = 15
    )]
    pub rounds: usize,

    /// PostgreSQL database to measure instead of a file; its schema taskq_index_bench is emptied
    #[arg(
        long,
        env = "TASKQ_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,

    /// Instead of times, compare what an index that followed the streams answers with what one
    /// that is built from them answers; starts a nats-server for that
    #[arg(long, env = "TASKQ_BENCH_REBUILD")]
    pub rebuild: bool,
}

/// When the first of the tasks ended, where that does not matter.
const START: i64 = 1_790_000_000_000;
/// How long after a task the next one ended, in milliseconds.
const APART: i64 = 50;

/// Fills an index, asks it for the first page of every filter and of pairs that
/// are hard on it, and prints one JSON object a question and a summary.
///
/// # Errors
/// When the index fails, or one that was built again gives other answers.
pub async fn bench_index(args: &BenchArgs) -> anyhow::Result<()> {
    if args.rebuild {
        return rebuild::bench_rebuild(args).await;
    }
    let retention = Retention {
        age: Duration::from_secs(100 * 365 * 24 * 3600),
        most: args.tasks,
    };
    let index = match &args.database_url {
        Some(url) => {
            let database = Database {
                url: url.clone(),
                ca: None,
            };
            let index = Index::in_database(&database, "bench", retention).await?;
            index.clear().await?;
            index.lead().await?;
            index
        }
        None => Index::scratch(retention)?,
    };
    let begun = Instant::now();
    let mut next = 1;
    while next <= args.tasks {
        let last = (next + 1999).min(args.tasks);
        let records: anyhow::Result<Vec<Record>> = (next..=last).map(outcome).collect();
        let seen = Seen {
            source: "outcomes",
            created: 1,
            sequence: last,
        };
        index.take(records?, seen).await?;
        next = last + 1;
    }
    let filled = begun.elapsed().as_secs_f64();
    let mut slowest: (f64, &str) = (0.0, "");
    for (name, query) in questions(args.tasks, START) {
        let mut times = Vec::with_capacity(args.rounds);
        let mut found = 0;
        for _ in 0..args.rounds.max(1) {
            let asked = Instant::now();
            found = index.tasks(query.clone()).await?.tasks.len();
            times.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let worst = times[times.len() - 1];
        if median > slowest.0 {
            slowest = (median, name);
        }
        let line = json!({
            "filter": name, "found": found,
            "median_ms": round(median), "worst_ms": round(worst),
        });
        println!("{line}");
    }
    let line = json!({"summary": {
        "tasks": args.tasks, "filled_s": round(filled),
        "slowest": slowest.1, "slowest_median_ms": round(slowest.0),
        "peak_memory_mb": peak_memory("self").map(round),
    }});
    println!("{line}");
    Ok(())
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// The most memory that a process has had, in MB; where the system tells it.
fn peak_memory(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn outcome(n: u64) -> anyhow::Result<Record> {
    let outcome = serde_json::from_value(end(n, START)).context("an outcome of the bench")?;
    Ok(Record {
        sequence: n,
        body: RecordBody::Outcome(Box::new(outcome)),
        left: 0,
    })
}

/// A number for each task, such that no two properties that are taken from it
/// go together.
fn mixed(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

fn id(n: u64) -> String {
    format!("0195f000-0000-7000-8000-{n:012x}")
}

/// The outcome of a task, as JSON. Twenty names, five queues, fifty workers, a
/// thousand tenants; every tenth failed, and every hundredth of those in a way
/// of its own.
fn end(n: u64, start: i64) -> Value {
    let mixed = mixed(n);
    let failed = mixed.is_multiple_of(10);
    let error = failed.then(|| {
        let why = match mixed % 1000 {
            0 => format!("no such mailbox: user{n}@example.com"),
            _ => format!("connection refused by host {}", mixed % 40),
        };
        json!({"exc_type": "SmtpError", "exc_module": "mail", "exc_message": [why]})
    });
    let at = |more: i64| {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        Timestamp::from_millis(start + n.saturating_mul(APART) + more)
    };
    // One name and one worker that are never together.
    let name = if n.is_multiple_of(2) {
        "even".to_owned()
    } else {
        format!("task_{}", mixed % 19)
    };
    let worker = if n.is_multiple_of(2) {
        "half".to_owned()
    } else {
        format!("worker-{}", mixed / 7 % 49)
    };
    let queue = if n == 777 {
        "once".to_owned()
    } else {
        format!("queue-{}", mixed / 3 % 5)
    };
    json!({
        "task_id": id(n), "task_name": name, "queue": queue,
        "state": if failed { "failed" } else { "succeeded" }, "is_err": failed,
        "return_value": null, "error": error, "execution_time": 0.012, "attempt": 1,
        "worker": worker, "enqueued_at": at(-40), "started_at": at(-12), "finished_at": at(0),
        "kwargs": {"order": {"id": n, "lines": mixed % 7}, "to": format!("user{}@example.com", mixed % 5000)},
        "labels": {"tenant": format!("t{}", mixed % 1000), "env": "prod",
                   "taskq_unique": (n.is_multiple_of(10)).then(|| format!("order-{n}"))},
    })
}

fn questions(tasks: u64, start: i64) -> Vec<(&'static str, TaskQuery)> {
    let base = TaskQuery::default;
    let some = |text: &str| Some(text.to_owned());
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let at = |share: f64| {
        let millis = tasks as f64 * share * APART as f64;
        Some(Timestamp::from_millis(start + millis as i64))
    };
    let failed = || vec![TaskState::Failed];
    vec![
        ("none", base()),
        (
            "none, oldest first",
            TaskQuery {
                order: Order::Oldest,
                ..base()
            },
        ),
        (
            "task, common",
            TaskQuery {
                task: some("even"),
                ..base()
            },
        ),
        (
            "task, rare",
            TaskQuery {
                task: some("task_3"),
                ..base()
            },
        ),
        (
            "task, none",
            TaskQuery {
                task: some("unheard"),
                ..base()
            },
        ),
        (
            "queue",
            TaskQuery {
                queue: some("queue-2"),
                ..base()
            },
        ),
        (
            "queue, one task",
            TaskQuery {
                queue: some("once"),
                ..base()
            },
        ),
        (
            "worker, common",
            TaskQuery {
                worker: some("half"),
                ..base()
            },
        ),
        (
            "worker, rare",
            TaskQuery {
                worker: some("worker-7"),
                ..base()
            },
        ),
        (
            "state",
            TaskQuery {
                states: failed(),
                ..base()
            },
        ),
        (
            "state, none",
            TaskQuery {
                states: vec![TaskState::Expired],
                ..base()
            },
        ),
        (
            "dead, none",
            TaskQuery {
                dead: Some(true),
                ..base()
            },
        ),
        (
            "since",
            TaskQuery {
                since: at(0.9),
                ..base()
            },
        ),
        (
            "until, long ago",
            TaskQuery {
                until: at(0.01),
                ..base()
            },
        ),
        (
            "a moment in the middle",
            TaskQuery {
                since: at(0.5),
                until: at(0.500_02),
                ..base()
            },
        ),
        (
            "a time that is none",
            TaskQuery {
                since: at(2.0),
                ..base()
            },
        ),
        (
            "key",
            TaskQuery {
                key: some("order-5000"),
                ..base()
            },
        ),
        (
            "label, common",
            TaskQuery {
                labels: pair("env", "prod"),
                ..base()
            },
        ),
        (
            "label, rare",
            TaskQuery {
                labels: pair("tenant", "t7"),
                ..base()
            },
        ),
        (
            "argument, one task",
            TaskQuery {
                arguments: pair("order.id", "4321"),
                ..base()
            },
        ),
        (
            "argument, rare",
            TaskQuery {
                arguments: pair("to", "user77@example.com"),
                ..base()
            },
        ),
        (
            "argument, common",
            TaskQuery {
                arguments: pair("order.lines", "3"),
                ..base()
            },
        ),
        (
            "argument, none",
            TaskQuery {
                arguments: pair("order.lines", "8"),
                ..base()
            },
        ),
        (
            "argument, common, and queue, one task",
            TaskQuery {
                arguments: pair("order.lines", "3"),
                queue: some("once"),
                ..base()
            },
        ),
        (
            "argument, common, oldest first",
            TaskQuery {
                arguments: pair("order.lines", "3"),
                order: Order::Oldest,
                ..base()
            },
        ),
        (
            "two arguments that are never together",
            TaskQuery {
                arguments: [pair("order.id", "4321"), pair("order.lines", "8")].concat(),
                ..base()
            },
        ),
        (
            "argument, state, label, error, oldest first",
            TaskQuery {
                arguments: pair("order.lines", "3"),
                states: failed(),
                labels: pair("tenant", "t7"),
                error: some("refused"),
                order: Order::Oldest,
                ..base()
            },
        ),
        (
            "error, common",
            TaskQuery {
                error: some("connection refused"),
                ..base()
            },
        ),
        (
            "error, common, oldest first",
            TaskQuery {
                error: some("connection refused"),
                order: Order::Oldest,
                ..base()
            },
        ),
        (
            "error, rare",
            TaskQuery {
                error: some("mailbox"),
                ..base()
            },
        ),
        (
            "error, none",
            TaskQuery {
                error: some("unheard"),
                ..base()
            },
        ),
        (
            "two common ones that are never together",
            TaskQuery {
                task: some("even"),
                worker: some("worker-7"),
                ..base()
            },
        ),
        (
            "error and queue",
            TaskQuery {
                error: some("refused"),
                queue: some("queue-1"),
                ..base()
            },
        ),
        (
            "error and a task of few errors",
            TaskQuery {
                error: some("refused"),
                queue: some("once"),
                ..base()
            },
        ),
        (
            "state, label, worker",
            TaskQuery {
                states: failed(),
                labels: pair("tenant", "t7"),
                worker: some("worker-7"),
                ..base()
            },
        ),
        (
            "common label, rare queue",
            TaskQuery {
                labels: pair("env", "prod"),
                queue: some("once"),
                ..base()
            },
        ),
        (
            "common label, a time long ago",
            TaskQuery {
                labels: pair("env", "prod"),
                until: at(0.000_01),
                ..base()
            },
        ),
    ]
}
