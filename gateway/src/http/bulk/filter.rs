//! Which tasks: what the listing filters by, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taskq::Timestamp;
use taskq::admin::operations::BulkAction;
use utoipa::ToSchema;

use crate::http::problem::{Answer, Problem};

/// Which tasks: those for which all that is set holds. The words are those of
/// `GET /v1/tasks`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// In one of these states; in any to which the action can be done if there
    /// is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) state: Vec<String>,
    /// Of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    /// Of this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
    /// Last run by this worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<String>,
    /// Whether it has become a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead: Option<bool>,
    /// Ended, or last heard of, at this moment or later; of what waits or is
    /// put off: sent then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) since: Option<Timestamp>,
    /// And before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) until: Option<Timestamp>,
    /// Of this uniqueness key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// With these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) label: BTreeMap<String, String>,
    /// With these values at these paths of the arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) arg: BTreeMap<String, String>,
    /// With all of these words in the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// In which states a task must be for an action.
pub(crate) fn fitting(action: &str) -> &'static [&'static str] {
    match action {
        "retry" => &["failed", "cancelled", "expired"],
        "discard" => &["failed", "expired"],
        "run-now" | "reschedule" => &["scheduled", "retrying"],
        _ => &["scheduled", "waiting", "running", "retrying"],
    }
}

impl Filter {
    /// The states to look in.
    pub(super) fn states(&self, action: BulkAction) -> Answer<Vec<&str>> {
        let fitting = fitting(action.as_str());
        if self.state.is_empty() {
            return Ok(fitting.to_vec());
        }
        let states = self.state.iter().map(|state| {
            let fits = fitting.iter().find(|fitting| *fitting == state);
            fits.copied().ok_or_else(|| {
                Problem::invalid(format!(
                    "`{}` is nothing to do with a task that is `{state}`; it is for those that are {}",
                    action.as_str(),
                    fitting.join(", ")
                ))
            })
        });
        states.collect()
    }

    /// Whether it asks for what is known only of tasks that have begun, or
    /// ended.
    pub(super) fn asks_for_the_past(&self) -> bool {
        self.worker.is_some()
            || self.key.is_some()
            || self.dead == Some(true)
            || self.error.is_some()
            || !self.arg.is_empty()
    }
}
