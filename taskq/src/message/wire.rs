//! The JSON of a task message.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Arguments, Label, LabelType, Labels, TaskMessage};

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow)]
    task_id: Cow<'a, str>,
    #[serde(borrow)]
    task_name: Cow<'a, str>,
    #[serde(default)]
    labels: Option<Pairs<Value>>,
    #[serde(default)]
    labels_types: Option<Pairs<u8>>,
    #[serde(borrow, default)]
    args: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    kwargs: Option<Pairs<&'a RawValue>>,
}

/// A JSON object as it stands, its keys in order; of a key that comes twice
/// the last value counts, as in Python.
struct Pairs<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<V>(std::marker::PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Object<V> {
            type Value = Pairs<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut pairs: Vec<(String, V)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    match pairs.iter_mut().find(|(earlier, _)| *earlier == key) {
                        Some((_, earlier)) => *earlier = value,
                        None => pairs.push((key, value)),
                    }
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Object(std::marker::PhantomData))
    }
}

/// Arguments by name.
type NamedArguments = Vec<(Cow<'static, str>, Box<RawValue>)>;

/// The arguments by name of a JSON object.
pub(super) fn named(text: &str) -> serde_json::Result<NamedArguments> {
    let named: Pairs<Box<RawValue>> = serde_json::from_str(text)?;
    let named = named.0.into_iter();
    Ok(named
        .map(|(name, value)| (Cow::Owned(name), value))
        .collect())
}

/// A message, and where in it its arguments stand: the list and the object.
type Decoded = (TaskMessage, Range<usize>, Range<usize>);

pub(super) fn decode(bytes: &[u8]) -> serde_json::Result<Decoded> {
    let incoming: Incoming<'_> = serde_json::from_slice(bytes)?;
    let types = incoming
        .labels_types
        .map(|types| types.0)
        .unwrap_or_default();
    let mut labels = Labels::default();
    for (name, value) in incoming.labels.map(|labels| labels.0).unwrap_or_default() {
        let kind = types
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, code)| LabelType::from_code(*code));
        labels.set(name, Label::from_wire(value, kind));
    }
    let positional = incoming.args.unwrap_or_default();
    let named = incoming.kwargs.map(|named| named.0).unwrap_or_default();
    let args = place_of_list(bytes, &positional).unwrap_or(0..0);
    let kwargs = place_of_object(bytes, &named).unwrap_or(0..0);
    let message = TaskMessage {
        id: incoming.task_id.as_ref().into(),
        task: incoming.task_name.into_owned(),
        labels,
        arguments: Arguments {
            positional: positional.into_iter().map(ToOwned::to_owned).collect(),
            named: named
                .into_iter()
                .map(|(name, value)| (Cow::Owned(name), value.to_owned()))
                .collect(),
        },
    };
    Ok((message, args, kwargs))
}

/// Where a list stands in a text of which its values are parts. Found from
/// them: to have it read as a whole, and again for its values, was the dearest
/// of what keeping arguments takes.
fn place_of_list(bytes: &[u8], values: &[&RawValue]) -> Option<Range<usize>> {
    let (first, _) = place_in(bytes, values.first()?);
    let (_, last) = place_in(bytes, values.last()?);
    within(bytes, first, last, b'[', b']')
}

/// The same of an object. Not of one whose first name is written with escapes,
/// or twice: nobody does.
fn place_of_object(bytes: &[u8], pairs: &[(String, &RawValue)]) -> Option<Range<usize>> {
    let (name, value) = pairs.first()?;
    let (first, _) = place_in(bytes, value);
    let before = bytes.get(..first)?.trim_ascii_end().strip_suffix(b":")?;
    let before = before.trim_ascii_end().strip_suffix(b"\"")?;
    let before = before.strip_suffix(name.as_bytes())?.strip_suffix(b"\"")?;
    let (_, last) = place_in(bytes, pairs.last()?.1);
    within(bytes, before.len(), last, b'{', b'}')
}

fn place_in(bytes: &[u8], part: &RawValue) -> (usize, usize) {
    let start = (part.get().as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
    (start, start + part.get().len())
}

/// What stands between the two, with them, if there is nothing else.
fn within(bytes: &[u8], from: usize, to: usize, open: u8, close: u8) -> Option<Range<usize>> {
    let before = bytes.get(..from)?.trim_ascii_end();
    let after = bytes.get(to..)?.trim_ascii_start();
    let is_whole = before.last() == Some(&open) && after.first() == Some(&close);
    is_whole.then(|| before.len() - 1..bytes.len() - after.len() + 1)
}

#[derive(Serialize)]
struct Outgoing<'a> {
    task_id: &'a str,
    task_name: &'a str,
    labels: LabelValues<'a>,
    labels_types: LabelTypes<'a>,
    args: &'a [Box<RawValue>],
    kwargs: Named<'a>,
}

struct LabelValues<'a>(&'a Labels);
struct LabelTypes<'a>(&'a Labels);
struct Named<'a>(&'a [(Cow<'static, str>, Box<RawValue>)]);

impl Serialize for LabelValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|(name, label)| (name, label.wire_value())),
        )
    }
}

impl Serialize for LabelTypes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .filter_map(|(name, label)| Some((name, label.kind()?.code()))),
        )
    }
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

pub(super) fn encode(message: &TaskMessage) -> Vec<u8> {
    let outgoing = Outgoing {
        task_id: message.id.as_str(),
        task_name: &message.task,
        labels: LabelValues(&message.labels),
        labels_types: LabelTypes(&message.labels),
        args: &message.arguments.positional,
        kwargs: Named(&message.arguments.named),
    };
    let mut bytes = Vec::with_capacity(256);
    // Text keys and JSON values only: writing them to memory cannot fail.
    let written = serde_json::to_writer(&mut bytes, &outgoing);
    debug_assert!(written.is_ok());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> TaskMessage {
        decode(bytes).unwrap().0
    }

    #[test]
    fn absent_null_and_empty_fields_are_the_same_message() {
        let full = br#"{"task_id":"1","task_name":"t","labels":{},"labels_types":{},"args":[],"kwargs":{}}"#;
        let null = br#"{"task_id":"1","task_name":"t","labels":null,"labels_types":null,"args":null,"kwargs":null}"#;
        let bare = br#"{"task_name":"t","task_id":"1","later":{"unknown":[1]}}"#;
        let message = read(full);
        assert_eq!(read(null), message);
        assert_eq!(read(bare), message);
        assert_eq!(read(&encode(&message)), message);
    }

    #[test]
    fn what_is_not_a_message_is_refused_with_the_reason() {
        let error = |text: &[u8]| TaskMessage::decode(text).unwrap_err().to_string();
        assert!(error(b"hello").contains("expected value"));
        assert!(error(br#"{"task_id":"1"}"#).contains("missing field `task_name`"));
        assert!(error(br#"{"task_id":7,"task_name":"t"}"#).contains("invalid type"));
        assert!(error(br#"{"task_id":"1","task_name":"t","args":{}}"#).contains("sequence"));
        assert!(error(b"{\"task_id\":\"\xff\",\"task_name\":\"t\"}").contains("unicode"));
        let deep = format!(
            r#"{{"task_id":"1","task_name":"t","labels":{{"x":{}1{}}}}}"#,
            "[".repeat(1000),
            "]".repeat(1000)
        );
        assert!(error(deep.as_bytes()).contains("recursion limit"));
    }
}
