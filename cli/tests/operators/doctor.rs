//! `taskq doctor`, of what operators mend.

use std::time::Instant;

use serde_json::Value;
use taskq::Timestamp;
use taskq_e2e::PATIENCE;

use crate::System;

fn finding<'a>(findings: &'a [Value], part: &str) -> Option<&'a Value> {
    let has = |finding: &&Value| {
        finding["found"]
            .as_str()
            .is_some_and(|it| it.contains(part))
    };
    findings.iter().find(has)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_no_living_worker_knows_is_named_for_as_long_as_it_waits() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    // A worker tells of it when it has waited for half a minute.
    let long_ago = Timestamp::now().as_millis() - 60_000;
    for id in ["1", "2"] {
        let call = system.client.call("read_fiel").id(id);
        let call = call.label("taskq_enqueued_at", long_ago);
        call.enqueue(&system.client).await.unwrap();
    }
    let limit = Instant::now() + PATIENCE;
    let found = loop {
        let findings = system.json(&["doctor"]);
        if let Some(found) = finding(&findings, "2 tasks wait for `read_fiel`") {
            break found.clone();
        }
        assert!(Instant::now() < limit, "{findings:?}");
    };
    assert_eq!(found["severity"], "error");
    let mend = found["mend"].as_str().unwrap();
    assert!(mend.contains("`read_file`"), "{mend}");
    assert!(mend.contains("taskq cancel"), "{mend}");

    for id in ["1", "2"] {
        let _ = system.taskq(&["cancel", id, "--wait"]);
    }
    let findings = system.json(&["doctor"]);
    assert!(finding(&findings, "read_fiel").is_none(), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_pointed_to() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    system.send("read_file", "1", "nowhere").await;
    system.ended("1").await;
    let limit = Instant::now() + PATIENCE;
    let found = loop {
        let findings = system.json(&["doctor"]);
        if let Some(found) = finding(&findings, "1 dead letter") {
            break found.clone();
        }
        assert!(Instant::now() < limit, "{findings:?}");
    };
    let mend = found["mend"].as_str().unwrap();
    assert!(mend.contains("taskq dead list"), "{mend}");
    assert!(mend.contains("taskq dead replay"), "{mend}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_tells_of_its_trouble_as_a_service_and_to_who_asks_it() {
    let system = System::new().await;
    let _worker = system.worker("w1");
    // It offers its service just after it began.
    let limit = Instant::now() + PATIENCE;
    while system.json(&["workers"]).is_empty() {
        assert!(Instant::now() < limit, "no worker answers");
    }
    let nats = async_nats::connect(system.url()).await.unwrap();
    let ask = async |subject: &str| -> Value {
        loop {
            if let Ok(answer) = nats.request(subject.to_owned(), "".into()).await {
                break serde_json::from_slice(&answer.payload).unwrap();
            }
            assert!(Instant::now() < limit, "nobody answers at {subject}");
        }
    };
    let own = ask("taskq.worker.w1").await;
    assert_eq!(
        (&own["worker"], &own["trouble"]),
        (&"w1".into(), &Value::Null)
    );
    let stats = ask("$SRV.STATS.taskq-worker").await;
    let mut endpoints = stats["endpoints"].as_array().unwrap().iter();
    let data = &endpoints.find(|it| it["name"] == "health").unwrap()["data"];
    assert_eq!(data["worker"], "w1", "{stats}");
    assert!(data.get("trouble").is_some(), "{stats}");
}
