//! Every filter, alone and with others.

use taskq::Timestamp;
use taskq_gateway::index::{IndexError, Order, TaskQuery, TaskState};

use crate::stores::{all, stores};

#[tokio::test]
async fn every_filter_finds_what_it_says_and_filters_hold_together() {
    for store in stores().await {
        let index = store.filled(420).await;
        for (query, expected) in questions() {
            let found = all(&index, query.clone()).await;
            assert_eq!(found, expected, "{store:?}: {query:?}");
            let oldest = TaskQuery {
                order: Order::Oldest,
                limit: 7,
                ..query.clone()
            };
            let mut found = all(&index, oldest).await;
            found.reverse();
            assert_eq!(found, expected, "{store:?}, oldest first: {query:?}");
        }
    }
}

/// What is asked, and which of 420 tasks are found.
fn questions() -> Vec<(TaskQuery, Vec<String>)> {
    let wanted = |is: fn(u64) -> bool| {
        let found = (1..=420).rev().filter(|n| is(*n));
        found.map(|n| format!("task-{n}")).collect::<Vec<_>>()
    };
    let base = || TaskQuery {
        limit: 500,
        ..TaskQuery::default()
    };
    let pair = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
    let some = |text: &str| Some(text.to_owned());
    vec![
        (
            TaskQuery {
                task: some("name_3"),
                ..base()
            },
            wanted(|n| n % 4 == 3),
        ),
        (
            TaskQuery {
                queue: some("email"),
                ..base()
            },
            wanted(|n| n % 3 == 0),
        ),
        (
            TaskQuery {
                worker: some("w7"),
                ..base()
            },
            wanted(|n| n % 10 == 7),
        ),
        (
            TaskQuery {
                states: vec![TaskState::Failed],
                ..base()
            },
            wanted(|n| n % 5 == 0),
        ),
        (
            TaskQuery {
                states: vec![TaskState::Failed, TaskState::Succeeded],
                ..base()
            },
            wanted(|_| true),
        ),
        (
            TaskQuery {
                key: some("key-99"),
                ..base()
            },
            wanted(|n| n == 99),
        ),
        (
            TaskQuery {
                labels: pair("env", "prod"),
                ..base()
            },
            wanted(|n| n % 2 == 0),
        ),
        (
            TaskQuery {
                error: some("FULL code"),
                ..base()
            },
            wanted(|n| n % 5 == 0),
        ),
        (
            TaskQuery {
                error: some("m55"),
                ..base()
            },
            wanted(|n| n == 55),
        ),
        (
            TaskQuery {
                error: some("mailbox"),
                queue: some("email"),
                labels: pair("env", "test"),
                ..base()
            },
            wanted(|n| n % 30 == 15),
        ),
        (
            TaskQuery {
                task: some("name_0"),
                labels: pair("env", "prod"),
                ..base()
            },
            wanted(|n| n % 4 == 0),
        ),
        (
            TaskQuery {
                task: some("name_1"),
                worker: some("w2"),
                ..base()
            },
            wanted(|_| false),
        ),
        (
            TaskQuery {
                since: Some(Timestamp::from_millis(1_700_000_000_000 + 12)),
                until: Some(Timestamp::from_millis(1_700_000_000_000 + 15)),
                ..base()
            },
            wanted(|n| (10..13).contains(&n)),
        ),
        (
            TaskQuery {
                task: some("nobody's"),
                ..base()
            },
            wanted(|_| false),
        ),
        (
            TaskQuery {
                key: some("tenant-4"),
                ..base()
            },
            wanted(|n| n % 9 == 4),
        ),
        (
            TaskQuery {
                key: some("digest-98"),
                ..base()
            },
            wanted(|n| n == 98),
        ),
        (
            TaskQuery {
                arguments: pair("order.id", "77"),
                ..base()
            },
            wanted(|n| n == 77),
        ),
        (
            TaskQuery {
                arguments: pair("order.size", "large"),
                ..base()
            },
            wanted(|n| n % 2 == 0),
        ),
        (
            TaskQuery {
                arguments: pair("order.size", "large"),
                labels: pair("env", "test"),
                ..base()
            },
            wanted(|_| false),
        ),
        (
            TaskQuery {
                arguments: pair("order.size", "huge"),
                ..base()
            },
            wanted(|_| false),
        ),
        (
            TaskQuery {
                arguments: pair("order.size", "small"),
                states: vec![TaskState::Failed],
                key: some("tenant-0"),
                error: some("mailbox full"),
                ..base()
            },
            wanted(|n| n % 2 == 1 && n % 45 == 0),
        ),
    ]
}

#[tokio::test]
async fn words_for_errors_are_words_and_no_language() {
    for store in stores().await {
        let index = store.filled(20).await;
        for (text, found) in [
            ("\" OR error:*", Some(0)),
            ("NEAR(", Some(0)),
            ("mailbox AND", Some(0)),
            ("mailbox & full | !", Some(4)),
            ("(FULL)", Some(4)),
            ("* ^ - +", None),
        ] {
            let query = TaskQuery {
                error: Some(text.to_owned()),
                ..TaskQuery::default()
            };
            match index.tasks(query).await {
                Ok(page) => assert_eq!(Some(page.tasks.len()), found, "{store:?}: {text}"),
                Err(IndexError::Invalid(_)) => assert_eq!(None, found, "{store:?}: {text}"),
                Err(error) => panic!("{store:?}: {text}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn values_that_would_be_orders_to_a_database_are_values() {
    for store in stores().await {
        let index = store.filled(20).await;
        for text in [
            "' OR 1=1 --",
            "\0",
            "%",
            "?",
            "$1",
            "\u{1F980}\"",
            &"x".repeat(10_000),
        ] {
            let text = || text.to_owned();
            for query in [
                TaskQuery {
                    task: Some(text()),
                    ..TaskQuery::default()
                },
                TaskQuery {
                    key: Some(text()),
                    ..TaskQuery::default()
                },
                TaskQuery {
                    labels: vec![("env".to_owned(), text())],
                    ..TaskQuery::default()
                },
                TaskQuery {
                    arguments: vec![(text(), text())],
                    ..TaskQuery::default()
                },
            ] {
                assert_eq!(
                    all(&index, query.clone()).await,
                    [""; 0],
                    "{store:?}: {query:?}"
                );
            }
            assert_eq!(index.task(text()).await.unwrap(), None, "{store:?}");
        }
    }
}
