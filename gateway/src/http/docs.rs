//! The description of the interface: in OpenAPI 3.1, and as a page that needs
//! nothing else.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::{Method, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::problem::Problem;
use super::{
    Shared, audit, bulk, dead, events, health, metrics, pools, queues, schedules, session,
    settings, stats, tasks, types, workers,
};
use crate::access;

/// What is open to all.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// Where one logs in.
const SESSION: &str = "/v1/session";

/// What `/openapi.json` says.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "taskq gateway",
        description = "Tasks, queues, workers and dead letters over HTTP. Times are RFC 3339 in UTC; lengths of time are written like `30s` or `1h 30m`; errors are RFC 9457 problems with a stable `code`.",
    ),
    paths(
        tasks::list,
        tasks::submit,
        tasks::submit_batch,
        bulk::begin,
        bulk::list,
        bulk::show,
        bulk::cancel,
        tasks::show,
        tasks::result,
        tasks::attempts,
        tasks::task_events,
        tasks::explain,
        tasks::cancel,
        tasks::retry,
        tasks::run_now,
        tasks::reschedule,
        tasks::reveal,
        queues::list,
        queues::show,
        queues::tasks,
        queues::scaling,
        queues::pause,
        queues::resume,
        queues::purge,
        settings::show,
        settings::set,
        types::list,
        types::show,
        types::pause,
        types::resume,
        workers::list,
        workers::show,
        workers::quiet,
        workers::resume,
        workers::drain,
        workers::stop,
        pools::start,
        pools::remove,
        pools::list,
        pools::show,
        pools::scale,
        schedules::list,
        schedules::show,
        schedules::set,
        schedules::next,
        schedules::pause,
        schedules::resume,
        schedules::run,
        schedules::remove,
        dead::list,
        dead::show,
        dead::replay,
        dead::discard,
        events::feed,
        stats::stats,
        events::feed_socket,
        events::task_socket,
        audit::list,
        session::show,
        session::begin,
        session::end,
        health::rebuild,
        metrics::metrics,
        health::healthz,
        health::readyz,
    ),
    components(schemas(Problem))
)]
struct Described;

/// The interface in OpenAPI 3.1, as JSON.
#[must_use]
pub fn openapi() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut described = Described::openapi();
        // Whose licence and name these are is the crate's to say, elsewhere.
        described.info.version = env!("CARGO_PKG_VERSION").to_owned();
        let mut api = serde_json::to_value(&described).unwrap_or_default();
        tell_roles(&mut api);
        serde_json::to_string_pretty(&api).unwrap_or_default()
    })
}

/// Says of each operation what it is called in the table of actions, and which
/// role it needs; what is open to all has neither.
fn tell_roles(api: &mut Value) {
    let paths = api["paths"].as_object_mut();
    for (path, methods) in paths.into_iter().flatten() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            let Ok(method) = method.to_uppercase().parse() else {
                continue;
            };
            if OPEN.contains(&path.as_str()) || (method == Method::POST && path == SESSION) {
                continue;
            }
            if let Some(action) = access::of(&method, path) {
                operation["x-taskq-action"] = action.name.into();
                operation["x-taskq-role"] = action.role.as_str().into();
            }
        }
    }
}

pub(crate) async fn openapi_json(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let prefix = shared.limits.prefix.as_str();
    let text = if prefix.is_empty() {
        openapi().to_owned()
    } else {
        let mut api: Value = serde_json::from_str(openapi()).unwrap_or_default();
        api["servers"] = json!([{"url": prefix}]);
        api.to_string()
    };
    ([(header::CONTENT_TYPE, "application/json")], text)
}

/// The same for people: made here, with no script, no style and nothing from
/// another host.
pub(crate) async fn page() -> impl IntoResponse {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| {
        let api = serde_json::from_str(openapi()).unwrap_or_default();
        render(&api)
    });
    (
        [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
        page.as_str(),
    )
}

fn render(api: &Value) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>taskq gateway</title>\
         <main><h1>taskq gateway</h1><p>",
    );
    page.push_str(&escape(text(&api["info"], "description")));
    page.push_str("</p><p><a href=\"openapi.json\">openapi.json</a></p>");
    let paths = api["paths"].as_object();
    // Writing to a String does not fail.
    for (path, methods) in paths.into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let summary = escape(text(operation, "summary"));
            let role = match text(operation, "x-taskq-role") {
                "" => "Open to all.".to_owned(),
                role => format!("Needs the role <code>{}</code>.", escape(role)),
            };
            let (method, path) = (escape(&method.to_uppercase()), escape(path));
            let _ = write!(
                page,
                "<section><h2><code>{method} {path}</code></h2><p>{summary} {role}</p>"
            );
            let more = text(operation, "description");
            if !more.is_empty() {
                let _ = write!(page, "<p>{}</p>", escape(more));
            }
            parameters(&mut page, operation);
            schema_of(&mut page, "Body", &operation["requestBody"]["content"]);
            for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
                let (status, what) = (escape(status), escape(text(answer, "description")));
                schema_of(&mut page, &format!("{status} {what}"), &answer["content"]);
            }
            page.push_str("</section>");
        }
    }
    page.push_str("<h1>Schemas</h1>");
    let schemas = api["components"]["schemas"].as_object();
    for (name, schema) in schemas.into_iter().flatten() {
        let name = escape(name);
        let json = serde_json::to_string_pretty(schema).unwrap_or_default();
        let _ = write!(
            page,
            "<details id=\"{name}\"><summary>{name}</summary><pre>{}</pre></details>",
            escape(&json)
        );
    }
    page.push_str("</main></html>");
    page
}

fn parameters(page: &mut String, operation: &Value) {
    let Some(parameters) = operation["parameters"].as_array() else {
        return;
    };
    page.push_str("<dl>");
    for parameter in parameters {
        let _ = write!(
            page,
            "<dt><code>{}</code> ({})</dt><dd>{}</dd>",
            escape(text(parameter, "name")),
            escape(text(parameter, "in")),
            escape(text(parameter, "description")),
        );
    }
    page.push_str("</dl>");
}

/// Links to the schema of a content, where it has a name.
fn schema_of(page: &mut String, what: &str, content: &Value) {
    for (kind, content) in content.as_object().into_iter().flatten() {
        let schema = &content["schema"];
        let reference = text(schema, "$ref").rsplit('/').next().unwrap_or_default();
        let _ = write!(page, "<p>{what}: <code>{}</code>", escape(kind));
        if !reference.is_empty() {
            let name = escape(reference);
            let _ = write!(page, " <a href=\"#{name}\">{name}</a>");
        }
        page.push_str("</p>");
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
