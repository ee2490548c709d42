//! What nobody is to see of a task who does not ask for it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    Arguments, DeadLetter, DeadReason, Label, Labels, Outcome, TaskMessage, labels, to_raw,
};
use crate::failure::{Failure, FailureKind};
use crate::task::Sensitivity;

/// What stands where something is hidden.
pub(crate) const HIDDEN: &str = "(hidden: the task is sensitive)";

/// What is hidden of a task: its type, or some of its arguments, are
/// [sensitive](crate::task#options). The message says so by a label, so that
/// who knows no worker hides it too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hidden {
    /// Nothing.
    #[default]
    Nothing,
    /// The arguments of these names.
    Arguments(Vec<String>),
    /// Arguments, result, errors and what the task says.
    All,
}

impl Hidden {
    /// What a message's labels say.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        let label = labels.get(labels::SENSITIVE).and_then(Label::as_str);
        label.map_or(Self::Nothing, Self::parse)
    }

    /// What an outcome's labels say.
    #[must_use]
    pub fn of_outcome(labels: &Map<String, Value>) -> Self {
        let label = labels.get(labels::SENSITIVE).and_then(Value::as_str);
        label.map_or(Self::Nothing, Self::parse)
    }

    /// Whether it is all that is hidden.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// Whether anything is.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Self::Nothing
    }

    /// Whether the argument of this name is.
    #[must_use]
    pub fn hides_argument(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Arguments(names) => names.iter().any(|hidden| hidden == name),
            Self::All => true,
        }
    }

    /// A text of the task, or what stands for it: an error, a line of its log.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        match self {
            Self::All => HIDDEN,
            Self::Nothing | Self::Arguments(_) => text,
        }
    }

    /// The text of an error, or what stands for it. That arguments do not fit is
    /// told with the arguments.
    #[must_use]
    pub fn error<'a>(&self, kind: FailureKind, text: &'a str) -> &'a str {
        let is_ours = matches!(
            kind,
            FailureKind::Timeout
                | FailureKind::UnknownTask
                | FailureKind::Cancelled
                | FailureKind::Expired
                | FailureKind::Deadline
                | FailureKind::Crashed
        );
        match self {
            Self::Arguments(_) if kind == FailureKind::Arguments => HIDDEN,
            // It says what taskq did, and quotes nothing.
            Self::All if is_ours => text,
            _ => self.text(text),
        }
    }

    /// The arguments, with something else in the place of those that are hidden.
    /// By position all of them are: which is which only its worker knows.
    #[must_use]
    pub fn arguments(&self, arguments: &Arguments) -> Arguments {
        let mut shown = arguments.clone();
        let Ok(hidden) = to_raw(HIDDEN) else {
            return Arguments::default();
        };
        if self.is_any() {
            shown.positional.fill(hidden.clone());
        }
        let named = shown.named.iter_mut();
        for (_, value) in named.filter(|(name, _)| self.hides_argument(name)) {
            value.clone_from(&hidden);
        }
        shown
    }

    pub(crate) fn failure(&self, failure: &mut Failure) {
        if self.error(failure.kind, "").is_empty() {
            return;
        }
        HIDDEN.clone_into(&mut failure.message);
        failure.backtrace = None;
    }

    /// The label that tells it; none if nothing is hidden.
    pub(crate) fn label(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Nothing => None,
            Self::Arguments(names) => Some(names.join(",").into()),
            Self::All => Some("*".into()),
        }
    }

    pub(crate) fn parse(label: &str) -> Self {
        match label.trim() {
            "*" => Self::All,
            names => Self::Arguments(
                names
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty())
                    .collect(),
            ),
        }
    }
}

impl Outcome {
    /// What is hidden of the task.
    #[must_use]
    pub fn hidden(&self) -> Hidden {
        Hidden::of_outcome(&self.labels)
    }

    /// Takes out what is sensitive: the value, the texts of errors, what the task
    /// said. Tells whether anything is hidden of the task.
    pub fn hide(&mut self) -> bool {
        let hidden = self.hidden();
        if hidden.is_all() {
            self.return_value = None;
            self.payload = None;
            self.log = None;
        }
        if hidden.is_any() {
            // To be run again, its record is asked for, not this.
            (self.message, self.args, self.kwargs) = (None, None, None);
        }
        if let Some(error) = &mut self.error
            && self.cancelled_by.is_none()
        {
            hidden.failure(error);
        }
        for attempt in &mut self.attempts {
            hidden.failure(&mut attempt.error);
        }
        hidden.is_any()
    }
}

