//! What is wrong with the system, and what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::workers::{WorkerInfo, differences, troubled, workers};
use super::{EventFilter, events, pools, queues, schedules, tasks};
use crate::broker::{Mode, Status, api};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::message::{EventKind, Paused, TaskId};
use crate::time::Timestamp;

/// Workers tell of a task that none of them knows at least this often.
const TOLD_WITHIN_MS: i64 = 3_600_000;
/// Of how many messages of an unknown task it is found out whether they wait.
const MOST_LOOKED_AT: usize = 200;
/// Each look costs the server a few requests.
const LOOKS_AT_ONCE: usize = 16;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, but something may be lost or slow.
    Warning,
    /// Does not work.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What to do; empty when there is nothing to do.
    pub mend: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            severity: Severity::Ok,
            found: found.into(),
            mend: String::new(),
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            check,
            severity: Severity::Warning,
            found: found.into(),
            mend: mend.into(),
        }
    }

    fn error(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            ..Self::warning(check, found, mend)
        }
    }
}

/// Looks at the server, its durability, the streams, the clock and the
/// workers.
///
/// # Errors
/// When the connection is closed.
pub async fn doctor(client: &Client) -> Result<Vec<Finding>> {
    let Some(nats) = client.0.broker.nats() else {
        return Ok(vec![Finding::warning(
            "server",
            "memory mode: no server, nothing is kept",
            "set TASKQ_MODE=jetstream for real work",
        )]);
    };
    let info = nats.server_info();
    let mut findings = vec![Finding::ok(
        "server",
        format!(
            "nats-server {} ({}), largest message {} bytes",
            info.version, info.server_name, info.max_payload
        ),
    )];
    if client.mode() == Mode::JetStream {
        let js = async_nats::jetstream::new(nats.clone());
        findings.extend(storage(client, &js).await);
        findings.push(durability(client, &js, info.cluster.as_deref()).await);
        findings.extend(streams(client, &js).await);
        findings.extend(paused(client).await);
        findings.push(clock(client, nats).await);
    } else {
        findings.push(Finding::warning(
            "durability",
            "core mode: nothing is stored, a task runs at most once",
            "set TASKQ_MODE=jetstream for tasks that must not be lost",
        ));
    }
    findings.extend(worker_findings(client).await?);
    findings.extend(pool_findings(client).await);
    Ok(findings)
}

/// Asks, and fails at once when the server refuses the question to this user.
async fn ask<T>(
    client: &Client,
    what: &str,
    subjects: &[&str],
    question: impl Future<Output = T>,
) -> Result<T> {
    match client.0.broker.denials() {
        None => Ok(question.await),
        Some(denials) => denials
            .or_denied(subjects, question)
            .await
            .map_err(|denial| denial.into_error(what)),
    }
}

/// A question that the server refuses to this user.
fn refused(check: &'static str, error: &Error) -> Finding {
    Finding::warning(
        check,
        error.to_string(),
        "ask as an operator or a viewer (docs/security.md)",
    )
}

async fn storage(client: &Client, js: &async_nats::jetstream::Context) -> Vec<Finding> {
    let asked = ask(
        client,
        "asking for the use",
        &[api::INFO],
        js.query_account(),
    );
    let account = match asked.await {
        Err(error) => return vec![refused("jetstream", &error)],
        Ok(Ok(account)) => account,
        Ok(Err(error)) => {
            return vec![Finding::error(
                "jetstream",
                format!("JetStream does not answer: {error}"),
                "start nats-server with `-js`; in a cluster, see that a majority of nodes is up",
            )];
        }
    };
    let used = account.storage;
    let most = account.limits.max_storage.unwrap_or(-1);
    let found = format!("{} streams, {} MiB on disk", account.streams, used >> 20);
    let full = u64::try_from(most).is_ok_and(|most| most > 0 && used * 10 > most * 8);
    vec![if full {
        Finding::warning(
            "jetstream",
            format!("{found} of {} MiB", most >> 20),
            "more than 80 % is used: a full store refuses new tasks; raise max_file_store or \
             remove old streams",
        )
    } else {
        Finding::ok("jetstream", found)
    }]
}

