//! `POST /do`: what the buttons do. The same calls as the REST handlers', and
//! the same roles; a page only leaves out the buttons that would be refused.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::html;
use serde_json::json;
use taskq::admin::{self, Replay, Retried, WorkerWish};
use taskq::{Cancellation, Rescheduled, Timestamp};

use super::address::{self, part};
use super::form::{Fields, find, moment};
use super::frame::{SAID, View};
use super::show::{count, counted};
use super::{bulk, failures, pools, queues, run};
use crate::http::{Answer, Caller, Problem, Shared, dead_letter};

/// `POST /do`.
pub(super) async fn act(
    State(shared): State<Arc<Shared>>,
    view: View,
    headers: HeaderMap,
    Form(sent): Form<Vec<(String, String)>>,
) -> Answer<Response> {
    let fields = fields_of(sent);
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let (verb, name) = (field("verb"), field("name"));
    let Some(caller) = &view.caller else {
        return Err(Problem::invalid("nobody is known here"));
    };
    let known = find(verb);
    let role = known.map(|known| known.role).or_else(|| bulk::role(verb));
    let role =
        role.ok_or_else(|| Problem::invalid(format!("`{verb}` is nothing that can be done here")))?;
    caller.need(role)?;
    let script = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    let back = way_back(field("back"));
    if field("sure").is_empty() {
        let question = match known {
            // The script has asked already.
            Some(known) if !script && !known.sure.is_empty() => known.sure.replace("{}", name),
            Some(_) => String::new(),
            None => bulk::question(&shared, caller, verb, &fields).await?,
        };
        if !question.is_empty() && script {
            return Ok(axum::Json(json!({"ask": question})).into_response());
        }
        if !question.is_empty() {
            return Ok(ask(&view, &question, &fields, back));
        }
    }
    let said = perform(&shared, caller, verb, name, &fields).await?;
    shared.pulse.look_again();
    if script {
        let json = json!({"said": said.text, "to": said.to});
        return Ok(axum::Json(json).into_response());
    }
    let to = said.to.as_deref().unwrap_or(back);
    let cookie = format!(
        "{SAID}={}; Max-Age=30; SameSite=Lax; HttpOnly",
        part(&said.text)
    );
    let headers = [
        (header::LOCATION, view.to(to)),
        (header::SET_COOKIE, cookie),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// The fields by name. Several ids are one field, a line each.
fn fields_of(sent: Vec<(String, String)>) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in sent {
        if name == "id" {
            let ids = fields.entry("ids".to_owned()).or_default();
            ids.push_str(&value);
            ids.push('\n');
        } else {
            fields.insert(name, value);
        }
    }
    fields
}

/// The address from the root to go back to; never one of another host.
fn way_back(back: &str) -> &str {
    let address = back.strip_prefix('/').unwrap_or_default();
    let foreign = address.starts_with(['/', '\\']) || address.contains(':');
    if foreign { "" } else { address }
}

/// Who has no script is asked on a page.
fn ask(view: &View, question: &str, fields: &Fields, back: &str) -> Response {
    let body = html! {
        div.head { h1 { "Are you sure?" } }
        section.panel { div.in {
            p { (question) }
            form.row method="post" action=(view.to("do")) {
                (view.csrf())
                @for (field, value) in fields { @if field != "csrf" {
                    // Several ids are as many fields again.
                    @if field == "ids" { @for id in value.lines() { input type="hidden" name="id" value=(id); } }
                    @else { input type="hidden" name=(field) value=(value); }
                } }
                input type="hidden" name="sure" value="1";
                button.button.main { "Yes" }
                a.button href=(view.to(back)) { "No" }
            }
        } }
    };
    view.still("", "Are you sure?", &body)
}

/// What an action came to, and where to see it.
struct Said {
    text: String,
    to: Option<String>,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, to: None }
    }
}

