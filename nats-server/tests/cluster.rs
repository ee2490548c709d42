//! What a cluster does for the one who started it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::time::Duration;

use async_nats::ServerAddr;
use async_nats::jetstream::{self, stream};
use taskq_nats_server::{Cluster, NatsServer};

const LIMIT: Duration = Duration::from_secs(60);

async fn kept(cluster: &Cluster) -> stream::Stream {
    let servers: Vec<ServerAddr> = cluster
        .url()
        .split(',')
        .map(|url| url.parse().unwrap())
        .collect();
    let js = jetstream::new(async_nats::connect(servers).await.unwrap());
    let config = stream::Config {
        name: "KEPT".to_owned(),
        subjects: vec!["kept".to_owned()],
        num_replicas: 3,
        ..Default::default()
    };
    // A stream has no leader for a while after its own is killed.
    let limit = tokio::time::Instant::now() + LIMIT;
    let stream = loop {
        match js.get_or_create_stream(config.clone()).await {
            Ok(stream) => break stream,
            Err(error) => assert!(tokio::time::Instant::now() < limit, "{error}"),
        }
    };
    while js.publish("kept", "x".into()).await.unwrap().await.is_err() {
        assert!(tokio::time::Instant::now() < limit, "nothing is stored");
    }
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_killed_comes_back_with_its_ports_and_its_store() {
    let mut cluster = NatsServer::builder().start_cluster(3).unwrap();
    cluster.wait_healthy(LIMIT).unwrap();
    let leader = cluster.leader().unwrap();
    assert_eq!(cluster.place(&Cluster::name(leader)), Some(leader));
    let mut stream = kept(&cluster).await;
    let info = stream.info().await.unwrap();
    assert_eq!(info.state.messages, 1);
    let replicas = info.cluster.as_ref().unwrap().replicas.len();
    assert_eq!(replicas, 2, "and a leader");

    let node = cluster.place(info.cluster.as_ref().unwrap().leader.as_ref().unwrap());
    let node = node.unwrap();
    let port = cluster.nodes()[node].port();
    cluster.node_mut(node).kill().unwrap();
    assert!(!cluster.is_healthy(node));
    cluster.wait_healthy(LIMIT).unwrap();
    cluster.node_mut(node).restart().unwrap();
    cluster.wait_healthy(LIMIT).unwrap();
    assert_eq!(cluster.nodes()[node].port(), port);
    let mut stream = kept(&cluster).await;
    // What was not acknowledged may have been stored all the same.
    assert!(stream.info().await.unwrap().state.messages >= 2);
}

#[test]
fn a_dropped_cluster_leaves_nothing_behind() {
    let cluster = NatsServer::builder().start_cluster(3).unwrap();
    let stores: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| node.store_dir().to_owned())
        .collect();
    drop(cluster);
    assert!(stores.iter().all(|store| !store.exists()));
}
