//! What happened to a task, in order.

use maud::{Markup, html};
use taskq::{Event, EventKind, Timestamp};

use super::known::Known;
use super::parts::HIDDEN;
use crate::dash::frame::View;
use crate::dash::icon::Icon;
use crate::dash::show::{full, length, look, moment};
use crate::dash::told::{error, told};

/// Of how many events the first and the last are shown.
const MOST_SHOWN: usize = 60;

pub(super) fn history(view: &View, known: &Known, events: &[Event]) -> Markup {
    let cut = events.len().saturating_sub(MOST_SHOWN);
    let hides = |event: &Event| {
        known.sensitive.is_all() && [EventKind::Log, EventKind::Progress].contains(&event.kind)
    };
    html! {
        section.panel aria-labelledby="history-title" {
            header { h2 #history-title { "History" } @if cut > 0 { span.quiet.small { (cut) " events between are left out" } } }
            div.in { ol.timeline {
                @if let Some(at) = known.enqueued_at {
                    (step(view, known.enqueued_at, at, "scheduled", "Accepted", None))
                }
                @for (place, event) in events.iter().enumerate() {
                    @if place < MOST_SHOWN / 2 || place >= cut + MOST_SHOWN / 2 {
                        @let text = if hides(event) { format!("{} ({HIDDEN})", event.kind) } else { told(event) };
                        // What was just told is not told again.
                        @let before = place.checked_sub(1).and_then(|place| error(&events[place]));
                        @let new = error(event).filter(|text| !known.hidden.is_all() && before != Some(*text));
                        (step(view, known.enqueued_at, event.at, event.kind.as_str(), &text, new))
                    }
                }
                @if events.is_empty() && let Some(at) = known.finished_at {
                    (step(view, known.enqueued_at, at, &known.state, "Ended", None))
                }
                @if known.enqueued_at.is_none() && events.is_empty() {
                    li { span.dot { (Icon::Dots.draw()) } div.text.quiet { "Nothing was told of it yet." } }
                }
            } }
        }
    }
}

fn step(
    view: &View,
    begin: Option<Timestamp>,
    at: Timestamp,
    kind: &str,
    text: &str,
    error: Option<&str>,
) -> Markup {
    let (tone, icon) = look(kind);
    let later = begin
        .filter(|begin| *begin < at)
        .map(|begin| at.since(begin).as_secs_f64());
    html! {
        li {
            span.dot.(tone) { (icon.draw()) }
            div.text { (text) @if let Some(error) = error { pre { (error) } } }
            div.when { @match later { Some(later) => time datetime=(at) title=(full(at)) { "+" (length(later)) }, None => (moment(view.now, at)) } }
        }
    }
}
