//! What a change of settings changes, field by field.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

/// One field that is set otherwise than it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The field, as it is written in JSON.
    pub field: String,
    /// What it was; none if it was not set.
    pub before: Option<Value>,
    /// What it is; none if it is not set.
    pub after: Option<Value>,
}

impl std::fmt::Display for Change {
    /// `rate: none -> 100/s`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (before, after) = (show(self.before.as_ref()), show(self.after.as_ref()));
        write!(f, "{}: {before} -> {after}", self.field)
    }
}

fn show(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        // Of what is paused, who and why says it.
        Some(Value::Object(fields)) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            match (text("by"), text("because")) {
                (Some(by), Some(because)) => format!("by {by} ({because})"),
                (Some(by), None) => format!("by {by}"),
                _ => Value::Object(fields.clone()).to_string(),
            }
        }
        Some(other) => other.to_string(),
    }
}

/// What is set otherwise after a change than it was before, sorted by field.
///
/// ```
/// use taskq::{QueueSettings, admin::changes};
///
/// let mut after = QueueSettings::default();
/// after.concurrency = Some(10);
/// let changes = changes(&QueueSettings::default(), &after);
/// assert_eq!(changes[0].to_string(), "concurrency: none -> 10");
/// ```
pub fn changes<T: Serialize>(before: &T, after: &T) -> Vec<Change> {
    let (before, after) = (fields(before), fields(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Change {
            field: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

fn fields(settings: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QueueSettings;
    use proptest::prelude::*;

    fn settings() -> impl Strategy<Value = QueueSettings> {
        let number = || prop::option::of(1u32..5);
        (number(), number(), number(), prop::option::of(1u64..5)).prop_map(
            |(concurrency, burst, retries, max_backlog)| QueueSettings {
                concurrency,
                burst,
                retries,
                max_backlog,
                ..QueueSettings::default()
            },
        )
    }

    proptest! {
        /// The changes are all that there is to know: made to what was
        /// before, they give what is after.
        #[test]
        fn changes_lead_from_one_to_the_other(before in settings(), after in settings()) {
            let found = changes(&before, &after);
            prop_assert_eq!(found.is_empty(), before == after);
            let mut fields = fields(&before);
            for change in found {
                prop_assert_ne!(&change.before, &change.after);
                match change.after {
                    Some(value) => fields.insert(change.field, value),
                    None => fields.remove(&change.field),
                };
            }
            prop_assert_eq!(fields, super::fields(&after));
        }
    }

    #[test]
    fn a_change_reads_as_a_sentence() {
        let paused = r#"{"paused":{"by":"ada","at":"2026-01-01T00:00:00.000Z","because":"x"}}"#;
        let paused: QueueSettings = serde_json::from_str(paused).unwrap();
        let found = changes(&QueueSettings::default(), &paused);
        assert_eq!(found[0].to_string(), "paused: none -> by ada (x)");
    }
}
