//! What living workers know of a task: options, and the schemas of its arguments
//! and its result.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::workers::{TaskInfo, WorkerInfo};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "worker")]
use crate::task::{Registration, Unique};

/// A worker that has not answered by then is not asked any longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A task that living workers know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskType<D = TaskDetail> {
    /// Its name.
    pub task: String,
    /// How workers define it: once, and for a while twice, when some have
    /// another version than others. What most have is first.
    pub definitions: Vec<Definition<D>>,
}

/// A task as some workers define it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition<D = TaskDetail> {
    /// The workers, by name.
    pub workers: Vec<String>,
    /// What they say of it.
    #[serde(flatten)]
    pub detail: D,
}

/// All that a worker says of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDetail {
    /// What it says to everybody.
    #[serde(flatten)]
    pub info: TaskInfo,
    /// Whether it is a plain `fn`, for the blocking pool.
    #[serde(default)]
    pub blocking: bool,
    /// The options that are set, by name, as they are written in `#[task(..)]`.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// The arguments, in their order; none from a worker that does not tell them.
    #[serde(default)]
    pub params: Vec<ParamInfo>,
    /// The JSON Schema of the arguments, as an object by name.
    #[serde(default = "any_object")]
    pub arguments: Value,
    /// The JSON Schema of what it returns when it succeeds.
    #[serde(default = "any")]
    pub result: Value,
    /// Whether the schemas were too large to be told, and any JSON stands in
    /// their place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub too_large: bool,
}

/// An argument of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamInfo {
    /// Its name on the wire.
    pub name: String,
    /// Its type, as it was written.
    #[serde(rename = "type")]
    pub ty: String,
    /// Whether a call must give it.
    pub required: bool,
    /// Whether its value is hidden from who does not ask for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
    /// Its documentation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
}

fn any_object() -> Value {
    json!({"type": "object"})
}

fn any() -> Value {
    Value::Bool(true)
}

impl<D> TaskType<D> {
    /// Whether some workers define it otherwise than others: calls that fit one
    /// may fail in another.
    #[must_use]
    pub fn is_divided(&self) -> bool {
        self.definitions.len() > 1
    }
}

impl From<TaskInfo> for TaskDetail {
    /// Without what only the worker itself could tell.
    fn from(info: TaskInfo) -> Self {
        Self {
            info,
            blocking: false,
            options: Map::new(),
            params: Vec::new(),
            arguments: any_object(),
            result: any(),
            too_large: false,
        }
    }
}

/// The tasks that these workers know, sorted by name.
///
/// ```no_run
/// # use taskq::prelude::*;
/// # async fn f(client: Client) -> taskq::Result<()> {
/// let workers = taskq::admin::workers(&client).await?;
/// for kind in taskq::admin::task_types(&workers) {
///     let first = &kind.definitions[0];
///     println!("{} on {}", first.detail.signature, first.workers.join(", "));
/// }
/// # Ok(()) }
/// ```
#[must_use]
pub fn task_types(workers: &[WorkerInfo]) -> Vec<TaskType<TaskInfo>> {
    let mut found: BTreeMap<&str, Vec<Definition<TaskInfo>>> = BTreeMap::new();
    for worker in workers {
        for task in &worker.tasks {
            add(found.entry(&task.name).or_default(), worker, task);
        }
    }
    found
        .into_iter()
        .map(|(task, definitions)| TaskType {
            task: task.to_owned(),
            definitions: by_workers(definitions),
        })
        .collect()
}

/// How these workers define one task, what most have first; empty if none of
/// them knows it.
#[must_use]
pub fn definitions(workers: &[WorkerInfo], task: &str) -> Vec<Definition<TaskInfo>> {
    let mut found = Vec::new();
    for worker in workers {
        if let Some(known) = worker.tasks.iter().find(|known| known.name == task) {
            add(&mut found, worker, known);
        }
    }
    by_workers(found)
}

fn add(definitions: &mut Vec<Definition<TaskInfo>>, worker: &WorkerInfo, task: &TaskInfo) {
    let mut same = definitions.iter_mut();
    match same.find(|other| !other.detail.differs(task)) {
        Some(definition) => definition.workers.push(worker.worker.clone()),
        None => definitions.push(Definition {
            workers: vec![worker.worker.clone()],
            detail: task.clone(),
        }),
    }
}

fn by_workers(mut definitions: Vec<Definition<TaskInfo>>) -> Vec<Definition<TaskInfo>> {
    definitions.sort_by_key(|definition| std::cmp::Reverse(definition.workers.len()));
    definitions
}

/// Asks a worker of each definition for all that it knows of a task; none if
/// none of these workers knows it.
///
/// ```no_run
/// # use taskq::prelude::*;
/// # async fn f(client: Client) -> taskq::Result<()> {
/// let workers = taskq::admin::workers(&client).await?;
/// if let Some(kind) = taskq::admin::task_type(&client, &workers, "send_email").await? {
///     println!("{:#}", kind.definitions[0].detail.arguments);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] for a user that may not ask workers. Of a
/// worker that does not answer only what it told before is told.
pub async fn task_type(
    client: &Client,
    workers: &[WorkerInfo],
    task: &str,
) -> Result<Option<TaskType>> {
    let known = definitions(workers, task);
    if known.is_empty() {
        return Ok(None);
    }
    let told = known.into_iter().map(async |definition| {
        let mut detail = TaskDetail::from(definition.detail);
        if detail.info.schema.is_some() {
            // The next, should one be gone or too busy.
            for worker in definition.workers.iter().take(3) {
                if let Some(answer) = ask(client, worker, task).await? {
                    detail = answer;
                    break;
                }
            }
        }
        Ok::<_, Error>(Definition {
            workers: definition.workers,
            detail,
        })
    });
    Ok(Some(TaskType {
        task: task.to_owned(),
        definitions: futures::future::try_join_all(told).await?,
    }))
}

