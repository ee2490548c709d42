//! Running again what has ended.

use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt as _;
use taskq::admin::{self, DeadFilter, EventFilter, Retried};
use taskq::prelude::*;
use taskq::{Cancellation, ErrorKind, EventKind, Mode, OutcomeState, Status};
use taskq_e2e::faults::eventually;
use taskq_e2e::{Fixture, PATIENCE};

/// What works by now.
static MENDED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn mend(key: &str) {
    MENDED.lock().unwrap().push(key.to_owned());
}

/// Fails until it is mended.
#[task(retries = 0)]
async fn mendable(key: String) -> Result<u32, std::io::Error> {
    if MENDED.lock().unwrap().contains(&key) {
        return Ok(7);
    }
    Err(std::io::Error::other("broken"))
}

/// Ends by being cancelled, until it is mended.
#[task]
async fn wait_for(key: String) -> u32 {
    if !MENDED.lock().unwrap().contains(&key) {
        std::future::pending::<()>().await;
    }
    8
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_task_runs_again_with_its_history_in_memory() {
    a_failed_task_runs_again(Fixture::new(Mode::Memory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_task_runs_again_with_its_history_on_jetstream() {
    a_failed_task_runs_again(Fixture::new(Mode::JetStream)).await;
}

async fn a_failed_task_runs_again(system: Fixture) {
    let client = system.client().await;
    let _worker = system.worker().await;
    let key = format!("failed-{}", system.mode());
    let handle = mendable::call(key.as_str()).enqueue(&client).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap().state, OutcomeState::Failed);
    mend(&key);
    // The dead letter may be written a moment after the outcome.
    let sent = admin::retry(&client, handle.id().clone(), "ada").await;
    assert_eq!(sent.unwrap(), Retried::Sent);
    let outcome = client.handle::<u32>(handle.id().clone()).outcome().await;
    let outcome = outcome.unwrap();
    assert_eq!(
        (outcome.state, outcome.attempt),
        (OutcomeState::Succeeded, 2)
    );
    assert_eq!(outcome.attempts.len(), 1);
    let letters = admin::dead_letters(&client, DeadFilter::default()).await;
    assert_eq!(letters.unwrap().count().await, 0);
    let again = admin::retry(&client, handle.id().clone(), "ada").await;
    assert_eq!(again.unwrap(), Retried::Succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_task_runs_again_whether_it_ran_or_waited() {
    for mode in [Mode::Memory, Mode::JetStream] {
        let system = Fixture::new(mode);
        let client = system.client().await;
        let (ran, waited) = (format!("ran-{mode}"), format!("waited-{mode}"));
        // Nobody runs it yet.
        let idle = wait_for::call(waited.as_str()).enqueue(&client).await;
        let idle = idle.unwrap();
        let wish = client.cancel(idle.id().clone()).await.unwrap();
        assert_eq!(wish, Cancellation::Cancelled);
        let _worker = system.worker().await;
        let busy = wait_for::call(ran.as_str()).enqueue(&client).await.unwrap();
        let limit = tokio::time::Instant::now() + PATIENCE;
        while busy.status().await.unwrap() != Status::Running {
            assert!(tokio::time::Instant::now() < limit);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let early = admin::retry(&client, busy.id().clone(), "ada").await;
        assert_eq!(early.unwrap(), Retried::NotEnded(Status::Running));
        client.cancel(busy.id().clone()).await.unwrap();
        let ended = busy.outcome().await.unwrap();
        assert_eq!(ended.state, OutcomeState::Cancelled);
        let shown = serde_json::to_value(&ended).unwrap();
        assert_eq!(shown["message"]["kwargs"]["key"], ran, "{mode}");
        for (handle, key) in [(busy, ran), (idle, waited)] {
            mend(&key);
            // The wish was of its life before.
            let sent = admin::retry(&client, handle.id().clone(), "ada").await;
            assert_eq!(sent.unwrap(), Retried::Sent, "{key}");
            // Somebody else waits: this client may be told of the first end yet.
            let other = system.client().await;
            let again = other.handle::<u32>(handle.id().clone());
            let result = again.result().await;
            assert_eq!(result.expect(&key), 8);
        }
        let mut filter = EventFilter::default();
        filter.kinds = vec![EventKind::Replayed];
        let since = Some(taskq::Timestamp::from_millis(0));
        let told = eventually("both are told", async || {
            let told = admin::events(&client, filter.clone(), since, false).await;
            let told: Vec<_> = told.unwrap().collect().await;
            assert!(told.len() <= 2, "{told:?}");
            (told.len() == 2).then_some(told)
        });
        for event in told.await {
            let event = event.unwrap();
            assert_eq!(event.detail["by"], "ada");
            assert_eq!(event.detail["reason"], "cancelled");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_again_is_told_with_the_reason() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    let worker = system.worker().await;
    let unknown = admin::retry(&client, "nobody", "ada").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);

    let handle = mendable::call("never").enqueue(&client).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap().state, OutcomeState::Failed);
    let letter = loop {
        let letters = admin::dead_letters(&client, DeadFilter::default()).await;
        if let Some(letter) = letters.unwrap().boxed().next().await {
            break letter.unwrap();
        }
    };
    assert!(admin::discard(&client, &letter, "ada").await.unwrap());
    let gone = admin::retry(&client, handle.id().clone(), "ada").await;
    let gone = gone.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
    assert!(
        gone.to_string().contains("dead letter was removed"),
        "{gone}"
    );

    // Arguments that are stored apart go with a task that is cancelled.
    worker.drain().await;
    let large = "x".repeat(client.max_message_bytes() + 1);
    let handle = wait_for::call(large).enqueue(&client).await.unwrap();
    client.cancel(handle.id().clone()).await.unwrap();
    let gone = admin::retry(&client, handle.id().clone(), "ada").await;
    let gone = gone.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
    assert!(gone.to_string().contains("stored apart"), "{gone}");
}
