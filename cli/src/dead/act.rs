//! Sending dead letters again, and removing them.

use std::io::{IsTerminal as _, Write as _, stdin};
use std::process::ExitCode;

use anyhow::bail;
use futures::{StreamExt as _, stream};
use serde::Serialize;
use taskq::admin::{self, Replay};
use taskq::cli::stop_signal;
use taskq::{DeadLetter, OutcomeState};
use tokio::time::MissedTickBehavior;

use super::rate::Rate;
use super::select::{Found, Select};
use crate::operator::How;
use crate::output::{self, one_line};

/// How many letters are dealt with at once.
const AT_ONCE: usize = 16;

#[derive(clap::Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    select: Select,

    /// Send at most so many: 50/s, 10/m, 100/h
    #[arg(long, env = "TASKQ_RATE", value_name = "RATE")]
    rate: Option<Rate>,

    #[command(flatten)]
    how: How,
}

#[derive(clap::Args)]
pub(crate) struct DiscardArgs {
    #[command(flatten)]
    select: Select,

    /// Do not ask
    #[arg(long, env = "TASKQ_YES")]
    yes: bool,

    #[command(flatten)]
    how: How,
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Done {
    Sent,
    /// An earlier replay had sent it.
    AlreadySent,
    /// Its task has ended otherwise since.
    Stale,
    Discarded,
    /// Somebody else was first.
    Gone,
    Failed,
    /// Nothing: it was a dry run.
    Nothing,
}

/// A line of the report.
#[derive(Serialize)]
struct Row {
    task_id: String,
    task_name: String,
    queue: String,
    reason: String,
    done: Done,
    /// How the task ended, where that is why nothing was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<OutcomeState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Row {
    fn new(letter: &DeadLetter, done: Done) -> Self {
        Self {
            task_id: letter.id.to_string(),
            task_name: letter.task.clone(),
            queue: letter.queue.clone(),
            reason: letter.reason.to_string(),
            done,
            state: None,
            error: None,
        }
    }

    fn failed(letter: &DeadLetter, error: &taskq::Error) -> Self {
        Self {
            error: Some(error.to_string()),
            ..Self::new(letter, Done::Failed)
        }
    }

    fn of_replay(letter: &DeadLetter, done: taskq::Result<Replay>) -> Self {
        match done {
            Ok(Replay::AlreadySent) => Self::new(letter, Done::AlreadySent),
            Ok(Replay::Ended(state)) => Self {
                state: Some(state),
                ..Self::new(letter, Done::Stale)
            },
            Ok(_) => Self::new(letter, Done::Sent),
            Err(error) => Self::failed(letter, &error),
        }
    }

    fn of_discard(letter: &DeadLetter, done: taskq::Result<bool>) -> Self {
        match done {
            Ok(true) => Self::new(letter, Done::Discarded),
            Ok(false) => Self::new(letter, Done::Gone),
            Err(error) => Self::failed(letter, &error),
        }
    }

    fn sentence(&self, verb: &str) -> String {
        let what = match self.done {
            Done::Sent => "sent again".to_owned(),
            Done::AlreadySent => {
                "in its queue already, by an earlier replay; its letter is removed".to_owned()
            }
            Done::Stale => {
                let state = self.state.map_or("ended", OutcomeState::as_str);
                format!(
                    "stale: the task has {state} since, so nothing is sent; its letter is removed"
                )
            }
            Done::Discarded => "discarded".to_owned(),
            Done::Gone => "gone already".to_owned(),
            Done::Failed => {
                let error = self.error.as_deref().unwrap_or_default();
                format!("not done: {}", one_line(error))
            }
            Done::Nothing => format!("would be {verb}"),
        };
        let (id, task) = (one_line(&self.task_id), one_line(&self.task_name));
        format!("{id}  {task}  {what}")
    }
}

/// What became of all of them.
#[derive(Debug, Default, Serialize)]
struct Summary {
    found: usize,
    sent: usize,
    already_sent: usize,
    stale: usize,
    discarded: usize,
    gone: usize,
    failed: usize,
    /// Left as they are, because a signal stopped the command.
    left: usize,
    dry_run: bool,
}

#[derive(Serialize)]
struct Last<'a> {
    summary: &'a Summary,
}

