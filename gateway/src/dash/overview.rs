//! `/`: what is wrong, then how it goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use taskq::QueueDepth;

use super::address;
use super::chart::share;
use super::form::button;
use super::frame::View;
use super::icon::Icon;
use super::show::{count, counted, length, prose, since, state};
use super::trends::{Range, Trends, share_below};
use super::troubles::{Facts, Trouble, troubles};
use crate::http::{Answer, Params, Role, Shared};
use crate::index::{TaskQuery, TaskState, TypeCount};
use crate::pulse::Sample;

/// How long what fails now has failed.
const LATELY: Duration = Duration::from_secs(15 * 60);
/// How long ago it was with which is compared what grows.
const BEFORE: Duration = Duration::from_secs(5 * 60);
/// How many failing types are told with their last error.
const MOST_FAILING: usize = 8;

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    view: View,
    mut params: Params,
) -> Answer<Response> {
    let range = Range::of(params.one("range")?.as_deref());
    params.end()?;
    let pulse = &shared.pulse;
    let (sample, workers, doctor) = tokio::join!(pulse.now(), pulse.workers(), pulse.doctor());
    let lately = taskq::Timestamp::from_millis(
        view.now.as_millis() - i64::try_from(LATELY.as_millis()).unwrap_or(0),
    );
    let types = shared.index.types_since(lately).await?;
    let trends = Trends::read(&shared, view.now, range, None, None).await?;
    let errors = last_errors(&shared, &types).await?;
    let lag = shared.follower.lag();
    let before = pulse.before(BEFORE);
    let (found, advice) = troubles(&Facts {
        now: view.now,
        sample: &sample,
        before: before.as_deref(),
        workers: workers.as_ref().map(|known| known.what.as_slice()),
        findings: doctor.as_ref().map_or(&[], |known| known.what.as_slice()),
        types: &types,
        errors: &errors,
        lag: &lag,
    });
    let slots = workers.as_ref().map(|known| {
        let slots: usize = known.what.iter().map(|worker| worker.concurrency).sum();
        (known.what.len() as u64, slots as u64)
    });
    let body = html! {
        div.head { h1 { "Overview" } div.end { (range.choice(&view, "")) } }
        (panel(&view, &found, doctor.is_none()))
        (tiles(&view, &sample, slots, &trends))
        div.grid.wide { (trends.throughput()) (trends.failures()) (trends.waits()) (trends.runs()) }
        div.cols {
            (queues(&view, &sample))
            div { (types_panel(&view, &types)) (advice_panel(&view, &advice)) }
        }
    };
    Ok(view.page("Overview", &body))
}

/// The last error of those that fail most.
async fn last_errors(shared: &Shared, types: &[TypeCount]) -> Answer<BTreeMap<String, String>> {
    let mut failing: Vec<&TypeCount> = types.iter().filter(|one| one.failed > 0).collect();
    failing.sort_by_key(|one| std::cmp::Reverse(one.failed));
    let mut errors = BTreeMap::new();
    for one in failing.into_iter().take(MOST_FAILING) {
        let query = TaskQuery {
            states: vec![TaskState::Failed],
            task: Some(one.task.clone()),
            limit: 1,
            ..TaskQuery::default()
        };
        let last = shared.index.tasks(query).await?.tasks.into_iter().next();
        if let Some(error) = last.and_then(|last| last.error) {
            errors.insert(one.task.clone(), error);
        }
    }
    Ok(errors)
}

fn panel(view: &View, found: &[Trouble], asking: bool) -> Markup {
    html! {
        @if found.is_empty() {
            div.note.ok #well {
                (Icon::Check.draw())
                span {
                    strong { "All is well." }
                    @if asking { " The doctor has not answered yet." }
                    @else { " Nothing is paused, nothing stands still, nothing fails more than it should." }
                }
            }
        } @else {
            section.panel #troubles aria-labelledby="troubles-title" {
                header {
                    h2 #troubles-title { (counted(found.len() as u64, "problem")) }
                }
                div.troubles { @for trouble in found { (one(view, trouble)) } }
            }
        }
    }
}

fn one(view: &View, trouble: &Trouble) -> Markup {
    html! {
        div.trouble.bad[trouble.bad] data-key=(trouble.what) {
            (if trouble.bad { Icon::Failures } else { Icon::Alert }.draw())
            div {
                div {
                    span.unseen { (if trouble.bad { "Error: " } else { "Warning: " }) }
                    span.what { (prose(&trouble.what)) } " "
                    @if let Some(at) = trouble.since { span.since { (since(view.now, at)) } }
                }
                @if !trouble.why.is_empty() { p.why { (prose(&trouble.why)) } }
            }
            div.do {
                @if let Some((word, address)) = &trouble.look {
                    a.button href=(view.to(address)) aria-label=(format!("{word}: {}", trouble.what)) { (word) }
                }
                @if let Some((word, verb, name)) = &trouble.mend {
                    (button(view, Role::Operator, verb, name, word))
                }
            }
        }
    }
}

