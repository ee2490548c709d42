//! Setting a schedule, and when it fires.

use std::str::FromStr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use taskq::admin::schedules::{self, ScheduleInfo};
use taskq::{ErrorKind, Schedule, Timestamp};

use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::{Json, Name, Params, duration};
use crate::http::problem::{Answer, Problem, Problems};
use crate::http::tasks::{Wanted, call};
use crate::http::views::{All, Fire, ScheduleBody};

/// The most fires that are told ahead.
const MOST_FIRES: u16 = 100;

/// Set a schedule: make it, or take the place of one of this name.
///
/// `If-None-Match: *` only makes, `If-Match` only takes the place of what was
/// seen; without either it is set whatever there was. One that was paused stays
/// paused.
#[utoipa::path(
    put, path = "/v1/schedules/{name}", tag = "schedules",
    params(
        ("name" = String, Path, description = "The schedule's name"),
        ("check" = Option<bool>, Query, description = "Whether to check the arguments against what living workers take; true"),
        ("known" = Option<bool>, Query, description = "Whether to refuse a task that no living worker knows; false"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the schedule that was seen, or `*` for any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none"),
    ),
    request_body = ScheduleBody,
    responses(
        (status = 200, body = Object, description = "The schedule that is in the other's place"),
        (status = 201, body = Object, description = "The schedule that is new"),
        Problems,
    )
)]
pub(crate) async fn set(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    headers: HeaderMap,
    mut params: Params,
    Json(body): Json<ScheduleBody>,
) -> Answer<Response> {
    let wanted = Wanted::read(&mut params)?;
    params.end()?;
    let (submission, timing) = body.split();
    let task = submission.task.clone();
    let call = call(submission, None)?;
    // The last of two would count.
    let times = [&timing.cron, &timing.every, &timing.at];
    if times.into_iter().flatten().count() != 1 {
        return Err(Problem::invalid(
            "a schedule recurs or comes once; send `cron`, `every` or `at`, and only one of them",
        ));
    }
    let call = wanted.of(&shared, &task, call, "").await?.call;
    let mut new = shared.client.schedule(&name, call).by(caller.by());
    if let Some(pattern) = timing.cron {
        new = new.cron(pattern);
    }
    if let Some(period) = &timing.every {
        new = new.every(duration("every", period)?);
    }
    if let Some(at) = moment("at", timing.at.as_deref())? {
        new = new.at(at);
    }
    if let Some(zone) = timing.tz {
        new = new.tz(zone);
    }
    if let Some(start) = moment("start", timing.start.as_deref())? {
        new = new.start(start);
    }
    if let Some(end) = moment("end", timing.end.as_deref())? {
        new = new.end(end);
    }
    if let Some(overlap) = read("overlap", timing.overlap.as_deref())? {
        new = new.overlap(overlap);
    }
    if let Some(misfire) = read("misfire", timing.misfire.as_deref())? {
        new = new.misfire(misfire);
    }
    if let Some(after) = &timing.misfire_after {
        new = new.misfire_after(duration("misfire_after", after)?);
    }
    if let Some(jitter) = &timing.jitter {
        new = new.jitter(duration("jitter", jitter)?);
    }
    let before = match schedules::get(&shared.client, &name).await {
        Ok(info) => Some(info.schedule),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    if is_as_seen(&headers, before.as_ref())? {
        new = new.replaces(before.as_ref());
    }
    new.save().await.map_err(|error| match error.kind() {
        ErrorKind::Conflict => not_as_seen(error.to_string()),
        _ => error.into(),
    })?;
    let now = schedules::get(&shared.client, &name).await?;
    let status = match before {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    Ok((status, tagged(&now)).into_response())
}

/// A schedule, with the tag of its record.
pub(super) fn tagged(info: &ScheduleInfo) -> Response {
    let tag = tag(&info.schedule);
    ([(header::ETAG, tag)], Json(json!(info))).into_response()
}

fn tag(schedule: &Schedule) -> String {
    let record = serde_json::to_vec(schedule).unwrap_or_default();
    let hash: String = Sha256::digest(&record)[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hash}\"")
}

/// Whether somebody says what was seen, and that it is still there.
fn is_as_seen(headers: &HeaderMap, found: Option<&Schedule>) -> Answer<bool> {
    let tags = |name| {
        let value = headers.get(name)?;
        let text = value.to_str().unwrap_or_default();
        Some(text.split(',').map(str::trim).collect::<Vec<_>>())
    };
    let has = |tags: &[&str], found: &Schedule| {
        let tag = tag(found);
        tags.iter().any(|one| *one == "*" || *one == tag)
    };
    match (tags(header::IF_MATCH), tags(header::IF_NONE_MATCH), found) {
        (None, None, _) => Ok(false),
        (Some(tags), None, Some(found)) if has(&tags, found) => Ok(true),
        (Some(_), None, Some(found)) => Err(not_as_seen(format!(
            "schedule {} is not as it was seen: {} has set it; look at it again",
            found.name, found.by
        ))),
        (Some(_), None, None) => Err(not_as_seen("there is no such schedule")),
        (None, Some(tags), Some(found)) if has(&tags, found) => Err(not_as_seen(format!(
            "there is a schedule {} already, set by {}",
            found.name, found.by
        ))),
        (None, Some(_), _) => Ok(true),
        (Some(_), Some(_), _) => Err(Problem::invalid(
            "`If-Match` and `If-None-Match` are for different cases; send one of them",
        )),
    }
}

fn not_as_seen(detail: impl Into<String>) -> Problem {
    let status = StatusCode::PRECONDITION_FAILED;
    Problem::new(status, "conflict", "Somebody else was first", detail)
}

fn read<T: FromStr<Err: std::fmt::Display>>(name: &str, text: Option<&str>) -> Answer<Option<T>> {
    let read = text.map(str::parse).transpose();
    read.map_err(|error| Problem::invalid(format!("`{name}`: {error}")))
}

fn moment(name: &str, text: Option<&str>) -> Answer<Option<Timestamp>> {
    let read = text.map(str::parse).transpose();
    read.map_err(|error| Problem::invalid(format!("`{name}` is no moment: {error}")))
}

/// The next times of a schedule, whether it is paused or not.
#[utoipa::path(
    get, path = "/v1/schedules/{name}/next", tag = "schedules",
    params(
        ("name" = String, Path, description = "The schedule's name"),
        ("count" = Option<u16>, Query, description = "How many, 1 to 100; 5 if not set"),
        ("after" = Option<String>, Query, description = "After this RFC 3339 moment; now if not set"),
    ),
    responses(
        (status = 200, body = All<Fire>, description = "The times; fewer when it ends"),
        Problems,
    )
)]
pub(crate) async fn next(
    State(shared): State<Arc<Shared>>,
    Name(name): Name,
    mut params: Params,
) -> Answer<Json<All<Fire>>> {
    let count = match params.read::<u16>("count")? {
        None => 5,
        Some(count) if (1..=MOST_FIRES).contains(&count) => count,
        Some(count) => {
            return Err(Problem::invalid(format!(
                "`count={count}` is none; it is 1 to {MOST_FIRES}"
            )));
        }
    };
    let after = params.read::<Timestamp>("after")?;
    params.end()?;
    let schedule = schedules::get(&shared.client, &name).await?.schedule;
    let after = after.unwrap_or_else(Timestamp::now);
    let times = schedule.next(after, count.into()).into_iter();
    let fires = times.map(|at| Fire {
        clock: schedule.clock(at),
        at,
    });
    Ok(Json(All {
        items: fires.collect(),
    }))
}
