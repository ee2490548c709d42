//! `/failures`: dead letters, those with the same error as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::address;
use super::bulk;
use super::fingerprint::pattern;
use super::form::{Fields, button, form};
use super::frame::View;
use super::icon::Icon;
use super::show::{count, counted, moment};
use crate::http::{Answer, Caller, Params, Problem, Role, Shared};
use crate::index::{LetterQuery, LetterSummary};

/// Of how many letters, the latest, groups are made.
const MOST: usize = 5000;
/// How many letters of a group are shown.
const SHOWN: usize = 50;

/// Letters of one task with one pattern of errors.
struct Group {
    task: String,
    pattern: String,
    letters: Vec<LetterSummary>,
}

/// The groups of the latest letters, the largest first; and whether there are
/// older letters.
async fn groups(shared: &Shared, task: Option<String>) -> Answer<(Vec<Group>, bool)> {
    let mut query = LetterQuery {
        task,
        limit: 500,
        ..LetterQuery::default()
    };
    let mut groups: BTreeMap<(String, String), Vec<LetterSummary>> = BTreeMap::new();
    let mut seen = 0;
    loop {
        let page = shared.index.letters(query.clone()).await?;
        seen += page.letters.len();
        for letter in page.letters {
            let key = (letter.task.clone(), pattern(&letter.error));
            groups.entry(key).or_default().push(letter);
        }
        query.after = page.next;
        if query.after.is_none() || seen >= MOST {
            break;
        }
    }
    let groups = groups.into_iter().map(|((task, pattern), letters)| Group {
        task,
        pattern,
        letters,
    });
    let mut groups: Vec<Group> = groups.collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.letters.len()));
    Ok((groups, query.after.is_some()))
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    view: View,
    mut params: Params,
) -> Answer<Response> {
    let (task, wanted) = (params.one("task")?, params.one("pattern")?);
    params.end()?;
    let (groups, more) = groups(&shared, task.clone()).await?;
    let all: usize = groups.iter().map(|group| group.letters.len()).sum();
    let one = wanted.and_then(|wanted| groups.iter().find(|group| group.pattern == wanted));
    let body = html! {
        div.head {
            @if one.is_some() || task.is_some() { a.crumb href=(view.to("failures")) { "Failures" } }
            h1 { @match (one, &task) { (Some(group), _) => (group.task), (None, Some(task)) => (task), _ => "Failures" } }
            p.quiet { "Tasks that will not be tried again, kept whole. The same error is one line."
                @if more { " Of more than " (count(all as u64)) " the latest." } }
        }
        @match one {
            Some(group) => (letters(&view, group)),
            None => section.panel aria-label="Failures" {
                @if groups.is_empty() { div.empty { strong { "No dead letter" } span { "Nothing has failed for good." } } }
                @else { (table(&view, &groups)) }
            },
        }
    };
    Ok(view.page("Failures", &body))
}

fn table(view: &View, groups: &[Group]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Failures" { table.stack {
            thead { tr { th { "Error" } th.num { "Letters" } th.num { "Last" } th.num.less { "First" } th { span.unseen { "What to do" } } } }
            tbody { @for group in groups {
                @let here = address::with("failures", [("task", group.task.as_str()), ("pattern", group.pattern.as_str())]);
                tr data-key=(format!("{} {}", group.task, group.pattern)) {
                    td.grow {
                        div.cut { a href=(view.to(&here)) { (if group.pattern.is_empty() { "no message" } else { group.pattern.as_str() }) } }
                        div.cut.sub { (group.task) " · " (reasons(group)) }
                    }
                    td.num data-label="Letters" { strong { (count(group.letters.len() as u64)) } }
                    td.num data-label="Last" { @if let Some(last) = group.letters.first() { (moment(view.now, last.dead_at)) } }
                    td.num.less { @if let Some(first) = group.letters.last() { (moment(view.now, first.dead_at)) } }
                    td.num { (replay_all(view, group)) }
                }
            } }
        } }
    }
}

/// Why they are dead letters.
fn reasons(group: &Group) -> String {
    let mut reasons: Vec<String> = group
        .letters
        .iter()
        .map(|letter| letter.reason.replace('_', " "))
        .collect();
    reasons.sort();
    reasons.dedup();
    reasons.join(", ")
}

fn replay_all(view: &View, group: &Group) -> Markup {
    let many = counted(group.letters.len() as u64, "task");
    html! { @if view.may(Role::Operator) { (form(view, "letters.replay", &group.task, &html! {
        input type="hidden" name="pattern" value=(group.pattern);
        button.button data-sure=(format!("{many} of {} will be sent again.", group.task))
            aria-label=(format!("Replay {many}: {}", group.pattern)) { (Icon::Retry.draw()) "Replay all" }
    })) } }
}

fn letters(view: &View, group: &Group) -> Markup {
    html! {
        div.note.bad { (Icon::Failures.draw()) p { (group.pattern) } }
        section.panel aria-labelledby="letters-title" {
            header {
                h2 #letters-title { (counted(group.letters.len() as u64, "dead letter")) }
                @if group.letters.len() > SHOWN { span.quiet.small { "the latest " (SHOWN) } }
                div.end { (replay_all(view, group)) }
            }
            div.scroll tabindex="0" role="region" aria-label="Dead letters" { table.stack {
                thead { tr { th { "Task" } th.less { "Queue" } th.less { "Worker" } th.num { "Attempts" } th.num { "When" } th { span.unseen { "What to do" } } } }
                tbody { @for letter in group.letters.iter().take(SHOWN) { tr data-key=(letter.id) {
                    td.grow {
                        div.cut { a.id href=(view.to(&address::of("tasks", &letter.id))) { (letter.id) } }
                        div.cut.sub title=(letter.error) { (letter.error) }
                    }
                    td.less { (letter.queue) }
                    td.less { (letter.worker) }
                    td.num data-label="Attempts" { (letter.attempts) @if letter.replays > 0 { div.sub { "sent again " (letter.replays) "×" } } }
                    td.num { (moment(view.now, letter.dead_at)) }
                    td.num { (button(view, Role::Operator, "letter.replay", &letter.id, "Replay")) }
                } } }
            } }
        }
    }
}

/// Begins to send the letters of a group again; the id of the operation, and
/// of how many it is.
pub(super) async fn replay(
    shared: &Shared,
    caller: &Caller,
    task: &str,
    fields: &Fields,
) -> Answer<(String, u64)> {
    let wanted = fields.get("pattern").map_or("", String::as_str);
    let (groups, _) = groups(shared, Some(task.to_owned())).await?;
    let found = groups.into_iter().find(|group| group.pattern == wanted);
    let letters = found.map(|group| group.letters).unwrap_or_default();
    if letters.is_empty() {
        return Err(Problem::not_found(
            "there is no such dead letter any more; somebody was quicker, or the page is old",
        ));
    }
    let many = letters.len() as u64;
    let ids = letters.into_iter().map(|letter| letter.id).collect();
    Ok((bulk::retry(shared, caller, ids).await?, many))
}
