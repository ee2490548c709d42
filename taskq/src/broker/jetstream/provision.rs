//! Making the streams and consumers ahead, by an operator, and bringing
//! those that are there up to date: then nobody else needs the right to.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::layout::{LEASE, Layout, capped, full_store};
use crate::broker::names::{Namespace, PRIORITIES, api};
use crate::broker::{Provision, ProvisionAction, ProvisionKind, ProvisionOrder};
use crate::error::{Error, ErrorKind, Result};

/// What taskq owns of a stream: what it would not work without. All else
/// (limits, ages, replicas, placement) is the operator's.
const OF_STREAM: [&str; 10] = [
    "subjects",
    "sources",
    "republish",
    "discard",
    "discard_new_per_subject",
    "max_msgs_per_subject",
    "allow_msg_schedules",
    "allow_msg_ttl",
    "allow_rollup_hdrs",
    "allow_direct",
];
/// What taskq owns of a consumer.
const OF_CONSUMER: [&str; 2] = ["filter_subject", "max_deliver"];

/// "stream not found", "consumer not found"
const MISSING: [u64; 2] = [10059, 10014];

pub(super) type Settings = Map<String, Value>;

impl Layout {
    pub(super) async fn provision(&self, order: ProvisionOrder) -> Result<Vec<Provision>> {
        let mut done = Vec::new();
        let buckets = self.bucket_configs();
        for config in self.shared_configs().into_iter().chain(buckets) {
            let name = config.name.clone();
            done.push(self.provision_stream(&name, &config, &order).await?);
        }
        // Those that are there already are brought up to date too.
        let mut queues = self.list_queues().await?;
        queues.extend_from_slice(&order.queues);
        queues.sort();
        queues.dedup();
        for queue in queues {
            let stream = self.names.queue_stream(&queue);
            let mut config = self.queue_config(&queue);
            let settings = self.queue_settings(&queue).await;
            config.max_messages = capped(&settings);
            done.push(self.provision_stream(&stream, &config, &order).await?);
            let (hold, mut config) = (self.names.hold_stream(&queue), self.hold_config(&queue));
            config.max_messages = capped(&settings);
            done.push(self.provision_stream(&hold, &config, &order).await?);
            for priority in PRIORITIES {
                let lease = order.lease.unwrap_or(LEASE);
                let config = self.lane_config(&queue, priority, lease);
                let name = Namespace::consumer(priority);
                done.push(
                    self.provision_consumer(&stream, &name, &config, &order)
                        .await?,
                );
            }
            if settings.paused.is_some() && !order.dry_run {
                self.pause_if_set(&queue).await;
            }
        }
        Ok(done)
    }

    async fn provision_stream(
        &self,
        name: &str,
        config: &impl Serialize,
        order: &ProvisionOrder,
    ) -> Result<Provision> {
        let mut wanted = settings(config)?;
        if let Some(replicas) = order.replicas {
            wanted.insert("num_replicas".to_owned(), replicas.into());
        }
        let told = |action, changes| Provision {
            kind: ProvisionKind::Stream,
            name: name.to_owned(),
            action,
            changes,
        };
        let Some(mut there) = self.find(name, api::stream_info(name)).await? else {
            if !order.dry_run {
                self.change(name, api::stream_create(name), &wanted.into())
                    .await?;
            }
            return Ok(told(ProvisionAction::Created, Vec::new()));
        };
        let (is, must) = (&there["retention"], &wanted["retention"]);
        if is != must {
            return Err(Error::invalid(format!(
                "stream {name} is there, but not taskq's: its retention is {is}, not {must}, and \
                 cannot be changed; remove it, or choose another namespace (TASKQ_NAMESPACE)"
            )));
        }
        // What taskq leaves to the default, an operator may have set.
        let mut owned: Vec<&str> = OF_STREAM
            .into_iter()
            .filter(|key| plain(wanted.get(*key)) != Value::Null)
            .collect();
        if order.replicas.is_some() {
            owned.push("num_replicas");
        }
        let changes = adopt(&mut there, &wanted, &owned);
        if changes.is_empty() {
            return Ok(told(ProvisionAction::Unchanged, changes));
        }
        if !order.dry_run {
            self.change(name, api::stream_update(name), &there.into())
                .await?;
        }
        Ok(told(ProvisionAction::Updated, changes))
    }

    async fn provision_consumer(
        &self,
        stream: &str,
        name: &str,
        config: &impl Serialize,
        order: &ProvisionOrder,
    ) -> Result<Provision> {
        let full_name = format!("{stream}/{name}");
        let wanted = settings(config)?;
        let filter = wanted["filter_subject"].as_str().unwrap_or_default();
        let subject = api::consumer_create(stream, name, filter);
        let body = |config: Settings| json!({ "stream_name": stream, "config": config });
        let told = |action, changes| Provision {
            kind: ProvisionKind::Consumer,
            name: full_name.clone(),
            action,
            changes,
        };
        let found = self.find(&full_name, api::consumer_info(stream, name));
        let Some(mut there) = found.await? else {
            if !order.dry_run {
                self.change(&full_name, subject, &body(wanted)).await?;
            }
            return Ok(told(ProvisionAction::Created, Vec::new()));
        };
        let mut owned = OF_CONSUMER.to_vec();
        if order.lease.is_some() {
            owned.push("ack_wait");
        }
        let changes = adopt(&mut there, &wanted, &owned);
        if changes.is_empty() {
            return Ok(told(ProvisionAction::Unchanged, changes));
        }
        if !order.dry_run {
            self.change(&full_name, subject, &body(there)).await?;
        }
        Ok(told(ProvisionAction::Updated, changes))
    }

