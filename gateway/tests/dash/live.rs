//! Pages that follow what happens, and what is done on them.

use taskq::admin;
use taskq_gateway::{Access, Limits};

use crate::browser::Browser;
use crate::system::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_follows_what_happens_and_a_button_acts_where_it_is() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let _worker = system.worker("shop-1", &["email"]).await;
    system.email("ada@example.com").await;
    system.settle(1).await;
    browser.go(&system.at("")).await;
    browser
        .until("all is well", "document.querySelector('#well')")
        .await;
    browser.run("document.body.dataset.same = 'yes'").await;

    admin::queues::pause(&system.client, "email", "ada", Some("a new template"))
        .await
        .unwrap();
    browser
        .until(
            "the pause is seen",
            "document.querySelector('main').innerText.includes('Queue email is paused')",
        )
        .await;
    browser.click(".trouble form button").await;
    browser
        .until(
            "it is told",
            "document.querySelector('.toast')?.innerText.includes('email goes on')",
        )
        .await;
    browser
        .until("all is well again", "document.querySelector('#well')")
        .await;
    let set = admin::queues::get(&system.client, "email").await.unwrap();
    assert_eq!(set.settings.paused, None);
    let same = browser.run("document.body.dataset.same").await;
    assert_eq!(same, "yes", "the page was loaded anew");

    // Held, it stays as it is.
    browser.key("p").await;
    browser
        .until(
            "it is held",
            "document.querySelector('[data-live-state]').dataset.state === 'paused'",
        )
        .await;
    system.email("bob@example.com").await;
    system.settle(2).await;
    let before = browser.text(".tiles").await;
    browser.key("p").await;
    let script = format!(
        "document.querySelector('.tiles').innerText !== {}",
        serde_json::json!(before)
    );
    browser.until("it goes on", &script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_nobody_sees_asks_for_nothing() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    browser.go(&system.at("queues")).await;
    browser.ready().await;
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {hidden}}});
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.run(&hide(true)).await;
    // What it had begun to ask for is told by then.
    browser
        .run("new Promise((done) => setTimeout(done, 1000))")
        .await;
    browser.events("Network.requestWillBeSent");
    system.email("ada@example.com").await;
    // For as long as a page that is seen takes to look again.
    let asked = "new Promise((done) => setTimeout(done, 3500))";
    browser.run(asked).await;
    let sent = browser.events("Network.requestWillBeSent");
    assert!(sent.is_empty(), "{sent:?}");
    browser.run(&hide(false)).await;
    browser
        .until(
            "it looks again",
            "document.querySelector('main').innerText.includes('email')",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_it_works_under_the_path_of_a_proxy() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let limits = Limits {
        prefix: "/ops/taskq".parse().unwrap(),
        ..Limits::default()
    };
    let system = System::with(Access::default(), limits).await;
    let _worker = system.worker("shop-1", &["email"]).await;
    system.email("ada@example.com").await;
    system.settle(1).await;
    browser.go(&system.at("ops/taskq/")).await;
    browser.ready().await;
    browser.click("a[data-go=t]").await;
    browser
        .until(
            "the tasks are there",
            "location.pathname === '/ops/taskq/tasks' && document.querySelector('tbody a')",
        )
        .await;
    browser.click("tbody a").await;
    browser
        .until(
            "the task is there",
            "location.pathname.startsWith('/ops/taskq/tasks/') && document.querySelector('h1').innerText === 'send_email'",
        )
        .await;
    browser.ready().await;
    admin::queues::pause(&system.client, "email", "ada", None)
        .await
        .unwrap();
    browser.go(&system.at("ops/taskq/queues")).await;
    browser.ready().await;
    browser
        .click("form:has([value='queue.resume']) button")
        .await;
    browser
        .until(
            "it is told",
            "document.querySelector('.toast')?.innerText.includes('email goes on')",
        )
        .await;
    browser.go(&system.at("ops/taskq/live")).await;
    browser
        .until(
            "it listens",
            "document.querySelector('[data-feed-count]').innerText === 'listening'",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_reached_by_keyboard_and_a_theme_that_is_chosen_stays() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    browser.theme("light").await;
    browser.go(&system.at("")).await;
    browser.ready().await;
    browser.key("?").await;
    browser
        .until("the keys are told", "document.querySelector('#keys').open")
        .await;
    browser.key("Escape").await;
    browser
        .until("they are gone", "!document.querySelector('#keys').open")
        .await;
    browser.key("c").await;
    browser.go(&system.at("?range=15m")).await;
    assert_eq!(
        browser.run("document.documentElement.dataset.theme").await,
        "dark"
    );
    let ground = browser
        .run("getComputedStyle(document.body).backgroundColor")
        .await;
    assert_eq!(ground, "rgb(16, 17, 21)");
    browser.ready().await;
    browser.key("/").await;
    browser.write("order 42").await;
    assert_eq!(
        browser
            .run("document.querySelector('[data-find]').value")
            .await,
        "order 42"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_read_and_a_button_pressed_without_a_script() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    system.email("ada@example.com").await;
    admin::queues::pause(&system.client, "email", "ada", None)
        .await
        .unwrap();
    browser.scripts(false).await;
    browser.go(&system.at("")).await;
    assert!(browser.text("main").await.contains("Queue email is paused"));
    browser.click(".trouble form button").await;
    browser
        .until(
            "it is told",
            "document.querySelector('.note')?.innerText.includes('email goes on')",
        )
        .await;
    let set = admin::queues::get(&system.client, "email").await.unwrap();
    assert_eq!(set.settings.paused, None);
}
