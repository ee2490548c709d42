//! Why a task is not running now: each reason, from the state of the server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::time::Duration;

use taskq::admin::{self, Explanation, Reason};
use taskq::prelude::*;
use taskq::{ErrorKind, Mode, OutcomeState, Timestamp};
use taskq_e2e::{Fixture, PATIENCE, in_every_mode};

in_every_mode!(
    what_runs_is_told_with_its_worker_and_since_when,
    what_has_ended_is_told_with_how,
    what_was_never_sent_is_not_explained,
    what_is_not_due_is_told_with_its_time,
    what_waits_for_a_retry_is_told_with_its_error,
    what_is_tried_again_and_again_is_seen_at_every_moment,
    what_is_behind_others_is_told_how_many_and_of_which_priority,
    what_somebody_has_paused_is_told_with_who_and_why,
);

#[task]
async fn go_on(ctx: Context) {
    ctx.cancelled().await;
}

#[task]
async fn nothing() {}

#[task(retries = 1, backoff = "constant(1h, no jitter)")]
async fn fail() -> Result<(), TaskError> {
    Err("no route".into())
}

#[task(retries = 20, backoff = "constant(20ms)")]
async fn fail_and_fail() -> Result<(), TaskError> {
    Err("no route".into())
}

/// Waits until the explanation is of this kind.
async fn until_it_is(client: &Client, id: &str, is_it: impl Fn(&Reason) -> bool) -> Explanation {
    let limit = tokio::time::Instant::now() + PATIENCE;
    loop {
        let why = admin::explain(client, id).await;
        match why {
            Ok(why) if is_it(&why.reason) => return why,
            why => assert!(tokio::time::Instant::now() < limit, "in vain: {why:?}"),
        }
    }
}

fn seconds_from_now(time: Timestamp) -> i64 {
    (time.as_millis() - Timestamp::now().as_millis()) / 1000
}

async fn what_runs_is_told_with_its_worker_and_since_when(system: Fixture) {
    let worker = system.worker().await;
    let client = system.client().await;
    let handle = go_on::call().id("runs").enqueue(&client).await.unwrap();
    let why = until_it_is(&client, "runs", |it| matches!(it, Reason::Running { .. })).await;
    let Reason::Running {
        worker: on,
        since,
        attempt,
        stopping,
    } = &why.reason
    else {
        panic!("{why:?}");
    };
    assert_eq!((on, attempt, stopping), (&worker.name, &1, &false));
    assert!(seconds_from_now(*since).abs() < 60, "{since}");
    let text = why.to_string();
    assert!(
        text.starts_with(&format!("running on {on} since ")),
        "{text}"
    );
    if system.mode() != Mode::Core {
        assert_eq!(why.task.as_deref(), Some("go_on"));
        assert_eq!(why.queue.as_deref(), Some("default"));
    }
    handle.cancel().await.unwrap();
}

async fn what_has_ended_is_told_with_how(system: Fixture) {
    if system.mode() == Mode::Core {
        // Nothing is kept there.
        return;
    }
    let worker = system.worker().await;
    let client = system.client().await;
    let handle = nothing::call().id("done").enqueue(&client).await.unwrap();
    handle.result().await.unwrap();
    let why = admin::explain(&client, "done").await.unwrap();
    let Reason::Ended {
        state, worker: on, ..
    } = &why.reason
    else {
        panic!("{why:?}");
    };
    assert_eq!((*state, on), (OutcomeState::Succeeded, &worker.name));

    let later = nothing::call().id("stopped").delay(1.hour());
    later.enqueue(&client).await.unwrap();
    client.cancel("stopped").by("ada").await.unwrap();
    let why = admin::explain(&client, "stopped").await.unwrap();
    assert!(why.to_string().contains("cancelled"), "{why}");
    assert!(why.to_string().contains("by ada"), "{why}");
}