async fn perform(
    shared: &Shared,
    caller: &Caller,
    verb: &str,
    name: &str,
    fields: &Fields,
) -> Answer<Said> {
    let (client, by) = (&shared.client, caller.by());
    let because = fields
        .get("because")
        .map(|text| text.trim())
        .filter(|text| !text.is_empty());
    let was = |changed: bool, now: &str| {
        if changed {
            format!("{name} {now}.")
        } else {
            format!("{name} was so already.")
        }
    };
    Ok(match verb {
        "queue.pause" => was(
            admin::queues::pause(client, name, &by, because).await?,
            "is paused",
        )
        .into(),
        "queue.resume" => was(admin::queues::resume(client, name, &by).await?, "goes on").into(),
        "queue.purge" => {
            let purged = crate::http::purge(shared, caller, name, because, false).await?;
            format!("{} tasks of {name} are cancelled.", count(purged.cancelled)).into()
        }
        "queue.set" => {
            queues::set(shared, name, fields, &by).await?;
            format!("Queue {name} is set.").into()
        }
        "type.pause" => was(
            admin::tasks::pause(client, name, &by, because).await?,
            "is paused",
        )
        .into(),
        "type.resume" => was(admin::tasks::resume(client, name, &by).await?, "goes on").into(),
        "task.cancel" => {
            let mut wish = client.cancel(name).by(by);
            if let Some(because) = because {
                wish = wish.because(because);
            }
            match wish.await? {
                Cancellation::Cancelled => format!("Task {name} is cancelled."),
                Cancellation::TooLate(state) => {
                    format!("Task {name} has ended already: {}.", state.as_str())
                }
                _ => format!("The worker that runs task {name} is told to stop it."),
            }
            .into()
        }
        "task.retry" => match admin::retry(client, name, &by).await? {
            Retried::Sent => format!("Task {name} runs again."),
            Retried::Succeeded => format!("Task {name} has succeeded, and is left as it is."),
            Retried::NotEnded(status) => format!("Task {name} has not ended: it is {status}."),
            _ => format!("Task {name} has ended once more meanwhile."),
        }
        .into(),
        "task.run-now" => moved(name, admin::run_now(client, name, &by).await?).into(),
        "task.reschedule" => {
            let at = fields.get("at").map_or("", String::as_str);
            let at: Timestamp = moment(at)?;
            moved(name, admin::reschedule(client, name, at, &by).await?).into()
        }
        "task.run" => {
            let id = run::send(shared, name, fields).await?;
            let text = format!("{name} is sent as task {id}.");
            Said {
                text,
                to: Some(address::of("tasks", &id)),
            }
        }
        "index.rebuild" => {
            shared.follower.rebuild().await?;
            "The index is being built again.".to_owned().into()
        }
        "letters.replay" => {
            let (id, many) = failures::replay(shared, caller, name, fields).await?;
            Said {
                text: format!("Begun, for {} of {name}.", counted(many, "task")),
                to: Some(address::of("operations", &id)),
            }
        }
        "letter.replay" => {
            let letter = dead_letter(shared, name).await?;
            let text = match admin::replay(client, &letter, &by).await? {
                Replay::Ended(state) => {
                    format!("Task {name} has ended meanwhile: {}.", state.as_str())
                }
                Replay::AlreadySent => format!("Task {name} was sent again already."),
                _ => format!("Task {name} is sent again."),
            };
            Said {
                text,
                to: Some(address::of("tasks", name)),
            }
        }
        "letter.discard" => {
            let letter = dead_letter(shared, name).await?;
            admin::discard(client, &letter, &by).await?;
            let text = format!("The dead letter of task {name} is removed.");
            Said {
                text,
                to: Some("failures".to_owned()),
            }
        }
        "schedule.pause" => was(
            admin::schedules::pause(client, name, &by, because).await?,
            "is paused",
        )
        .into(),
        "schedule.resume" => was(
            admin::schedules::resume(client, name, &by).await?,
            "goes on",
        )
        .into(),
        "schedule.run" => {
            let handle = admin::schedules::run(client, name, &by).await?;
            let text = format!("Schedule {name} runs as task {}.", handle.id());
            Said {
                text,
                to: Some(address::of("tasks", handle.id().as_str())),
            }
        }
        "schedule.remove" => {
            admin::schedules::remove(client, name, &by).await?;
            Said {
                text: format!("Schedule {name} is removed."),
                to: Some("schedules".to_owned()),
            }
        }
        verb if bulk::role(verb).is_some() => {
            bulk::begin(shared, caller, verb, fields).await?.into()
        }
        "worker.quiet" | "worker.resume" | "worker.drain" | "worker.stop" => {
            let wish = match verb {
                "worker.quiet" => WorkerWish::Quiet,
                "worker.resume" => WorkerWish::Resume,
                "worker.drain" => WorkerWish::Drain { grace: None },
                _ => WorkerWish::Stop,
            };
            let done = admin::steer(client, name, wish, &by, because).await?;
            format!("Worker {name} was {}, and is {}.", done.before, done.after).into()
        }
        "pool.scale" => pools::scale(shared, name, fields, &by, because)
            .await?
            .into(),
        "pool.auto" => pools::automatic(shared, name, &by).await?.into(),
        "operation.cancel" => {
            admin::operations::cancel(client, name, &by).await?;
            "The operation is stopped; what was done stays done."
                .to_owned()
                .into()
        }
        other => {
            return Err(Problem::invalid(format!(
                "`{other}` is nothing that can be done here"
            )));
        }
    })
}

fn moved(name: &str, what: Rescheduled) -> String {
    match what {
        Rescheduled::TooLate(status) => {
            format!("Task {name} is not put off any more: it is {status}.")
        }
        _ => format!("Task {name} is moved."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_never_leaves_the_gateway() {
        assert_eq!(way_back("/tasks?state=failed"), "tasks?state=failed");
        for foreign in [
            "//evil.example/",
            "/\\evil.example",
            "https://evil.example",
            "/x:y",
            "",
        ] {
            assert_eq!(way_back(foreign), "", "{foreign}");
        }
    }
}
