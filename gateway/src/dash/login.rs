//! `/login`: the page to log in at.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;

use super::frame::View;
use super::icon::{Icon, mark};
use crate::http::{Answer, Params, Sender, Shared, at_home, form as read, from_here, log_in};

/// The longest form that is read.
const LONGEST: usize = 16 * 1024;

/// The page.
pub(super) async fn page(view: View, mut params: Params) -> Answer<Response> {
    let next = params.one("next")?.unwrap_or_default();
    Ok(draw(&view, StatusCode::OK, "", &next, None))
}

/// What the page sends.
pub(super) async fn form(
    State(shared): State<Arc<Shared>>,
    view: View,
    request: Request,
) -> Response {
    if let Err(problem) = at_home(&shared, &request).and(from_here(&request)) {
        return problem.into_response();
    }
    let from = Sender::of(&request, &shared);
    let headers = request.headers().clone();
    let body = axum::body::to_bytes(request.into_body(), LONGEST);
    let body = tokio::time::timeout(shared.limits.time, body).await;
    let fields = read(&body.ok().and_then(Result::ok).unwrap_or_default());
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let (user, next) = (field("user"), field("next"));
    match log_in(&shared, &from, user, field("password")).await {
        Ok(done) => {
            let age = shared.access.sessions.age.as_secs();
            let cookie = from.cookie(&headers, &done.cookie, age);
            ([(header::SET_COOKIE, cookie)], Redirect::to(&local(next))).into_response()
        }
        Err(problem) => draw(&view, problem.status(), user, next, Some(problem.detail())),
    }
}

fn draw(view: &View, status: StatusCode, user: &str, next: &str, error: Option<&str>) -> Response {
    let body = html! {
        main.login #main tabindex="-1" {
            div.sheet {
                div.brand { (mark()) "taskq" }
                section.panel aria-labelledby="login-title" {
                    header { h1 #login-title { "Log in" } }
                    div.in {
                        @if let Some(error) = error { div.note.bad role="alert" { (Icon::Alert.draw()) p { (error) } } }
                        form.plain method="post" action=(view.to("login")) {
                            input type="hidden" name="next" value=(next);
                            div.field {
                                label for="user" { "Name" }
                                input #user name="user" value=(user) autocomplete="username" autocapitalize="none"
                                    spellcheck="false" required autofocus[user.is_empty()];
                            }
                            div.field {
                                label for="password" { "Password or token" }
                                input #password name="password" type="password" autocomplete="current-password"
                                    required autofocus[!user.is_empty()];
                            }
                            button.button.main { "Log in" }
                        }
                    }
                }
            }
        }
    };
    let mut page = view.alone("Log in", &body);
    *page.status_mut() = status;
    page
}

/// A place of this gateway, relative to its login page; its start for any other.
fn local(next: &str) -> String {
    let next = next.trim_start_matches('/');
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let bad = |c: char| c == ':' || c == '\\' || c.is_control() || c.is_whitespace();
    // A colon before the first `/` would make it the address of another host.
    if next.starts_with("..")
        || path
            .split('/')
            .next()
            .is_some_and(|part| part.contains(bad))
    {
        return "./".to_owned();
    }
    match next.chars().all(|c| c.is_ascii_graphic() && c != '\\') {
        true => format!("./{next}"),
        false => "./".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_led_back_to_a_place_of_this_gateway_only() {
        assert_eq!(local(""), "./");
        assert_eq!(local("tasks?state=failed"), "./tasks?state=failed");
        assert_eq!(local("/queues/default"), "./queues/default");
        assert_eq!(local("tasks/a%3Ab"), "./tasks/a%3Ab");
        assert_eq!(local("tasks/x?at=10:30"), "./tasks/x?at=10:30");
        for bad in [
            "//evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\\evil.example",
            "../x",
            "a\nb",
        ] {
            let to = local(bad);
            assert!(to.starts_with("./") && !to.contains("javascript"), "{to}");
            assert!(!to.contains('\\') && !to.contains('\n'), "{to}");
        }
    }
}
