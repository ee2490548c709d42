//! What a task's arguments and its result look like: JSON Schema, draft 2020-12.

use std::marker::PhantomData;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};

/// The dialect of every schema here.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The JSON Schemas of a task's arguments and of its result, made when they are
/// asked for: [`Task::SCHEMA`](crate::Task::SCHEMA).
///
/// A type tells what it looks like by `schemars::JsonSchema`, which serde's
/// types, numbers, texts and collections have, and others derive. One without
/// is any JSON here: nothing more is asked of a type than serde.
///
/// ```
/// use taskq::prelude::*;
///
/// /// Repeats text.
/// #[task]
/// async fn repeat(
///     /// What to repeat.
///     text: String,
///     times: Option<u8>,
/// ) -> String {
///     text.repeat(times.unwrap_or(2).into())
/// }
///
/// # fn main() {
/// let schema = repeat::SCHEMA.arguments();
/// assert_eq!(schema["required"], serde_json::json!(["text"]));
/// assert_eq!(schema["properties"]["text"]["description"], "What to repeat.");
/// assert_eq!(schema["properties"]["times"]["maximum"], 255);
/// assert_eq!(repeat::SCHEMA.result()["type"], "string");
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TaskSchema {
    /// The arguments, in their order; none if they are not known.
    pub params: Option<&'static [ParamSchema]>,
    /// What it returns when it succeeds.
    pub result: ValueSchema,
}

/// What is known of one argument.
#[derive(Clone, Copy, Debug)]
pub struct ParamSchema {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its documentation; empty if it has none.
    pub doc: &'static str,
    /// Whether nobody is to see its value.
    pub sensitive: bool,
    /// Whether a call may leave it out.
    pub is_optional: fn() -> bool,
    /// What its value looks like.
    pub schema: ValueSchema,
}

/// What a value looks like, if its type tells.
#[derive(Clone, Copy, Debug)]
pub struct ValueSchema(#[cfg(feature = "schema")] Option<fn(&mut SchemaGenerator) -> Schema>);

impl ValueSchema {
    /// Any JSON.
    pub const ANY: Self = Self(
        #[cfg(feature = "schema")]
        None,
    );
}

/// Tells by the type whether it has a schema: `SchemaProbe::<T>::SCHEMA` is the
/// inherent constant for one that has, and [`AnySchema`]'s for any other.
#[derive(Debug)]
pub struct SchemaProbe<T>(PhantomData<T>);

#[cfg(feature = "schema")]
impl<T: JsonSchema> SchemaProbe<T> {
    /// What the type says of itself.
    pub const SCHEMA: ValueSchema = ValueSchema(Some(SchemaGenerator::subschema_for::<T>));
}

/// The constant of [`SchemaProbe`] for a type without a schema.
pub trait AnySchema {
    /// Any JSON.
    const SCHEMA: ValueSchema = ValueSchema::ANY;
}

impl<T> AnySchema for SchemaProbe<T> {}

impl TaskSchema {
    /// Of a task of which nothing is known.
    pub const UNKNOWN: Self = Self {
        params: None,
        result: ValueSchema::ANY,
    };

    /// The schema of the arguments, as an object by name: which there are,
    /// which a call must give, and what each looks like.
    #[must_use]
    pub fn arguments(&self) -> Value {
        let mut maker = Maker::for_what_is_read();
        let Some(params) = self.params else {
            return maker.finish(json!({"type": "object"}));
        };
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for param in params {
            let mut schema = maker.schema(param.schema);
            if !param.doc.is_empty() {
                annotate(&mut schema, "description", param.doc.into());
            }
            if (param.is_optional)() {
                annotate(&mut schema, "default", Value::Null);
            } else {
                required.push(Value::from(param.name));
            }
            if param.sensitive {
                annotate(&mut schema, "writeOnly", true.into());
            }
            properties.insert(param.name.to_owned(), schema);
        }
        maker.finish(json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }))
    }

    /// The schema of what the task returns when it succeeds.
    #[must_use]
    pub fn result(&self) -> Value {
        let mut maker = Maker::for_what_is_written();
        let schema = maker.schema(self.result);
        maker.finish(schema)
    }
}

impl TaskSchema {
    /// Tells schemas apart by what they let through, in 16 characters: two that
    /// differ in their descriptions only have one digest.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        digest(&self.arguments(), &mut hash);
        digest(&self.result(), &mut hash);
        let hash = hash.finalize();
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Keywords that say what something is for, and let nothing more or less through.
const ANNOTATIONS: [&str; 5] = ["$comment", "default", "description", "examples", "title"];
/// Keywords whose value has names of the user's, each with a schema.
const BY_NAME: [&str; 3] = ["$defs", "patternProperties", "properties"];

/// Writes a schema in one way, whatever the order of its keywords.
fn digest(schema: &Value, hash: &mut Sha256) {
    match schema {
        Value::Object(keywords) => in_order(keywords, hash, |keyword, value, hash| {
            if ANNOTATIONS.contains(&keyword) {
                return;
            }
            hash.update(keyword);
            hash.update(":");
            match value {
                Value::Object(named) if BY_NAME.contains(&keyword) => {
                    in_order(named, hash, |name, schema, hash| {
                        hash.update(name);
                        hash.update(":");
                        digest(schema, hash);
                    });
                }
                value => digest(value, hash),
            }
        }),
        Value::Array(schemas) => {
            hash.update("[");
            schemas.iter().for_each(|schema| digest(schema, hash));
            hash.update("]");
        }
        value => hash.update(value.to_string()),
    }
}

fn in_order(of: &Map<String, Value>, hash: &mut Sha256, each: impl Fn(&str, &Value, &mut Sha256)) {
    let mut of: Vec<(&String, &Value)> = of.iter().collect();
    of.sort_by_key(|(name, _)| *name);
    hash.update("{");
    for (name, value) in of {
        each(name, value, hash);
    }
    hash.update("}");
}

/// Says more of a schema, in the place of what its type says.
fn annotate(schema: &mut Value, keyword: &str, value: Value) {
    if !schema.is_object() {
        // `true`: any JSON.
        *schema = Value::Object(Map::new());
    }
    schema[keyword] = value;
}

/// Makes the schemas that stand in one document.
struct Maker {
    #[cfg(feature = "schema")]
    generator: SchemaGenerator,
}

#[cfg(feature = "schema")]
impl Maker {
    fn for_what_is_read() -> Self {
        let generator = SchemaSettings::draft2020_12()
            .for_deserialize()
            .into_generator();
        Self { generator }
    }

