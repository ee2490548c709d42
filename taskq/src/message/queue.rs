//! What is set for a queue, and for a task type, at run time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use taskq_syntax::{Backoff, Rate};

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// The most places that a queue's concurrency can have: each is a record
/// that whoever holds it renews.
const MOST_PLACES: u32 = 1000;

/// What is set for a queue, for all of its workers and senders. What is not
/// set is as if there were no settings.
///
/// In JSON, rates, backoffs and times are the texts that the options of
/// `#[task]` take; what a newer version of taskq has set is kept.
///
/// ```
/// use taskq::QueueSettings;
///
/// let mut settings = QueueSettings::default();
/// settings.concurrency = Some(10);
/// settings.rate = Some("100/s".parse()?);
/// let json = serde_json::to_string(&settings).unwrap();
/// assert_eq!(json, r#"{"concurrency":10,"rate":"100/s"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueSettings {
    /// Nothing of the queue starts, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// How many attempts run at once, on all workers together; 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// How many attempts begin, on all workers together.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::optional"
    )]
    pub rate: Option<Rate>,
    /// How many may begin at once when none has for a while; 1 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// The most messages in the queue, those that run included; at this
    /// number calls are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_backlog: Option<u64>,
    /// How many times a failed attempt is followed by another, where neither
    /// the task nor the call says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// The wait before each retry, where neither the task nor the call says.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::optional"
    )]
    pub backoff: Option<Backoff>,
    /// How long one attempt may take, where neither the task nor the call
    /// says.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::duration"
    )]
    pub timeout: Option<Duration>,
    /// What this version does not know.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

/// Since when, by whom and why something does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Who paused it.
    pub by: String,
    /// When, by the broker's clock.
    pub at: Timestamp,
    /// Why, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What is set for a task type, in all queues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskSettings {
    /// No task of the type starts, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// What this version does not know.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

/// What a queue's settings say of tasks that say nothing themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "a worker's"))]
pub(crate) struct TaskDefaults {
    pub(crate) retries: Option<u32>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) timeout: Option<Duration>,
}

impl QueueSettings {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(places) = self.concurrency
            && !(1..=MOST_PLACES).contains(&places)
        {
            return Err(Error::invalid(format!(
                "a queue's concurrency is 1 to {MOST_PLACES}, not {places}; to stop it, pause it; \
                 to let it run free, unset it"
            )));
        }
        if self.burst == Some(0) {
            return Err(Error::invalid(
                "a burst of 0 lets nothing begin; use 1 or more, or pause the queue",
            ));
        }
        if self.burst.is_some() && self.rate.is_none() {
            return Err(Error::invalid(
                "a burst is of a rate, and none is set; set both, or unset the burst",
            ));
        }
        if self.max_backlog == Some(0) || self.max_backlog > Some(i64::MAX as u64) {
            return Err(Error::invalid(
                "a backlog cap is at least 1; to refuse every call, remove the right to enqueue",
            ));
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Text keys and JSON values only: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    #[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "a worker's"))]
    pub(crate) fn defaults(&self) -> TaskDefaults {
        TaskDefaults {
            retries: self.retries,
            backoff: self.backoff,
            timeout: self.timeout,
        }
    }
}

impl TaskSettings {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Text keys and JSON values only: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Options as the texts that they are written as.
mod text {
    /// Anything with a text.
    pub(super) mod optional {
        use std::borrow::Cow;
        use std::fmt::Display;
        use std::str::FromStr;

        use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

        #[expect(clippy::ref_option, reason = "serde's own form")]
        pub(in super::super) fn serialize<T: Display, S: Serializer>(
            value: &Option<T>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => serializer.collect_str(value),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, T, D>(
            deserializer: D,
        ) -> Result<Option<T>, D::Error>
        where
            T: FromStr<Err: Display>,
            D: Deserializer<'de>,
        {
            let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
            let parse = |text: Cow<'_, str>| text.parse().map_err(D::Error::custom);
            text.map(parse).transpose()
        }
    }

    /// A length of time.
    pub(super) mod duration {
        use std::borrow::Cow;
        use std::time::Duration;

        use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
        use taskq_syntax::{format_duration, parse_duration};

        #[expect(clippy::ref_option, reason = "serde's own form")]
        pub(in super::super) fn serialize<S: Serializer>(
            value: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => serializer.serialize_str(&format_duration(*value)),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
            let parse = |text: Cow<'_, str>| parse_duration(&text).map_err(D::Error::custom);
            text.map(parse).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_json_of_texts_and_keep_what_is_newer() {
        let text = r#"{"concurrency":10,"rate":"100/s","burst":20,"max_backlog":5,"retries":3,"backoff":"constant(2s)","timeout":"30s","colour":"red"}"#;
        let settings: QueueSettings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.timeout, Some(Duration::from_secs(30)));
        assert_eq!(settings.rate.unwrap().count(), 100);
        settings.check().unwrap();
        let again: Value = serde_json::from_slice(&settings.encode()).unwrap();
        assert_eq!(again["colour"], "red");
        assert_eq!(again["timeout"], "30s");
        assert!(!settings.is_empty());
        assert!(QueueSettings::default().is_empty());
        assert_eq!(QueueSettings::default().encode(), b"{}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let set = |change: fn(&mut QueueSettings)| {
            let mut settings = QueueSettings::default();
            change(&mut settings);
            settings.check()
        };
        assert!(set(|it| it.concurrency = Some(0)).is_err());
        assert!(set(|it| it.concurrency = Some(1001)).is_err());
        assert!(set(|it| it.burst = Some(5)).is_err());
        assert!(set(|it| it.max_backlog = Some(0)).is_err());
        assert!(set(|it| it.concurrency = Some(1)).is_ok());
    }
}
