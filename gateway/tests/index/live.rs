//! Tasks that have not ended.

use taskq_gateway::index::{TaskQuery, TaskState};

use crate::given::{event, forever, outcome, seen, told};
use crate::stores::{all, ids, stores};

#[tokio::test]
async fn a_task_is_live_from_its_start_to_its_end_whichever_is_read_first() {
    for store in stores().await {
        let index = store.open(forever()).await;
        let events = vec![event("started", "task-5", 1), event("retrying", "a", 2)];
        index.take(events, seen("events", 2)).await.unwrap();
        let live = index.tasks(TaskQuery::default()).await.unwrap();
        assert_eq!(ids(&live), ["a", "task-5"], "{store:?}");
        assert_eq!(live.tasks[0].state, "retrying");
        index
            .take(vec![outcome(5)], seen("outcomes", 5))
            .await
            .unwrap();
        // Its start, read again, is no start.
        index
            .take(vec![event("started", "task-5", 1)], seen("events", 3))
            .await
            .unwrap();
        let page = index.tasks(TaskQuery::default()).await.unwrap();
        assert_eq!(ids(&page), ["a", "task-5"], "{store:?}");
        assert_eq!(page.tasks[1].state, "failed");
    }
}

#[tokio::test]
async fn the_latest_event_counts_however_many_come_at_once() {
    for store in stores().await {
        let index = store.open(forever()).await;
        let events = vec![
            event("enqueued", "a", 1),
            told("started", "a", 3),
            event("retrying", "a", 2),
            event("lease_lost", "b", 9),
            event("started", "b", 10),
        ];
        index.take(events, seen("events", 5)).await.unwrap();
        let live = index.tasks(TaskQuery::default()).await.unwrap();
        assert_eq!(ids(&live), ["b", "a"], "{store:?}");
        assert_eq!(live.tasks[0].state, "running", "{store:?}");
        assert_eq!(live.tasks[1].state, "running", "{store:?}");
        assert_eq!(live.tasks[1].worker.as_deref(), Some("w1"));
    }
}

#[tokio::test]
async fn what_is_told_late_of_a_task_that_has_ended_counts_for_nothing_whichever_is_read_first() {
    for store in stores().await {
        // A worker that wakes up after an hour; a start by a clock that is ahead.
        for (kind, millis) in [("lease_lost", 3_600_000), ("started", 9)] {
            for end_first in [true, false] {
                let index = store.open(forever()).await;
                index.clear().await.unwrap();
                let mut steps = [
                    (outcome(5), "outcomes"),
                    (event(kind, "task-5", millis), "events"),
                ];
                if !end_first {
                    steps.reverse();
                }
                for (record, source) in steps {
                    index.take(vec![record], seen(source, 1)).await.unwrap();
                }
                let page = index.tasks(TaskQuery::default()).await.unwrap();
                assert_eq!(ids(&page), ["task-5"], "{store:?}: {kind}, {end_first}");
                assert_eq!(page.tasks[0].state, "failed");
            }
        }
    }
}

#[tokio::test]
async fn a_task_that_was_sent_again_shows_nothing_of_before_whether_its_end_was_read_or_not() {
    for store in stores().await {
        let mut shown = Vec::new();
        for end_is_read in [true, false] {
            let index = store.open(forever()).await;
            index.clear().await.unwrap();
            let before = vec![told("started", "task-5", 1)];
            index.take(before, seen("events", 1)).await.unwrap();
            if end_is_read {
                index
                    .take(vec![outcome(5)], seen("outcomes", 5))
                    .await
                    .unwrap();
            }
            let mut again = event("replayed", "task-5", 10_000);
            if let taskq::admin::RecordBody::Event(event) = &mut again.body {
                (event.worker, event.attempt) = (None, None);
            }
            index.take(vec![again], seen("events", 2)).await.unwrap();
            let page = index.tasks(TaskQuery::default()).await.unwrap();
            assert_eq!(page.tasks[0].state, "waiting", "{store:?}");
            assert_eq!(page.tasks[0].worker, None, "{store:?}");
            let by_label = TaskQuery {
                labels: vec![("env".to_owned(), "prod".to_owned())],
                ..TaskQuery::default()
            };
            assert_eq!(all(&index, by_label).await, [""; 0], "{store:?}");
            shown.push(page);
        }
        assert_eq!(shown[0], shown[1], "{store:?}");
    }
}

#[tokio::test]
async fn every_filter_finds_tasks_of_every_state_that_is_no_end() {
    let pair = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
    let base = TaskQuery::default;
    let some = |text: &str| Some(text.to_owned());
    let filters = |hit: bool| {
        let or = |this: &str| {
            if hit {
                this.to_owned()
            } else {
                format!("no-{this}")
            }
        };
        [
            TaskQuery {
                key: Some(or("tenant-1")),
                ..base()
            },
            TaskQuery {
                key: Some(or("order-9")),
                ..base()
            },
            TaskQuery {
                labels: pair("env", &or("prod")),
                ..base()
            },
            TaskQuery {
                arguments: pair("user.id", &or("42")),
                ..base()
            },
            TaskQuery {
                arguments: pair("0", &or("7")),
                ..base()
            },
            TaskQuery {
                error: Some(or("MAILBOX full")),
                ..base()
            },
            TaskQuery {
                worker: Some(or("w1")),
                ..base()
            },
            TaskQuery {
                queue: Some(or("email")),
                task: some("name_1"),
                ..base()
            },
        ]
    };
    for store in stores().await {
        for (kind, state) in [
            ("enqueued", TaskState::Waiting),
            ("started", TaskState::Running),
            ("retrying", TaskState::Retrying),
        ] {
            let index = store.open(forever()).await;
            index.clear().await.unwrap();
            let records = vec![told(kind, "a", 1), event(kind, "b", 2)];
            index.take(records, seen("events", 2)).await.unwrap();
            for query in filters(true) {
                let query = TaskQuery {
                    states: vec![state],
                    ..query
                };
                let found = all(&index, query.clone()).await;
                assert_eq!(found.last().unwrap(), "a", "{store:?}: {query:?}");
            }
            for query in filters(false) {
                let found = all(&index, query.clone()).await;
                assert_eq!(found, [""; 0], "{store:?}: {query:?}");
            }
            let task = index.task("a".to_owned()).await.unwrap().unwrap();
            assert_eq!(task.state, state.as_str());
            assert_eq!(task.key.as_deref(), Some("order-9"));
            assert_eq!(task.limit_key.as_deref(), Some("tenant-1"));
            assert_eq!(task.error.as_deref(), Some("mailbox is full"));
            assert_eq!(task.labels["env"], "prod");
            // Less is told of it later: what is known stays.
            let later = vec![event("started", "a", 5)];
            index.take(later, seen("events", 3)).await.unwrap();
            let query = TaskQuery {
                labels: pair("env", "prod"),
                ..base()
            };
            assert_eq!(all(&index, query).await, ["a"], "{store:?}");
            // And what it was found by goes with it.
            let mut end = outcome(1);
            if let taskq::admin::RecordBody::Outcome(outcome) = &mut end.body {
                outcome.id = "a".into();
                outcome.finished_at = taskq::Timestamp::from_millis(1_800_000_000_000);
            }
            index.take(vec![end], seen("outcomes", 1)).await.unwrap();
            let query = TaskQuery {
                arguments: pair("user.id", "42"),
                ..base()
            };
            assert_eq!(all(&index, query).await, [""; 0], "{store:?}");
        }
    }
}
