//! The messages of Python Taskiq, as it published them (`vectors/taskiq.json`),
//! are taskq's messages.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panics")]

use serde_json::Value;
use taskq::{Label, LabelType, TaskMessage};

fn vectors() -> Vec<Value> {
    let text = include_str!("vectors/taskiq.json");
    serde_json::from_str(text).unwrap()
}

fn label_type(code: &Value) -> LabelType {
    match code.as_u64().unwrap() {
        1 => LabelType::Any,
        2 => LabelType::Int,
        3 => LabelType::Str,
        4 => LabelType::Float,
        5 => LabelType::Bool,
        6 => LabelType::Bytes,
        other => panic!("the vectors have no type {other}"),
    }
}

#[test]
fn every_captured_message_decodes_to_its_named_values() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 22);
    for vector in &vectors {
        let name = vector["name"].as_str().unwrap();
        let payload = vector["payload_text"].as_str().unwrap();
        let expected = &vector["decoded"];
        let message = TaskMessage::decode(payload.as_bytes()).unwrap();
        assert_eq!(message.id.as_str(), expected["task_id"], "{name}");
        assert_eq!(
            message.task,
            expected["task_name"].as_str().unwrap(),
            "{name}"
        );
        let labels = expected["labels"].as_object().unwrap();
        assert_eq!(message.labels.len(), labels.len(), "{name}");
        for (key, value) in labels {
            let label = message.labels.get(key).unwrap();
            assert_eq!(label.wire_value(), value, "{name}: {key}");
            let kind = expected["labels_types"].get(key).map(label_type);
            assert_eq!(label.kind(), kind, "{name}: {key}");
        }
        let positional: Vec<Value> = message
            .arguments
            .positional()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        assert_eq!(Value::from(positional), expected["args"], "{name}");
        let named: serde_json::Map<String, Value> = message
            .arguments
            .iter_named()
            .map(|(key, text)| (key.to_owned(), serde_json::from_str(text).unwrap()))
            .collect();
        assert_eq!(Value::from(named), expected["kwargs"], "{name}");
    }
}

#[test]
fn every_captured_message_is_written_so_that_it_decodes_equal() {
    for vector in vectors() {
        let payload = vector["payload_text"].as_str().unwrap();
        let message = TaskMessage::decode(payload.as_bytes()).unwrap();
        let again = message.encode();
        assert_eq!(TaskMessage::decode(&again).unwrap(), message);
        // And Taskiq reads the same out of it.
        let (one, other): (Value, Value) = (
            serde_json::from_str(payload).unwrap(),
            serde_json::from_slice(&again).unwrap(),
        );
        assert_eq!(one, other, "{}", vector["name"]);
    }
}

#[test]
fn labels_of_every_type_read_as_what_they_are() {
    let vector = vectors()
        .into_iter()
        .find(|vector| vector["name"] == "labels_basic_types")
        .unwrap();
    let payload = vector["payload_text"].as_str().unwrap();
    let labels = TaskMessage::decode(payload.as_bytes()).unwrap().labels;
    let label = |name| labels.get(name).unwrap();
    assert_eq!(label("i").as_i64(), Some(5));
    assert_eq!(label("neg").as_i64(), Some(-7));
    assert_eq!(label("big").as_i64(), None, "it does not fit");
    assert_eq!(label("big").as_str(), Some("1180591620717411303424"));
    assert_eq!(label("s").as_str(), Some("str"));
    assert_eq!(label("f2").as_f64(), Some(1e300));
    assert_eq!(label("t").as_bool(), Some(true));
    assert_eq!(label("fl").as_bool(), Some(false));
    assert_eq!(label("b").as_bytes(), Some(vec![0, 0xff, b'a', b'b']));
}

#[test]
fn labels_may_be_native_json_and_their_types_may_be_missing() {
    for types in ["null", "{}", "{\"n\":2}"] {
        let text = format!(
            r#"{{"task_id":"1","task_name":"t","labels":{{"n":5,"x":null,"l":[1]}},
                "labels_types":{types},"args":[],"kwargs":{{}},"later":true}}"#
        );
        let message = TaskMessage::decode(text.as_bytes()).unwrap();
        assert_eq!(message.labels.get("n").and_then(Label::as_i64), Some(5));
        assert_eq!(TaskMessage::decode(&message.encode()).unwrap(), message);
    }
}

#[test]
fn a_number_larger_than_any_type_survives() {
    let text = r#"{"task_id":"1","task_name":"t","args":[1180591620717411303424123456789]}"#;
    let message = TaskMessage::decode(text.as_bytes()).unwrap();
    let written = String::from_utf8(message.encode()).unwrap();
    assert!(
        written.contains("[1180591620717411303424123456789]"),
        "{written}"
    );
}
