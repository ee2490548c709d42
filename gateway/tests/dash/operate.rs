//! What an operator does at three in the morning.

use taskq::admin;
use taskq_gateway::index::TaskState;

use crate::browser::Browser;
use crate::system::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_for_a_queue_is_changed_only_as_it_was_seen() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    system.email("ada@example.com").await;
    browser.go(&system.at("queues/email")).await;
    browser.ready().await;
    browser.fill("[name=concurrency]", "7").await;
    browser.fill("[name=rate]", "100/s").await;
    browser.click("form:has([value='queue.set']) button").await;
    browser
        .until(
            "it is told",
            "document.querySelector('.toast')?.innerText.includes('is set')",
        )
        .await;
    let set = admin::queues::get(&system.client, "email").await.unwrap();
    assert_eq!(set.settings.concurrency, Some(7));
    assert_eq!(set.settings.rate.unwrap().to_string(), "100/s");

    // Somebody else is first.
    browser.fill("[name=concurrency]", "9").await;
    let mut theirs = set.settings.clone();
    theirs.concurrency = Some(3);
    admin::queues::set(&system.client, "email", &theirs, set.revision, "bob")
        .await
        .unwrap();
    browser.click("form:has([value='queue.set']) button").await;
    browser
        .until("it is refused", "document.querySelector('.toast.bad')")
        .await;
    let set = admin::queues::get(&system.client, "email").await.unwrap();
    assert_eq!(set.settings.concurrency, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_equal_failures_are_one_line_and_are_sent_again_together() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let _worker = system.worker("shop-1", &["email", "default"]).await;
    for n in 0..6 {
        system.email(&format!("full-{n}@example.com")).await;
    }
    system.complain("something else").await;
    system.settle(7).await;
    browser.go(&system.at("failures")).await;
    browser.ready().await;
    browser
        .until(
            "two lines",
            "document.querySelectorAll('tbody tr').length === 2",
        )
        .await;
    let text = browser.text("tbody tr").await;
    assert!(
        text.contains("mailbox of … is full") && text.contains('6'),
        "{text}"
    );
    browser.click("tbody tr form button").await;
    browser
        .until("it asks", "document.querySelector('#confirm').open")
        .await;
    assert!(
        browser
            .text("#confirm")
            .await
            .contains("6 tasks of send_email")
    );
    browser.click("#confirm [data-yes]").await;
    // An operation does it, which goes on without this page.
    browser
        .until(
            "its page is there",
            "location.pathname.startsWith('/operations/') && document.querySelector('main h1')?.innerText === 'Retry 6 tasks'",
        )
        .await;
    browser
        .until(
            "it is done",
            "document.querySelector('main').innerText.includes('6 of 6') && document.querySelector('.head .state').innerText === 'done'",
        )
        .await;
    system.replayed(6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_of_its_arguments_runs_a_task_and_shows_it() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let _worker = system.worker("shop-1", &["media"]).await;
    system.knows("resize_image").await;
    browser.go(&system.at("types/resize_image")).await;
    browser.ready().await;
    browser
        .fill("[name='arg.url']", "https://cdn.example.com/1.jpg")
        .await;
    browser.fill("[name='arg.width']", "wide").await;
    browser.click("#run button.main").await;
    browser
        .until(
            "no number is no number",
            "document.querySelector('.toast.bad')?.innerText.includes('width')",
        )
        .await;
    browser.fill("[name='arg.width']", "640").await;
    browser.click("#run button.main").await;
    browser.until("its page is there", "document.querySelector('main h1').innerText === 'resize_image' && location.pathname.startsWith('/tasks/')").await;
    browser
        .until(
            "it has ended",
            "document.querySelector('main').innerText.includes('199040')",
        )
        .await;
    let id = system.find(TaskState::Succeeded).await;
    assert!(browser.text("main").await.contains(&id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_tells_what_happens_as_it_happens_and_can_be_held() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let _worker = system.worker("shop-1", &["email", "default"]).await;
    browser.go(&system.at("live?queue=email")).await;
    browser
        .until(
            "it listens",
            "document.querySelector('[data-feed-count]').innerText === 'listening'",
        )
        .await;
    system.email("ada@example.com").await;
    system.complain("not of this queue").await;
    browser
        .until(
            "it is told",
            "document.querySelector('.feed').innerText.includes('send_email')",
        )
        .await;
    browser.click("[data-feed-hold]").await;
    browser
        .until(
            "it is held",
            "document.querySelector('[data-feed-count]').innerText === 'held'",
        )
        .await;
    let before = browser
        .run("document.querySelectorAll('.feed li').length")
        .await;
    system.email("full@example.com").await;
    system.settle(3).await;
    assert_eq!(
        browser
            .run("document.querySelectorAll('.feed li').length")
            .await,
        before
    );
    // What happened meanwhile is told then: nothing is missed.
    browser.click("[data-feed-hold]").await;
    browser.until("it goes on", "document.querySelector('.feed').innerText.includes('mailbox of full@example.com is full')").await;
    assert!(!browser.text(".feed").await.contains("complain"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_picked_and_all_that_is_found_are_acted_on_after_they_are_counted() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let _worker = system.worker("shop-1", &["email", "default"]).await;
    for n in 0..5 {
        system.email(&format!("full-{n}@example.com")).await;
    }
    system.email("ada@example.com").await;
    system.settle(6).await;
    browser.go(&system.at("tasks?state=failed")).await;
    browser.ready().await;
    browser
        .until(
            "five are listed",
            "document.querySelectorAll('tbody tr').length === 5",
        )
        .await;
    // What is picked stays so while the page follows what happens.
    browser
        .run("document.querySelector('main').addEventListener('again', () => { window.looked = (window.looked ?? 0) + 1 })")
        .await;
    // By keyboard: the first and the second.
    browser.key("j").await;
    browser.key("x").await;
    browser.key("j").await;
    browser.key("x").await;
    browser
        .until(
            "two are picked",
            "document.querySelector('[data-picked]').innerText === 'The 2 picked'",
        )
        .await;
    browser.key("r").await;
    browser.until("it was looked again", "window.looked").await;
    let picked = browser.text("[data-picked]").await;
    assert_eq!(picked, "The 2 picked");
    browser.click("button[value='tasks.retry']").await;
    browser
        .until(
            "they are counted",
            "document.querySelector('#confirm').open",
        )
        .await;
    assert!(
        browser
            .text("#confirm")
            .await
            .contains("2 tasks will be run again")
    );
    browser.click("#confirm [data-yes]").await;
    browser
        .until(
            "it is begun",
            "document.querySelector('.toast')?.innerText.includes('Begun, for 2 tasks')",
        )
        .await;

    system.replayed(2).await;
    browser
        .go(&system.at("tasks?task=send_email&state=failed"))
        .await;
    browser.ready().await;
    browser
        .until(
            "all have failed again",
            "document.querySelectorAll('tbody tr').length === 5",
        )
        .await;
    browser
        .run("document.querySelector('#which').value = 'all'")
        .await;
    browser.click("button[value='tasks.discard']").await;
    browser
        .until(
            "they are counted",
            "document.querySelector('#confirm').open",
        )
        .await;
    assert!(
        browser
            .text("#confirm")
            .await
            .contains("5 tasks will be removed")
    );
    browser.click("#confirm [data-yes]").await;
    browser
        .until(
            "it is begun",
            "document.querySelector('.toast')?.innerText.includes('Begun, for 5 tasks')",
        )
        .await;
    browser.go(&system.at("operations")).await;
    browser
        .until(
            "both are done",
            "document.querySelector('main').innerText.includes('5 of 5') && document.querySelector('main').innerText.includes('2 of 2')",
        )
        .await;
}
