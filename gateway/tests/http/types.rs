//! What workers tell of their tasks, and calls that are checked by it.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use taskq::prelude::*;
use taskq::schemars::JsonSchema;

use crate::System;

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "taskq::schemars")]
struct Parcel {
    grams: u32,
}

/// Ships parcels.
#[task(queue = "shop", retries = 3, timeout = "1m", discover = false)]
async fn ship(
    /// The number of the order.
    order: u32,
    parcels: Vec<Parcel>,
    note: Option<String>,
) -> u64 {
    let _ = note;
    parcels.iter().map(|it| u64::from(it.grams)).sum::<u64>() + u64::from(order)
}

/// The same as another version of the program has it.
#[task(name = "ship", discover = false)]
async fn ship_by_weight(order: u32, parcels: Vec<u32>, note: Option<String>) -> u64 {
    let _ = note;
    parcels.into_iter().map(u64::from).sum::<u64>() + u64::from(order)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_type_has_the_schemas_of_its_arguments_and_result() {
    let system = System::new().await;
    let _worker = system.worker_with(taskq::WorkerBuilder::task::<ship>).await;
    let kind = system
        .until("/v1/task-types/ship", |kind| kind["arguments"].is_object())
        .await;
    assert_eq!(
        kind["params"][0],
        json!({
            "name": "order", "type": "u32", "required": true, "sensitive": false,
            "doc": "The number of the order.",
        })
    );
    assert_eq!(kind["params"][2]["required"], false);
    assert_eq!(kind["arguments"]["required"], json!(["order", "parcels"]));
    let parcel = &kind["arguments"]["$defs"]["Parcel"];
    assert_eq!(parcel["properties"]["grams"]["maximum"], u32::MAX);
    assert_eq!(kind["result"]["type"], "integer");
    assert_eq!(kind["options"]["timeout"], "1m");
    assert_eq!(kind["options"]["retries"], 3);
    assert_eq!(kind["others"], json!([]));

    let list = system.get("/v1/task-types").await.json();
    let of = |list: &Value| {
        let mut items = list["items"].as_array().unwrap().iter();
        items.find(|it| it["task"] == "ship").cloned().unwrap()
    };
    assert_eq!(of(&list).get("arguments"), None);
    let list = system.get("/v1/task-types?schemas=true").await.json();
    assert_eq!(of(&list), kind);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_do_not_fit_are_refused_before_they_are_sent() {
    let system = System::new().await;
    let _worker = system.worker_with(taskq::WorkerBuilder::task::<ship>).await;
    system
        .until("/v1/task-types/ship", |kind| kind["arguments"].is_object())
        .await;
    let call = json!({
        "task": "ship", "id": "bad", "args": [-1],
        "kwargs": {"parcels": [{"grams": 5}, {"grams": "much"}]},
    });
    let answer = system.post("/v1/tasks", call.clone()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.code(), "invalid_arguments");
    let errors = answer.json()["errors"].clone();
    let pointers: Vec<&str> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["#/args/0", "#/kwargs/parcels/1/grams"]);
    assert_eq!(system.get("/v1/tasks/bad").await.code(), "not_found");

    // All of a batch or none, and the error says which.
    let good = json!({"task": "ship", "id": "good", "args": [1, []]});
    let batch = json!({"tasks": [good, call]});
    let answer = system.post("/v1/tasks:batch", batch).await;
    assert_eq!(answer.code(), "invalid_arguments");
    let pointer = &answer.json()["errors"][0]["pointer"];
    assert_eq!(pointer, "#/tasks/1/args/0");
    assert_eq!(system.get("/v1/tasks/good").await.code(), "not_found");

    let missing = json!({"task": "ship", "kwargs": {"order": 1, "parcles": []}});
    let answer = system.post("/v1/tasks", missing).await;
    let errors = answer.json()["errors"].clone();
    assert_eq!(errors[0]["pointer"], "#/kwargs/parcles");

    let answer = system.post("/v1/tasks", good).await;
    assert_eq!(answer.json()["checked"], true, "{answer:?}");
    let answer = system.post("/v1/tasks?check=false", call).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.json()["checked"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_no_worker_knows_is_sent_and_that_is_told() {
    let system = System::new().await;
    let call = json!({"task": "not_yet", "kwargs": {"anything": [1]}});
    let answer = system.post("/v1/tasks?known=true", call.clone()).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.code(), "unknown_task");
    let answer = system.post("/v1/tasks", call).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.json()["checked"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_of_a_task_are_told_apart_and_either_is_sent() {
    let system = System::new().await;
    let _one = system
        .worker_with(|worker| worker.name("one").discover(false).task::<ship>())
        .await;
    let _two = system
        .worker_with(|worker| worker.name("two").discover(false).task::<ship_by_weight>())
        .await;
    let kind = system
        .until("/v1/task-types/ship", |kind| {
            kind["others"][0]["arguments"].is_object()
        })
        .await;
    assert_eq!(kind["others"].as_array().unwrap().len(), 1);
    assert_ne!(kind["arguments"], kind["others"][0]["arguments"]);
    for parcels in [json!([1]), json!([{"grams": 1}])] {
        let call = json!({"task": "ship", "queue": "nobody", "args": [1, parcels]});
        let answer = system.post("/v1/tasks", call).await;
        assert_eq!(answer.json()["checked"], true, "{answer:?}");
    }
    let call = json!({"task": "ship", "queue": "nobody", "args": [1, ["x"]]});
    let answer = system.post("/v1/tasks", call).await;
    assert_eq!(answer.code(), "invalid_arguments");
}
