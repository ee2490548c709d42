//! What stays, and what goes.

use taskq_gateway::index::{Order, Retention, TaskQuery};

use crate::given::{forever, outcome, seen};
use crate::stores::{all, stores};

#[tokio::test]
async fn an_index_that_is_opened_again_goes_on_where_it_was() {
    for store in stores().await {
        let index = store.filled(1).await;
        drop(index);
        let index = store.open(forever()).await;
        assert_eq!(
            index.seen("outcomes").await.unwrap(),
            Some(seen("outcomes", 1)),
            "{store:?}"
        );
        assert!(index.task("task-1".to_owned()).await.unwrap().is_some());
        index.clear().await.unwrap();
        assert_eq!(index.seen("outcomes").await.unwrap(), None, "{store:?}");
        assert!(index.task("task-1".to_owned()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_is_read_twice_is_there_once() {
    for store in stores().await {
        let index = store.filled(30).await;
        let query = TaskQuery {
            error: Some("mailbox".to_owned()),
            limit: 500,
            ..TaskQuery::default()
        };
        let (before, counts) = (
            all(&index, query.clone()).await,
            index.counts().await.unwrap(),
        );
        // And some of it twice at once.
        let again = (1..=30).chain(7..=12).map(outcome).collect();
        index.take(again, seen("outcomes", 30)).await.unwrap();
        assert_eq!(all(&index, query).await, before, "{store:?}");
        assert_eq!(index.counts().await.unwrap(), counts, "{store:?}");
    }
}

#[tokio::test]
async fn what_is_too_much_goes_oldest_first_and_without_a_trace() {
    for store in stores().await {
        let retention = Retention {
            most: 100,
            ..forever()
        };
        let index = store.open(retention).await;
        let records: Vec<_> = (1..=250).map(outcome).collect();
        index.take(records, seen("outcomes", 250)).await.unwrap();
        index.tidy().await.unwrap();
        let query = TaskQuery {
            order: Order::Oldest,
            ..TaskQuery::default()
        };
        let left = all(&index, query).await;
        assert_eq!(left.len(), 100, "{store:?}");
        assert_eq!(left[0], "task-151");
        let counts = index.counts().await.unwrap();
        assert_eq!(counts.states.values().sum::<u64>(), 100, "{store:?}");
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        for query in [
            TaskQuery {
                error: Some("m5".to_owned()),
                ..TaskQuery::default()
            },
            TaskQuery {
                arguments: pair("order.id", "5"),
                ..TaskQuery::default()
            },
            TaskQuery {
                key: Some("key-5".to_owned()),
                ..TaskQuery::default()
            },
        ] {
            assert!(index.tasks(query).await.unwrap().tasks.is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_too_old_goes_with_its_words() {
    for store in stores().await {
        let index = store.filled(10).await;
        let counts = index.counts().await.unwrap();
        assert!(!counts.tasks.is_empty());
        drop(index);
        // The tasks are of 2023.
        let index = store.open(Retention::default()).await;
        index.tidy().await.unwrap();
        assert!(all(&index, TaskQuery::default()).await.is_empty());
        assert_eq!(
            index.counts().await.unwrap(),
            Default::default(),
            "{store:?}"
        );
        drop(index);
        // New ones of the same words can come.
        let index = store.open(forever()).await;
        index
            .take(vec![outcome(11)], seen("outcomes", 11))
            .await
            .unwrap();
        assert_eq!(all(&index, TaskQuery::default()).await, ["task-11"]);
    }
}
