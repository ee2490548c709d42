//! Finding tasks, and what is done with one.

use taskq_gateway::index::TaskState;

use crate::browser::Browser;
use crate::system::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_in_an_argument_or_an_error_stays_text() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let _worker = system.worker("shop-1", &["default"]).await;
    let evil = "<script>window.forged = 1</script><img src=x onerror=\"window.forged = 1\"> \"'`";
    let id = system.complain(evil).await;
    system.settle(1).await;
    for path in ["", "tasks", &format!("tasks/{id}"), "tasks?error=script"] {
        browser.go(&system.at(path)).await;
        browser.ready().await;
        browser.key("r").await;
        assert_eq!(browser.run("window.forged ?? 'no'").await, "no", "{path}");
        assert_eq!(
            browser
                .run("document.querySelectorAll('main img').length")
                .await,
            0,
            "{path}"
        );
    }
    browser.go(&system.at(&format!("tasks/{id}"))).await;
    assert!(
        browser.text("main").await.contains(evil),
        "{}",
        browser.text("main").await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_query_bar_completes_what_is_typed_and_every_view_is_an_address() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let _worker = system.worker("shop-1", &["email", "default"]).await;
    system.email("ada@example.com").await;
    system.email("full@example.com").await;
    system.settle(2).await;
    browser.go(&system.at("tasks")).await;
    browser
        .until(
            "both are listed",
            "document.querySelectorAll('tbody tr').length === 2",
        )
        .await;
    browser.ready().await;
    browser.key("/").await;
    browser.write("state:fa").await;
    browser
        .until(
            "it is completed",
            "document.querySelector('#hints li')?.dataset.text === 'state:failed'",
        )
        .await;
    browser.key("ArrowDown").await;
    browser.key("Enter").await;
    browser
        .until("the address says so", "location.search === '?state=failed'")
        .await;
    browser
        .until(
            "one is listed",
            "document.querySelectorAll('tbody tr').length === 1",
        )
        .await;
    assert!(browser.text(".chip").await.contains("state: failed"));
    browser.ready().await;
    browser.key("/").await;
    browser.write("task:send_email mailbox full").await;
    browser.key("Enter").await;
    browser
        .until(
            "all hold together",
            "location.search === '?state=failed&task=send_email&error=mailbox%20full'",
        )
        .await;
    browser
        .until(
            "one is listed",
            "document.querySelectorAll('tbody tr').length === 1",
        )
        .await;
    browser.ready().await;
    browser.key("j").await;
    browser.key("Enter").await;
    browser
        .until(
            "the task is opened",
            "document.querySelector('main h1').innerText === 'send_email'",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_task_is_found_by_its_id_and_tried_again() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let _worker = system.worker("shop-1", &["email", "default"]).await;
    system.email("full@example.com").await;
    system.settle(1).await;
    let id = system.find(TaskState::Failed).await;
    browser.go(&system.at("")).await;
    browser.ready().await;
    browser.key("/").await;
    browser.write(&id).await;
    browser.key("Enter").await;
    browser
        .until(
            "its page is there",
            "document.querySelector('main h1')?.innerText === 'send_email'",
        )
        .await;
    let text = browser.text("main").await;
    assert!(
        text.contains("mailbox of full@example.com is full"),
        "{text}"
    );
    assert!(text.contains("Attempt 1 failed"), "{text}");
    browser.click("form:has([value='task.retry']) button").await;
    browser
        .until(
            "it is told",
            "document.querySelector('.toast')?.innerText.includes('runs again')",
        )
        .await;
    browser
        .until(
            "it failed again",
            "document.querySelector('main').innerText.includes('Sent again')",
        )
        .await;
}