impl DeadLetter {
    /// What is hidden of the task.
    #[must_use]
    pub fn hidden(&self) -> Hidden {
        match &self.sensitive {
            Some(label) => Hidden::parse(label),
            None => self
                .labels()
                .map(|labels| Hidden::of(&labels))
                .unwrap_or_default(),
        }
    }

    /// Takes out what is sensitive: arguments, the texts of errors. Such a letter
    /// is to look at, and cannot be sent again. Tells whether anything is hidden
    /// of the task.
    pub fn hide(&mut self) -> bool {
        let hidden = self.hidden();
        if !hidden.is_any() {
            return false;
        }
        // The text of the last error, or of a death without one.
        let last = self.attempts.last().map(|attempt| attempt.error.kind);
        let last = last.unwrap_or(FailureKind::Error);
        let last = match self.reason {
            DeadReason::Expired => FailureKind::Expired,
            DeadReason::UnknownTask => FailureKind::UnknownTask,
            DeadReason::Crashed => FailureKind::Crashed,
            _ => last,
        };
        self.error = hidden.error(last, &self.error).to_owned();
        for attempt in &mut self.attempts {
            hidden.failure(&mut attempt.error);
        }
        for crash in &mut self.crashes {
            if let Some(death) = &mut crash.death {
                death.log.clear();
            }
        }
        let message = self.message.take();
        let message = message.and_then(|text| TaskMessage::decode(text.get().as_bytes()).ok());
        self.message = message.and_then(|mut message| {
            message.arguments = hidden.arguments(&message.arguments);
            message.labels.remove(labels::ERRORS);
            let text = String::from_utf8(message.encode()).ok()?;
            serde_json::value::RawValue::from_string(text).ok()
        });
        true
    }
}

impl Sensitivity {
    /// The label that tells it; none if nothing is hidden.
    pub(crate) fn label(self) -> Option<Cow<'static, str>> {
        match self {
            Self::None => None,
            Self::Arguments(names) => Some(names.join(",").into()),
            Self::All => Some("*".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_of_a_letter_is_gone_and_the_rest_is_there() {
        let letter = |label: &str, kind: &str| {
            let error = format!(
                r#"{{"exc_type":"E","exc_module":"m","exc_message":["the card 4711 is bad"],"message":"the card 4711 is bad","kind":"{kind}"}}"#
            );
            let text = format!(
                r#"{{"task_id":"1","task_name":"pay","queue":"q","priority":"normal",
                "reason":"permanent","error":"the card 4711 is bad","worker":"w",
                "enqueued_at":"2026-01-01T00:00:00.000Z","dead_at":"2026-01-01T00:00:00.000Z",
                "attempts":[{{"attempt":1,"worker":"w","started_at":"2026-01-01T00:00:00.000Z",
                "finished_at":"2026-01-01T00:00:00.000Z","error":{error}}}],
                "message":{{"task_id":"1","task_name":"pay","labels":{{"taskq_sensitive":"{label}"}},
                "labels_types":{{}},"args":[],"kwargs":{{"card":"4711","cents":5}}}}}}"#
            );
            let mut letter = DeadLetter::decode(text.as_bytes()).unwrap();
            assert!(letter.hide());
            String::from_utf8(letter.encode()).unwrap()
        };
        for (label, kind) in [("*", "error"), ("card", "arguments"), ("*", "arguments")] {
            assert!(!letter(label, kind).contains("4711"), "{label} {kind}");
        }
        let some = letter("card", "error");
        assert!(some.contains(r#""cents":5"#) && some.contains("the card 4711 is bad"));
        assert!(!letter("*", "error").contains(r#""cents":5"#));
    }

    #[test]
    fn what_a_task_hides_is_read_from_its_label() {
        let hidden = |sensitivity: Sensitivity| {
            let mut labels = Labels::default();
            if let Some(label) = sensitivity.label() {
                labels.set(labels::SENSITIVE, label.into_owned());
            }
            assert_eq!(
                Hidden::of_outcome(&labels.to_outcome()),
                Hidden::of(&labels)
            );
            Hidden::of(&labels)
        };
        assert_eq!(hidden(Sensitivity::None), Hidden::Nothing);
        assert_eq!(hidden(Sensitivity::All), Hidden::All);
        let some = hidden(Sensitivity::Arguments(&["card", "pin"]));
        assert!(some.hides_argument("pin") && !some.hides_argument("cents"));
        assert_eq!(some.text("no route"), "no route");
        assert_eq!(Hidden::All.text("no route"), HIDDEN);
    }
}