/// Which of the three profiles of docs/reliability.md is in force.
async fn durability(
    client: &Client,
    js: &async_nats::jetstream::Context,
    cluster: Option<&str>,
) -> Finding {
    let prefix = client.0.namespace.queue_stream("");
    let least = js
        .streams()
        .try_filter(|stream| {
            let ours = stream.config.name.starts_with(&prefix);
            async move { ours }
        })
        .try_fold(usize::MAX, |least, stream| async move {
            Ok(least.min(stream.config.num_replicas))
        });
    let replicas = match ask(client, "listing the streams", &[api::STREAM_LIST], least).await {
        Err(error) => return refused("durability", &error),
        Ok(found) => found.unwrap_or(usize::MAX),
    };
    match (replicas, cluster) {
        (usize::MAX, _) => Finding::ok("durability", "no queue yet"),
        (3.., _) => Finding::ok(
            "durability",
            format!("replicated: every message is on {replicas} nodes"),
        ),
        (_, Some(_)) => Finding::warning(
            "durability",
            "a cluster, but queues on one node only",
            "make streams with 3 replicas: ClientBuilder::replicas(3), TASKQ_REPLICAS=3",
        ),
        _ => Finding::warning(
            "durability",
            "default: a single node; after a power loss the last acknowledged tasks may be gone \
             (up to 2 minutes of them, unless the server has `sync_interval: always`)",
            "set `jetstream { sync_interval: always }` on the server, or run 3 nodes with 3 \
             replicas",
        ),
    }
}

async fn streams(client: &Client, js: &async_nats::jetstream::Context) -> Vec<Finding> {
    let queues = match client.queues().await {
        Ok(queues) => queues,
        Err(error) => {
            return vec![Finding::error(
                "streams",
                error.to_string(),
                "in a cluster, see that a majority of nodes is up",
            )];
        }
    };
    let text = queues
        .iter()
        .map(|queue| {
            format!(
                "{}: {} pending, {} running, {} scheduled",
                queue.queue, queue.pending, queue.running, queue.scheduled
            )
        })
        .collect::<Vec<_>>()
        .join("; ");
    let mut findings = vec![Finding::ok(
        "streams",
        if text.is_empty() {
            "no queue yet".to_owned()
        } else {
            text
        },
    )];
    let dead = client.0.namespace.dead_stream();
    let subject = api::stream_info(&dead);
    let subjects = [subject.as_str()];
    let asked = ask(
        client,
        "looking at the dead letters",
        &subjects,
        js.get_stream(&dead),
    );
    let count = match asked.await {
        Err(error) => {
            findings.push(refused("dead letters", &error));
            0
        }
        Ok(found) => found.map_or(0, |stream| stream.cached_info().state.messages),
    };
    if count > 0 {
        findings.push(Finding::warning(
            "dead letters",
            match count {
                1 => "1 dead letter: a task that will not be tried again".to_owned(),
                count => format!("{count} dead letters: tasks that will not be tried again"),
            },
            "look at them with `taskq dead list` and `taskq dead show`; send them again with \
             `taskq dead replay`, or remove them with `taskq dead discard`",
        ));
    }
    findings
}

/// What waits for somebody to let it go on.
async fn paused(client: &Client) -> Vec<Finding> {
    let set = async { Ok::<_, Error>((queues::list(client).await?, tasks::list(client).await?)) };
    let (queues, tasks) = match set.await {
        Err(error) => return vec![refused("paused", &error)],
        Ok(set) => set,
    };
    let depths = client.queues().await.unwrap_or_default();
    let mut findings = Vec::new();
    for queue in queues {
        let Some(paused) = queue.settings.paused else {
            continue;
        };
        let name = queue.name;
        let depth = depths.iter().find(|depth| depth.queue == name);
        let pending = depth.map_or(0, |depth| depth.pending);
        let found = format!(
            "queue `{name}` is paused {}; {pending} tasks wait",
            by(&paused)
        );
        findings.push(match pending {
            0 => Finding::ok("paused", found),
            _ => Finding::warning(
                "paused",
                found,
                format!("let it go on: taskq queues resume {name}"),
            ),
        });
    }
    for task in tasks {
        if let Some(paused) = task.settings.paused {
            let name = task.name;
            findings.push(Finding::warning(
                "paused",
                format!("task type `{name}` is paused {}", by(&paused)),
                format!("let it go on: taskq tasks resume {name}"),
            ));
        }
    }
    findings
}

