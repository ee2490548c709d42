//! What is done to many tasks at once: to those that are picked, to all that a
//! view shows, or to those of a failure.

use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::form::Fields;
use super::frame::View;
use super::icon::Icon;
use super::query::Pairs;
use super::show::counted;
use crate::http::{Answer, Begun, Bulk, Caller, Problem, Role, Shared, begin_bulk, fitting};

/// The actions: verb, that of the interface, the word on the button, what will
/// be done, the role, the picture.
const ACTIONS: [(&str, &str, &str, &str, Role, Icon); 4] = [
    (
        "tasks.cancel",
        "cancel",
        "Cancel",
        "cancelled",
        Role::Operator,
        Icon::Ban,
    ),
    (
        "tasks.retry",
        "retry",
        "Retry",
        "run again",
        Role::Operator,
        Icon::Retry,
    ),
    (
        "tasks.run-now",
        "run-now",
        "Run now",
        "started now",
        Role::Operator,
        Icon::Play,
    ),
    (
        "tasks.discard",
        "discard",
        "Discard",
        "removed from the dead letters for good",
        Role::Admin,
        Icon::Cross,
    ),
];

/// The bar with the buttons, below a list that can be picked from.
pub(super) fn bar(view: &View, pairs: &Pairs, shown: usize) -> Markup {
    let filter: Pairs = pairs
        .iter()
        .filter(|one| !["cursor", "limit"].contains(&one.0.as_str()))
        .cloned()
        .collect();
    html! {
        @if shown > 0 {
            div.picked {
                input type="hidden" name="filter" value=(json!(filter));
                label.unseen for="which" { "To which tasks" }
                select #which name="which" {
                    option value="picked" data-picked { "The picked ones" }
                    option value="all" { "All that this view finds" }
                }
                @for (verb, action, word, _, role, icon) in ACTIONS { @if view.may(role) && fits(action, pairs) {
                    button.button.danger[verb == "tasks.discard"] name="verb" value=(verb) { (icon.draw()) (word) }
                } }
                label.unseen for="rate" { "How fast" }
                input #rate name="rate" placeholder="as fast as it goes, or 50/s" size="22";
            }
        }
    }
}

/// Whether an action can be done to what a view shows.
fn fits(action: &str, pairs: &Pairs) -> bool {
    let state = pairs.iter().find(|one| one.0 == "state");
    state.is_none_or(|(_, states)| {
        states
            .split(',')
            .any(|state| fitting(action).contains(&state))
    })
}

/// Whether anything can be done to what a view shows, by who looks.
pub(super) fn any(view: &View, pairs: &Pairs) -> bool {
    let mut actions = ACTIONS.iter();
    actions.any(|one| view.may(one.4) && fits(one.1, pairs))
}

/// Whether a verb is one of those, and what it needs.
pub(super) fn role(verb: &str) -> Option<Role> {
    ACTIONS.iter().find(|one| one.0 == verb).map(|one| one.4)
}

/// What a form wishes.
fn wish(verb: &str, fields: &Fields, dry_run: bool) -> Answer<Bulk> {
    let field = |name: &str| fields.get(name).map_or("", |text| text.trim());
    let action = ACTIONS
        .iter()
        .find(|one| one.0 == verb)
        .map_or("", |one| one.1);
    let mut bulk = json!({"action": action, "dry_run": dry_run});
    if field("which") == "all" {
        bulk["filter"] = Value::Object(filter(field("filter"))?);
    } else {
        let ids: Vec<&str> = field("ids").lines().collect();
        if ids.is_empty() {
            return Err(Problem::invalid(
                "no task is picked; pick some, or choose all that the view finds",
            ));
        }
        bulk["ids"] = json!(ids);
    }
    for (name, as_name) in [("rate", "rate"), ("because", "reason")] {
        if !field(name).is_empty() {
            bulk[as_name] = field(name).into();
        }
    }
    read(bulk)
}

