//! Calls are checked against what living workers tell of their task, before any
//! of them is sent.

use axum::http::StatusCode;
use taskq::{Call, Untyped};

use super::submission::call;
use crate::http::Shared;
use crate::http::extract::Params;
use crate::http::problem::{Answer, Fault, Problem};
use crate::http::views::Submission;

/// What is asked of calls before they are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// That their arguments are what their task takes.
    check: bool,
    /// That a living worker knows their task.
    known: bool,
}

/// A call that may be sent.
pub(crate) struct Checked {
    pub(crate) call: Call<Untyped>,
    /// Whether its arguments were checked.
    pub(crate) checked: bool,
}

/// The call of a submission, checked as one is that wishes nothing else.
pub(crate) async fn checked_call(shared: &Shared, submission: Submission) -> Answer<Call<Untyped>> {
    let task = submission.task.clone();
    let call = call(submission, None)?;
    let wanted = Wanted {
        check: true,
        known: false,
    };
    Ok(wanted.of(shared, &task, call, "").await?.call)
}

impl Wanted {
    pub(crate) fn read(params: &mut Params) -> Answer<Self> {
        Ok(Self {
            check: params.read::<bool>("check")?.unwrap_or(true),
            known: params.read::<bool>("known")?.unwrap_or(false),
        })
    }

    /// Checks a call that stands at this place of the body.
    pub(crate) async fn of(
        self,
        shared: &Shared,
        task: &str,
        call: Call<Untyped>,
        place: &str,
    ) -> Answer<Checked> {
        let known = match shared.types.lately(task).await {
            Ok(known) => known,
            // Not to know is no reason to refuse, unless somebody wants to know.
            Err(error) if self.known => return Err(error.into()),
            Err(error) => {
                tracing::debug!(task, "a call is not checked: {error}");
                None
            }
        };
        let Some(known) = known else {
            if self.known {
                return Err(Problem::new(
                    StatusCode::CONFLICT,
                    "unknown_task",
                    "No living worker knows this task",
                    format!(
                        "no living worker knows a task `{task}`; start one that does, or send \
                         without `known=true`, and it waits for one"
                    ),
                ));
            }
            return Ok(Checked {
                call,
                checked: false,
            });
        };
        let call = call.hidden(&known.hidden);
        let Some(check) = known.check.as_ref().filter(|_| self.check) else {
            return Ok(Checked {
                call,
                checked: false,
            });
        };
        let errors = check.errors(&call);
        if errors.is_empty() {
            return Ok(Checked {
                call,
                checked: true,
            });
        }
        let detail = format!(
            "the arguments are not what task `{task}` takes; /v1/task-types/{task} tells what it \
             takes, and `check=false` sends them all the same"
        );
        let errors = errors.into_iter().map(|error| Fault {
            pointer: format!("#{place}{}", error.pointer),
            detail: error.message,
        });
        Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_arguments",
            "The arguments do not fit the task",
            detail,
        )
        .errors(errors.collect()))
    }
}
