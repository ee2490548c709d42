//! Lists, and what is said of any wish.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Some of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// Give it as `cursor` for the next page; null at the end.
    pub(crate) next: Option<String>,
}

/// A list that is short.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct All<T> {
    /// The items.
    pub(crate) items: Vec<T>,
}

/// Whether anything is otherwise now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// What it was done to.
    pub(crate) name: String,
    /// Whether it changed anything: false when it was so already.
    pub(crate) changed: bool,
}

/// Why somebody wishes something.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Because {
    /// Why, for the record.
    pub(crate) reason: Option<String>,
}
