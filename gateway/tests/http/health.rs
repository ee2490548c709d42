//! Health.

use axum::http::StatusCode;

use crate::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_while_nats_answers_and_the_index_follows() {
    let mut system = System::new().await;
    let ready = async |system: &System, wanted: StatusCode| {
        let limit = tokio::time::Instant::now() + taskq_e2e::PATIENCE;
        loop {
            let answer = system.get("/readyz").await;
            if answer.status == wanted {
                return answer.text;
            }
            assert!(tokio::time::Instant::now() < limit, "in vain: {answer:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert_eq!(ready(&system, StatusCode::OK).await, "ready\n");
    drop(system.fixture.server.take());
    let why = ready(&system, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(!why.is_empty());
    let alive = system.get("/healthz").await;
    assert_eq!(
        (alive.status, alive.text.as_str()),
        (StatusCode::OK, "ok\n")
    );
    let metrics = system.get("/metrics").await;
    assert!(
        metrics.text.contains("\ntaskq_jetstream_up 0\n"),
        "{}",
        metrics.text
    );
}
