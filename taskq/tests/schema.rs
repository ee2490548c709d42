//! The JSON Schemas that tasks tell of their arguments and results.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use taskq::prelude::*;
use taskq::schemars::JsonSchema;
use taskq::{Sensitivity, TaskSchema};

/// Where to send it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "taskq::schemars")]
struct Address {
    street: String,
    #[serde(default)]
    country: Country,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "taskq::schemars")]
#[serde(rename_all = "lowercase")]
enum Country {
    #[default]
    Home,
    Abroad,
}

/// A type that says nothing of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Opaque {
    inner: u8,
}

/// Ships an order.
///
/// By the next day.
#[task]
async fn ship(
    ctx: Context,
    /// The number of the order,
    /// as the shop has it.
    order: u32,
    to: Address,
    /// Anything for the driver.
    note: Option<String>,
    r#type: BTreeMap<String, f64>,
    parcel: Opaque,
    parcels: Vec<Opaque>,
) -> Result<Vec<Address>, TaskError> {
    let _ = (ctx, order, note, r#type, parcel.inner, parcels.len());
    Ok(vec![to])
}

#[task]
fn nothing() {}

#[task]
async fn opaque() -> Opaque {
    Opaque { inner: 1 }
}

/// The other side has the body.
#[task(name = "resize")]
async fn resize_contract(
    /// Where the picture is.
    url: String,
    width: u16,
) -> Vec<u8>;

#[task(implements = resize_contract)]
async fn resize(address: String, width: u16) -> Vec<u8> {
    vec![u8::try_from(address.len()).unwrap_or(0); width.into()]
}

#[task(sensitive)]
async fn sign_in(name: String, password: String) -> bool {
    name == password
}

#[task]
async fn pay(#[sensitive] card: String, cents: u32) -> bool {
    !card.is_empty() && cents > 0
}

#[test]
fn arguments_are_an_object_of_what_a_call_takes() {
    let schema = ship::SCHEMA.arguments();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(
        schema["required"],
        json!(["order", "to", "type", "parcel", "parcels"])
    );
    let of = |name: &str| schema["properties"][name].clone();
    assert_eq!(
        of("order"),
        json!({
            "type": "integer", "format": "uint32", "minimum": 0, "maximum": u32::MAX,
            "description": "The number of the order, as the shop has it.",
        })
    );
    assert_eq!(of("to"), json!({"$ref": "#/$defs/Address"}));
    assert_eq!(
        of("note"),
        json!({
            "type": ["string", "null"], "default": null,
            "description": "Anything for the driver.",
        })
    );
    assert_eq!(of("type")["additionalProperties"]["type"], "number");
    assert_eq!(of("ctx"), Value::Null);
    let address = &schema["$defs"]["Address"];
    assert_eq!(address["description"], "Where to send it.");
    assert_eq!(address["required"], json!(["street"]));
    assert_eq!(address["properties"]["country"]["default"], "home");
}

#[test]
fn a_type_without_a_schema_is_any_json_and_compiles() {
    let schema = ship::SCHEMA.arguments();
    assert_eq!(schema["properties"]["parcel"], true);
    assert_eq!(schema["properties"]["parcels"], true);
    assert_eq!(opaque::SCHEMA.result().get("type"), None);
}

#[test]
fn the_result_is_what_a_success_returns() {
    let schema = ship::SCHEMA.result();
    assert_eq!(schema["type"], "array");
    assert_eq!(schema["items"]["$ref"], "#/$defs/Address");
    assert_eq!(nothing::SCHEMA.result()["type"], "null");
    assert_eq!(nothing::SCHEMA.arguments()["properties"], json!({}));
}

#[test]
fn a_contract_has_schemas_and_its_implementation_has_the_same() {
    let contract = resize_contract::SCHEMA.arguments();
    assert_eq!(contract["properties"]["width"]["maximum"], u16::MAX);
    let description = &contract["properties"]["url"]["description"];
    assert_eq!(description, "Where the picture is.");
    assert_eq!(resize::SCHEMA.arguments(), contract);
    assert_eq!(resize::SCHEMA.result(), resize_contract::SCHEMA.result());
    let registration = resize::REGISTRATION.unwrap();
    assert_eq!(registration.schema.arguments(), contract);
}

#[test]
fn what_is_sensitive_is_marked() {
    let schema = sign_in::SCHEMA.arguments();
    assert_eq!(schema["properties"]["name"]["writeOnly"], true);
    assert_eq!(sign_in::OPTIONS.sensitivity(), Sensitivity::All);
    let schema = pay::SCHEMA.arguments();
    assert_eq!(schema["properties"]["card"]["writeOnly"], true);
    assert_eq!(schema["properties"]["cents"].get("writeOnly"), None);
    let card = Sensitivity::Arguments(&["card"]);
    assert_eq!(pay::OPTIONS.sensitivity(), card);
    assert_eq!(ship::OPTIONS.sensitivity(), Sensitivity::None);
}

#[test]
fn a_task_that_is_written_by_hand_needs_no_schema() {
    let schema = TaskSchema::UNKNOWN.arguments();
    assert_eq!(schema["type"], "object");
    assert_eq!(schema.get("additionalProperties"), None);
}
