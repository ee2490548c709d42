//! Dead letters.

use serde::Serialize;
use serde_json::value::RawValue;
use taskq::Timestamp;
use utoipa::ToSchema;

use super::pool::CrashView;
use super::task::AttemptView;
use crate::index::LetterSummary;

/// A dead letter, whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LetterView {
    /// What a list shows of it.
    #[serde(flatten)]
    pub(crate) summary: LetterSummary,
    /// Its priority in the queue.
    pub(crate) priority: String,
    /// When the call was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) enqueued_at: Timestamp,
    /// Every attempt that failed.
    pub(crate) failures: Vec<AttemptView>,
    /// The workers that died while they ran it, and how, as far as it is known.
    pub(crate) crashes: Vec<CrashView>,
    /// The message as it came; null for what is none, or is stored elsewhere.
    #[schema(value_type = Value)]
    pub(crate) message: Option<Box<RawValue>>,
    /// Whether something of it is sensitive, and shown by `POST /v1/tasks/{id}:reveal` only.
    pub(crate) sensitive: bool,
}
