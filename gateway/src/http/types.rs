//! `/v1/task-types`: what living workers can run.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use taskq::admin::{self, Definition, TaskDetail, TaskInfo, TaskType};

use super::access::Caller;
use super::extract::{Json, Name, Params};
use super::problem::{Answer, Problem, Problems};
use super::views::{All, Because, Changed, DefinitionView, TaskTypeView};
use super::{Shared, no_verb, optional, verb};

/// What workers told so long ago is told again.
const FRESH: Duration = Duration::from_secs(1);

impl From<Definition<TaskInfo>> for DefinitionView {
    fn from(Definition { workers, detail }: Definition<TaskInfo>) -> Self {
        let hidden = detail.hidden();
        Self {
            signature: detail.signature,
            queue: detail.queue,
            retries: detail.retries,
            doc: detail.doc,
            place: detail.place,
            schedule: detail.schedule,
            sensitive: hidden.is_all(),
            workers,
            blocking: None,
            options: None,
            params: None,
            arguments: None,
            result: None,
        }
    }
}

impl From<Definition> for DefinitionView {
    fn from(Definition { workers, detail }: Definition) -> Self {
        let TaskDetail {
            info,
            blocking,
            options,
            params,
            arguments,
            result,
            ..
        } = detail;
        let params = params.into_iter().map(Into::into).collect();
        let known = Self::from(Definition {
            workers,
            detail: info,
        });
        Self {
            blocking: Some(blocking),
            options: Some(options),
            params: Some(params),
            arguments: Some(arguments),
            result: Some(result),
            ..known
        }
    }
}

impl<D> From<TaskType<D>> for TaskTypeView
where
    DefinitionView: From<Definition<D>>,
{
    fn from(kind: TaskType<D>) -> Self {
        let mut definitions = kind.definitions.into_iter().map(DefinitionView::from);
        Self {
            task: kind.task,
            // There is one at least.
            definition: definitions.next().unwrap_or_default(),
            others: definitions.collect(),
        }
    }
}

/// What living workers can run.
#[utoipa::path(
    get, path = "/v1/task-types", tag = "task-types",
    params(("schemas" = Option<bool>, Query, description = "Whether to tell options, arguments and schemas too, as for one task type")),
    responses(
        (status = 200, body = All<TaskTypeView>, description = "The tasks that some living worker knows"),
        Problems,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    mut params: Params,
) -> Answer<Json<All<TaskTypeView>>> {
    let schemas = params.read::<bool>("schemas")?.unwrap_or(false);
    params.end()?;
    let workers = shared.types.workers(FRESH).await?;
    let known = admin::task_types(&workers);
    if !schemas {
        let items = known.into_iter().map(TaskTypeView::from).collect();
        return Ok(Json(All { items }));
    }
    let mut items = Vec::with_capacity(known.len());
    for kind in known {
        if let Some(kind) = shared.types.known(&kind.task, FRESH).await? {
            items.push(TaskType::clone(&kind.task_type).into());
        }
    }
    Ok(Json(All { items }))
}

/// One task that living workers can run.
#[utoipa::path(
    get, path = "/v1/task-types/{task}", tag = "task-types",
    params(("task" = String, Path, description = "The task's name")),
    responses(
        (status = 200, body = TaskTypeView, description = "The task, and the JSON Schemas of its arguments and result"),
        Problems,
    )
)]
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Name(name): Name,
    params: Params,
) -> Answer<Json<TaskTypeView>> {
    params.end()?;
    let found = shared.types.known(&name, FRESH).await?;
    found
        .map(|known| Json(TaskType::clone(&known.task_type).into()))
        .ok_or_else(|| Problem::not_found(format!("no living worker knows a task `{name}`")))
}

/// Let no task of a type start, in any queue, until it is resumed.
#[utoipa::path(
    post, path = "/v1/task-types/{task}:pause", tag = "task-types",
    params(("task" = String, Path, description = "The task's name")),
    request_body = Option<Because>,
    responses(
        (status = 200, body = Changed, description = "It is paused"),
        Problems,
    )
)]
pub(crate) async fn pause(
    shared: &Shared,
    caller: &Caller,
    task: &str,
    because: Because,
) -> Answer<Json<Changed>> {
    let because = because.reason.as_deref();
    let changed = admin::tasks::pause(&shared.client, task, &caller.by(), because).await?;
    let name = task.to_owned();
    Ok(Json(Changed { name, changed }))
}

/// Let a task type go on.
#[utoipa::path(
    post, path = "/v1/task-types/{task}:resume", tag = "task-types",
    params(("task" = String, Path, description = "The task's name")),
    responses(
        (status = 200, body = Changed, description = "It goes on"),
        Problems,
    )
)]
pub(crate) async fn resume(shared: &Shared, caller: &Caller, task: &str) -> Answer<Json<Changed>> {
    let changed = admin::tasks::resume(&shared.client, task, &caller.by()).await?;
    let name = task.to_owned();
    Ok(Json(Changed { name, changed }))
}

/// `POST /v1/task-types/{task}:verb`.
pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    params: Params,
    body: axum::body::Bytes,
) -> Answer<Json<Changed>> {
    params.end()?;
    match verb(&name)? {
        (task, "pause") => pause(&shared, &caller, task, optional(&body)?).await,
        (task, "resume") => resume(&shared, &caller, task).await,
        (_, verb) => Err(no_verb(verb, "task types", &["pause", "resume"])),
    }
}