fn read(bulk: Value) -> Answer<Bulk> {
    serde_json::from_value(bulk).map_err(|error| Problem::invalid(error.to_string()))
}

/// Begins to run tasks again; the id of the operation.
pub(super) async fn retry(shared: &Shared, caller: &Caller, ids: Vec<String>) -> Answer<String> {
    let bulk = read(json!({"action": "retry", "ids": ids}))?;
    match begin_bulk(shared, caller, bulk).await? {
        Begun::Operation(operation) => Ok(operation.id),
        Begun::Counted(_) => Err(Problem::invalid("it was counted, and not begun")),
    }
}

/// From what a view is asked for to the filter of an operation.
fn filter(text: &str) -> Answer<Map<String, Value>> {
    let pairs: Pairs = serde_json::from_str(text).map_err(|_| {
        Problem::invalid("the form does not say which view it is of; open the page again")
    })?;
    let mut filter = Map::new();
    for (name, value) in pairs {
        match name.as_str() {
            "state" => {
                let states: Vec<&str> = value.split(',').collect();
                filter.insert(name, json!(states));
            }
            "label" | "arg" => {
                let (key, wanted) = value.split_once('=').unwrap_or((&value, ""));
                let all = filter.entry(name).or_insert_with(|| json!({}));
                all[key] = wanted.into();
            }
            "dead" => {
                filter.insert(name, json!(value == "true"));
            }
            "order" => {}
            _ => {
                filter.insert(name, value.into());
            }
        }
    }
    Ok(filter)
}

/// What is asked before it is done: to how many, counted without doing it.
pub(super) async fn question(
    shared: &Shared,
    caller: &Caller,
    verb: &str,
    fields: &Fields,
) -> Answer<String> {
    let done = ACTIONS
        .iter()
        .find(|one| one.0 == verb)
        .map_or("", |one| one.3);
    match begin_bulk(shared, caller, wish(verb, fields, true)?).await? {
        Begun::Counted(counting) if counting.total == 0 => Err(Problem::invalid(
            "there is no such task that this can be done to",
        )),
        Begun::Counted(counting) => {
            let most = if counting.more { "The first " } else { "" };
            Ok(format!(
                "{most}{} will be {done}.",
                counted(counting.total as u64, "task")
            ))
        }
        Begun::Operation(_) => Err(Problem::invalid("it is being done already")),
    }
}

/// Begins it; what is said of it.
pub(super) async fn begin(
    shared: &Shared,
    caller: &Caller,
    verb: &str,
    fields: &Fields,
) -> Answer<String> {
    match begin_bulk(shared, caller, wish(verb, fields, false)?).await? {
        Begun::Operation(operation) => Ok(format!(
            "Begun, for {}. See Operations.",
            counted(operation.total, "task")
        )),
        Begun::Counted(counting) => Ok(counted(counting.total as u64, "task")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_that_is_offered_which_can_be_done_to_what_is_shown() {
        let of = |state: &str| {
            let pairs = vec![("state".to_owned(), state.to_owned())];
            let actions = ACTIONS.iter().map(|one| one.1);
            actions
                .filter(|action| fits(action, &pairs))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("waiting"), ["cancel"]);
        assert_eq!(of("scheduled"), ["cancel", "run-now"]);
        assert_eq!(of("failed,running"), ["cancel", "retry", "discard"]);
        assert!(of("succeeded").is_empty());
        assert!(ACTIONS.iter().all(|one| fits(one.1, &Pairs::new())));
    }

    #[test]
    fn what_a_view_shows_is_what_an_operation_is_about() {
        let text = json!([
            ["state", "failed,expired"],
            ["label", "a=1"],
            ["label", "b=x=y"],
            ["task", "f"]
        ]);
        let filter = filter(&text.to_string()).unwrap();
        assert_eq!(
            Value::Object(filter),
            json!({"state": ["failed", "expired"], "label": {"a": "1", "b": "x=y"}, "task": "f"})
        );
    }
}
