//! Schedules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use taskq::Timestamp;
use utoipa::ToSchema;

use super::call::Submission;

/// What a schedule is to be: a call, and one of `cron`, `every` and `at`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleBody {
    /// The name of the task that it runs.
    #[schema(example = "to_uppercase", min_length = 1, max_length = 128)]
    pub(crate) task: String,
    /// Arguments by position.
    #[serde(default)]
    #[schema(value_type = Vec<Value>)]
    pub(crate) args: Vec<Box<RawValue>>,
    /// Arguments by name.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"text": "hello"}))]
    pub(crate) kwargs: BTreeMap<String, Box<RawValue>>,
    /// A cron pattern of 5 fields, or of 6 with the seconds first; or `@daily`.
    #[schema(example = "0 9 * * MON-FRI")]
    pub(crate) cron: Option<String>,
    /// An interval, such as `15m`, counted from `start`, or from 1970.
    pub(crate) every: Option<String>,
    /// Once, at this moment, in RFC 3339.
    pub(crate) at: Option<String>,
    /// The time zone of a cron pattern, such as `Europe/Berlin`; UTC if not set.
    pub(crate) tz: Option<String>,
    /// No time before this moment, in RFC 3339.
    pub(crate) start: Option<String>,
    /// No time after this moment, in RFC 3339.
    pub(crate) end: Option<String>,
    /// What becomes of a fire while the one before runs: `allow` (if not set),
    /// `skip`, `queue-one`, `replace`.
    pub(crate) overlap: Option<String>,
    /// What becomes of fires that were missed: `skip`, `once` (if not set),
    /// `all(10m)`.
    pub(crate) misfire: Option<String>,
    /// So long after its time a fire may start and is merely late; `1m` if not set.
    pub(crate) misfire_after: Option<String>,
    /// Each fire comes up to so long after its time.
    pub(crate) jitter: Option<String>,
    /// The queue that its fires go to; `default` if there is none.
    pub(crate) queue: Option<String>,
    /// `low`, `normal`, `high` or `critical`.
    pub(crate) priority: Option<String>,
    /// Let a fire start, and end, no later than this long after it was due.
    pub(crate) deadline: Option<String>,
    /// How many attempts may follow a failed one.
    pub(crate) retries: Option<u32>,
    /// The waits between attempts: `exponential(1s, max 5m)`.
    pub(crate) backoff: Option<String>,
    /// How long one attempt may take.
    pub(crate) timeout: Option<String>,
    /// How long its outcomes are kept.
    pub(crate) ttl: Option<String>,
    /// Labels of its fires.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

/// When a schedule fires.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    pub(crate) cron: Option<String>,
    pub(crate) every: Option<String>,
    pub(crate) at: Option<String>,
    pub(crate) tz: Option<String>,
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) overlap: Option<String>,
    pub(crate) misfire: Option<String>,
    pub(crate) misfire_after: Option<String>,
    pub(crate) jitter: Option<String>,
}

impl ScheduleBody {
    /// What it runs, and when.
    pub(crate) fn split(self) -> (Submission, Timing) {
        let call = Submission {
            task: self.task,
            args: self.args,
            kwargs: self.kwargs,
            queue: self.queue,
            priority: self.priority,
            deadline: self.deadline,
            retries: self.retries,
            backoff: self.backoff,
            timeout: self.timeout,
            ttl: self.ttl,
            labels: self.labels,
            ..Submission::default()
        };
        let timing = Timing {
            cron: self.cron,
            every: self.every,
            at: self.at,
            tz: self.tz,
            start: self.start,
            end: self.end,
            overlap: self.overlap,
            misfire: self.misfire,
            misfire_after: self.misfire_after,
            jitter: self.jitter,
        };
        (call, timing)
    }
}

/// A time of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fire {
    /// The moment.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// As the clocks of its time zone show it.
    #[schema(example = "2026-11-27 09:00:00 CET")]
    pub(crate) clock: String,
}
