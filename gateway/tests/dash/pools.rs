//! Pools on the page of workers, with a real one.

use taskq::admin::pools;
use taskq_e2e::PATIENCE;

use crate::browser::Browser;
use crate::pool::{LAST_WORDS, Pool, kill};
use crate::system::{System, build_report};

/// That the text of the page has these words.
fn has(words: &str) -> String {
    let words = serde_json::json!(words);
    format!("document.querySelector('main').textContent.includes({words})")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_seen_and_scaled_and_what_its_workers_died_of_is_told() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    browser.go(&system.at("workers")).await;
    browser.until("there is none", &has("taskq pool run")).await;

    let url = system.fixture.url();
    let pool = Pool::start(url, "web-1", &["--min", "1", "--max", "4"]).await;
    browser.until("it is seen", &has("1 of 1 to 4")).await;
    browser.until("its process works", &has("1 process")).await;
    browser.ready().await;
    browser.fill("#count-web-1", "9").await;
    // The browser itself refuses what is beyond the limits.
    let fits = "document.querySelector('#count-web-1').checkValidity()";
    assert_eq!(browser.run(fits).await, false);
    browser.fill("#count-web-1", "2").await;
    browser.fill("#because-web-1", "the <sale>").await;
    browser.click("form:has([value='pool.scale']) button").await;
    browser
        .until(
            "it is told",
            "document.querySelector('.toast')?.innerText.includes('keeps 2 from now on')",
        )
        .await;
    browser.until("two are kept", &has("2 of 1 to 4")).await;
    browser.until("and why", &has("an operator said so")).await;
    let two = system.working(2).await;

    kill(two.workers[0].process.into());
    browser
        .until("its death is told", &has("killed by signal 9 (SIGKILL)"))
        .await;
    // What it wrote is text.
    browser.until("its last words", &has(LAST_WORDS)).await;
    browser.click("form:has([value='pool.auto']) button").await;
    browser
        .until(
            "it goes by the work again",
            "document.querySelector('[data-key=web-1] .state')?.innerText === 'automatic'",
        )
        .await;
    browser.go(&system.at("audit?action=pool_scaled")).await;
    browser.until("who did it", &has("the <sale>")).await;
    pool.end().await;
}

impl System {
    /// A pool that an operator has scaled, one of whose workers was killed while
    /// it wrote a report.
    pub(crate) async fn pool_with_a_death(&self) -> Pool {
        let flags = ["--max", "6", "--queues", "video", "--grace", "1s"];
        let pool = Pool::start(self.fixture.url(), "web-1", &flags).await;
        self.working(1).await;
        build_report::call("September", 600_000)
            .queue("video")
            .id("report-september")
            .enqueue(&self.client)
            .await
            .unwrap();
        let limit = tokio::time::Instant::now() + 3 * PATIENCE;
        loop {
            let one = self.working(1).await;
            if one.workers[0].running == 1 {
                kill(one.workers[0].process.into());
                break;
            }
            assert!(tokio::time::Instant::now() < limit, "in vain: {one:#?}");
        }
        let why = Some("the newsletter");
        let scaled = pools::scale(&self.client, "web-1", Some(3), "ada", why);
        scaled.await.unwrap();
        self.working(3).await;
        pool
    }

    /// Waits until so many workers of the pool take tasks.
    pub(crate) async fn working(&self, many: usize) -> pools::Pool {
        let limit = tokio::time::Instant::now() + 3 * PATIENCE;
        loop {
            let pools = pools::list(&self.client).await.unwrap();
            let working = |pool: &&pools::Pool| {
                let workers = pool.workers.iter();
                workers.filter(|worker| worker.state == "running").count() == many
            };
            if let Some(pool) = pools.iter().find(working) {
                return pool.clone();
            }
            assert!(tokio::time::Instant::now() < limit, "in vain: {pools:#?}");
        }
    }
}
