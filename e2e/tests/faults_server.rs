//! Faults of the network and of a server alone: docs/reliability.md.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::time::{Duration, Instant};

use taskq_e2e::faults::{Actor, RECOVERY, connected, eventually, repeated, repeats, working};
use taskq_e2e::history::{Expected, History};
use taskq_e2e::proxy::{Direction, Proxy};
use taskq_e2e::script::nap;
use taskq_nats_server::NatsServer;

const ACTOR: Actor = Actor(env!("CARGO_BIN_EXE_actor"));

const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

fn value(value: u64) -> Expected {
    Expected::Value(value.into())
}

/// A worker behind a proxy, and all that is needed to see what it does.
struct Setting {
    server: NatsServer,
    proxy: Proxy,
    history: History,
    client: taskq::Client,
}

impl Setting {
    async fn new() -> Self {
        let server = NatsServer::builder().start().unwrap();
        Self {
            proxy: Proxy::start(server.port()).unwrap(),
            history: History::new(),
            client: connected(server.url()).await,
            server,
        }
    }

    fn worker(&self, lease: &str) -> taskq_e2e::Program {
        let mut command = ACTOR.worker(self.proxy.url(), &self.history, "far");
        working(command.args(["--lease", lease]))
    }

    async fn send(&self, millis: u64) -> taskq::TaskHandle<u64> {
        let sent = self
            .history
            .send(&self.client, nap::call(millis), value(millis));
        sent.await.unwrap()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        eventually(what, async || is_so(self).then_some(())).await;
    }

    /// That the worker takes tasks, and how long it took to.
    async fn consumes(&self) -> Duration {
        let since = Instant::now();
        let handle = self.send(0).await;
        let outcome = handle.outcome().await.unwrap();
        assert_eq!(outcome.worker, "far");
        since.elapsed()
    }

    /// Both connections are there: for work, and for leases.
    async fn has_both_connections(&self) {
        let both = ["far", "far-lease"];
        self.until("both connections are there", |it| {
            it.proxy.connections() == both
        })
        .await;
    }

    async fn check(&self) -> taskq_e2e::history::Report {
        self.history
            .check(&self.client, self.server.url(), RECOVERY)
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_12_a_worker_that_loses_nats_for_seconds_works_on_and_consumes_again() {
    repeated(async || {
        let it = Setting::new().await;
        let worker = it.worker("30s");
        it.consumes().await;
        let running = it.send(2_000).await;
        it.until("it runs", |it| it.history.starts(None).len() == 2)
            .await;
        it.proxy.refuse();
        let _ = worker.stderr_line("the connection to NATS is gone");
        it.until("it ends in the outage", |it| {
            it.history.finishes(None).len() == 2
        })
        .await;
        it.proxy.heal();
        let outcome = running.outcome().await.unwrap();
        assert_eq!((outcome.attempt, outcome.worker.as_str()), (1, "far"));
        let took = it.consumes().await;
        it.has_both_connections().await;
        let report = it.check().await;
        println!("after an outage of 2 s a fresh task ended after {took:?}; {report}");
        assert_eq!(report.started_again, 0, "the lease outlasted the outage");
    })
    .await;
}

/// The cable is pulled: nobody is told, and nothing comes. The worker must
/// find out by itself, and come back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_12_a_worker_whose_connections_are_dead_finds_out_and_consumes_again() {
    repeated(async || {
        let it = Setting::new().await;
        let worker = it.worker("1s");
        it.has_both_connections().await;
        let running = it.send(3_000).await;
        it.until("it runs", |it| it.history.starts(None).len() == 1)
            .await;
        it.proxy.swallow(&BOTH);
        let since = Instant::now();
        // The lease ends, so the task runs elsewhere, and is recorded once.
        let near = working(&mut ACTOR.worker(it.server.url(), &it.history, "near"));
        let outcome = running.outcome().await.unwrap();
        // More than a second one, if the server gave it to the dead connection
        // again, which still has requests there.
        assert_eq!(outcome.worker, "near", "{outcome:?}");
        let attempt = outcome.attempt;
        assert!(attempt >= 2, "{outcome:?}");
        it.history.told(outcome);
        drop(near);
        let noticed = eventually("it notices", async || {
            let gone = worker
                .stderr()
                .matches("the connection to NATS is gone")
                .count();
            (gone >= 2).then(|| since.elapsed())
        })
        .await;
        if repeats() > 1 {
            tokio::time::sleep(Duration::from_secs(120)).await;
        }
        it.proxy.heal();
        let healed = Instant::now();
        it.has_both_connections().await;
        let (reconnected, took) = (healed.elapsed(), it.consumes().await);
        let report = it.check().await;
        println!(
            "the task ran elsewhere at attempt {attempt}; dead connections were noticed after {noticed:?}; healed, they were back after \
             {reconnected:?} and a fresh task ended after {took:?}; {report}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_12_either_connection_alone_comes_back_and_no_lease_is_lost() {
    repeated(async || {
        let it = Setting::new().await;
        let _worker = it.worker("3s");
        it.has_both_connections().await;
        for name in ["far-lease", "far"] {
            let starts = it.history.starts(None).len();
            // Two leases long, with a break in the middle of the first.
            let running = it.send(6_000).await;
            it.until("it runs", |it| it.history.starts(None).len() > starts)
                .await;
            it.proxy.cut_where(|connection| connection == name);
            it.until("it is cut", |it| {
                !it.proxy.connections().contains(&name.to_owned())
            })
            .await;
            it.has_both_connections().await;
            let outcome = running.outcome().await.unwrap();
            assert_eq!(outcome.attempt, 1, "{name}");
            it.consumes().await;
        }
        let report = it.check().await;
        assert_eq!(report.started_again, 0, "{report}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_22_a_task_that_falls_due_in_an_outage_runs_once_after_it() {
    repeated(async || {
        let mut it = Setting::new().await;
        let _worker = it.worker("6s");
        it.consumes().await;
        let delay = Duration::from_secs(2);
        let call = nap::call(1u64).delay(delay);
        let handle = it.history.send(&it.client, call, value(1)).await.unwrap();
        let due = tokio::time::Instant::now() + delay;
        it.server.kill().unwrap();
        // The outage lasts until the task is a second late.
        tokio::time::sleep_until(due + Duration::from_secs(1)).await;
        it.server.restart().unwrap();
        let outcome = handle.outcome().await.unwrap();
        let started = outcome.started_at.unwrap().as_millis();
        let late = started - outcome.enqueued_at.as_millis() - 2_000;
        println!("the task started {late} ms late, by its record");
        assert!(late >= 900, "its lateness is on record: {outcome:?}");
        let told = outcome.lateness().unwrap();
        assert_eq!(i128::from(late), told.as_millis().cast_signed());
        let report = it.check().await;
        assert_eq!(report.started_again, 0, "{report}");
    })
    .await;
}
