//! What a message says of its key.

use serde::Deserialize;
use serde_json::Value;
use taskq_syntax::Rate;

use super::{Label, Labels, labels};

/// The greatest weight of a key: more would be a turn without an end.
const MOST_WEIGHT: u32 = 1000;

/// How the tasks of a key share what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyLimits {
    /// How many may run at once; any number if there is none.
    pub(crate) concurrency: Option<u32>,
    /// How many may start in a time, and how many of them at once.
    pub(crate) rate: Option<(Rate, u32)>,
    /// How many have a turn, for one of others; 1 or more.
    pub(crate) weight: u32,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self {
            concurrency: None,
            rate: None,
            weight: 1,
        }
    }
}

impl KeyLimits {
    /// Reads the limits of a message. A label that cannot be read counts as
    /// not set: a message must not be lost for one.
    pub(crate) fn of(labels: &Labels) -> Self {
        Self::read(|name| labels.get(name).cloned())
    }

    /// The limits that the labels of an encoded message say, without reading
    /// the rest of it.
    pub(crate) fn of_body(body: &[u8]) -> Self {
        // Done for each message that waits: only these four are kept.
        #[derive(Deserialize)]
        struct Head {
            labels: Option<Limits>,
        }
        #[derive(Deserialize)]
        struct Limits {
            #[serde(rename = "taskq_concurrency")]
            concurrency: Option<Value>,
            #[serde(rename = "taskq_rate")]
            rate: Option<Value>,
            #[serde(rename = "taskq_burst")]
            burst: Option<Value>,
            #[serde(rename = "taskq_weight")]
            weight: Option<Value>,
        }
        let head = serde_json::from_slice(body);
        let Ok(Head {
            labels: Some(limits),
        }) = head
        else {
            return Self::default();
        };
        Self::read(|name| {
            let value = match name {
                labels::CONCURRENCY => &limits.concurrency,
                labels::RATE => &limits.rate,
                labels::BURST => &limits.burst,
                labels::WEIGHT => &limits.weight,
                _ => return None,
            };
            Some(Label::from_wire(value.clone()?, None))
        })
    }

    fn read(label: impl Fn(&str) -> Option<Label>) -> Self {
        let count = |name| {
            let count = label(name)?.as_i64()?;
            u32::try_from(count).ok().filter(|count| *count > 0)
        };
        let rate = || label(labels::RATE)?.as_str()?.parse().ok();
        Self {
            concurrency: count(labels::CONCURRENCY),
            rate: rate().map(|rate| (rate, count(labels::BURST).unwrap_or(1))),
            weight: count(labels::WEIGHT).unwrap_or(1).min(MOST_WEIGHT),
        }
    }
}

/// The key of a message; none for one that waits for no turn.
pub(crate) fn key_of(labels: &Labels) -> Option<&str> {
    labels.get(labels::KEY)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::TaskMessage;

    #[test]
    fn the_limits_of_a_message_are_read_without_it() {
        let mut message = TaskMessage::decode(br#"{"task_id":"1","task_name":"t"}"#).unwrap();
        assert_eq!(KeyLimits::of(&message.labels), KeyLimits::default());
        assert_eq!(key_of(&message.labels), None);
        message.labels.set(labels::KEY, "acme");
        message.labels.set(labels::CONCURRENCY, 2);
        message.labels.set(labels::RATE, "10/s");
        message.labels.set(labels::BURST, "5");
        message.labels.set(labels::WEIGHT, 0);
        let limits = KeyLimits {
            concurrency: Some(2),
            rate: Some(("10/s".parse().unwrap(), 5)),
            weight: 1,
        };
        assert_eq!(KeyLimits::of(&message.labels), limits);
        assert_eq!(KeyLimits::of_body(&message.encode()), limits);
        assert_eq!(key_of(&message.labels), Some("acme"));
        assert_eq!(KeyLimits::of_body(b"no JSON"), KeyLimits::default());
    }

    #[test]
    fn a_label_that_cannot_be_read_is_no_limit() {
        let mut labels = Labels::default();
        labels.set(labels::CONCURRENCY, -1);
        labels.set(labels::RATE, "often");
        assert_eq!(KeyLimits::of(&labels), KeyLimits::default());
    }
}
