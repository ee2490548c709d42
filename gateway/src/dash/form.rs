//! Buttons and forms, by what they do.

use std::collections::BTreeMap;

use maud::{Markup, html};
use taskq::Timestamp;

use super::frame::View;
use super::icon::Icon;
use crate::http::{Answer, Problem, Role};

/// The fields of a form.
pub(super) type Fields = BTreeMap<String, String>;

/// What is done with something: verb, what it needs, its picture, whether it
/// is asked about first, and how.
pub(super) struct Verb {
    verb: &'static str,
    pub(super) role: Role,
    icon: Icon,
    /// The question, with `{}` for the name; empty where nothing is asked.
    pub(super) sure: &'static str,
}

const fn verb(verb: &'static str, role: Role, icon: Icon, sure: &'static str) -> Verb {
    Verb {
        verb,
        role,
        icon,
        sure,
    }
}

const VERBS: &[Verb] = &[
    verb(
        "queue.pause",
        Role::Operator,
        Icon::Pause,
        "Nothing of queue {} will start until it is resumed.",
    ),
    verb("queue.resume", Role::Operator, Icon::Play, ""),
    verb(
        "queue.purge",
        Role::Admin,
        Icon::Ban,
        "All that waits in queue {} will be cancelled.",
    ),
    verb("queue.set", Role::Operator, Icon::Settings, ""),
    verb(
        "type.pause",
        Role::Operator,
        Icon::Pause,
        "No task {} will start, in any queue, until it is resumed.",
    ),
    verb("type.resume", Role::Operator, Icon::Play, ""),
    verb(
        "task.cancel",
        Role::Operator,
        Icon::Ban,
        "Task {} will be cancelled.",
    ),
    verb("task.retry", Role::Operator, Icon::Retry, ""),
    verb("task.run-now", Role::Operator, Icon::Play, ""),
    verb("task.reschedule", Role::Operator, Icon::Clock, ""),
    verb("task.run", Role::Operator, Icon::Play, ""),
    verb(
        "index.rebuild",
        Role::Admin,
        Icon::Retry,
        "The index will be thrown away, and built again from the streams.",
    ),
    verb(
        "letters.replay",
        Role::Operator,
        Icon::Retry,
        "All tasks of {} with this error will be sent again.",
    ),
    verb("worker.quiet", Role::Operator, Icon::Pause, ""),
    verb("worker.resume", Role::Operator, Icon::Play, ""),
    verb(
        "worker.drain",
        Role::Operator,
        Icon::Clock,
        "Worker {} will take nothing new, and end when nothing runs any more.",
    ),
    verb(
        "worker.stop",
        Role::Admin,
        Icon::Ban,
        "Worker {} will hand back what it runs, and end.",
    ),
    verb("pool.scale", Role::Operator, Icon::Workers, ""),
    verb("pool.auto", Role::Operator, Icon::Gauge, ""),
    verb("operation.cancel", Role::Operator, Icon::Ban, ""),
    verb("letter.replay", Role::Operator, Icon::Retry, ""),
    verb(
        "letter.discard",
        Role::Admin,
        Icon::Ban,
        "The dead letter of task {} will be removed for good.",
    ),
    verb("schedule.pause", Role::Operator, Icon::Pause, ""),
    verb("schedule.resume", Role::Operator, Icon::Play, ""),
    verb(
        "schedule.run",
        Role::Operator,
        Icon::Play,
        "Schedule {} will run once now, besides its times.",
    ),
    verb(
        "schedule.remove",
        Role::Admin,
        Icon::Ban,
        "Schedule {} will be removed for good.",
    ),
];

/// Those after which a page goes to where it is seen what they came to.
const GOING: [&str; 2] = ["task.run", "letters.replay"];

pub(super) fn find(verb: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|known| known.verb == verb)
}

/// A button that does something with something; nothing for who may not.
pub(super) fn button(view: &View, role: Role, verb: &str, name: &str, word: &str) -> Markup {
    let known = find(verb);
    let role = known.map_or(role, |known| known.role);
    let danger = role == Role::Admin || verb == "task.cancel";
    html! {
        @if view.may(role) {
            (form(view, verb, name, &html! {
                button.button.danger[danger] aria-label=(format!("{word} {name}"))
                    data-sure=[known.map(|known| known.sure.replace("{}", name)).filter(|sure| !sure.is_empty())] {
                    @if let Some(known) = known { (known.icon.draw()) } (word)
                }
            }))
        }
    }
}

/// A form that does something with something.
pub(super) fn form(view: &View, verb: &str, name: &str, inside: &Markup) -> Markup {
    html! {
        form method="post" action=(view.to("do")) data-act=(if GOING.contains(&verb) { "go" } else { "" }) {
            (view.csrf())
            input type="hidden" name="verb" value=(verb);
            input type="hidden" name="name" value=(name);
            input type="hidden" name="back" value=(view.here());
            (inside)
        }
    }
}

/// A moment as a form gives it: RFC 3339, or a browser's in UTC.
pub(super) fn moment(text: &str) -> Answer<Timestamp> {
    let text = text.trim();
    let whole = match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    whole.parse().map_err(|error| {
        Problem::invalid(format!(
            "`{text}` is no moment such as 2026-11-27T09:00Z: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_a_browser_gives_it() {
        assert_eq!(
            moment("2026-11-27T09:00").unwrap(),
            moment("2026-11-27T09:00:00Z").unwrap()
        );
        assert!(moment("tomorrow").is_err());
    }
}
