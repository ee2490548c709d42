//! The listings: tasks, and what the doctor finds.

use std::process::ExitCode;

use serde::Serialize;
use taskq::admin::{self, Finding, Severity, TaskInfo, WorkerInfo};
use taskq::{Client, Worker};
use taskq_producer::table;

use crate::Common;
use crate::output;

#[derive(clap::Args)]
// What it is part of is a group of this name.
#[group(skip)]
pub(crate) struct Args {
    /// Print one JSON object a line
    #[arg(long, env = "TASKQ_JSON")]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) const NO_WORKER: &str = "no worker answers; start one: cargo run --bin worker";

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
    let mut rows = rows(&admin::workers(&client).await?);
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

/// The tasks of all workers, as each defines them.
fn rows(workers: &[WorkerInfo]) -> Vec<TaskRow> {
    let known = admin::task_types(workers).into_iter();
    let rows = known.flat_map(|kind| {
        let conflict = kind.is_divided();
        kind.definitions.into_iter().map(move |definition| TaskRow {
            task: definition.detail,
            workers: definition.workers,
            conflict,
            source: "worker",
        })
    });
    rows.collect()
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
                schedule: None,
                sensitive: None,
                schema: None,
            }],
        }
    }

    #[test]
    fn workers_that_agree_share_a_row_and_others_are_marked() {
        let (one, two) = ("double(n: u64) -> u64", "double(n: i64) -> i64");
        let same = rows(&[worker("a", one), worker("b", one)]);
        assert_eq!(same.len(), 1);
        assert_eq!(same[0].workers, ["a", "b"]);
        assert!(!same[0].conflict);

        let other = rows(&[worker("a", one), worker("b", two)]);
        assert_eq!(other.len(), 2);
        assert!(other.iter().all(|row| row.conflict));
    }

    #[test]
    fn this_program_has_the_ready_tasks() {
        assert_eq!(built_in().unwrap().len(), 25);
    }
}
