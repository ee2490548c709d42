//! The arguments of a message as it came, for its outcome's record.

use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;

/// So many bytes of arguments are kept where nothing else is set.
pub(crate) const KEPT_ARGUMENTS: usize = 1024;

/// The arguments of a message, as they stand in it: nothing is copied until
/// they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptArguments {
    message: Bytes,
    args: Range<usize>,
    kwargs: Range<usize>,
}

impl KeptArguments {
    /// Two parts of the message; nothing if together they are longer than is
    /// kept.
    pub(super) fn of(
        message: &Bytes,
        args: Range<usize>,
        kwargs: Range<usize>,
        most: usize,
    ) -> Self {
        match args.len() + kwargs.len() {
            0 => Self::default(),
            length if length > most => Self::default(),
            _ => Self {
                message: message.clone(),
                args,
                kwargs,
            },
        }
    }

    /// About how long they are, written.
    pub(super) fn len(&self) -> usize {
        self.args.len() + self.kwargs.len() + 20
    }

    fn texts(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let texts = [("args", &self.args), ("kwargs", &self.kwargs)].into_iter();
        texts.filter_map(|(name, range)| {
            let text = self.message.get(range.clone())?;
            (!text.is_empty()).then_some((name, text))
        })
    }

    /// Adds them to a JSON object that has other fields.
    pub(super) fn write_into(&self, object: &mut Vec<u8>) {
        for (name, text) in self.texts() {
            object.pop();
            object.extend_from_slice(b",\"");
            object.extend_from_slice(name.as_bytes());
            object.extend_from_slice(b"\":");
            object.extend_from_slice(text);
            object.push(b'}');
        }
    }

    /// Their names (`args`, `kwargs`) and values.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'static str, Value)> {
        self.texts()
            .filter_map(|(name, text)| Some((name, serde_json::from_slice(text).ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, TaskMessage};
    use super::*;

    fn kept(message: &str, most: usize) -> KeptArguments {
        let message = Bytes::from(message.to_owned());
        TaskMessage::decode_and_keep(&message, most).unwrap().1
    }

    fn written(message: &str, most: usize) -> String {
        let mut object = b"{\"a\":1}".to_vec();
        kept(message, most).write_into(&mut object);
        String::from_utf8(object).unwrap()
    }

    #[test]
    fn arguments_are_written_as_they_came() {
        let message = r#"{"task_id":"1","task_name":"t","args":[1, "x"],"kwargs":{"b": {}}}"#;
        let expected = r#"{"a":1,"args":[1, "x"],"kwargs":{"b": {}}}"#;
        assert_eq!(written(message, 100), expected);
        let named = r#"{"kwargs":{"b":2},"task_id":"1","task_name":"t","args":[]}"#;
        assert_eq!(written(named, 7), r#"{"a":1,"kwargs":{"b":2}}"#);
    }

    #[test]
    fn what_is_long_sensitive_or_nothing_is_not_kept() {
        let named = r#"{"kwargs":{"b":2},"task_id":"1","task_name":"t","args":[]}"#;
        let none = r#"{"task_id":"1","task_name":"t","args":null,"kwargs":{}}"#;
        let sensitive =
            r#"{"kwargs":{"b":2},"task_id":"1","task_name":"t","labels":{"taskq_sensitive":"b"}}"#;
        for (message, most) in [(named, 6), (named, 0), (none, 100), (sensitive, 100)] {
            assert_eq!(written(message, most), r#"{"a":1}"#, "{message}");
        }
    }

    #[test]
    fn an_outcome_gives_them_back() {
        let record = br#"{"task_id":"1","task_name":"t","queue":"q","state":"succeeded",
            "is_err":false,"return_value":1,"error":null,"execution_time":0.1,"attempt":1,
            "worker":"w","enqueued_at":"2026-01-01T00:00:00Z","started_at":null,
            "finished_at":"2026-01-01T00:00:00Z","args":[1],"kwargs":{"b":{"c":2}}}"#;
        let outcome = Outcome::decode(record).unwrap();
        let arguments = outcome.arguments().unwrap();
        assert_eq!(arguments.positional().collect::<Vec<_>>(), ["1"]);
        let named: Vec<_> = arguments.iter_named().collect();
        assert_eq!(named, [("b", r#"{"c":2}"#)]);
        let again = Outcome::decode(&outcome.encode()).unwrap();
        assert_eq!(again.arguments(), Some(arguments));
    }
}
