//! A system with something to see: tasks of a shop, some of which fail.

use std::time::Duration;

use serde_json::{Value, json};
use taskq::Mode;
use taskq::admin::operations::{self, BulkAction, NewOperation};
use taskq::prelude::*;
use taskq_e2e::{Fixture, Running};
use taskq_gateway::index::{Index, LetterQuery, Retention, TaskQuery, TaskState};
use taskq_gateway::{Access, Gateway, Limits, Socket};

/// Sends a letter to a customer.
#[task(queue = "email", retries = 1, backoff = "constant(20ms)")]
async fn send_email(to: String, subject: String) -> Result<String, TaskError> {
    let _ = subject;
    if to.contains("full") {
        return Err(std::io::Error::other(format!("mailbox of {to} is full")).into());
    }
    tokio::time::sleep(Duration::from_millis(3)).await;
    Ok(format!("sent to {to}"))
}

/// Makes a picture smaller.
#[task(queue = "media", retries = 2)]
async fn resize_image(url: String, width: u32) -> Value {
    tokio::time::sleep(Duration::from_millis(8 + u64::from(width % 40))).await;
    json!({"url": url, "width": width, "bytes": width * 311})
}

/// Takes the money for an order.
#[task(queue = "billing", retries = 0)]
async fn charge_card(order: u64, cents: u64) -> Result<u64, TaskError> {
    if order.is_multiple_of(3) {
        let why = format!("card declined for order {order}: code {}", order % 7);
        return Err(TaskError::permanent(std::io::Error::other(why)));
    }
    Ok(cents)
}

/// Writes the report of a month, and tells how far it is.
#[task(queue = "reports")]
pub(crate) async fn build_report(ctx: Context, month: String, millis: u64) -> String {
    for step in 1..=10u64 {
        ctx.progress(step, 10, format!("chapter {step}"));
        ctx.log(format!("chapter {step} of {month} is written"));
        tokio::time::sleep(Duration::from_millis(millis / 10)).await;
    }
    format!("report of {month}")
}

/// Says what it is told, as it fails.
#[task(retries = 0)]
async fn complain(text: String) -> Result<(), TaskError> {
    Err(TaskError::permanent(std::io::Error::other(text)))
}

/// A gateway that listens, on a server of its own.
pub(crate) struct System {
    pub(crate) fixture: Fixture,
    pub(crate) client: Client,
    index: Index,
    /// Its address, with a `/` at the end.
    pub(crate) address: String,
}

impl System {
    pub(crate) async fn start() -> Self {
        Self::with(Access::default(), Limits::default()).await
    }

    pub(crate) async fn with(access: Access, limits: Limits) -> Self {
        let fixture = Fixture::new(Mode::JetStream);
        let client = fixture.client().await;
        let index = Index::scratch(Retention::default()).unwrap();
        let gateway = Gateway::new(fixture.client().await, index.clone(), access, limits);
        let socket = Socket::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", socket.address().unwrap());
        tokio::spawn(socket.serve(gateway.router(), std::future::pending()));
        Self {
            fixture,
            client,
            index,
            address,
        }
    }

    pub(crate) async fn worker(&self, name: &str, queues: &[&str]) -> Running {
        let (name, queues) = (name.to_owned(), queues.to_vec());
        self.fixture
            .worker_with(|worker| worker.name(name).queues(queues).concurrency(8))
            .await
    }

    /// Sends one letter.
    pub(crate) async fn email(&self, to: &str) {
        send_email::call(to, "Hello")
            .enqueue(&self.client)
            .await
            .unwrap();
    }

    /// Where a page is.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Lets things happen: most go well.
    pub(crate) async fn live(&self, rounds: u64) {
        for n in 0..rounds {
            let to = if n % 9 == 4 {
                format!("full-{n}@example.com")
            } else {
                format!("user-{n}@example.com")
            };
            send_email::call(to, format!("Your order {n}"))
                .label("customer", (n % 5).to_string())
                .enqueue(&self.client)
                .await
                .unwrap();
            resize_image::call(
                format!("https://cdn.example.com/{n}.jpg"),
                320 + n as u32 * 3,
            )
            .enqueue(&self.client)
            .await
            .unwrap();
            if n % 2 == 0 {
                charge_card::call(n, 1999 + n)
                    .enqueue(&self.client)
                    .await
                    .unwrap();
            }
        }
    }
}

