//! What holds for every page.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::system::System;

/// Widths of a telephone, a tablet and a screen, with their heights.
const SIZES: [(u32, u32); 3] = [(390, 844), (820, 1100), (1440, 900)];

/// Name and address of every page of a system in which things have happened.
async fn pages(system: &System) -> Vec<(String, String)> {
    let page = |name: &str, path: &str| (name.to_owned(), path.to_owned());
    let failed = system.find(taskq_gateway::index::TaskState::Failed).await;
    vec![
        page("overview", ""),
        page("tasks", "tasks"),
        page(
            "tasks-found",
            "tasks?state=failed&queue=email&error=mailbox",
        ),
        page("tasks-waiting", "tasks?state=waiting"),
        page("tasks-scheduled", "tasks?state=scheduled"),
        page("tasks-none", "tasks?task=nothing"),
        page("task-failed", &format!("tasks/{failed}")),
        page("task-running", "tasks/report-october"),
        page("task-scheduled", "tasks/later"),
        page("queues", "queues"),
        page("queue", "queues/email"),
        page("queue-paused", "queues/billing"),
        page("types", "types"),
        page("type", &format!("types/send_email?from={failed}")),
        page("failures", "failures"),
        page(
            "failure",
            "failures?task=send_email&pattern=mailbox%20of%20%E2%80%A6%20is%20full",
        ),
        page("workers", "workers"),
        page("worker", "workers/shop-2"),
        page("schedules", "schedules"),
        page("schedule", "schedules/monthly-report"),
        page("live", "live"),
        page("audit", "audit"),
        page("settings", "settings"),
        page("operations", "operations"),
        page(
            "operation",
            &format!("operations/{}", system.operation().await),
        ),
        page("login", "login"),
        page("nothing", "queues/nobody"),
    ]
}

/// What axe-core finds serious on the page; none where there is no axe-core.
async fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    browser.run(&format!("{axe}; true")).await;
    let found = browser
        .run(
            "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
             .then((found) => found.violations.map((one) => [one.impact, one.id + ': ' +
                 one.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | ')]))",
        )
        .await;
    let found: Vec<(String, String)> = serde_json::from_value(found).unwrap();
    found
        .into_iter()
        .filter(|(impact, _)| ["serious", "critical"].contains(&impact.as_str()))
        .map(|(_, text)| text)
        .collect()
}

fn axe() -> Option<String> {
    let Some(path) = std::env::var_os("TASKQ_AXE") else {
        eprintln!("skipped: no axe-core; TASKQ_AXE names its axe.min.js");
        return None;
    };
    Some(std::fs::read_to_string(path).expect("TASKQ_AXE is axe.min.js"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_opens_fits_a_phone_and_is_for_everybody_in_both_themes() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let pictures = std::env::var_os("TASKQ_SCREENSHOTS").map(PathBuf::from);
    let axe = axe();
    let system = System::start().await;
    let _workers = system.furnish().await;
    let pool = system.pool_with_a_death().await;
    let mut wrong = Vec::new();
    for (name, path) in pages(&system).await {
        for theme in ["light", "dark"] {
            browser.theme(theme).await;
            browser.go(&system.at(&path)).await;
            browser
                .until(
                    "the page has a heading",
                    "document.querySelector('main h1')",
                )
                .await;
            browser.until("the page is live or still", "!document.querySelector('main[data-live]') || document.querySelector('[data-live-state]:not([hidden])')").await;
            if let Some(axe) = &axe {
                let found = violations(&browser, axe).await;
                wrong.extend(
                    found
                        .into_iter()
                        .map(|text| format!("{name}, {theme}: {text}")),
                );
            }
            for (width, height) in SIZES {
                browser.size(width, height).await;
                let wide = browser.run("document.documentElement.scrollWidth").await;
                if wide.as_u64() > Some(width.into()) {
                    wrong.push(format!("{name} is {wide} pixels wide on {width}"));
                }
                if let Some(folder) = &pictures {
                    std::fs::create_dir_all(folder).unwrap();
                    let whole = browser.run("document.documentElement.scrollHeight").await;
                    let high = whole.as_u64().unwrap().clamp(u64::from(height), 2400);
                    browser.size(width, u32::try_from(high).unwrap()).await;
                    let file = folder.join(format!("{name}-{width}-{theme}.png"));
                    std::fs::write(file, browser.picture(false).await).unwrap();
                }
            }
            browser.size(1440, 900).await;
        }
    }
    for sent in browser.events("Network.requestWillBeSent") {
        let url = sent["params"]["request"]["url"]
            .as_str()
            .unwrap()
            .to_owned();
        if !url.starts_with(&system.address) && !url.starts_with("data:") && url != "about:blank" {
            wrong.push(format!("a page asks another host: {url}"));
        }
    }
    for kind in ["Log.entryAdded", "Runtime.exceptionThrown"] {
        let told: Vec<Value> = browser.events(kind);
        // One page is asked for that there is not.
        let told = told.iter().filter(|told| {
            let url = told["params"]["entry"]["url"].as_str();
            !url.is_some_and(|url| url.ends_with("queues/nobody"))
        });
        wrong.extend(told.map(|told| format!("the browser says: {}", json!(told["params"]))));
    }
    pool.end().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
