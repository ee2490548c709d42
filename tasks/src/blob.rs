//! Bytes as an argument or a result.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes, which cross the wire as base64.
///
/// What is too large for a message goes through the object store, as any
/// argument does.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Vec<u8>);

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        // Line breaks are what tools that print base64 add.
        let text: Cow<'_, [u8]> = if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
            let solid = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
            Cow::Owned(solid.collect())
        } else {
            Cow::Borrowed(text.as_bytes())
        };
        let bytes = STANDARD.decode(text);
        bytes
            .map(Self)
            .map_err(|error| de::Error::custom(format_args!("no base64: {error}")))
    }
}

impl JsonSchema for Blob {
    fn schema_name() -> Cow<'static, str> {
        "Blob".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "contentEncoding": "base64",
            "description": "Bytes, as base64."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_cross_as_base64() {
        let blob = Blob(vec![0, 255, 10]);
        let text = serde_json::to_string(&blob).unwrap();
        assert_eq!(text, r#""AP8K""#);
        assert_eq!(serde_json::from_str::<Blob>(&text).unwrap(), blob);
        assert_eq!(serde_json::from_str::<Blob>(r#""AP\n8K\n""#).unwrap(), blob);
        let error = serde_json::from_str::<Blob>(r#""A-""#).unwrap_err();
        assert!(error.to_string().contains("no base64"), "{error}");
    }
}
