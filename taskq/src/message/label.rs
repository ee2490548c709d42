//! Labels: Taskiq's own place for a message's options and metadata.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::time::Timestamp;

/// The type that a label's text stands for, as Taskiq numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LabelType {
    /// 1: any Python object, as its `str`.
    Any,
    /// 2: an integer of any size.
    Int,
    /// 3: text.
    Str,
    /// 4: a floating-point number.
    Float,
    /// 5: `True` or `False`.
    Bool,
    /// 6: bytes in base64.
    Bytes,
    /// A number that this version does not know; kept as it is.
    Unknown(u8),
}

impl LabelType {
    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Any,
            2 => Self::Int,
            3 => Self::Str,
            4 => Self::Float,
            5 => Self::Bool,
            6 => Self::Bytes,
            other => Self::Unknown(other),
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Any => 1,
            Self::Int => 2,
            Self::Str => 3,
            Self::Float => 4,
            Self::Bool => 5,
            Self::Bytes => 6,
            Self::Unknown(code) => code,
        }
    }
}

/// One label: a value as it crosses the wire (text by Taskiq's custom, or
/// any JSON), and the type that the sender gave it, if it gave one.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    value: Value,
    kind: Option<LabelType>,
}

impl Label {
    pub(crate) fn from_wire(value: Value, kind: Option<LabelType>) -> Self {
        Self { value, kind }
    }

    /// Bytes, base64 on the wire.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::typed(BASE64.encode(bytes), LabelType::Bytes)
    }

    /// A value of any type, as text.
    #[must_use]
    pub fn any(text: impl fmt::Display) -> Self {
        Self::typed(text.to_string(), LabelType::Any)
    }

    fn typed(text: String, kind: LabelType) -> Self {
        Self {
            value: Value::String(text),
            kind: Some(kind),
        }
    }

    /// The value as it crosses the wire.
    #[must_use]
    pub fn wire_value(&self) -> &Value {
        &self.value
    }

    /// The type that the sender named.
    #[must_use]
    pub fn kind(&self) -> Option<LabelType> {
        self.kind
    }

    /// The text on the wire; none for a value that is native JSON and not
    /// text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.value.as_str()
    }

    /// A whole number; none if it is not one or does not fit.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match &self.value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_i64(),
        }
    }

    /// A number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match &self.value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        }
    }

    /// A truth value: Python's `True` and `False`, or JSON's.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::String(text) => match text.trim() {
                "True" | "true" | "1" => Some(true),
                "False" | "false" | "0" => Some(false),
                _ => None,
            },
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The bytes of a base64 label.
    #[must_use]
    pub fn as_bytes(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.as_str()?).ok()
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Self::typed(text.to_owned(), LabelType::Str)
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self::typed(text, LabelType::Str)
    }
}

impl From<bool> for Label {
    fn from(value: bool) -> Self {
        let text = if value { "True" } else { "False" };
        Self::typed(text.to_owned(), LabelType::Bool)
    }
}

impl From<f64> for Label {
    fn from(value: f64) -> Self {
        Self::typed(value.to_string(), LabelType::Float)
    }
}

macro_rules! int_labels {
    ($($int:ty),*) => {$(
        impl From<$int> for Label {
            fn from(value: $int) -> Self {
                Self::typed(value.to_string(), LabelType::Int)
            }
        }
    )*};
}

int_labels!(i32, i64, u32, u64);

/// The labels of a message, in the order they were set.
#[derive(Clone, Debug, Default)]
pub struct Labels(Vec<(String, Label)>);

impl Labels {
    /// The label of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Label> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, label)| label)
    }

    /// Sets a label, in the place of an earlier one of the same name.
    pub fn set(&mut self, name: impl Into<String>, label: impl Into<Label>) {
        let (name, label) = (name.into(), label.into());
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = label,
            None => self.0.push((name, label)),
        }
    }

    /// Removes a label, and tells whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(key, _)| key != name);
        self.0.len() != before
    }

    /// The labels and their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Label)> {
        self.0.iter().map(|(name, label)| (name.as_str(), label))
    }

    /// When the message was to start, if it was put off.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let due = self.get(super::labels::DUE)?;
        due.as_i64().map(Timestamp::from_millis)
    }

    /// What the outcome keeps of them: as they crossed the wire, without
    /// what only one attempt tells the next.
    pub(crate) fn to_outcome(&self) -> serde_json::Map<String, Value> {
        self.iter()
            .filter(|(name, _)| ![super::labels::ERRORS, super::labels::ASIDE].contains(name))
            .map(|(name, label)| (name.to_owned(), label.wire_value().clone()))
            .collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Labels {
    /// Equal when the same names have the same labels, in whatever order.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(name, label)| other.get(name) == Some(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_keeps_its_type_and_reads_back() {
        assert_eq!(Label::from(-7).as_i64(), Some(-7));
        assert_eq!(Label::from(1.5).as_f64(), Some(1.5));
        assert_eq!(Label::from(true).as_str(), Some("True"));
        assert_eq!(Label::from(false).as_bool(), Some(false));
        assert_eq!(
            Label::bytes(&[0, 255, 97]).as_bytes(),
            Some(vec![0, 255, 97])
        );
        assert_eq!(Label::any("[1]").kind(), Some(LabelType::Any));
        assert_eq!(Label::from("x").as_i64(), None);
    }

    #[test]
    fn a_native_json_value_reads_like_its_text() {
        let native = |value| Label::from_wire(value, None);
        assert_eq!(native(Value::from(5)).as_i64(), Some(5));
        assert_eq!(native(Value::from(0.3)).as_f64(), Some(0.3));
        assert_eq!(native(Value::from(true)).as_bool(), Some(true));
        assert_eq!(native(Value::Null).as_str(), None);
    }

    #[test]
    fn setting_a_label_again_replaces_it() {
        let mut labels = Labels::default();
        labels.set("a", 1);
        labels.set("b", 2);
        labels.set("a", 3);
        assert_eq!(labels.get("a").and_then(Label::as_i64), Some(3));
        assert_eq!(labels.len(), 2);
        assert!(labels.remove("a") && !labels.remove("a"));
    }
}
