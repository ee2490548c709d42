//! A problem, as a page.

use std::sync::Arc;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use maud::html;

use super::frame::View;
use super::icon::Icon;
use crate::http::{Problem, Shared};

/// Gives a browser that asked for a page a page where there is a problem.
pub(super) async fn as_page(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let accept = request.headers().get(header::ACCEPT);
    let wants_page = accept.is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    let (mut parts, body) = request.into_parts();
    let view = View::from_request_parts(&mut parts, &shared).await;
    let response = next.run(Request::from_parts(parts, body)).await;
    match (wants_page, view, response.extensions().get::<Problem>()) {
        (true, Ok(view), Some(problem)) => {
            let status = response.status();
            let mut page = page(&view, problem);
            *page.status_mut() = status;
            page
        }
        _ => response,
    }
}

fn page(view: &View, problem: &Problem) -> Response {
    let body = html! {
        div.head { h1 { (problem.title()) } }
        div.note.bad role="alert" { (Icon::Alert.draw()) p { (problem.detail()) } }
        div.row {
            a.button href=(view.to("")) { "Overview" }
            span.quiet.small { "code " code { (problem.code()) } }
        }
    };
    view.still("", problem.title(), &body)
}