impl Summary {
    fn add(&mut self, done: Done) {
        match done {
            Done::Sent => self.sent += 1,
            Done::AlreadySent => self.already_sent += 1,
            Done::Stale => self.stale += 1,
            Done::Discarded => self.discarded += 1,
            Done::Gone => self.gone += 1,
            Done::Failed => self.failed += 1,
            Done::Nothing => {}
        }
        self.left -= 1;
    }

    /// `2 of 3 dead letters sent again, 1 stale`
    fn sentence(&self, verb: &str) -> String {
        let all = output::count(self.found, "dead letter");
        if self.dry_run {
            return format!("{all} would be {verb}; nothing was done");
        }
        let done = self.sent + self.discarded;
        let mut text = format!("{done} of {all} {verb}");
        for (count, what) in [
            (self.already_sent, "already sent"),
            (self.stale, "stale"),
            (self.gone, "gone already"),
            (self.failed, "failed"),
            (self.left, "left, because the command was stopped"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}

pub(super) async fn replay(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let ReplayArgs { select, rate, how } = args;
    how.common.log.init();
    let client = how.common.connect().await?;
    let found = select.find(&client).await?;
    let by = how.by();
    how.carry_out("sent again", found, rate, |letter| {
        let (client, by) = (&client, by.as_str());
        async move { Row::of_replay(&letter, admin::replay(client, &letter, by).await) }
    })
    .await
}

pub(super) async fn discard(args: DiscardArgs) -> anyhow::Result<ExitCode> {
    let DiscardArgs { select, yes, how } = args;
    how.common.log.init();
    let client = how.common.connect().await?;
    let found = select.find(&client).await?;
    if !yes && !how.dry_run && !may_discard(found.letters.len(), select.is_all()).await? {
        bail!("nothing is discarded");
    }
    let by = how.by();
    how.carry_out("discarded", found, None, |letter| {
        let (client, by) = (&client, by.as_str());
        async move { Row::of_discard(&letter, admin::discard(client, &letter, by).await) }
    })
    .await
}

/// Asks a person before much is lost. A script is not asked, but has to say
/// that it means everything: an empty variable must not.
async fn may_discard(count: usize, all: bool) -> anyhow::Result<bool> {
    if count < 2 {
        return Ok(true);
    }
    if !stdin().is_terminal() {
        if all {
            bail!(
                "this would discard all {count} dead letters; name some, set a filter, or say \
                 `--yes`"
            );
        }
        return Ok(true);
    }
    eprint!("Discard {count} dead letters for good? [y/N] ");
    std::io::stderr().flush()?;
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await??;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

impl How {
    /// Does it to each letter, and tells.
    async fn carry_out<F>(
        &self,
        verb: &str,
        found: Found,
        rate: Option<Rate>,
        act: impl Fn(DeadLetter) -> F,
    ) -> anyhow::Result<ExitCode>
    where
        F: Future<Output = Row>,
    {
        let complete = found.tell_rest();
        let mut summary = Summary {
            found: found.letters.len(),
            left: found.letters.len(),
            dry_run: self.dry_run,
            ..Summary::default()
        };
        let tell = |row: &Row| {
            if self.json {
                output::json(row)
            } else {
                output::say(row.sentence(verb))
            }
        };
        if self.dry_run {
            for letter in &found.letters {
                tell(&Row::new(letter, Done::Nothing))?;
            }
        } else {
            // What has begun is finished, so that all is told.
            let rows = stream::iter(found.letters)
                .zip(turns(rate))
                .take_until(Box::pin(stop_signal()))
                .map(|(letter, ())| act(letter))
                .buffered(AT_ONCE);
            futures::pin_mut!(rows);
            while let Some(row) = rows.next().await {
                summary.add(row.done);
                tell(&row)?;
            }
        }
        if self.json {
            output::json(&Last { summary: &summary })?;
        } else {
            output::say(summary.sentence(verb))?;
        }
        let undone = summary.failed > 0 || (summary.left > 0 && !self.dry_run);
        Ok(if complete && !undone {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Says when the next may go.
fn turns(rate: Option<Rate>) -> impl futures::Stream<Item = ()> {
    let ticks = rate.map(|rate| {
        let mut ticks = tokio::time::interval(rate.between);
        // What was late is not made up for: the rate is a cap.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    stream::unfold(ticks, async |mut ticks| {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        Some(((), ticks))
    })
}
