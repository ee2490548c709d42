//! `taskq cancel`: a task that should not go on.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use taskq::{Cancellation, ErrorKind, Outcome, OutcomeState, TaskHandle};

use crate::Common;
use crate::operator;
use crate::output;
use crate::progress;

/// How long reading what was just recorded may take.
const RECORDED: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Id of the task
    id: String,

    /// Who wishes it, for the record [default: you, as user@host]
    #[arg(long, env = "TASKQ_BY", value_name = "WHO")]
    by: Option<String>,

    /// Why, for the record
    #[arg(long, env = "TASKQ_BECAUSE", value_name = "TEXT")]
    because: Option<String>,

    /// Where a worker has the task: wait for it to end, and tell what came first
    #[arg(long, env = "TASKQ_WAIT")]
    wait: bool,

    /// How long to wait
    #[arg(
        long,
        env = "TASKQ_TIMEOUT",
        value_name = "TIME",
        default_value = "5m",
        value_parser = taskq::parse_duration
    )]
    timeout: Duration,

    /// Print one JSON object
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

/// What became of the wish.
enum Answer {
    Cancelled,
    Requested,
    /// The task had ended, or ended first.
    TooLate(OutcomeState),
    Unknown(String),
}

pub(crate) async fn cancel(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let handle: TaskHandle<Value> = client.handle(args.id.as_str());
    let by = args.by.clone().unwrap_or_else(operator::name);
    let mut wish = handle.cancel().by(by.as_str());
    if let Some(reason) = &args.because {
        wish = wish.because(reason.as_str());
    }
    let mut outcome = None;
    let answer = match wish.await {
        Ok(Cancellation::Cancelled) => {
            // It tells whether the task had begun: a worker may have been
            // quick to act upon the wish.
            outcome = handle.outcome_timeout(RECORDED).await.ok();
            Answer::Cancelled
        }
        Ok(Cancellation::TooLate(state)) => Answer::TooLate(state),
        Ok(_) if args.wait => {
            let ended = progress::outcome(&handle, args.timeout).await?;
            let answer = match ended.state {
                OutcomeState::Cancelled => Answer::Cancelled,
                state => Answer::TooLate(state),
            };
            outcome = Some(ended);
            answer
        }
        Ok(_) => Answer::Requested,
        Err(error) if error.kind() == ErrorKind::NotFound => Answer::Unknown(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    if args.json {
        output::json(&answer.as_json(&args.id, &by, outcome.as_ref()))?;
    }
    answer.tell(&args, &by, outcome.as_ref())?;
    Ok(ExitCode::SUCCESS)
}

impl Answer {
    fn as_json(&self, id: &str, by: &str, outcome: Option<&Outcome>) -> Value {
        let (word, state) = match self {
            Self::Cancelled => ("cancelled", Some(OutcomeState::Cancelled)),
            Self::Requested => ("requested", None),
            Self::TooLate(state) => ("too_late", Some(*state)),
            Self::Unknown(_) => ("unknown", None),
        };
        let by = outcome
            .and_then(|outcome| outcome.cancelled_by.as_deref())
            .unwrap_or(by);
        json!({ "id": id, "cancel": word, "state": state, "by": by })
    }

    /// Tells a person; an error is what the wish did not bring about.
    fn tell(self, args: &Args, by: &str, outcome: Option<&Outcome>) -> anyhow::Result<()> {
        let id = &args.id;
        match self {
            Self::Unknown(why) => bail!("{why}"),
            Self::TooLate(state) if outcome.is_some() => {
                bail!("too late: task {id} {state} before it could be stopped; that is recorded")
            }
            Self::TooLate(state) => {
                bail!("too late: task {id} had ended, its state is {state}")
            }
            _ if args.json => Ok(()),
            Self::Requested => output::say(format_args!(
                "requested: a worker has task {id} and is told to stop it; `taskq result {id} \
                 --wait` tells what came first"
            )),
            Self::Cancelled => {
                let recorded = outcome.and_then(|outcome| outcome.cancelled_by.as_deref());
                let how = match outcome {
                    Some(outcome) if !outcome.worker.is_empty() => {
                        format!("was stopped on {}", output::one_line(&outcome.worker))
                    }
                    _ => "will not run".to_owned(),
                };
                output::say(format_args!(
                    "cancelled: task {id} {how}, by {}",
                    output::one_line(recorded.unwrap_or(by))
                ))
            }
        }
    }
}
