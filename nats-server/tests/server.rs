//! What a server does for the one who started it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, stream};
use taskq_nats_server::{Durability, Error, NatsServer};

/// The default server, or the reason why there is none as the test's failure.
fn started() -> NatsServer {
    NatsServer::builder()
        .start()
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn stream_of(server: &NatsServer) -> stream::Stream {
    let client = async_nats::connect(server.url()).await.unwrap();
    jetstream::new(client)
        .get_or_create_stream(stream::Config {
            name: "KEPT".to_owned(),
            subjects: vec!["kept".to_owned()],
            ..Default::default()
        })
        .await
        .unwrap()
}

async fn publish(server: &NatsServer) {
    stream_of(server).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = jetstream::new(client);
    let acknowledged = jetstream.publish("kept", "x".into()).await;
    acknowledged.unwrap().await.unwrap();
}

async fn messages(server: &NatsServer) -> u64 {
    stream_of(server)
        .await
        .get_info()
        .await
        .unwrap()
        .state
        .messages
}

/// What an HTTP GET of a path below the monitoring URL answers.
fn get(monitor_url: &str, path: &str) -> String {
    let address = monitor_url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn servers_share_a_machine() {
    let (one, two) = (started(), started());
    assert_ne!(one.port(), two.port());
    assert_ne!(one.store_dir(), two.store_dir());
    assert_ne!(one.pid(), two.pid());
    assert!(one.is_running() && two.is_running());
    assert_eq!(one.monitor_url(), None);
}

#[test]
fn a_dropped_server_leaves_nothing_behind() {
    let server = started();
    let (port, store) = (server.port(), server.store_dir().to_path_buf());
    assert!(store.exists());
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!store.exists() && !store.parent().unwrap().exists());
}

#[test]
fn a_server_goes_between_threads() {
    fn is_shareable<T: Send + Sync + 'static>() {}
    is_shareable::<NatsServer>();
}

#[tokio::test]
async fn a_store_of_its_own_outlives_the_server() {
    let store = tempfile::tempdir().unwrap();
    let start = || {
        NatsServer::builder()
            .store_dir(store.path())
            .durability(Durability::Synced)
            .start()
            .unwrap()
    };
    let first = start();
    assert_eq!(first.store_dir(), store.path());
    publish(&first).await;
    drop(first);
    assert_eq!(messages(&start()).await, 1);
}

#[tokio::test]
async fn a_restart_keeps_the_ports_and_the_store() {
    let mut server = NatsServer::builder().monitoring(true).start().unwrap();
    let pid = server.pid();
    let urls = |server: &NatsServer| {
        let monitor_url = server.monitor_url().unwrap().to_owned();
        assert!(get(&monitor_url, "/healthz").contains("200 OK"));
        (server.url().to_owned(), monitor_url)
    };
    let before = urls(&server);
    publish(&server).await;

    server.restart().unwrap();
    assert_eq!(urls(&server), before);
    assert_ne!(server.pid(), pid);
    assert_eq!(messages(&server).await, 1);
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_port_and_store() {
    let mut server = started();
    let url = server.url().to_owned();
    publish(&server).await;

    server.kill().unwrap();
    assert!(!server.is_running());
    assert!(async_nats::connect(&url).await.is_err());

    server.restart().unwrap();
    assert!(server.is_running());
    assert_eq!(server.url(), url);
    assert_eq!(messages(&server).await, 1);
}

#[test]
fn a_stopped_server_ends_in_good_order() {
    let mut server = started();
    server.stop().unwrap();
    assert!(!server.is_running());
    assert!(server.log().contains("Server Exiting"), "{}", server.log());
    server.stop().unwrap();
    server.kill().unwrap();
}

#[cfg(unix)]
#[test]
fn a_paused_server_says_nothing_until_it_is_resumed() {
    use std::time::Duration;

    let mut server = started();
    server.pause().unwrap();
    assert!(server.is_running());
    // The system still accepts, but nobody says INFO.
    let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(client.read(&mut [0]).is_err());

    server.resume().unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 1);

    server.pause().unwrap();
    server.stop().unwrap();
    let refused = server.pause().unwrap_err();
    assert!(matches!(refused, Error::NotRunning { .. }), "{refused}");
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = NatsServer::builder().port(port).start().unwrap_err();
    assert!(
        matches!(refused, Error::PortInUse { port: told } if told == port),
        "{refused}"
    );
    assert!(refused.to_string().contains(&port.to_string()));
}

#[test]
fn a_server_that_does_not_start_is_told_with_its_log() {
    let refused = NatsServer::builder()
        .config("no_such_option: 1")
        .start()
        .unwrap_err();
    assert!(matches!(refused, Error::DidNotStart { .. }), "{refused}");
    assert!(refused.to_string().contains("no_such_option"), "{refused}");
}

#[test]
fn a_server_without_jetstream_starts() {
    let server = NatsServer::builder().jetstream(false).start().unwrap();
    assert!(!server.log().contains("JetStream"), "{}", server.log());
}

#[tokio::test]
async fn only_clients_with_the_password_or_the_token_are_admitted() {
    // What the configuration file would otherwise read as its own.
    let secret = "p\"a$s\\ #{}";
    let server = NatsServer::builder().user("me", secret).start().unwrap();
    let login = |password: &str| {
        ConnectOptions::with_user_and_password("me".to_owned(), password.to_owned())
            .connect(server.url().to_owned())
    };
    assert!(login(secret).await.is_ok());
    assert!(login("wrong").await.is_err());
    assert!(async_nats::connect(server.url()).await.is_err());

    let server = NatsServer::builder().token(secret).start().unwrap();
    let login = ConnectOptions::with_token(secret.to_owned()).connect(server.url());
    assert!(login.await.is_ok());
    assert!(async_nats::connect(server.url()).await.is_err());
}

#[tokio::test]
async fn the_limits_and_the_name_are_the_servers() {
    let server = NatsServer::builder()
        .server_name("tiny")
        .max_payload(1000)
        .max_file_store(1 << 20)
        .max_memory_store(1 << 19)
        .start()
        .unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let info = client.server_info();
    assert_eq!(info.server_name, "tiny");
    assert_eq!(info.max_payload, 1000);
    assert_eq!(info.version, server.version().to_string());
    assert!(server.log().contains("Max Storage:     1.00 MB"));
    assert!(server.log().contains("Max Memory:      512.00 KB"));
}