async fn what_was_never_sent_is_not_explained(system: Fixture) {
    let client = system.client().await;
    let error = admin::explain(&client, "nothing").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

async fn what_is_not_due_is_told_with_its_time(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let call = nothing::call().id("later").delay(1.hour());
    call.enqueue(&client).await.unwrap();
    let why = admin::explain(&client, "later").await.unwrap();
    let Reason::Scheduled { due: Some(due) } = why.reason else {
        panic!("{why:?}");
    };
    assert!((3500..=3600).contains(&seconds_from_now(due)), "{due}");
}

async fn what_waits_for_a_retry_is_told_with_its_error(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    fail::call().id("fails").enqueue(&client).await.unwrap();
    let why = until_it_is(&client, "fails", |it| matches!(it, Reason::Retry { .. })).await;
    let Reason::Retry { due, failed, error } = &why.reason else {
        panic!("{why:?}");
    };
    assert_eq!((*failed, error.as_str()), (1, "no route"));
    assert!((3500..=3600).contains(&seconds_from_now(due.unwrap())));
}

/// A message goes from its queue to the plan and back while we look.
async fn what_is_tried_again_and_again_is_seen_at_every_moment(system: Fixture) {
    if system.mode() == Mode::Core {
        // Nobody can tell of it between two attempts.
        return;
    }
    let _worker = system.worker().await;
    let client = system.client().await;
    let call = fail_and_fail::call().id("again");
    call.enqueue(&client).await.unwrap();
    let limit = tokio::time::Instant::now() + PATIENCE;
    loop {
        let why = admin::explain(&client, "again").await.unwrap();
        if let Reason::Ended { state, .. } = why.reason {
            assert_eq!(state, OutcomeState::Failed);
            break;
        }
        assert!(tokio::time::Instant::now() < limit, "in vain: {why:?}");
    }
}

async fn what_is_behind_others_is_told_how_many_and_of_which_priority(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    // So that there is a worker, which is busy.
    let _worker = system.worker_with(|worker| worker.concurrency(1)).await;
    let busy = go_on::call().id("busy").enqueue(&client).await.unwrap();
    until_it_is(&client, "busy", |it| matches!(it, Reason::Running { .. })).await;
    for id in ["a", "b", "c"] {
        nothing::call().id(id).enqueue(&client).await.unwrap();
    }
    let why = admin::explain(&client, "c").await.unwrap();
    let Reason::Behind {
        count, priority, ..
    } = &why.reason
    else {
        panic!("{why:?}");
    };
    assert_eq!((*count, *priority), (2, Priority::Normal));
    assert_eq!(why.to_string(), "behind 2 others of priority normal");
    // The worker may have a request open that takes the first.
    for id in ["u1", "u2"] {
        let urgent = nothing::call().id(id).priority(Priority::Critical);
        urgent.enqueue(&client).await.unwrap();
    }
    let why = until_it_is(&client, "a", |it| {
        matches!(
            it,
            Reason::Behind {
                priority: Priority::Critical,
                ..
            }
        )
    });
    let why = why.await.to_string();
    assert!(why.ends_with("of priority critical"), "{why}");
    if system.mode() == Mode::JetStream {
        let why = until_it_is(&client, "u1", |it| {
            matches!(it, Reason::WorkersBusy { .. } | Reason::Held { .. })
        });
        why.await;
    }
    busy.cancel().await.unwrap();
}

async fn what_somebody_has_paused_is_told_with_who_and_why(system: Fixture) {
    if system.mode() == Mode::Core {
        return;
    }
    let client = system.client().await;
    let _worker = system.worker().await;
    admin::queues::pause(&client, "default", "ada", Some("the relay is down"))
        .await
        .unwrap();
    nothing::call().id("waits").enqueue(&client).await.unwrap();
    let why = until_it_is(&client, "waits", |it| {
        matches!(it, Reason::QueuePaused { .. })
    })
    .await;
    let text = why.to_string();
    assert!(
        text.starts_with("its queue is paused by ada since "),
        "{text}"
    );
    assert!(text.ends_with(": the relay is down"), "{text}");
    admin::tasks::pause(&client, "nothing", "grace", None)
        .await
        .unwrap();
    admin::queues::resume(&client, "default", "ada")
        .await
        .unwrap();
    // A worker puts it aside.
    let why = until_it_is(&client, "waits", |it| {
        matches!(it, Reason::TaskPaused { .. })
    })
    .await;
    assert!(
        why.to_string().contains("its task type is paused by grace"),
        "{why}"
    );
    admin::tasks::resume(&client, "nothing", "grace")
        .await
        .unwrap();
    until_it_is(&client, "waits", |it| matches!(it, Reason::Ended { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_no_worker_serves_the_queue_is_told_with_those_that_are_served() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    let lonely = nothing::call().id("lonely").queue("email");
    lonely.enqueue(&client).await.unwrap();
    let why = admin::explain(&client, "lonely").await.unwrap();
    assert_eq!(why.reason, Reason::NoWorker { served: vec![] });
    let _worker = system.worker().await;
    let why = until_it_is(
        &client,
        "lonely",
        |it| matches!(it, Reason::NoWorker { served } if !served.is_empty()),
    )
    .await;
    assert!(
        why.to_string()
            .contains("no worker serves its queue, only default"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_no_worker_knows_the_task_is_told_while_it_is_passed_round() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    let worker = system.worker().await;
    client
        .call("nobody.knows")
        .id("strange")
        .enqueue(&client)
        .await
        .unwrap();
    let why = until_it_is(
        &client,
        "strange",
        |it| matches!(it, Reason::UnknownTask { workers } if !workers.is_empty()),
    )
    .await;
    let told = Reason::UnknownTask {
        workers: vec![worker.name.clone()],
    };
    assert_eq!(why.reason, told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_the_worker_which_had_it_is_gone_is_told() {
    let system = Fixture::new(Mode::JetStream);
    let client = system.client().await;
    let worker = system.worker().await;
    go_on::call().id("orphan").enqueue(&client).await.unwrap();
    until_it_is(&client, "orphan", |it| matches!(it, Reason::Running { .. })).await;
    let other = system.worker().await;
    worker.crash().await;
    let why = until_it_is(&client, "orphan", |it| {
        matches!(it, Reason::WorkerSilent { .. })
    });
    let Reason::WorkerSilent { lease_s } = why.await.reason else {
        return;
    };
    assert_eq!(Duration::from_secs_f64(lease_s), Duration::from_secs(6));
    // And then where it runs next.
    let why = until_it_is(&client, "orphan", |it| matches!(it, Reason::Running { .. })).await;
    assert!(why.to_string().contains(&other.name), "{why}");
    client.cancel("orphan").await.unwrap();
}
