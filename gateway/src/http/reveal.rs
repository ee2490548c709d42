//! What is sensitive is hidden from who does not ask for it, and that somebody
//! asked is told as an operator's event.

use taskq::{DeadLetter, Outcome, TaskId, admin};

use super::access::Caller;
use super::extract::Params;
use super::problem::Answer;
use super::{Role, Shared};

/// Who is to see what is sensitive; nobody by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reveal<'a>(Option<&'a Caller>);

impl<'a> Reveal<'a> {
    /// Reads `reveal=true`, which needs the role of an operator.
    pub(crate) fn read(params: &mut Params, caller: &'a Caller) -> Answer<Self> {
        let wanted = params.read::<bool>("reveal")?.unwrap_or(false);
        if wanted {
            caller.need(Role::Operator)?;
        }
        Ok(Self(wanted.then_some(caller)))
    }

    pub(crate) fn is_wanted(self) -> bool {
        self.0.is_some()
    }

    /// How a task ended, as far as it may be seen.
    pub(super) async fn outcome(self, shared: &Shared, mut outcome: Outcome) -> Outcome {
        match self.0 {
            Some(_) if !outcome.hidden().is_any() => {}
            Some(_) => self.tell(shared, &outcome.id, &outcome.task).await,
            None => {
                outcome.hide();
            }
        }
        outcome
    }

    /// A dead letter, as far as it may be seen.
    pub(super) async fn letter(self, shared: &Shared, mut letter: DeadLetter) -> DeadLetter {
        match self.0 {
            Some(_) if !letter.hidden().is_any() => {}
            Some(_) => self.tell(shared, &letter.id, &letter.task).await,
            None => {
                letter.hide();
            }
        }
        letter
    }

    /// Tells that the caller sees what is sensitive of a task.
    pub(crate) async fn tell(self, shared: &Shared, id: &TaskId, task: &str) {
        if let Some(caller) = self.0 {
            admin::revealed(&shared.client, id, task, &caller.by()).await;
        }
    }
}
