//! Whether a call's arguments are what its task takes, before it is sent.

use std::fmt;

use jsonschema::Validator;
use jsonschema::paths::Location;
use serde_json::{Map, Value};

use super::{Definition, TaskDetail, TaskType};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Arguments, Hidden, from_raw};
use crate::task::Call;

/// The most errors that are told of one call.
const MOST_ERRORS: usize = 20;

/// An argument that its task does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    /// Where it is in the call, as a JSON pointer: `/kwargs/times`, `/args/1`.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

/// Checks calls of one task against the schemas that its workers tell. Made
/// once, and used for many calls.
///
/// ```no_run
/// # use taskq::{Call, Client};
/// use taskq::admin::{self, ArgumentCheck};
///
/// # async fn f(client: Client) -> taskq::Result<()> {
/// let workers = admin::workers(&client).await?;
/// let call = Call::named("repeat_string").arg("text", "ha").arg("times", "three");
/// if let Some(kind) = admin::task_type(&client, &workers, "repeat_string").await? {
///     for error in ArgumentCheck::new(&kind)?.errors(&call) {
///         println!("{error}"); // /kwargs/times: "three" is not of type "integer"
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ArgumentCheck {
    definitions: Vec<OneCheck>,
}

/// What the workers of one definition take.
#[derive(Debug)]
struct OneCheck {
    /// None from a worker that does not tell them: any arguments will do.
    params: Option<Vec<String>>,
    validator: Validator,
    hidden: Hidden,
}

impl ArgumentCheck {
    /// Reads the schemas of all definitions.
    ///
    /// # Errors
    /// [`ErrorKind::Undecodable`] when one is no schema, or refers to another
    /// document: nothing is fetched.
    pub fn new(kind: &TaskType) -> Result<Self> {
        let one = |Definition { detail, .. }: &Definition| OneCheck::new(detail);
        Ok(Self {
            definitions: kind.definitions.iter().map(one).collect::<Result<_>>()?,
        })
    }

    /// What the task does not take of a call; nothing if all is well. Where
    /// workers define the task differently, a call is well that one of them takes.
    #[must_use]
    pub fn errors<T>(&self, call: &Call<T>) -> Vec<ArgumentError> {
        let Ok(parts) = &call.parts else {
            // It is told when it is sent.
            return Vec::new();
        };
        let mut told = Vec::new();
        for one in &self.definitions {
            let errors = one.errors(&parts.arguments);
            if errors.is_empty() {
                return errors;
            }
            // What most workers take is first, and most likely meant.
            if told.is_empty() {
                told = errors;
            }
        }
        told
    }
}

impl OneCheck {
    fn new(detail: &TaskDetail) -> Result<Self> {
        let validator = jsonschema::draft202012::new(&detail.arguments).map_err(|error| {
            let task = &detail.info.name;
            Error::new(
                ErrorKind::Undecodable,
                format!("what a worker tells of the arguments of `{task}` is no schema: {error}"),
            )
        })?;
        let told = detail.arguments.get("properties").is_some();
        let params = detail.params.iter().map(|param| param.name.clone());
        Ok(Self {
            params: told.then(|| params.collect()),
            validator,
            hidden: detail.info.hidden(),
        })
    }

    fn errors(&self, arguments: &Arguments) -> Vec<ArgumentError> {
        let Some(params) = &self.params else {
            return Vec::new();
        };
        let bound = match arguments.bind(params) {
            Ok(bound) => bound,
            Err(message) => {
                let unknown = arguments.iter_named().map(|(name, _)| name);
                let unknown = unknown.filter(|name| !params.iter().any(|param| param == name));
                let pointer = match unknown.last() {
                    Some(name) => format!("/kwargs/{}", escaped(name)),
                    None => "/args".to_owned(),
                };
                let message = format!("the task {message}");
                return vec![ArgumentError { pointer, message }];
            }
        };
        let mut instance = Map::new();
        for (name, value) in params.iter().zip(bound) {
            if let Some(value) = value
                && let Ok(value) = from_raw::<Value>(value)
            {
                instance.insert(name.clone(), value);
            }
        }
        let instance = Value::Object(instance);
        let positional = arguments.positional.len();
        self.validator
            .iter_errors(&instance)
            .take(MOST_ERRORS)
            .map(|error| {
                let path = error.instance_path();
                let message = match self.hides(path) {
                    true => error.masked().to_string(),
                    false => error.to_string(),
                };
                ArgumentError {
                    pointer: pointer(path, &params[..positional]),
                    message,
                }
            })
            .collect()
    }

