//! What is around every page: the way to the others, who looks, and how.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};
use percent_encoding::percent_decode_str;
use taskq::Timestamp;

use super::address::Base;
use super::assets;
use super::icon::{Icon, mark};
use crate::http::{Caller, Role, Shared};

/// The cookie that has the theme.
pub(super) const THEME: &str = "taskq_theme";
/// The cookie that has what the last action came to, for the next page.
pub(super) const SAID: &str = "taskq_said";

/// The pages, in the order of the menu: word, address, picture, and the key
/// that goes there behind `g`.
const MENU: [(&str, &str, Icon, char); 11] = [
    ("Overview", "", Icon::Gauge, 'o'),
    ("Tasks", "tasks", Icon::List, 't'),
    ("Queues", "queues", Icon::Queues, 'q'),
    ("Task types", "types", Icon::Types, 'y'),
    ("Failures", "failures", Icon::Failures, 'f'),
    ("Workers", "workers", Icon::Workers, 'w'),
    ("Schedules", "schedules", Icon::Clock, 's'),
    ("Live", "live", Icon::Live, 'l'),
    ("Audit", "audit", Icon::Shield, 'a'),
    ("Settings", "settings", Icon::Settings, ','),
    ("API", "docs", Icon::Book, 'd'),
];

/// Who looks at a page, from where, and when.
#[derive(Clone, Debug)]
pub(crate) struct View {
    base: Base,
    /// Path and query of the page, from the root of the gateway.
    here: String,
    pub(super) caller: Option<Caller>,
    theme: Option<&'static str>,
    said: Option<String>,
    origin: String,
    pub(super) now: Timestamp,
}

impl FromRequestParts<Arc<Shared>> for View {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Self, Infallible> {
        let theme = match cookie(&parts.headers, THEME).as_deref() {
            Some("dark") => Some("dark"),
            Some("light") => Some("light"),
            _ => None,
        };
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let scheme = header("x-forwarded-proto").filter(|scheme| *scheme == "https");
        let host = header("host").unwrap_or("127.0.0.1:8080");
        let origin = format!("{}://{host}", scheme.unwrap_or("http"));
        let here = parts.uri.path_and_query();
        Ok(Self {
            base: Base::of(parts.uri.path()),
            here: here.map_or_else(|| "/".to_owned(), ToString::to_string),
            caller: parts.extensions.get::<Caller>().cloned(),
            theme,
            origin,
            said: cookie(&parts.headers, SAID).filter(|said| !said.is_empty()),
            now: Timestamp::now(),
        })
    }
}

impl View {
    /// Where something is, seen from this page.
    pub(super) fn to(&self, address: &str) -> String {
        self.base.to(address)
    }

    /// Where this page is, from the root.
    pub(super) fn here(&self) -> &str {
        &self.here
    }

    /// The same for a page that was asked for by another address than its own.
    pub(super) fn at(self, address: &str) -> Self {
        Self {
            here: format!("/{address}"),
            ..self
        }
    }