fn tiles(view: &View, sample: &Sample, slots: Option<(u64, u64)>, trends: &Trends) -> Markup {
    let sum = |of: fn(&QueueDepth) -> u64| sample.queues.iter().map(of).sum::<u64>();
    let (waiting, running) = (sum(|one| one.pending), sum(|one| one.running));
    let oldest = sample.oldest.values().min();
    let (all, bad) = (trends.all(), trends.ended("failed"));
    let (mut waits, _) = trends.waits_and_runs();
    let half = share_below(&mut waits, 0.5);
    html! {
        section.tiles aria-label="Figures" {
            (tile(view, "queues", "Waiting", &count(waiting), &match oldest {
                Some(at) => html! { "the first " (since(view.now, *at)) },
                None => html! { "in " (counted(sample.queues.len() as u64, "queue")) },
            }))
            (tile(view, "tasks?state=running", "Running", &count(running), &match slots {
                Some((_, slots)) => html! { "of " (counted(slots, "slot")) },
                None => html! { "workers do not answer" },
            }))
            (tile(view, "queues", "Scheduled", &count(sum(|one| one.scheduled)), &html! { "not due yet" }))
            (tile(view, "workers", "Workers", &slots.map_or_else(|| "?".to_owned(), |(workers, _)| count(workers)),
                &html! { (share(running as f64, slots.map_or(0.0, |(_, slots)| slots as f64), "f-run")) }))
            (tile(view, "tasks", "Ended", &count(all), &match half {
                Some(half) => html! { "half waited below " (length(half)) },
                None => html! { "in the time shown" },
            }))
            (tile(view, "tasks?state=failed", "Failed", &count(bad), &html! {
                @if all > 0 { (format!("{:.1} %", bad as f64 / all as f64 * 100.0)) " of those" } @else { "of none" }
            }))
        }
    }
}

fn tile(view: &View, address: &str, name: &str, value: &str, more: &Markup) -> Markup {
    html! {
        a.tile href=(view.to(address)) {
            span.name { (name) } span.value { (value) } span.more { (more) }
        }
    }
}

/// The queues, the fullest first.
fn queues(view: &View, sample: &Sample) -> Markup {
    let mut queues: Vec<&QueueDepth> = sample.queues.iter().collect();
    queues.sort_by_key(|one| std::cmp::Reverse((one.pending, one.running)));
    html! {
        section.panel aria-labelledby="queues-title" {
            header { h2 #queues-title { "Queues" } div.end { a href=(view.to("queues")) { "All" } } }
            @if queues.is_empty() {
                div.empty { strong { "No queue yet" } span { "A queue is made when the first task is sent to it." } }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Queues" {
                    table {
                        thead { tr { th { "Queue" } th.num { "Waiting" } th.num { "Running" } th.num.less { "Scheduled" } th.num { "First waits" } } }
                        tbody {
                            @for one in queues.into_iter().take(10) {
                                @let paused = sample.queue_settings.get(&one.queue).is_some_and(|set| set.paused.is_some());
                                tr data-key=(one.queue) {
                                    td { a href=(view.to(&address::of("queues", &one.queue))) { (one.queue) } @if paused { " " (state("paused")) } }
                                    td.num { (count(one.pending)) }
                                    td.num { (count(one.running)) }
                                    td.num.less { (count(one.scheduled)) }
                                    td.num { @match sample.oldest.get(&one.queue) {
                                        Some(at) => (length(view.now.since(*at).as_secs() as f64)),
                                        None => span.quiet { "–" },
                                    } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn types_panel(view: &View, types: &[TypeCount]) -> Markup {
    let mut types: Vec<&TypeCount> = types.iter().collect();
    types.sort_by_key(|one| std::cmp::Reverse((one.failed, one.ended)));
    html! {
        section.panel aria-labelledby="types-title" {
            header { h2 #types-title { "Task types" } span.quiet.small { "last 15 min" } div.end { a href=(view.to("types")) { "All" } } }
            @if types.is_empty() {
                div.empty { "No task ended in the last 15 min." }
            } @else {
                table {
                    thead { tr { th { "Type" } th.num { "Ended" } th.num { "Failed" } } }
                    tbody {
                        @for one in types.into_iter().take(8) {
                            tr data-key=(one.task) {
                                td.grow { div.cut { a href=(view.to(&address::of("types", &one.task))) { (one.task) } } }
                                td.num { (count(one.ended)) }
                                td.num.tone-bad[one.failed > 0] { (count(one.failed)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn advice_panel(view: &View, advice: &[Trouble]) -> Markup {
    html! {
        @if !advice.is_empty() {
            section.panel aria-labelledby="advice-title" {
                header { h2 #advice-title { "Worth knowing" } span.quiet.small { "the doctor's warnings" } }
                div.troubles { @for trouble in advice { (one(view, trouble)) } }
            }
        }
    }
}
