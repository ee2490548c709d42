//! The pools of workers, on the page of workers: how many each keeps and why,
//! what its dead ones died of, and a form for another number.

use maud::{Markup, html};
use taskq::Timestamp;
use taskq::admin::WorkerDeath;
use taskq::admin::pools::{self, Pool, PoolChange, PoolMode, PoolScaled, PoolWorker};

use super::address;
use super::chart::share;
use super::form::{Fields, button, form};
use super::frame::View;
use super::icon::Icon;
use super::show::{count, counted, length, memory, moment, state};
use crate::http::{Answer, Problem, Role, Shared};

/// Of how many tasks that a dead worker ran it is told.
const MOST_SHOWN: usize = 10;

/// The part of the page.
pub(super) fn part(view: &View, pools: Option<&[Pool]>) -> Markup {
    html! {
        section.panel aria-labelledby="pools-title" {
            header { h2 #pools-title { "Pools" } span.quiet.small { "what keeps workers running" } }
            @match pools {
                None => div.empty { strong { "The pools did not answer" } },
                Some([]) => div.empty {
                    strong { "No pool" }
                    span { "A pool keeps as many workers on a machine as there is work for, and starts a dead one again. Start one: "
                        code { "taskq pool run" } }
                },
                Some(pools) => (table(view, pools)),
            }
        }
        @if let Some(pools) = pools { (deaths(view, pools)) }
    }
}

fn table(view: &View, pools: &[Pool]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Pools" { table.stack {
            thead { tr {
                th { "Pool" } th { "State" } th { "Workers" } th.num { "Waiting" } th.num { "Slots" }
                th { "Last change" } th { span.unseen { "What to do" } }
            } }
            tbody { @for pool in pools { (row(view, pool)) } }
        } }
    }
}

fn row(view: &View, pool: &Pool) -> Markup {
    let word = match (pool.stopping, pool.mode) {
        (true, _) => "stopping",
        (false, PoolMode::Automatic) => "automatic",
        (false, PoolMode::Fixed) => "fixed",
    };
    html! {
        tr data-key=(pool.pool) {
            td.wrap { strong { (pool.pool) }
                @if let Some(host) = &pool.host { div.sub { "on " (host) } }
                div.sub { @for (place, queue) in pool.queues.iter().enumerate() {
                    @if place > 0 { ", " } a href=(view.to(&address::of("queues", queue))) { (queue) }
                } } }
            td { (state(word)) @if let Some(trouble) = &pool.trouble { div.sub.tone-bad { (trouble) } } }
            td.nowrap data-label="Workers" { (pool.target) " of " (pool.min) " to " (pool.max)
                @if pool.restarts > 0 { div.sub { (count(pool.restarts)) " started again" } }
                @if !pool.workers.is_empty() { (processes(view, &pool.workers)) } }
            td.num data-label="Waiting" { (count(pool.waiting))
                @if pool.waiting > 0 { div.sub { "the first for " (length(pool.oldest_ms as f64 / 1000.0)) } } }
            td.num data-label="Slots" { (count(pool.busy)) " of " (count(pool.slots)) (share(pool.busy as f64, pool.slots as f64, "f-run")) }
            td.told data-label="Last change" { @match &pool.changed {
                Some(change) => (changed(view.now, change)),
                None => span.quiet { "none since its start " (moment(view.now, pool.started_at)) },
            } }
            td { @if !pool.stopping { (scaling(view, pool)) } }
        }
    }
}

fn processes(view: &View, workers: &[PoolWorker]) -> Markup {
    html! {
        details {
            summary.small { (counted_processes(workers.len())) }
            ul { @for worker in workers { li.small {
                a href=(view.to(&address::of("workers", &worker.worker))) { (worker.worker) }
                " " (state(&worker.state))
                div.sub { "process " (worker.process) ", " (counted(worker.running, "task"))
                    @if let Some(bytes) = worker.peak_memory_bytes { ", memory top " (memory(bytes)) } }
            } } }
        }
    }
}

fn counted_processes(many: usize) -> String {
    match many {
        1 => "1 process".to_owned(),
        many => format!("{many} processes"),
    }
}

