//! Pages and cursors.

use taskq_gateway::index::{Order, TaskQuery};

use crate::stores::{all, stores};

#[tokio::test]
async fn pages_have_every_task_once_in_either_order() {
    for store in stores().await {
        let index = store.filled(205).await;
        let query = TaskQuery {
            limit: 20,
            ..TaskQuery::default()
        };
        let newest = all(&index, query.clone()).await;
        let expected: Vec<String> = (1..=205).rev().map(|n| format!("task-{n}")).collect();
        assert_eq!(newest, expected, "{store:?}");
        let query = TaskQuery {
            order: Order::Oldest,
            ..query
        };
        let mut oldest = all(&index, query).await;
        oldest.reverse();
        assert_eq!(oldest, expected, "{store:?}");
    }
}
