//! Dead letters.

use taskq::admin::RecordBody;
use taskq_gateway::index::{Counts, LetterQuery, TaskQuery};

use crate::given::{event, forever, letter, outcome, seen};
use crate::stores::{all, stores};

#[tokio::test]
async fn a_dead_letter_lets_its_task_be_found_by_argument_whichever_is_read_first() {
    for store in stores().await {
        for letter_first in [true, false] {
            let index = store.open(forever()).await;
            index.clear().await.unwrap();
            let mut dead = outcome(5);
            if let RecordBody::Outcome(outcome) = &mut dead.body {
                outcome.dead = Some(taskq::DeadReason::Exhausted);
            }
            let letter = letter(1, "task-5");
            let mut steps = vec![(letter, "dead_letters"), (dead, "outcomes")];
            if !letter_first {
                steps.reverse();
            }
            for (record, source) in steps {
                index.take(vec![record], seen(source, 1)).await.unwrap();
            }
            for (path, value, found) in [
                ("user.id", "42", true),
                ("user.tags.1", "y", true),
                ("text", "hello", true),
                ("0", "7", true),
                ("user.id", "43", false),
                ("nowhere", "42", false),
            ] {
                let query = TaskQuery {
                    arguments: vec![(path.to_owned(), value.to_owned())],
                    ..TaskQuery::default()
                };
                let page = index.tasks(query).await.unwrap();
                assert_eq!(!page.tasks.is_empty(), found, "{store:?}: {path}={value}");
            }
            let letters = index
                .letters(LetterQuery {
                    limit: 10,
                    ..Default::default()
                })
                .await
                .unwrap();
            assert_eq!(letters.letters.len(), 1);
            // Sent again: it is no dead letter any more, and has not ended.
            index
                .take(vec![event("replayed", "task-5", 10_000)], seen("events", 1))
                .await
                .unwrap();
            let page = index.tasks(TaskQuery::default()).await.unwrap();
            assert_eq!(page.tasks[0].state, "waiting");
            assert_eq!(page.tasks.len(), 1);
            let letters = index
                .letters(LetterQuery {
                    limit: 10,
                    ..Default::default()
                })
                .await
                .unwrap();
            assert_eq!(letters.letters, []);
            assert_eq!(index.counts().await.unwrap(), Counts::default());
        }
    }
}

#[tokio::test]
async fn a_discarded_letter_takes_with_it_the_arguments_that_only_it_had() {
    for store in stores().await {
        let index = store.open(forever()).await;
        let mut dead = outcome(5);
        if let RecordBody::Outcome(outcome) = &mut dead.body {
            outcome.dead = Some(taskq::DeadReason::Exhausted);
        }
        index.take(vec![dead], seen("outcomes", 5)).await.unwrap();
        let letters = vec![letter(1, "task-5")];
        index.take(letters, seen("dead_letters", 1)).await.unwrap();
        let by_argument = || TaskQuery {
            arguments: vec![("user.id".to_owned(), "42".to_owned())],
            ..TaskQuery::default()
        };
        assert_eq!(all(&index, by_argument()).await, ["task-5"], "{store:?}");
        let discarded = vec![event("discarded", "task-5", 10_000)];
        index.take(discarded, seen("events", 1)).await.unwrap();
        assert_eq!(all(&index, by_argument()).await, [""; 0], "{store:?}");
        assert_eq!(
            all(&index, TaskQuery::default()).await,
            ["task-5"],
            "{store:?}"
        );
    }
}
