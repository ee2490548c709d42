//! The form by which a task is run, drawn from what its arguments are.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::{Map, Value, json};
use taskq::admin::TaskDetail;

use super::form::{Fields, form};
use super::frame::View;
use super::icon::Icon;
use crate::http::{Answer, Problem, Shared, Submission, checked_call};

/// An argument, as the form asks for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Input {
    /// Its name.
    pub(super) name: String,
    /// What is written beside it.
    pub(super) doc: String,
    /// Its type in a word.
    pub(super) ty: String,
    /// Whether it has to be given.
    pub(super) required: bool,
    /// Whether it is text, and not JSON.
    pub(super) text: bool,
    /// What it can be, if that is a few values: as JSON.
    pub(super) choices: Vec<String>,
    /// What is in it at first.
    pub(super) value: Option<Value>,
    /// Whether nobody is to see it when it is sent.
    pub(super) sensitive: bool,
}

/// The arguments by the JSON Schema of their object.
pub(super) fn of_schema(schema: &Value) -> Vec<Input> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let resolve = |one: &Value| -> Value {
        let place = one["$ref"]
            .as_str()
            .and_then(|reference| reference.strip_prefix('#'));
        let found = place.and_then(|place| schema.pointer(place));
        found.unwrap_or(one).clone()
    };
    let input = |(name, given): (String, Value)| {
        let one = resolve(&given);
        let types: Vec<String> = match &one["type"] {
            Value::String(ty) => vec![ty.clone()],
            Value::Array(all) => all
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        let ty = types
            .iter()
            .find(|ty| *ty != "null")
            .cloned()
            .unwrap_or_default();
        let choices = match &one["enum"] {
            Value::Array(all) => all.iter().map(Value::to_string).collect(),
            _ if ty == "boolean" => vec!["true".to_owned(), "false".to_owned()],
            _ => Vec::new(),
        };
        let doc = given["description"]
            .as_str()
            .or(one["description"].as_str());
        Input {
            required: required.iter().any(|one| one.as_str() == Some(&name)),
            doc: doc.unwrap_or_default().to_owned(),
            text: ty == "string" && choices.is_empty(),
            value: given.get("default").or(one.get("default")).cloned(),
            name,
            ty,
            choices,
            sensitive: false,
        }
    };
    properties.into_iter().map(input).collect()
}

/// The arguments as a worker tells them, in their order.
pub(super) fn of_detail(detail: &TaskDetail) -> Vec<Input> {
    if detail.params.is_empty() {
        return of_signature(&detail.info.signature);
    }
    let mut inputs = of_schema(&detail.arguments);
    for param in &detail.params {
        // Of a type that tells no schema.
        if inputs.iter().all(|input| input.name != param.name) {
            inputs.extend(of_signature(&format!("f({}: {})", param.name, param.ty)));
        }
    }
    for input in &mut inputs {
        if let Some(param) = detail.params.iter().find(|param| param.name == input.name) {
            input.required = param.required;
            input.sensitive = param.sensitive || detail.info.hidden().is_all();
            if input.ty.is_empty() {
                input.ty.clone_from(&param.ty);
            }
            if input.doc.is_empty() {
                input.doc.clone_from(&param.doc);
            }
        }
    }
    let place = |input: &Input| {
        detail
            .params
            .iter()
            .position(|param| param.name == input.name)
    };
    inputs.sort_by_key(place);
    inputs
}

/// The arguments by a signature, where no schema is known: `f(text: String,
/// times: u32) -> String`.
pub(super) fn of_signature(signature: &str) -> Vec<Input> {
    let inside = signature.split_once('(').map_or("", |(_, rest)| rest);
    let mut inputs = Vec::new();
    for part in top_level(inside) {
        let Some((name, ty)) = part.split_once(':') else {
            continue;
        };
        let (name, ty) = (name.trim().to_owned(), ty.trim().to_owned());
        let choices = if ty == "bool" {
            vec!["true".to_owned(), "false".to_owned()]
        } else {
            Vec::new()
        };
        inputs.push(Input {
            name,
            doc: String::new(),
            required: !ty.starts_with("Option"),
            text: ["String", "&str", "Option<String>"].contains(&ty.as_str()),
            choices,
            value: None,
            ty,
            sensitive: false,
        });
    }
    inputs
}

