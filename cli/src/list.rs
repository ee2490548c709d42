//! The listings: tasks, workers, queues, and what the doctor finds.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;
use taskq::admin::{self, Finding, Severity, TaskInfo, WorkerInfo};
use taskq::{Client, Mode, Worker};
use taskq_producer::table;

use crate::Common;
use crate::output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object a line
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

const NO_WORKER: &str = "no worker answers; start one: cargo run --bin worker";

/// A task, and who runs it. Workers that define it differently make two of
/// it.
#[derive(Serialize)]
struct TaskRow {
    #[serde(flatten)]
    task: TaskInfo,
    /// Empty for what only this program has.
    workers: Vec<String>,
    /// Whether another worker defines it differently.
    conflict: bool,
    source: &'static str,
}

pub(crate) async fn tasks(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let mut rows = rows(admin::workers(&client).await?);
    if rows.is_empty() {
        eprintln!("{NO_WORKER}. These are the tasks of this program:");
        rows = built_in()?;
    }
    if args.json {
        return each(&rows);
    }
    let mut shown = table(["task", "queue", "workers"]);
    for row in &rows {
        let mark = if row.conflict { "CONFLICT  " } else { "" };
        shown.add_row([
            format!("{mark}{}", row.task.signature),
            row.task.queue.clone(),
            if row.workers.is_empty() {
                "none (in this program)".to_owned()
            } else {
                row.workers.join(", ")
            },
        ]);
    }
    output::say(shown)?;
    if rows.iter().any(|row| row.conflict) {
        eprintln!(
            "warning: workers define a task differently, and calls that fit one fail in the \
             other; run the same version in all"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The tasks of all workers, by name and signature.
fn rows(workers: Vec<WorkerInfo>) -> Vec<TaskRow> {
    let mut found: BTreeMap<(String, String), TaskRow> = BTreeMap::new();
    for worker in workers {
        for task in worker.tasks {
            found
                .entry((task.name.clone(), task.signature.clone()))
                .or_insert_with(|| TaskRow {
                    task,
                    workers: Vec::new(),
                    conflict: false,
                    source: "worker",
                })
                .workers
                .push(worker.worker.clone());
        }
    }
    let mut rows: Vec<TaskRow> = found.into_values().collect();
    for place in 1..rows.len() {
        if rows[place - 1].task.name == rows[place].task.name {
            rows[place - 1].conflict = true;
            rows[place].conflict = true;
        }
    }
    rows
}

/// What a worker of this very program would have.
fn built_in() -> anyhow::Result<Vec<TaskRow>> {
    let worker = Worker::builder(Client::memory()).build()?;
    Ok(worker
        .tasks()
        .into_iter()
        .map(|task| TaskRow {
            task: task.into(),
            workers: Vec::new(),
            conflict: false,
            source: "program",
        })
        .collect())
}

pub(crate) async fn workers(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let workers = admin::workers(&client).await?;
    if workers.is_empty() {
        eprintln!("{NO_WORKER}");
    }
    if args.json || workers.is_empty() {
        return each(&workers);
    }
    let mut shown = table(["worker", "queues", "concurrency", "tasks"]);
    for worker in &workers {
        shown.add_row([
            worker.worker.clone(),
            worker.queues.join(", "),
            worker.concurrency.to_string(),
            worker.tasks.len().to_string(),
        ]);
    }
    output::say(shown)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn queues(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let queues = client.queues().await?;
    if queues.is_empty() {
        eprintln!(
            "{}",
            match client.mode() {
                Mode::Core => "core mode has no queues to count: nothing waits",
                _ => "no queue yet; the first worker or the first task makes one",
            }
        );
    }
    if args.json || queues.is_empty() {
        return each(&queues);
    }
    let mut shown = table(["queue", "pending", "running", "scheduled"]);
    for queue in &queues {
        shown.add_row([
            queue.queue.clone(),
            queue.pending.to_string(),
            queue.running.to_string(),
            queue.scheduled.to_string(),
        ]);
    }
    output::say(shown)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn doctor(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let findings = match args.common.connect().await {
        Ok(client) => admin::doctor(&client).await?,
        // That is what the doctor is asked about.
        Err(error) => vec![Finding {
            check: "server",
            severity: Severity::Error,
            found: error.to_string(),
            mend: String::new(),
        }],
    };
    let well = findings
        .iter()
        .all(|finding| finding.severity != Severity::Error);
    if args.json {
        each(&findings)?;
    } else {
        for finding in &findings {
            let mark = match finding.severity {
                Severity::Ok => "ok     ",
                Severity::Warning => "warning",
                Severity::Error => "ERROR  ",
            };
            output::say(format_args!(
                "{mark}  {:<12}  {}",
                finding.check, finding.found
            ))?;
            if !finding.mend.is_empty() {
                output::say(format_args!("{:23}-> {}", "", finding.mend))?;
            }
        }
    }
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn each<T: Serialize>(rows: &[T]) -> anyhow::Result<ExitCode> {
    for row in rows {
        output::json(row)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str, signature: &str) -> WorkerInfo {
        WorkerInfo {
            worker: name.to_owned(),
            namespace: "taskq".to_owned(),
            mode: "jetstream".to_owned(),
            queues: vec!["default".to_owned()],
            concurrency: 1,
            tasks: vec![TaskInfo {
                name: "double".to_owned(),
                signature: signature.to_owned(),
                queue: "default".to_owned(),
                retries: 0,
                doc: String::new(),
                place: String::new(),
            }],
        }
    }

    #[test]
    fn workers_that_agree_share_a_row_and_others_are_marked() {
        let (one, two) = ("double(n: u64) -> u64", "double(n: i64) -> i64");
        let same = rows(vec![worker("a", one), worker("b", one)]);
        assert_eq!(same.len(), 1);
        assert_eq!(same[0].workers, ["a", "b"]);
        assert!(!same[0].conflict);

        let other = rows(vec![worker("a", one), worker("b", two)]);
        assert_eq!(other.len(), 2);
        assert!(other.iter().all(|row| row.conflict));
    }

    #[test]
    fn this_program_has_the_five_string_tasks() {
        assert_eq!(built_in().unwrap().len(), 5);
    }
}