    fn for_what_is_written() -> Self {
        let generator = SchemaSettings::draft2020_12()
            .for_serialize()
            .into_generator();
        Self { generator }
    }

    fn schema(&mut self, of: ValueSchema) -> Value {
        match of.0 {
            Some(make) => make(&mut self.generator).to_value(),
            None => Value::Bool(true),
        }
    }

    /// The document: the schema, and the definitions that it refers to.
    fn finish(mut self, mut schema: Value) -> Value {
        annotate(&mut schema, "$schema", DIALECT.into());
        let definitions = self.generator.take_definitions(true);
        if !definitions.is_empty() {
            schema["$defs"] = Value::Object(definitions);
        }
        bound_integers(&mut schema);
        schema
    }
}

#[cfg(not(feature = "schema"))]
impl Maker {
    fn for_what_is_read() -> Self {
        Self {}
    }

    fn for_what_is_written() -> Self {
        Self {}
    }

    fn schema(&mut self, _: ValueSchema) -> Value {
        Value::Bool(true)
    }

    fn finish(self, mut schema: Value) -> Value {
        annotate(&mut schema, "$schema", DIALECT.into());
        schema
    }
}

/// Writes down the bounds of integers, which schemars gives by a `format` of its
/// own: whoever reads the schema should refuse what serde refuses.
#[cfg(feature = "schema")]
fn bound_integers(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            let bounds = match keywords.get("format").and_then(Value::as_str) {
                Some("int8") => Some((i8::MIN.into(), i8::MAX.into())),
                Some("int16") => Some((i16::MIN.into(), i16::MAX.into())),
                Some("int32") => Some((i32::MIN.into(), i32::MAX.into())),
                Some("int64") => Some((i64::MIN.into(), i64::MAX.into())),
                Some("uint8") => Some((0.into(), u8::MAX.into())),
                Some("uint16") => Some((0.into(), u16::MAX.into())),
                Some("uint32") => Some((0.into(), u32::MAX.into())),
                Some("uint64") => Some((0.into(), u64::MAX.into())),
                _ => None,
            };
            if let Some((least, most)) = bounds {
                keywords.entry("minimum").or_insert(least);
                keywords.entry("maximum").or_insert(most);
            }
            let schemas = keywords.iter_mut().filter(|(keyword, _)| {
                !["const", "default", "enum", "examples"].contains(&keyword.as_str())
            });
            schemas.for_each(|(_, schema)| bound_integers(schema));
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(bound_integers),
        _ => {}
    }
}

#[cfg(all(test, feature = "schema"))]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Tree {
        size: i32,
        branches: Vec<Tree>,
    }

    struct Opaque;

    fn schema(of: ValueSchema) -> Value {
        let result = TaskSchema {
            params: None,
            result: of,
        };
        result.result()
    }

    #[test]
    fn a_type_that_refers_to_itself_has_a_definition() {
        let schema = schema(SchemaProbe::<Tree>::SCHEMA);
        assert_eq!(schema["$ref"], "#/$defs/Tree");
        let tree = &schema["$defs"]["Tree"]["properties"];
        assert_eq!(tree["size"]["maximum"], i32::MAX);
        assert_eq!(tree["branches"]["items"]["$ref"], "#/$defs/Tree");
    }

    #[test]
    fn a_digest_tells_what_is_let_through_and_not_what_is_said_of_it() {
        let of = |schema: Value| {
            let mut hash = Sha256::new();
            digest(&schema, &mut hash);
            hash.finalize()
        };
        let one = json!({"type": "object", "properties": {"title": {"type": "string"}}});
        let said = json!({
            "title": "A book",
            "properties": {"title": {"type": "string", "description": "Its title."}},
            "type": "object",
        });
        let other = json!({"type": "object", "properties": {"title": {"type": "null"}}});
        let none = json!({"type": "object", "properties": {}});
        assert_eq!(of(one.clone()), of(said));
        assert_ne!(of(one.clone()), of(other));
        assert_ne!(of(one), of(none));
    }

    #[test]
    fn a_type_that_tells_nothing_is_any_json() {
        let schema = schema(SchemaProbe::<Opaque>::SCHEMA);
        assert_eq!(schema, json!({"$schema": DIALECT}));
    }
}