fn changed(now: Timestamp, change: &PoolChange) -> Markup {
    let (before, after) = (change.before, change.after);
    html! {
        (before.target) " → " (after.target)
        @if before.mode != after.mode { ", " (after.mode.as_str()) }
        ", " (moment(now, change.at))
        div.sub { (change.why) }
    }
}

/// Another number, and the number that the work asks for.
fn scaling(view: &View, pool: &Pool) -> Markup {
    let name = &pool.pool;
    html! { @if view.may(Role::Operator) {
        div.row.right {
            (form(view, "pool.scale", name, &html! {
                label.unseen for=(format!("count-{name}")) { "How many workers pool " (name) " keeps" }
                input.few id=(format!("count-{name}")) type="number" name="count" required
                    min=(pool.min) max=(pool.max) value=(pool.target);
                label.unseen for=(format!("because-{name}")) { "Why" }
                input.because id=(format!("because-{name}")) name="because" placeholder="Why" maxlength="200";
                button.button aria-label=(format!("Scale {name}")) { (Icon::Workers.draw()) "Scale" }
            }))
            @if pool.mode == PoolMode::Fixed { (button(view, Role::Operator, "pool.auto", name, "Automatic")) }
        }
    } }
}

/// What the dead ones of all pools died of, the latest first.
fn deaths(view: &View, pools: &[Pool]) -> Markup {
    let mut deaths: Vec<&WorkerDeath> = pools.iter().flat_map(|pool| &pool.deaths).collect();
    deaths.sort_by_key(|death| std::cmp::Reverse(death.at));
    html! {
        @if !deaths.is_empty() {
            section.panel aria-labelledby="deaths-title" {
                header { h2 #deaths-title { "Workers that died" } span.quiet.small { "the last of each pool" } }
                div.in { ol.timeline { @for death in deaths { (died(view, death)) } } }
            }
        }
    }
}

fn died(view: &View, death: &WorkerDeath) -> Markup {
    html! {
        li data-key=(death.worker) {
            span.dot.bad { (Icon::Cross.draw()) }
            div.text {
                a href=(view.to(&address::of("workers", &death.worker))) { (death.worker) }
                " of pool " (death.pool) ": " (death.to_string())
                @for task in death.running.iter().take(MOST_SHOWN) {
                    div.sub { "ran " (task.task) " "
                        a.id href=(view.to(&address::of("tasks", task.id.as_str()))) { (task.id) }
                        ", attempt " (task.attempt) ", for " (length(death.at.since(task.since).as_secs_f64())) }
                }
                @if death.running.len() > MOST_SHOWN { div.sub { "and " (death.running.len() - MOST_SHOWN) " more" } }
                @if !death.log.is_empty() {
                    details { summary.small { "Its last words" } pre { (death.log.join("\n")) } }
                }
            }
            div.when { (moment(view.now, death.at)) }
        }
    }
}

/// Has a pool keep the number of a form.
pub(super) async fn scale(
    shared: &Shared,
    pool: &str,
    fields: &Fields,
    by: &str,
    because: Option<&str>,
) -> Answer<String> {
    let text = fields.get("count").map_or("", |text| text.trim());
    let wanted: usize = text
        .parse()
        .map_err(|_| Problem::invalid(format!("`{text}` is no number of workers")))?;
    let done = pools::scale(&shared.client, pool, Some(wanted), by, because).await?;
    Ok(said(&done))
}

/// Has a pool keep as many workers as there is work for.
pub(super) async fn automatic(shared: &Shared, pool: &str, by: &str) -> Answer<String> {
    let done = pools::scale(&shared.client, pool, None, by, None).await?;
    Ok(said(&done))
}

fn said(done: &PoolScaled) -> String {
    let PoolScaled {
        pool,
        before,
        after,
        ..
    } = done;
    match after.mode {
        PoolMode::Fixed => format!(
            "Pool {pool} kept {}, and keeps {} from now on.",
            before.target, after.target
        ),
        PoolMode::Automatic => format!("Pool {pool} keeps as many workers as there is work for."),
    }
}