fn by(paused: &Paused) -> String {
    let Paused { by, at, because } = paused;
    match because {
        Some(because) => format!("by {by} since {at} ({because})"),
        None => format!("by {by} since {at}"),
    }
}

/// Delays are computed on the clock of whoever sends, and kept on the
/// server's.
async fn clock(client: &Client, nats: &async_nats::Client) -> Finding {
    #[derive(Deserialize)]
    struct Answer {
        ts: Option<Timestamp>,
    }
    let before = Timestamp::now();
    let subject = api::stream_info(&client.0.namespace.plan_stream());
    let asked = nats.request(subject.clone(), "".into());
    let answer = match ask(client, "asking for the time", &[&subject], asked).await {
        Err(error) => return refused("clock", &error),
        Ok(answer) => answer,
    };
    let after = Timestamp::now();
    let server = answer
        .ok()
        .and_then(|answer| serde_json::from_slice::<Answer>(&answer.payload).ok()?.ts);
    let Some(server) = server else {
        return Finding::ok("clock", "not compared: no queue yet");
    };
    // Somewhere between the question and the answer.
    let apart = before.since(server).max(server.since(after));
    let found = format!("{} ms from the server's", apart.as_millis());
    if apart > Duration::from_secs(1) {
        Finding::warning(
            "clock",
            found,
            "set both clocks by NTP: delays are off by as much",
        )
    } else {
        Finding::ok("clock", found)
    }
}

/// How the pools do; nothing where there is none.
async fn pool_findings(client: &Client) -> Vec<Finding> {
    let pools = match pools::list(client).await {
        Ok(pools) => pools,
        Err(error) => return vec![refused("pools", &error)],
    };
    let found = pools.into_iter().map(|pool| match pool.trouble {
        None => Finding::ok(
            "pools",
            format!(
                "{}: {} of {} to {} workers, {}",
                pool.pool,
                pool.workers.len(),
                pool.min,
                pool.max,
                pool.mode.as_str()
            ),
        ),
        Some(trouble) => Finding::error(
            "pools",
            format!("pool {}: {trouble}", pool.pool),
            format!(
                "see what they died of with `taskq pool status --name {}`, mend it, and they \
                 start by themselves",
                pool.pool
            ),
        ),
    });
    found.collect()
}

async fn worker_findings(client: &Client) -> Result<Vec<Finding>> {
    let workers = workers(client).await?;
    if workers.is_empty() {
        return Ok(vec![Finding::warning(
            "workers",
            "no worker answers",
            "start one: cargo run --bin worker",
        )]);
    }
    let names = workers
        .iter()
        .map(|worker| format!("{} ({})", worker.worker, worker.queues.join(",")))
        .collect::<Vec<_>>()
        .join("; ");
    let mut findings = vec![Finding::ok("workers", names)];
    for queue in client.queues().await.unwrap_or_default() {
        let served = workers
            .iter()
            .any(|worker| worker.queues.contains(&queue.queue));
        if !served && queue.pending > 0 {
            findings.push(Finding::error(
                "workers",
                format!(
                    "{} tasks wait in queue `{}`, which no worker serves",
                    queue.pending, queue.queue
                ),
                format!(
                    "start one: TASKQ_QUEUES={} cargo run --bin worker",
                    queue.queue
                ),
            ));
        }
    }
    for (place, one) in workers.iter().enumerate() {
        for other in &workers[place + 1..] {
            for (here, there) in differences(one, other) {
                findings.push(Finding::error(
                    "workers",
                    format!(
                        "{} and {} define task `{}` differently: {}",
                        one.worker,
                        other.worker,
                        here.name,
                        here.difference(there)
                    ),
                    "run the same version of the tasks in both",
                ));
            }
        }
    }
    findings.extend(schedule_findings(client).await);
    match troubled(client).await {
        Ok(troubled) => findings.extend(troubled.into_iter().map(|worker| {
            Finding::error(
                "workers",
                format!(
                    "{} lives and gets on with nothing: {}",
                    worker.worker, worker.trouble
                ),
                "see that NATS has a leader for every stream and room on its disk, and look at \
                 the worker's log; it goes on by itself",
            )
        })),
        Err(error) => findings.push(refused("workers", &error)),
    }
    match unknown_tasks(client, &workers).await {
        Ok(unknown) => findings.extend(unknown),
        Err(error) => findings.push(refused("tasks", &error)),
    }
    Ok(findings)
}

