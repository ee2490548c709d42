//! What workers can run.

use serde::Serialize;
use serde_json::{Map, Value};
use taskq::admin::ParamInfo;
use utoipa::ToSchema;

/// A task that some living worker can run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TaskTypeView {
    /// Its name.
    pub(crate) task: String,
    /// As most workers define it.
    #[serde(flatten)]
    pub(crate) definition: DefinitionView,
    /// As others define it, for as long as they have another version: calls that
    /// fit one may fail in another.
    pub(crate) others: Vec<DefinitionView>,
}

/// A task as some workers define it. What it takes and gives is told of one task
/// type, and in the list where it is asked for.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct DefinitionView {
    /// The name with arguments and return type.
    pub(crate) signature: String,
    /// The queue that its calls go to.
    pub(crate) queue: String,
    /// How many times a failed attempt is followed by another.
    pub(crate) retries: u32,
    /// The first paragraph of its documentation.
    pub(crate) doc: String,
    /// File and line of its function.
    pub(crate) place: String,
    /// When it recurs, if its program says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schedule: Option<String>,
    /// Whether arguments, results and errors are hidden from who does not ask
    /// for them.
    pub(crate) sensitive: bool,
    /// The living workers that can run it.
    pub(crate) workers: Vec<String>,
    /// Whether it is computation, for threads of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blocking: Option<bool>,
    /// The options that are set, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) options: Option<Map<String, Value>>,
    /// The arguments, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) params: Option<Vec<ParamView>>,
    /// The JSON Schema (draft 2020-12) of the arguments, as an object by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) arguments: Option<Value>,
    /// The JSON Schema (draft 2020-12) of what it returns when it succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) result: Option<Value>,
}

/// An argument of a task.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ParamView {
    /// Its name.
    pub(crate) name: String,
    /// Its type, as it was written.
    #[serde(rename = "type")]
    pub(crate) ty: String,
    /// Whether a call must give it.
    pub(crate) required: bool,
    /// Whether its value is hidden from who does not ask for it.
    pub(crate) sensitive: bool,
    /// Its documentation.
    pub(crate) doc: String,
}

impl From<ParamInfo> for ParamView {
    fn from(param: ParamInfo) -> Self {
        Self {
            name: param.name,
            ty: param.ty,
            required: param.required,
            sensitive: param.sensitive,
            doc: param.doc,
        }
    }
}
