//! `/settings`: who looks, how, and what it is that is looked at.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use taskq::admin::{Finding, Severity};

use super::form::button;
use super::frame::{THEME, View};
use super::show::{count, full, prose, state};
use crate::http::{Answer, Params, Problem, Role, Shared};

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    view: View,
    mut params: Params,
) -> Answer<Response> {
    if let Some(theme) = params.one("theme")? {
        params.end()?;
        return choose(&view, &theme);
    }
    params.end()?;
    let doctor = shared.pulse.doctor().await;
    let body = html! {
        div.head { h1 { "Settings" } }
        div.cols {
            div { (checks(doctor.as_ref().map(|known| known.what.as_slice()))) (index(&view, &shared)) }
            div { (who(&view)) (theme(&view)) (about(&shared)) }
        }
    };
    Ok(view.page("Settings", &body))
}

/// Keeps a theme in a cookie, for who has no script.
fn choose(view: &View, theme: &str) -> Answer<Response> {
    let age = match theme {
        "light" | "dark" => 31_536_000,
        "system" => 0,
        other => {
            return Err(Problem::invalid(format!(
                "`{other}` is no theme; there are system, light and dark"
            )));
        }
    };
    let cookie = format!("{THEME}={theme}; Max-Age={age}; SameSite=Lax");
    Ok((
        [(header::SET_COOKIE, cookie)],
        Redirect::to(&view.to("settings")),
    )
        .into_response())
}

fn who(view: &View) -> Markup {
    html! {
        section.panel aria-labelledby="who-title" {
            header { h2 #who-title { "You" } }
            div.in {
                @if let Some(caller) = &view.caller {
                    dl.facts {
                        dt { "Name" } dd { (caller.name) }
                        dt { "Role" } dd { (caller.role.as_str()) }
                        dt { "Known by" } dd { @match caller.by.as_str() { "nothing" => "nothing: there is no login", by => { "a " (by) } } }
                        @if let Some(from) = caller.from { dt { "From" } dd { (from) } }
                        @if let Some((session, _)) = &caller.session { dt { "Until" } dd { (full(session.until())) } }
                    }
                    p.quiet.small { @match caller.role {
                        Role::Viewer => "A viewer looks, and changes nothing.",
                        Role::Operator => "An operator sends, cancels and replays tasks, pauses and sets queues.",
                        _ => "An admin may also throw away: purge queues, discard dead letters, remove schedules.",
                    } }
                }
            }
        }
    }
}

fn theme(view: &View) -> Markup {
    html! {
        section.panel aria-labelledby="theme-title" {
            header { h2 #theme-title { "Theme" } }
            div.in { form action=(view.to("settings")) { div.group role="group" aria-labelledby="theme-title" {
                @for (name, word) in [("system", "As the system"), ("light", "Light"), ("dark", "Dark")] {
                    button name="theme" value=(name) data-theme-is=(name)
                        aria-pressed=(if view.theme().unwrap_or("system") == name { "true" } else { "false" }) { (word) }
                }
            } } }
        }
    }
}

fn checks(findings: Option<&[Finding]>) -> Markup {
    html! {
        section.panel aria-labelledby="checks-title" {
            header { h2 #checks-title { "The doctor" } span.quiet.small { "what " code { "taskq doctor" } " says" } }
            @match findings {
                None => div.empty { "It has not answered yet." },
                Some(findings) => table {
                    thead { tr { th { "Check" } th { "Found" } } }
                    tbody { @for finding in findings { tr {
                        td { (state(match finding.severity { Severity::Ok => "ok", Severity::Warning => "warning", Severity::Error => "error" })) div.sub { (finding.check) } }
                        td.wrap { (prose(&finding.found)) @if !finding.mend.is_empty() { div.sub { (prose(&finding.mend)) } } }
                    } } }
                }
            }
        }
    }
}

fn index(view: &View, shared: &Shared) -> Markup {
    html! {
        section.panel aria-labelledby="index-title" {
            header { h2 #index-title { "Index" } span.quiet.small { "what lists and charts are made from" }
                div.end { (button(view, Role::Admin, "index.rebuild", "index", "Rebuild")) } }
            div.scroll tabindex="0" role="region" aria-label="Index" { table {
                thead { tr { th { "Source" } th.num { "Behind" } th.num { "Taken in" } th { "State" } } }
                tbody { @for lag in shared.follower.lag() { tr {
                    td { (lag.source.replace('_', " ")) }
                    td.num { @match lag.records { Some(records) => (count(records)), None => "?" } }
                    td.num { (count(lag.taken)) }
                    td { @match &lag.trouble { Some(trouble) => span.tone-bad { (trouble) }, None => (state("ok")) } }
                } } }
            } }
        }
    }
}

fn about(shared: &Shared) -> Markup {
    html! {
        section.panel aria-labelledby="about-title" {
            header { h2 #about-title { "This gateway" } }
            div.in { dl.facts {
                dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
                dt { "Namespace" } dd { (shared.client.namespace()) }
                dt { "Mode" } dd { (shared.client.mode().to_string()) }
                dt { "Login" } dd { (if shared.access.is_open() { "none: whoever is on this machine may do everything" } else { "needed" }) }
            } }
        }
    }
}
