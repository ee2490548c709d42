//! `--reveal`: what is sensitive is shown to who asks for it, for the record.

use taskq::{Client, DeadLetter, Outcome, admin};

use crate::operator;

#[derive(clap::Args)]
pub(crate) struct Reveal {
    /// Show what is sensitive too; that you saw it is told as an event
    #[arg(long, env = "TASKQ_REVEAL")]
    reveal: bool,
}

impl Reveal {
    /// A dead letter, as far as it is to be seen.
    pub(crate) async fn letter(&self, client: &Client, letter: &DeadLetter) -> DeadLetter {
        let mut letter = letter.clone();
        if !self.reveal {
            letter.hide();
        } else if letter.hidden().is_any() {
            admin::revealed(client, &letter.id, &letter.task, &operator::name()).await;
        }
        letter
    }

    /// How a task ended, as far as it is to be seen.
    pub(crate) async fn outcome(&self, client: &Client, mut outcome: Outcome) -> Outcome {
        if !self.reveal {
            if outcome.hide() {
                eprintln!("the task is sensitive; --reveal shows it");
            }
        } else if outcome.hidden().is_any() {
            admin::revealed(client, &outcome.id, &outcome.task, &operator::name()).await;
        }
        outcome
    }
}