/// None if the worker does not answer, or has it no longer.
async fn ask(client: &Client, worker: &str, task: &str) -> Result<Option<TaskDetail>> {
    let Some(nats) = client.0.broker.nats() else {
        return Ok(None);
    };
    let subject = client.0.namespace.worker_schema(worker);
    let asked = nats.request(subject.clone(), task.to_owned().into());
    let asked = tokio::time::timeout(PATIENCE, asked);
    let answer = match client.0.broker.denials() {
        Some(denials) => denials
            .or_denied(&[&subject], asked)
            .await
            .map_err(|denial| denial.into_error("asking a worker for a task's schema"))?,
        None => asked.await,
    };
    match answer {
        Ok(Ok(answer)) => Ok(serde_json::from_slice(&answer.payload).ok()),
        Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => Ok(None),
        Ok(Err(error)) => Err(Error::new(
            ErrorKind::Unavailable,
            format!("asking worker {worker} for the schema of `{task}` failed: {error}"),
        )
        .with_source(error)),
        Err(_) => Ok(None),
    }
}

/// What a worker answers of a task, in at most so many bytes.
#[cfg(feature = "worker")]
pub(crate) fn answer(task: &Registration, limit: usize) -> Vec<u8> {
    let mut detail = TaskDetail::from(task);
    // Texts, numbers and JSON values only: this cannot fail.
    let encode = |detail: &TaskDetail| serde_json::to_vec(detail).unwrap_or_default();
    let body = encode(&detail);
    if body.len() <= limit {
        return body;
    }
    detail.arguments = any_object();
    detail.result = any();
    detail.too_large = true;
    encode(&detail)
}

#[cfg(feature = "worker")]
impl From<&Registration> for TaskDetail {
    fn from(task: &Registration) -> Self {
        let told = task.schema.params.unwrap_or_default();
        let params = task.params.iter().zip(told);
        Self {
            info: TaskInfo::from(task),
            blocking: task.blocking,
            options: options(task),
            params: params
                .map(|(param, told)| ParamInfo {
                    name: param.name.to_owned(),
                    ty: param.ty.to_owned(),
                    required: !(told.is_optional)(),
                    sensitive: told.sensitive,
                    doc: told.doc.to_owned(),
                })
                .collect(),
            arguments: task.schema.arguments(),
            result: task.schema.result(),
            too_large: false,
        }
    }
}

/// The options that are set, as they are written in `#[task(..)]`.
#[cfg(feature = "worker")]
fn options(task: &Registration) -> Map<String, Value> {
    let set = &task.options;
    let length = |length: Duration| Value::from(taskq_syntax::format_duration(length));
    let options = [
        ("queue", Some(Value::from(set.queue))),
        ("priority", Some(Value::from(set.priority.as_str()))),
        ("retries", set.retries.map(Value::from)),
        ("backoff", set.backoff.map(|it| it.to_string().into())),
        ("timeout", set.timeout.map(length)),
        ("deadline", set.deadline.map(length)),
        (
            "unique",
            set.unique.map(|unique| match unique {
                Unique::UntilDone => true.into(),
                Unique::For(window) => length(window),
            }),
        ),
        ("ttl", set.ttl.map(length)),
        ("concurrency", set.concurrency.map(Value::from)),
        ("rate", set.rate.map(|rate| rate.to_string().into())),
        ("burst", set.burst.map(Value::from)),
        ("per", set.per.map(Value::from)),
        ("weight", set.weight.map(Value::from)),
        (
            "schedule",
            task.schedule.as_ref().map(|it| it.to_string().into()),
        ),
    ];
    options
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str, tasks: &[(&str, Option<&str>)]) -> WorkerInfo {
        let tasks = tasks.iter().map(|(signature, schema)| {
            let text = json!({
                "name": "double", "signature": signature, "queue": "default", "retries": 0,
                "doc": "", "place": "", "schema": schema,
            });
            serde_json::from_value(text).unwrap()
        });
        WorkerInfo {
            worker: name.to_owned(),
            namespace: "taskq".to_owned(),
            mode: "jetstream".to_owned(),
            queues: Vec::new(),
            concurrency: 1,
            tasks: tasks.collect(),
        }
    }

    #[test]
    fn workers_that_agree_share_a_definition_and_what_most_have_is_first() {
        let workers = [
            worker("a", &[("double(n: N) -> N", Some("1"))]),
            worker("b", &[("double(n: N) -> N", Some("2"))]),
            worker("c", &[("double(n: N) -> N", Some("2"))]),
        ];
        let known = task_types(&workers);
        assert!(known[0].is_divided());
        assert_eq!(known[0].definitions[0].workers, ["b", "c"]);
        assert_eq!(known[0].definitions[1].workers, ["a"]);
    }

    #[test]
    fn a_worker_that_tells_no_schema_agrees_with_any_of_its_signature() {
        let workers = [
            worker("a", &[("double(n: N) -> N", Some("1"))]),
            worker("old", &[("double(n: N) -> N", None)]),
        ];
        assert!(!task_types(&workers)[0].is_divided());
    }
}