impl System {
    /// A day in the life of a shop: workers, what went well, what did not,
    /// what waits, and what somebody has paused.
    pub(crate) async fn furnish(&self) -> Vec<Running> {
        let workers = vec![
            self.worker("shop-1", &["email", "media", "billing", "default"])
                .await,
            self.worker("shop-2", &["email", "media", "reports"]).await,
        ];
        self.live(60).await;
        build_report::call("October", 60_000)
            .id("report-october")
            .enqueue(&self.client)
            .await
            .unwrap();
        send_email::call("later@example.com", "A reminder")
            .id("later")
            .delay(2.hours())
            .enqueue(&self.client)
            .await
            .unwrap();
        let mut old = Vec::new();
        for n in 0..12 {
            // Nobody serves it.
            let sent = resize_image::call(format!("https://cdn.example.com/old-{n}.jpg"), 64)
                .queue("archive")
                .enqueue(&self.client)
                .await
                .unwrap();
            old.push(sent.id().clone());
        }
        let cancel = NewOperation::new(BulkAction::Cancel, "ada").because("nobody wants them");
        operations::begin(&self.client, cancel, old.split_off(8))
            .await
            .unwrap();
        self.client
            .schedule("monthly-report", build_report::call("this month", 1000))
            .cron("0 6 1 * *")
            .tz("Europe/Berlin")
            .by("ada")
            .save()
            .await
            .unwrap();
        self.client
            .schedule(
                "heartbeat",
                send_email::call("ops@example.com", "Still here"),
            )
            .every(45.minutes())
            .save()
            .await
            .unwrap();
        taskq::admin::schedules::pause(&self.client, "heartbeat", "bob", Some("too loud"))
            .await
            .unwrap();
        taskq::admin::queues::pause(&self.client, "billing", "ada", Some("the bank is down"))
            .await
            .unwrap();
        self.settle(120).await;
        workers
    }

    /// The id of an operation.
    pub(crate) async fn operation(&self) -> String {
        let all = operations::list(&self.client).await.unwrap();
        all.into_iter().next().expect("such an operation").id
    }

    /// The id of a task that ended so.
    pub(crate) async fn find(&self, state: TaskState) -> String {
        let query = TaskQuery {
            states: vec![state],
            ..TaskQuery::default()
        };
        let page = self.index.tasks(query).await.unwrap();
        page.tasks.into_iter().next().expect("such a task").id
    }

    /// Sends a task that fails with a text.
    pub(crate) async fn complain(&self, text: &str) -> String {
        let sent = complain::call(text).enqueue(&self.client).await.unwrap();
        sent.id().to_string()
    }

    /// Waits until a living worker tells of a task: it is asked, and answers as
    /// soon as it can.
    pub(crate) async fn knows(&self, task: &str) {
        let limit = tokio::time::Instant::now() + 3 * taskq_e2e::PATIENCE;
        loop {
            let workers = taskq::admin::workers(&self.client).await.unwrap();
            if workers
                .iter()
                .any(|worker| worker.tasks.iter().any(|known| known.name == task))
            {
                return;
            }
            assert!(tokio::time::Instant::now() < limit, "nobody knows {task}");
        }
    }

    /// Waits until so many tasks were sent again and are dead letters again.
    pub(crate) async fn replayed(&self, many: usize) {
        let limit = tokio::time::Instant::now() + 3 * taskq_e2e::PATIENCE;
        loop {
            let query = LetterQuery {
                limit: 100,
                ..LetterQuery::default()
            };
            let page = self.index.letters(query).await.unwrap();
            let again = page.letters.iter().filter(|letter| letter.replays > 0);
            let again = again.count();
            if again == many {
                return;
            }
            assert!(
                tokio::time::Instant::now() < limit,
                "in vain: {again} of {many}: {:?}",
                page.letters
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the index has so many ended tasks.
    pub(crate) async fn settle(&self, ended: u64) {
        let limit = tokio::time::Instant::now() + 3 * taskq_e2e::PATIENCE;
        loop {
            let counts = self.index.counts().await.unwrap();
            if counts.states.values().sum::<u64>() >= ended {
                return;
            }
            assert!(tokio::time::Instant::now() < limit, "in vain: {counts:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