    /// Where the gateway is, as who looks has it: scheme and host.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The theme that was chosen; none where it is the system's.
    pub(super) fn theme(&self) -> Option<&'static str> {
        self.theme
    }

    /// Whether who looks may do what needs a role. What the page does not
    /// offer is refused all the same.
    pub(super) fn may(&self, role: Role) -> bool {
        self.caller
            .as_ref()
            .is_some_and(|caller| caller.role >= role)
    }

    /// What proves that a form is one of ours.
    pub(super) fn csrf(&self) -> Markup {
        let session = self
            .caller
            .as_ref()
            .and_then(|caller| caller.session.as_ref());
        html! {
            @if let Some((_, csrf)) = session { input type="hidden" name="csrf" value=(csrf); }
        }
    }

    /// A page: what is in it is seen anew whenever something happens.
    pub(super) fn page(&self, title: &str, body: &Markup) -> Response {
        self.whole(title, Some(title), true, body)
    }

    /// A page of one thing, below the page of a menu's word.
    pub(super) fn page_of(&self, section: &str, title: &str, body: &Markup) -> Response {
        self.whole(title, Some(section), true, body)
    }

    /// A page that stays as it is.
    pub(super) fn still(&self, section: &str, title: &str, body: &Markup) -> Response {
        self.whole(title, Some(section), false, body)
    }

    fn whole(&self, title: &str, section: Option<&str>, live: bool, body: &Markup) -> Response {
        let page = html! {
            (DOCTYPE)
            html lang="en" data-theme=[self.theme] data-base=(self.to("")) {
                (self.head(title, true))
                body {
                    a.skip href="#main" { "Skip to the page" }
                    div.frame {
                        (self.side(section))
                        div.body {
                            (self.top())
                            main #main tabindex="-1" data-live[live] { (self.said()) (body) }
                        }
                    }
                    (self.keys())
                    div.toasts role="status" aria-live="polite" {}
                }
            }
        };
        let mut response = Html(page.into_string()).into_response();
        if self.said.is_some()
            && let Ok(gone) = format!("{SAID}=; Max-Age=0; SameSite=Lax").parse()
        {
            response.headers_mut().append(header::SET_COOKIE, gone);
        }
        response
    }

    /// A page with nothing around it, and without a script.
    pub(super) fn alone(&self, title: &str, body: &Markup) -> Response {
        let page = html! {
            (DOCTYPE)
            html lang="en" data-theme=[self.theme] { (self.head(title, false)) body { (body) } }
        };
        Html(page.into_string()).into_response()
    }

    fn head(&self, title: &str, script: bool) -> Markup {
        html! {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · taskq" }
                link rel="icon" href=(self.to(&assets::address("icon.svg"))) type="image/svg+xml";
                link rel="stylesheet" href=(self.to(&assets::address("app.css")));
                @if script { script type="module" src=(self.to(&assets::address("app.js"))) {} }
            }
        }
    }

    fn side(&self, section: Option<&str>) -> Markup {
        html! {
            nav.side #menu aria-label="Pages" {
                div.row {
                    a.brand href=(self.to("")) { (mark()) "taskq" }
                    a.button.bare.close href="#main" { (Icon::Cross.draw()) "Close" }
                }
                ul {
                    @for (word, address, icon, key) in MENU {
                        li {
                            a href=(self.to(address)) data-go=(key)
                                aria-current=[(section == Some(word)).then_some("page")] {
                                (icon.draw()) (word)
                            }
                        }
                    }
                }
                div.foot {
                    @if let Some(caller) = &self.caller {
                        div.who { span.cut { (caller.name) } span.state { (caller.role.as_str()) } }
                        @if caller.session.is_some() {
                            form method="post" action=(self.to("logout")) { (self.csrf()) button.button.bare { "Log out" } }
                        }
                    }
                    div { "taskq " (env!("CARGO_PKG_VERSION")) }
                }
            }
        }
    }

    fn top(&self) -> Markup {
        html! {
            div.top {
                a.button.bare.menu href="#menu" { (Icon::Menu.draw()) span.unseen { "Menu" } }
                form action=(self.to("find")) role="search" {
                    (Icon::Search.draw())
                    input type="search" name="q" placeholder="Find a task by id, name or error"
                        aria-label="Find a task by its id, its name or its error" data-find;
                }
                div.end {
                    button.live type="button" data-live-state hidden { span.word { "Live" } }
                    button.button.bare type="button" data-help hidden aria-label="Keyboard shortcuts" { kbd { "?" } }
                }
            }
        }
    }

    fn said(&self) -> Markup {
        html! {
            @if let Some(said) = &self.said {
                div.note.ok role="status" { (Icon::Check.draw()) span { (said) } }
            }
        }
    }

    fn keys(&self) -> Markup {
        html! {
            dialog.wide #keys aria-labelledby="keys-title" {
                header {
                    h2 #keys-title { "Keyboard shortcuts" }
                    button.button.bare type="button" data-close { "Close" }
                }
                ul.keys {
                    @for (keys, what) in [
                        ("?", "this sheet"), ("/", "find, or filter"),
                        ("j", "next row"), ("k", "row before"),
                        ("Enter", "open the row"), ("x", "pick the row"),
                        ("p", "hold the page, or let it go on"), ("r", "look again"),
                        ("c", "dark or light"), ("Esc", "close"),
                    ] { li { span { (what) } kbd { (keys) } } }
                    @for (word, _, _, key) in MENU { li { span { (word) } span { kbd { "g" } " " kbd { (key) } } } }
                }
            }
            dialog #confirm aria-labelledby="confirm-title" {
                header { h2 #confirm-title { "Are you sure?" } }
                p data-what {}
                footer {
                    button.button type="button" data-close { "No" }
                    button.button.main type="button" data-yes { "Yes" }
                }
            }
        }
    }
}

/// The value of a cookie.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}