    /// The settings of what is there.
    pub(super) async fn find(&self, name: &str, subject: String) -> Result<Option<Settings>> {
        let what = format!("looking at {name}");
        let mut answer = self.request(&what, subject, &Value::Null).await?;
        if let Some(error) = answer.get("error") {
            let code = error["err_code"].as_u64().unwrap_or_default();
            return match MISSING.contains(&code) {
                true => Ok(None),
                false => Err(refused(&what, error)),
            };
        }
        match answer["config"].take() {
            Value::Object(config) => Ok(Some(config)),
            _ => Err(Error::new(
                ErrorKind::Undecodable,
                format!("{what} gave no settings"),
            )),
        }
    }

    pub(super) async fn change(&self, name: &str, subject: String, body: &Value) -> Result<()> {
        let what = format!("making {name}");
        let answer = self.request(&what, subject, body).await?;
        match answer.get("error") {
            Some(error) => Err(refused(&what, error)),
            None => Ok(()),
        }
    }

    pub(super) async fn request(&self, what: &str, subject: String, body: &Value) -> Result<Value> {
        // The interface takes no `null` for no body.
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let asked = self.client.request(subject.clone(), body.into());
        let answer = self
            .denials
            .or_denied(&[&subject], asked)
            .await
            .map_err(|denial| denial.into_error(what))?
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("{what} failed: {error}; NATS may have no leader for it now"),
                )
                .with_source(error)
            })?;
        serde_json::from_slice(&answer.payload).map_err(|error| {
            Error::new(
                ErrorKind::Undecodable,
                format!("{what} gave no readable answer: {error}"),
            )
            .with_source(error)
        })
    }
}

fn refused(what: &str, error: &Value) -> Error {
    let code = error["err_code"].as_u64().unwrap_or_default();
    let text = error["description"].as_str().unwrap_or_default();
    full_store(what, code, text).unwrap_or_else(|| {
        Error::new(
            ErrorKind::Unavailable,
            format!("{what} was refused: {text} ({code})"),
        )
    })
}

/// Settings as the server has them.
fn settings(config: &impl Serialize) -> Result<Settings> {
    match serde_json::to_value(config) {
        Ok(Value::Object(settings)) => Ok(settings),
        _ => Err(Error::invalid("these settings are no JSON object")),
    }
}

/// Takes over what is owned; tells what that changes.
fn adopt(there: &mut Settings, wanted: &Settings, owned: &[&str]) -> Vec<String> {
    let mut changes = Vec::new();
    for &key in owned {
        let (is, must) = (plain(there.get(key)), plain(wanted.get(key)));
        if is == must {
            continue;
        }
        changes.push(format!("{key}: {} -> {}", show(key, &is), show(key, &must)));
        match wanted.get(key) {
            Some(value) => there.insert(key.to_owned(), value.clone()),
            None => there.remove(key),
        };
    }
    changes
}

/// A setting in one way of several to write it: no limit is -1, 0 or left
/// out, as are false, and nothing.
fn plain(value: Option<&Value>) -> Value {
    match value {
        None | Some(Value::Bool(false)) => Value::Null,
        Some(Value::Number(number)) if number.as_f64().is_some_and(|number| number <= 0.0) => {
            Value::Null
        }
        Some(Value::String(text)) if text.is_empty() => Value::Null,
        Some(Value::Array(values)) if values.is_empty() => Value::Null,
        Some(Value::Array(values)) => values.iter().map(|value| plain(Some(value))).collect(),
        Some(Value::Object(fields)) => fields
            .iter()
            .map(|(key, value)| (key.clone(), plain(Some(value))))
            .filter(|(_, value)| !value.is_null())
            .collect::<Map<_, _>>()
            .into(),
        Some(other) => other.clone(),
    }
}

fn show(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Number(nanos) if key == "ack_wait" => {
            let nanos = nanos.as_u64().unwrap_or_default();
            taskq_syntax::format_duration(Duration::from_nanos(nanos))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: &Value) -> Settings {
        settings(value).unwrap()
    }

    #[test]
    fn only_what_is_owned_and_different_is_taken_over() {
        let wanted = object(&json!({
            "subjects": ["a.>"], "discard": "new", "max_bytes": 0, "max_age": 5,
            "allow_direct": true,
            "sources": [{ "name": "P", "external": null }],
        }));
        let mut there = object(&json!({
            "subjects": ["b.>"], "discard": "new", "max_bytes": 1000, "max_age": 7,
            "sources": [{ "name": "P" }], "of_a_newer_server": 1,
        }));
        let changes = adopt(&mut there, &wanted, &OF_STREAM);
        assert_eq!(
            changes,
            [
                "subjects: [\"b.>\"] -> [\"a.>\"]",
                "allow_direct: none -> true"
            ]
        );
        assert_eq!(
            there,
            object(&json!({
                "subjects": ["a.>"], "discard": "new", "max_bytes": 1000, "max_age": 7,
                "sources": [{ "name": "P" }], "of_a_newer_server": 1, "allow_direct": true,
            }))
        );
        assert!(adopt(&mut there, &wanted, &OF_STREAM).is_empty());
    }

    #[test]
    fn a_limit_that_must_not_be_is_removed() {
        let mut there = object(&json!({ "max_deliver": 5 }));
        let wanted = object(&json!({ "max_deliver": -1 }));
        assert_eq!(
            adopt(&mut there, &wanted, &OF_CONSUMER),
            ["max_deliver: 5 -> none"]
        );
        assert_eq!(there["max_deliver"], -1);
    }
}