/// What commas part, up to the parenthesis that closes.
fn top_level(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0_i32);
    for letter in text.chars() {
        match letter {
            '(' | '<' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | '>' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    if !part.trim().is_empty() {
        parts.push(part);
    }
    parts
}

/// The form.
pub(super) fn draw(
    view: &View,
    task: &str,
    queue: &str,
    inputs: &[Input],
    from: &Map<String, Value>,
) -> Markup {
    html! {
        section.panel #run aria-labelledby="run-title" {
            header { h2 #run-title { "Run one" } }
            div.in { (form(view, "task.run", task, &html! { div.in.bare {
                input type="hidden" name="home" value=(queue);
                @for input in inputs { (field(input, from.get(&input.name).or(input.value.as_ref()))) }
                @if inputs.is_empty() { p.quiet { "It takes no arguments." } }
                details { summary { "Queue, delay, priority" } div.fields {
                    div.field { label for="run-queue" { "Queue" } input #run-queue name="queue" placeholder=(queue); }
                    div.field { label for="run-delay" { "Delay" } input #run-delay name="delay" placeholder="10m"; }
                    div.field { label for="run-priority" { "Priority" } select #run-priority name="priority" {
                        @for priority in ["", "low", "normal", "high", "critical"] { option value=(priority) { (if priority.is_empty() { "as usual" } else { priority }) } }
                    } }
                } }
                div.row { button.button.main { (Icon::Play.draw()) "Run" } span.quiet.small { "It is sent as any other call, and recorded with your name." } }
            } })) }
        }
    }
}

fn field(input: &Input, value: Option<&Value>) -> Markup {
    let id = format!("arg-{}", input.name);
    let name = format!("arg.{}", input.name);
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if input.text => text.clone(),
        Some(other) => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    let hint = format!("hint-{id}");
    html! {
        div.field {
            label for=(id) { (input.name) " " @if !input.ty.is_empty() { code.quiet { (input.ty) } } @if !input.required { span.quiet { " optional" } } @if input.sensitive { span.quiet { " hidden once it is sent" } } }
            input type="hidden" name=(format!("kind.{}", input.name)) value=(if input.text { "text" } else { "json" });
            @if !input.choices.is_empty() {
                select id=(id) name=(name) aria-describedby=(hint) {
                    @if !input.required { option value="" { "–" } }
                    @for choice in &input.choices { option value=(choice) selected[*choice == text] { (choice) } }
                }
            } @else if input.text {
                input id=(id) name=(name) value=(text) aria-describedby=(hint);
            } @else if ["integer", "number"].contains(&input.ty.as_str()) {
                input id=(id) name=(name) value=(text) inputmode="decimal" required[input.required] aria-describedby=(hint);
            } @else {
                textarea id=(id) name=(name) rows="3" required[input.required] aria-describedby=(hint) { (text) }
            }
            span.hint id=(hint) { @if !input.doc.is_empty() { (input.doc) } @else if !input.text && input.choices.is_empty() { "as JSON" } }
        }
    }
}

/// Sends what a form says; the id of the task.
pub(super) async fn send(shared: &Shared, task: &str, fields: &Fields) -> Answer<String> {
    let mut kwargs: BTreeMap<&str, Value> = BTreeMap::new();
    for (field, text) in fields {
        let Some(name) = field.strip_prefix("arg.") else {
            continue;
        };
        let is_text = fields
            .get(&format!("kind.{name}"))
            .is_some_and(|kind| kind == "text");
        if is_text {
            kwargs.insert(name, text.as_str().into());
        } else if !text.trim().is_empty() {
            let value = serde_json::from_str(text).map_err(|error| {
                Problem::invalid(format!(
                    "`{name}` is no JSON: {error}; text is between quotes"
                ))
            })?;
            kwargs.insert(name, value);
        }
    }
    let mut call = json!({"task": task, "kwargs": kwargs});
    // Where its calls go unless somebody wants them elsewhere.
    if let Some(home) = fields.get("home") {
        call["queue"] = home.as_str().into();
    }
    for name in ["queue", "delay", "priority"] {
        if let Some(text) = fields
            .get(name)
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
        {
            call[name] = text.into();
        }
    }
    let submission: Submission = serde_json::from_str(&call.to_string())
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let call = checked_call(shared, submission).await?;
    let handle = call.enqueue(&shared.client).await?;
    Ok(handle.id().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_asks_for_what_the_schema_says() {
        let inputs = of_schema(&json!({
            "type": "object", "required": ["text"],
            "properties": {
                "text": {"type": "string", "description": "What to repeat."},
                "times": {"type": ["integer", "null"], "default": 2},
                "how": {"$ref": "#/$defs/How"},
                "loud": {"type": "boolean"},
            },
            "$defs": {"How": {"enum": ["slow", "fast"]}},
        }));
        let input = |name: &str| inputs.iter().find(|one| one.name == name).unwrap();
        assert!(input("text").text && input("text").required);
        assert_eq!(input("text").doc, "What to repeat.");
        assert_eq!(
            (input("times").ty.as_str(), input("times").required),
            ("integer", false)
        );
        assert_eq!(input("times").value, Some(json!(2)));
        assert_eq!(input("how").choices, ["\"slow\"", "\"fast\""]);
        assert_eq!(input("loud").choices, ["true", "false"]);
    }

    #[test]
    fn where_no_schema_is_known_a_signature_will_do() {
        let inputs = of_signature(
            "f(text: String, map: HashMap<String, u32>, when: Option<bool>) -> (u8, u8)",
        );
        let names: Vec<_> = inputs
            .iter()
            .map(|one| (one.name.as_str(), one.text, one.required))
            .collect();
        assert_eq!(
            names,
            [
                ("text", true, true),
                ("map", false, true),
                ("when", false, false)
            ]
        );
        assert_eq!(of_signature("f() -> u8"), []);
    }
}
