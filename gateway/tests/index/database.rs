//! What only a database shared by replicas has to hold to.

use std::time::Duration;

use taskq_e2e::PostgresServer;
use taskq_gateway::index::{Database, Index, IndexError, TaskQuery};

use crate::certificates::Authority;
use crate::given::{forever, outcome, seen};
use crate::stores::{Store, all};

fn database(server: &PostgresServer) -> Database {
    Database {
        url: server.url(),
        ca: None,
    }
}

#[tokio::test]
async fn one_replica_writes_and_the_next_goes_on_when_it_is_gone() {
    let Some(store) = Store::database() else {
        return;
    };
    let first = store.filled(10).await;
    let Store::Database(server, name) = &store else {
        return;
    };
    let second = Index::in_database(&database(server), name, forever()).await;
    let second = second.unwrap();
    assert!(!second.lead().await.unwrap());
    let refused = second.take(vec![outcome(11)], seen("outcomes", 11)).await;
    assert!(matches!(refused, Err(IndexError::Follows)), "{refused:?}");
    // It answers the same.
    let query = TaskQuery::default;
    assert_eq!(all(&second, query()).await, all(&first, query()).await);
    drop(first);
    while !second.lead().await.unwrap() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let place = second.seen("outcomes").await.unwrap();
    assert_eq!(place, Some(seen("outcomes", 10)));
    second
        .take(vec![outcome(11)], seen("outcomes", 11))
        .await
        .unwrap();
    assert_eq!(all(&second, query()).await[0], "task-11");
}

#[tokio::test]
async fn an_index_that_another_replica_emptied_is_filled_by_who_writes() {
    let Some(store) = Store::database() else {
        return;
    };
    let writes = store.filled(30).await;
    let Store::Database(server, name) = &store else {
        return;
    };
    let reads = Index::in_database(&database(server), name, forever()).await;
    let reads = reads.unwrap();
    // What the stream holds from 21 on can be read again; the rest stays.
    reads.forget(&[("outcomes", 21)]).await.unwrap();
    assert_eq!(all(&writes, TaskQuery::default()).await.len(), 20);
    let taken = writes.take(vec![outcome(31)], seen("outcomes", 31)).await;
    assert!(matches!(taken, Err(IndexError::Follows)), "{taken:?}");
    assert!(writes.lead().await.unwrap());
    assert_eq!(writes.seen("outcomes").await.unwrap(), None);
    let again = (21..=31).map(outcome).collect();
    writes.take(again, seen("outcomes", 31)).await.unwrap();
    let query = TaskQuery {
        arguments: vec![("order.size".to_owned(), "large".to_owned())],
        ..TaskQuery::default()
    };
    assert_eq!(all(&writes, TaskQuery::default()).await.len(), 31);
    assert_eq!(all(&reads, query).await.len(), 15);
    assert_eq!(
        reads.counts().await.unwrap().states.values().sum::<u64>(),
        31
    );
}

#[tokio::test]
async fn a_database_that_goes_away_is_told_without_its_secrets_and_used_again() {
    let Some(server) = PostgresServer::start() else {
        eprintln!("skipped: no PostgreSQL");
        return;
    };
    let index = Index::in_database(&database(&server), "away", forever()).await;
    let index = index.unwrap();
    assert!(index.lead().await.unwrap());
    index
        .take(vec![outcome(1)], seen("outcomes", 1))
        .await
        .unwrap();
    server.cut_connections();
    // What was asked in vain is made good by the next connection.
    let mut told = Vec::new();
    let limit = std::time::Instant::now() + taskq_e2e::PATIENCE;
    loop {
        let taken = match index.lead().await {
            Ok(true) => index.take(vec![outcome(2)], seen("outcomes", 2)).await,
            Ok(false) => Err(IndexError::Follows),
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => break,
            Err(error) => told.push(error.to_string()),
        }
        assert!(std::time::Instant::now() < limit, "in vain: {told:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        all(&index, TaskQuery::default()).await,
        ["task-2", "task-1"]
    );
    let gone = database(&server);
    drop(server);
    let error = index.tasks(TaskQuery::default()).await.unwrap_err();
    told.push(error.to_string());
    let error = Index::in_database(&gone, "away", forever()).await;
    told.push(error.unwrap_err().to_string());
    for text in told {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert!(!format!("{gone:?} {index:?}").contains("s3cret"));
}

#[tokio::test]
async fn an_address_that_is_none_is_told_without_repeating_it() {
    for url in [
        "postgres://me:s3cret@host:port/x",
        "s3cret",
        "postgres://h/x?s3cret=1",
    ] {
        let database = Database {
            url: url.to_owned(),
            ca: None,
        };
        let error = Index::in_database(&database, "n", forever()).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains("TASKQ_DATABASE_URL"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn a_database_is_asked_over_tls_and_only_by_a_certificate_that_is_its_own() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = authority.sign(folder.path());
    let Some(server) = PostgresServer::start_encrypted(&certificate, &key) else {
        eprintln!("skipped: no PostgreSQL");
        return;
    };
    let at = |host: &str, mode: &str, ca: Option<&Authority>| Database {
        url: format!(
            "postgres://postgres:s3cret@{host}:{}/postgres?sslmode={mode}&connect_timeout=20",
            server.port()
        ),
        ca: ca.map(Authority::ca),
    };
    // Its server lets nobody in by a connection that is not encrypted.
    for mode in ["require", "verify-ca", "verify-full", "prefer"] {
        let database = at("localhost", mode, Some(&authority));
        let index = Index::in_database(&database, "tls", forever()).await;
        let index = index.unwrap_or_else(|error| panic!("{mode}: {error}"));
        // One that was closed just before may have the lock a moment more.
        while !index.lead().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        index
            .take(vec![outcome(1)], seen("outcomes", 1))
            .await
            .unwrap();
        assert_eq!(all(&index, TaskQuery::default()).await, ["task-1"]);
    }
    for (host, mode, ca) in [
        // Of nobody who is trusted.
        ("localhost", "require", None),
        ("localhost", "verify-full", Some(&other)),
        // Of another name.
        ("127.0.0.1", "require", Some(&authority)),
        ("127.0.0.1", "verify-full", Some(&authority)),
        // Not encrypted.
        ("localhost", "disable", Some(&authority)),
        ("localhost", "prefer", None),
    ] {
        let refused = Index::in_database(&at(host, mode, ca), "tls", forever()).await;
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("TASKQ_DATABASE_URL"), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    let missing = Database {
        ca: Some(folder.path().join("none.pem")),
        ..at("localhost", "require", None)
    };
    let told = Index::in_database(&missing, "tls", forever()).await;
    let told = told.unwrap_err().to_string();
    assert!(
        told.contains("TASKQ_DATABASE_CA") && told.contains("none.pem"),
        "{told}"
    );
}
