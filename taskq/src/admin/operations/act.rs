//! What is done to one task of an operation. Done twice, it is done once.

use super::{BulkAction, Operation};
use crate::admin::retry::{self, Retried};
use crate::admin::{discard, reschedule, run_now};
use crate::broker::PlanName;
use crate::client::{Cancellation, Client, Rescheduled};
use crate::error::Result;
use crate::message::{State, TaskId};

/// Acts on a task, and tells in one word what became of it.
pub(super) async fn act(
    client: &Client,
    operation: &Operation,
    id: &TaskId,
) -> Result<&'static str> {
    let (begun, by) = (operation.created_at, &operation.by);
    Ok(match operation.action {
        BulkAction::Cancel => {
            let mut wish = client.cancel(id.clone()).by(by.as_str());
            if let Some(because) = &operation.because {
                wish = wish.because(because.as_str());
            }
            match wish.await? {
                Cancellation::Cancelled => "cancelled",
                Cancellation::Requested => "requested",
                Cancellation::TooLate(State::Cancelled) => "done_before",
                Cancellation::TooLate(_) => "too_late",
            }
        }
        // What has ended since was run again by this, or by others.
        BulkAction::Retry => match retry::retry_ended_by(client, id, by, Some(begun)).await? {
            Retried::Sent => "sent",
            Retried::NotEnded(_) => "not_ended",
            Retried::Succeeded => "succeeded",
            Retried::EndedSince(_) => "done_before",
        },
        BulkAction::RunNow | BulkAction::Reschedule { .. } => {
            let plan = client.0.broker.plan(PlanName::Task(id)).await?;
            if plan.is_some_and(|plan| plan.stored_at > begun) {
                return Ok("done_before");
            }
            let moved = match operation.action {
                BulkAction::Reschedule { at } => reschedule(client, id.clone(), at, by).await?,
                _ => run_now(client, id.clone(), by).await?,
            };
            match moved {
                Rescheduled::Moved => "moved",
                Rescheduled::TooLate(_) => "too_late",
            }
        }
        BulkAction::Discard => match retry::letter(client, id).await? {
            None => "gone",
            Some(letter) if letter.dead_at > begun => "done_before",
            Some(letter) => match discard(client, &letter, by).await? {
                true => "discarded",
                false => "gone",
            },
        },
    })
}
