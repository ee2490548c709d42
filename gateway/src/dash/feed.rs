//! `/live`: what happens, as it happens.

use axum::extract::Query;
use axum::response::Response;
use maud::html;
use taskq::EventKind;

use super::address;
use super::frame::View;
use super::query::Pairs;
use crate::http::{Answer, Problem};

/// What the feed can be narrowed by.
const FILTERS: [(&str, &str); 4] = [
    ("queue", "Queue"),
    ("task", "Task"),
    ("worker", "Worker"),
    ("id", "Task id"),
];

pub(super) async fn live(view: View, Query(pairs): Query<Pairs>) -> Answer<Response> {
    let set = |name: &str| {
        pairs
            .iter()
            .find(|one| one.0 == name)
            .map_or("", |one| one.1.as_str())
    };
    let known = |name: &str| name == "event" || FILTERS.iter().any(|one| one.0 == name);
    if let Some((name, _)) = pairs.iter().find(|one| !known(&one.0)) {
        return Err(Problem::invalid(format!(
            "there is no parameter `{name}` here"
        )));
    }
    let body = html! {
        div.head { h1 { "Live" } p.quiet { "What happens, as it is told. A connection that breaks goes on where it was." } }
        form.panel action=(view.to("live")) aria-label="Filter" { div.in { div.fields {
            div.field { label for="event" { "Event" } select #event name="event" {
                option value="" { "all" }
                @for kind in EventKind::ALL { option value=(kind.as_str()) selected[set("event") == kind.as_str()] { (kind.as_str().replace('_', " ")) } }
            } }
            @for (name, word) in FILTERS {
                div.field { label for=(name) { (word) } input id=(name) name=(name) value=(set(name)) placeholder="all"; }
            }
            div.field { span.unseen { "Filter" } button.button.main { "Filter" } }
        } } }
        section.panel aria-labelledby="feed-title" {
            header { h2 #feed-title { "Events" } span.quiet.small data-feed-count role="status" {}
                div.end { button.button type="button" data-feed-hold aria-pressed="false" hidden { "Pause" } button.button type="button" data-feed-clear hidden { "Clear" } } }
            noscript { div.empty { "The feed needs a script. The same is at " code { "/v1/events" } ", and by " code { "taskq events" } "." } }
            ol.feed tabindex="0" aria-label="Events" data-feed=(view.to(&address::with("v1/events",
                pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))))) data-tasks=(view.to("tasks/")) {}
        }
    };
    Ok(view.still("Live", "Live", &body))
}
