//! The file of `taskq apply`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use taskq::{Backoff, QueueSettings, Rate};

/// What is to be set.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) queues: BTreeMap<String, Option<Queue>>,
    #[serde(default)]
    pub(super) tasks: BTreeMap<String, Option<Task>>,
}

/// A queue, as it is to be.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queue {
    /// Left as it is unless the file says.
    pub(super) paused: Option<Pause>,
    concurrency: Option<u32>,
    rate: Option<Text<Rate>>,
    burst: Option<u32>,
    max_backlog: Option<u64>,
    retries: Option<u32>,
    backoff: Option<Text<Backoff>>,
    timeout: Option<Length>,
}

/// A task type, as it is to be.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    pub(super) paused: Option<Pause>,
}

/// Whether something is paused, and why: `true`, `false`, or the reason.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Pause {
    Is(bool),
    Because(String),
}

impl Pause {
    /// The reason, if it is paused at all.
    pub(super) fn reason(&self) -> Option<Option<&str>> {
        match self {
            Self::Is(false) => None,
            Self::Is(true) => Some(None),
            Self::Because(why) => Some(Some(why)),
        }
    }
}

/// An option that is a text.
#[derive(Debug)]
struct Text<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A length of time.
#[derive(Debug)]
struct Length(Duration);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let length = taskq::parse_duration(&text);
        length.map(Self).map_err(D::Error::custom)
    }
}

impl Queue {
    /// A queue for which nothing is set.
    pub(super) const NOTHING: Self = Self {
        paused: None,
        concurrency: None,
        rate: None,
        burst: None,
        max_backlog: None,
        retries: None,
        backoff: None,
        timeout: None,
    };

    /// What is to be set, where this is set now. Whether it is paused is not
    /// changed here.
    pub(super) fn settings(&self, now: &QueueSettings) -> QueueSettings {
        let mut settings = now.clone();
        settings.concurrency = self.concurrency;
        settings.rate = self.rate.as_ref().map(|rate| rate.0);
        settings.burst = self.burst;
        settings.max_backlog = self.max_backlog;
        settings.retries = self.retries;
        settings.backoff = self.backoff.as_ref().map(|backoff| backoff.0);
        settings.timeout = self.timeout.as_ref().map(|timeout| timeout.0);
        settings
    }
}

/// Reads a file; what is wrong in it is told with its line.
pub(super) fn read(name: &str, text: &str) -> Result<File, String> {
    // An empty file sets nothing.
    let file: Option<File> = serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location();
        let place = place.map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
        let what = error.without_snippet().to_string().replace('\n', " ");
        // The place goes in front, as other tools have it, and what to set in
        // the parser is no user's business.
        let what = what
            .rsplit_once(" at line ")
            .map_or(&*what, |(what, _)| what);
        let what = what
            .split(", set DuplicateKeyPolicy")
            .next()
            .unwrap_or(what);
        format!("{name}{place}: {what}; nothing was set")
    })?;
    Ok(file.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_strictly_and_mistakes_have_their_line() {
        let file = read(
            "q.yaml",
            "queues:\n  email:\n    concurrency: 10\n    rate: 100/s\n    burst: 20\n    \
             timeout: 30s\n    backoff: exponential(1s, max 5m)\n    paused: the relay is down\n  \
             bulk:\ntasks:\n  send_email:\n    paused: true\n",
        )
        .unwrap();
        let email = file.queues["email"].as_ref().unwrap();
        let settings = email.settings(&QueueSettings::default());
        assert_eq!(settings.concurrency, Some(10));
        assert_eq!(settings.timeout, Some(Duration::from_secs(30)));
        let paused = email.paused.as_ref().unwrap();
        assert_eq!(paused.reason(), Some(Some("the relay is down")));
        assert!(file.queues["bulk"].is_none());
        let task = file.tasks["send_email"].as_ref().unwrap();
        assert_eq!(task.paused.as_ref().unwrap().reason(), Some(None));
        assert!(read("q.yaml", "").unwrap().queues.is_empty());

        for (text, line, says) in [
            ("queues:\n  email:\n    concurency: 10\n", 3, "concurency"),
            (
                "queues:\n  email:\n    rate: fast\n",
                3,
                "`fast` is not a rate",
            ),
            (
                "queues:\n  email:\n    timeout: 30\n",
                3,
                "`30` is not a duration",
            ),
            ("queue:\n  email: {}\n", 1, "queue"),
            ("queues:\n  a: {}\n  a: {}\n", 3, "a"),
            ("queues:\n  a: [\n", 2, "mapping"),
        ] {
            let error = read("q.yaml", text).unwrap_err();
            assert!(error.starts_with(&format!("q.yaml:{line}:")), "{error}");
            assert!(error.contains(says), "{error}");
        }
    }
}
