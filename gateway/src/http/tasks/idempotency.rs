//! Keys that make a request that is sent twice one task.
//!
//! The task's id is made from the key, so that every replica comes to the same;
//! what was asked for is kept as a label of the message, which is wherever the
//! task is, and costs nothing to look up where the key is new.

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use taskq::{Call, TaskHandle, Untyped};

use super::submission::call;
use crate::http::access::Caller;
use crate::http::problem::{Answer, Problem};
use crate::http::views::Submission;

/// The label that has what was asked for.
const LABEL: &str = "taskq_asked";

/// A key, and what was asked for under it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: String,
    asked: String,
}

/// The id of a task that is sent under a key: the same for the same caller and
/// key, in every replica.
pub(super) fn id(headers: &HeaderMap, caller: &Caller) -> Answer<Option<String>> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > 255 {
        return Err(Problem::invalid(
            "an Idempotency-Key is 1 to 255 bytes long",
        ));
    }
    let mut hash = Sha256::new();
    hash.update(caller.name.as_bytes());
    hash.update([0]);
    hash.update(key.as_bytes());
    Ok(Some(format!("idem-{}", hex(&hash.finalize()[..16]))))
}

/// The call, and its key if it is sent under one.
pub(super) fn keyed(
    submission: Submission,
    id: Option<String>,
) -> Answer<(Call<Untyped>, Option<Key>)> {
    let Some(id) = id else {
        return Ok((call(submission, None)?, None));
    };
    // By its values: two ways to write the same are the same.
    let asked = serde_json::to_value(&submission).unwrap_or_default();
    let asked = hex(&Sha256::digest(asked.to_string())[..8]);
    let call = call(submission, Some(&id))?.label(LABEL, asked.as_str());
    Ok((call, Some(Key { id, asked })))
}

/// Refuses a key that was sent with something else before.
pub(super) async fn check(handle: &TaskHandle<Value>, key: Option<&Key>) -> Answer<()> {
    let Some(key) = key else { return Ok(()) };
    // An equal call's task is another: what is unique has its own rules.
    if !handle.is_existing() || handle.id().as_str() != key.id {
        return Ok(());
    }
    let labels = handle.labels().await?.unwrap_or_default();
    match labels.get(LABEL) {
        Some(asked) if *asked != key.asked.as_str() => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key_reused",
            "This key is of another request",
            format!(
                "the Idempotency-Key was sent before with another body, which is task {}; send a \
                 new key with a new request",
                key.id
            ),
        )),
        _ => Ok(()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