    /// Whether the value there is one that nobody is to see.
    fn hides(&self, path: &Location) -> bool {
        let name = path.as_str().split('/').nth(1).unwrap_or_default();
        let name = name.replace("~1", "/").replace("~0", "~");
        self.hidden.hides_argument(&name)
    }
}

/// Where an argument is in the call, whose arguments by position are these.
fn pointer(path: &Location, positional: &[String]) -> String {
    let path = path.as_str();
    let Some(rest) = path.strip_prefix('/') else {
        // Of the arguments as a whole: one is missing.
        return "/kwargs".to_owned();
    };
    let name = rest.split('/').next().unwrap_or_default();
    let below = &rest[name.len()..];
    match positional.iter().position(|param| escaped(param) == name) {
        Some(place) => format!("/args/{place}{below}"),
        None => format!("/kwargs{path}"),
    }
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(sensitive: Option<&str>) -> ArgumentCheck {
        let kind = json!({
            "task": "repeat",
            "definitions": [{
                "workers": ["w"],
                "name": "repeat", "signature": "", "queue": "default", "retries": 0,
                "doc": "", "place": "", "sensitive": sensitive,
                "params": [
                    {"name": "text", "type": "String", "required": true},
                    {"name": "times", "type": "Option<u32>", "required": false},
                ],
                "arguments": {
                    "type": "object",
                    "properties": {
                        "text": {"type": "string"},
                        "times": {"type": ["integer", "null"], "maximum": 9},
                    },
                    "required": ["text"],
                    "additionalProperties": false,
                },
            }],
        });
        ArgumentCheck::new(&serde_json::from_value(kind).unwrap()).unwrap()
    }

    fn told(errors: &[ArgumentError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_call_is_checked_by_name_and_by_position() {
        let check = check(None);
        let call = || Call::named("repeat");
        let told = |call| told(&check.errors(&call));
        assert_eq!(told(call().arg("text", "ha")), [""; 0]);
        assert_eq!(told(call().positional("ha").positional(&3)), [""; 0]);
        assert_eq!(
            told(call().positional(&1).arg("times", &10)),
            [
                r#"/args/0: 1 is not of type "string""#,
                "/kwargs/times: 10 is greater than the maximum of 9",
            ]
        );
        assert_eq!(
            told(call().arg("times", &1)),
            [r#"/kwargs: "text" is a required property"#]
        );
        assert_eq!(
            told(call().arg("txet", "ha")),
            ["/kwargs/txet: the task has no argument `txet`; it takes `text`, `times`"]
        );
    }

    #[test]
    fn what_is_sensitive_is_not_told_back() {
        let call = Call::named("repeat").arg("text", &4711);
        let told = |sensitive| told(&check(Some(sensitive)).errors(&call));
        assert_eq!(
            told("*"),
            [r#"/kwargs/text: value is not of type "string""#]
        );
        assert_eq!(told("text"), told("*"));
        assert!(told("times")[0].contains("4711"));
    }

    #[test]
    fn a_schema_that_refers_to_another_document_is_refused_and_not_fetched() {
        let kind = json!({
            "task": "t",
            "definitions": [{
                "workers": ["w"], "name": "t", "signature": "", "queue": "default",
                "retries": 0, "doc": "", "place": "",
                "arguments": {"$ref": "http://127.0.0.1:1/schema"},
            }],
        });
        let error = ArgumentCheck::new(&serde_json::from_value(kind).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable);
    }
}