/// Schedules that were declared in code, and that no living worker declares
/// any more.
async fn schedule_findings(client: &Client) -> Vec<Finding> {
    if client.mode() != Mode::JetStream {
        return Vec::new();
    }
    let set = match schedules::list(client).await {
        Ok(set) => set,
        Err(error) => return vec![refused("schedules", &error)],
    };
    let undeclared = set.iter().filter(|info| info.declared == Some(false));
    undeclared
        .map(|info| {
            let name = &info.schedule.name;
            Finding::warning(
                "schedules",
                format!(
                    "schedule `{name}` fires ({}), and no living worker's program declares it any \
                     more",
                    info.in_words
                ),
                format!(
                    "remove it: taskq schedules rm {name}; or start a worker whose program \
                     declares it"
                ),
            )
        })
        .collect()
}

/// Tasks that wait and that no living worker has, by what workers told of
/// messages that they passed on.
async fn unknown_tasks(client: &Client, workers: &[WorkerInfo]) -> Result<Vec<Finding>> {
    if client.mode() != Mode::JetStream {
        return Ok(Vec::new());
    }
    let mut filter = EventFilter::default();
    filter.kinds.push(EventKind::UnknownTask);
    let since = client.0.broker.now().as_millis() - TOLD_WITHIN_MS;
    let since = Some(Timestamp::from_millis(since));
    let mut told = events(client, filter, since, false).await?.boxed();
    let mut by_task: BTreeMap<String, BTreeSet<TaskId>> = BTreeMap::new();
    while let Some(event) = told.try_next().await? {
        if let (Some(task), Some(id)) = (event.task, event.id) {
            by_task.entry(task).or_default().insert(id);
        }
    }
    let known = || {
        let tasks = workers.iter().flat_map(|worker| &worker.tasks);
        tasks.map(|task| task.name.as_str())
    };
    by_task.retain(|task, _| known().all(|name| name != task));
    let mut findings = Vec::new();
    for (task, ids) in by_task {
        let more = ids.len() > MOST_LOOKED_AT;
        // Since it was told, somebody may have cancelled it.
        let waiting: Vec<TaskId> = stream::iter(ids.into_iter().take(MOST_LOOKED_AT))
            .map(|id| async move {
                let status = client.0.broker.status(&id).await?;
                let waits = !matches!(status, Status::Done(_) | Status::Unknown);
                Ok::<_, Error>(waits.then_some(id))
            })
            .buffered(LOOKS_AT_ONCE)
            .try_filter_map(|id| std::future::ready(Ok(id)))
            .try_collect()
            .await?;
        let Some(one) = waiting.first() else {
            continue;
        };
        let count = match (waiting.len(), more) {
            (count, true) => format!("{count} tasks or more wait"),
            (1, false) => "1 task waits".to_owned(),
            (count, false) => format!("{count} tasks wait"),
        };
        let guess = match taskq_syntax::nearest(&task, known()) {
            Some(name) => format!(" (did its sender mean `{name}`?)"),
            None => String::new(),
        };
        findings.push(Finding::error(
            "tasks",
            format!("{count} for `{task}`, which no living worker knows, such as {one}"),
            format!("start a worker that has it{guess}, or take it back: taskq cancel {one}"),
        ));
    }
    Ok(findings)
}
