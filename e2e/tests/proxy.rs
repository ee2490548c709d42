//! What the proxy does to the connections that go through it.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use taskq_e2e::PATIENCE;
use taskq_e2e::faults::eventually;
use taskq_e2e::proxy::{Direction, Frame, Proxy, Verdict};
use taskq_nats_server::NatsServer;

/// A server, a client that is near it, and one that is behind a proxy and
/// hears what is published.
struct Setting {
    _server: NatsServer,
    proxy: Proxy,
    near: async_nats::Client,
    far: async_nats::Client,
    heard: async_nats::Subscriber,
}

impl Setting {
    async fn new() -> Self {
        let server = NatsServer::builder().jetstream(false).start().unwrap();
        let proxy = Proxy::start(server.port()).unwrap();
        let far = async_nats::ConnectOptions::new().name("far");
        let far = far.connect(proxy.url()).await.unwrap();
        let near = async_nats::connect(server.url()).await.unwrap();
        let heard = far.subscribe("news.*").await.unwrap();
        let mut it = Self {
            _server: server,
            proxy,
            near,
            far,
            heard,
        };
        it.is_good().await;
        it
    }

    async fn publish(&self, subject: &'static str) {
        self.near.publish(subject, "x".into()).await.unwrap();
        self.near.flush().await.unwrap();
    }

    /// The subject of what is heard next.
    async fn hear(&mut self) -> String {
        let next = tokio::time::timeout(PATIENCE, self.heard.next());
        next.await.unwrap().unwrap().subject.to_string()
    }

    /// That what the far client publishes gets through.
    async fn speaks(&self) {
        let mut said = self.near.subscribe("said").await.unwrap();
        self.near.flush().await.unwrap();
        self.far.publish("said", "x".into()).await.unwrap();
        let next = tokio::time::timeout(PATIENCE, said.next());
        assert!(next.await.unwrap().is_some());
    }

    /// Waits until what is published is heard; the subscription may be on its
    /// way.
    async fn is_good(&mut self) {
        loop {
            self.publish("news.good").await;
            let next = tokio::time::timeout(Duration::from_millis(100), self.heard.next());
            if next.await.is_ok() {
                break;
            }
        }
        // Nothing of this is left for what follows.
        self.publish("news.last").await;
        while self.hear().await != "news.last" {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_known_by_name_cut_and_refused() {
    let mut it = Setting::new().await;
    assert_eq!(it.proxy.connections(), ["far"]);
    it.proxy.cut_where(|name| name == "another");
    assert_eq!(it.proxy.connections(), ["far"]);
    it.proxy.cut();
    // The client comes back by itself.
    it.is_good().await;
    it.proxy.refuse();
    let gone = async || {
        let state = it.far.connection_state();
        (state == async_nats::connection::State::Disconnected).then_some(())
    };
    eventually("it is cut off", gone).await;
    assert!(async_nats::connect(it.proxy.url()).await.is_err());
    it.proxy.heal();
    it.is_good().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_swallowed_is_lost_and_what_is_held_comes_later() {
    let mut it = Setting::new().await;
    it.proxy.hold(&[Direction::ToClient]);
    it.publish("news.held").await;
    it.speaks().await;
    assert!(it.heard.next().now_or_never().is_none(), "it is held");
    it.proxy.heal();
    assert_eq!(it.hear().await, "news.held");

    it.proxy.swallow(&[Direction::ToClient]);
    it.publish("news.lost").await;
    // The other way is open, and nobody has closed anything.
    it.speaks().await;
    assert_eq!(it.proxy.connections(), ["far"]);
    it.proxy.heal();
    // A connection that has lost something is closed, and made again.
    it.is_good().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_messages_are_lost_repeated_and_late() {
    let mut it = Setting::new().await;
    it.proxy.filter(|frame: &Frame| match frame.subject() {
        "news.drop" => Verdict::Drop,
        "news.twice" => Verdict::Twice,
        "news.late" => Verdict::Late(Duration::from_secs(5)),
        _ => Verdict::Pass,
    });
    for subject in ["news.drop", "news.late", "news.twice", "news.pass"] {
        it.publish(subject).await;
    }
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(it.hear().await);
    }
    assert_eq!(
        heard,
        ["news.twice", "news.twice", "news.pass", "news.late"]
    );
    it.proxy.heal();
    let delay = Duration::from_millis(200);
    it.proxy.delay(delay);
    let since = Instant::now();
    it.publish("news.slow").await;
    assert_eq!(it.hear().await, "news.slow");
    assert!(since.elapsed() >= delay);
}
