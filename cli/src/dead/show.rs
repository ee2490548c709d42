//! Looking at dead letters.

use std::fmt::Write as _;
use std::process::ExitCode;

use base64::Engine as _;
use serde_json::Value;
use taskq::{DeadLetter, FailedAttempt};
use taskq_producer::{short, table};

use super::select::{Filters, Select};
use crate::Common;
use crate::output::{self, one_line};
use crate::pool::evidence;
use crate::reveal::Reveal;

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filters: Filters,

    /// Print one JSON object a line: the whole letter
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    reveal: Reveal,

    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    select: Select,

    /// Print one JSON object a line: the whole letter
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    reveal: Reveal,

    #[command(flatten)]
    common: Common,
}

pub(super) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let mut found = args.filters.find(&client).await?;
    for letter in &mut found.letters {
        *letter = args.reveal.letter(&client, letter).await;
    }
    if args.json {
        for letter in &found.letters {
            output::json(letter)?;
        }
        found.tell_rest();
        return Ok(ExitCode::SUCCESS);
    }
    if !found.letters.is_empty() {
        let mut shown = table([
            "task id",
            "task",
            "queue",
            "reason",
            "attempts",
            "dead since",
            "error",
        ]);
        for letter in &found.letters {
            shown.add_row([
                one_line(letter.id.as_str()).into_owned(),
                one_line(&letter.task).into_owned(),
                letter.queue.clone(),
                letter.reason.to_string(),
                letter.attempts.len().to_string(),
                letter.dead_at.to_string(),
                short(&one_line(&letter.error), 60),
            ]);
        }
        output::say(shown)?;
    }
    output::say(found.sentence())?;
    found.tell_rest();
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(args: ShowArgs) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let mut found = args.select.find(&client).await?;
    for letter in &mut found.letters {
        *letter = args.reveal.letter(&client, letter).await;
    }
    for letter in &found.letters {
        if args.json {
            output::json(letter)?;
        } else {
            output::say(page(letter))?;
        }
    }
    if !args.json {
        output::say(found.sentence())?;
    }
    Ok(if found.tell_rest() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All that a letter tells, for a person.
fn page(letter: &DeadLetter) -> String {
    let mut page = format!(
        "task {} of {}\n",
        one_line(letter.id.as_str()),
        one_line(&letter.task)
    );
    let mut line = |name: &str, text: &str| {
        // A text cannot fail to be written to.
        let _ = writeln!(page, "  {name:<9} {}", one_line(text));
    };
    line("reason", &format!("{}: {}", letter.reason, letter.error));
    line(
        "queue",
        &format!("{}, priority {}", letter.queue, letter.priority),
    );
    line("enqueued", &letter.enqueued_at.to_string());
    line("dead", &format!("{} on {}", letter.dead_at, letter.worker));
    if letter.replays > 0 {
        line("replayed", &format!("{} before", times(letter.replays)));
    }
    if !letter.attempts.is_empty() {
        page.push_str("  attempts\n");
        for attempt in &letter.attempts {
            add_attempt(&mut page, attempt);
        }
    }
    if !letter.crashes.is_empty() {
        page.push_str("  crashes\n");
        for crash in &letter.crashes {
            let worker = one_line(&crash.worker);
            let _ = write!(page, "    {} on {worker}", crash.started_at);
            let _ = match &crash.death {
                Some(death) => writeln!(page, ": {death}"),
                None => writeln!(page),
            };
            for line in crash.death.iter().flat_map(evidence) {
                let _ = writeln!(page, "       {line}");
            }
        }
    }
    page.push_str("  message\n");
    for line in message(letter).lines() {
        let _ = writeln!(page, "    {}", one_line(line));
    }
    page
}

fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        number => format!("{number} times"),
    }
}

fn add_attempt(page: &mut String, attempt: &FailedAttempt) {
    let took = attempt.finished_at.since(attempt.started_at);
    let error = &attempt.error;
    let kind = serde_json::to_value(error.kind);
    let kind = kind
        .as_ref()
        .ok()
        .and_then(Value::as_str)
        .unwrap_or("error");
    let name = match error.type_name.as_str() {
        "" => kind.to_owned(),
        name => format!("{kind} ({name})"),
    };
    let _ = writeln!(
        page,
        "    {}. {} to {} ({} ms) on {}\n       {}: {}",
        attempt.attempt,
        attempt.started_at,
        attempt.finished_at,
        took.as_millis(),
        one_line(&attempt.worker),
        one_line(&name),
        one_line(&error.message)
    );
    for line in error.backtrace.iter().flat_map(|trace| trace.lines()) {
        let _ = writeln!(page, "       | {}", one_line(line));
    }
}

/// The message in lines, as far as the letter has it.
fn message(letter: &DeadLetter) -> String {
    if let Some(message) = &letter.message {
        return match serde_json::from_str::<Value>(message.get()) {
            Ok(mut parsed) => {
                for part in ["labels", "labels_types"] {
                    // The attempts are told above.
                    if let Some(labels) = parsed.get_mut(part).and_then(Value::as_object_mut) {
                        labels.remove("taskq_errors");
                    }
                }
                serde_json::to_string_pretty(&parsed).unwrap_or_default()
            }
            Err(_) => message.get().to_owned(),
        };
    }
    if let Some(name) = &letter.payload {
        return format!("too large to be kept here; it is stored as `{name}`");
    }
    let body = letter.body.as_deref().unwrap_or_default();
    match base64::engine::general_purpose::STANDARD.decode(body) {
        Ok(bytes) => format!(
            "no message, but these {} bytes: {}",
            bytes.len(),
            String::from_utf8_lossy(&bytes)
        ),
        Err(_) => body.to_owned(),
    }
}
