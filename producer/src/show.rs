//! What a person, or a script, sees of it on stdout.

use std::io::{Write as _, stdout};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use crate::options::Options;
use crate::report::{Summary, TaskReport};

/// How many failures are told of one by one.
const MOST_FAILURES: u64 = 5;

/// The last line of JSON.
#[derive(Serialize)]
struct Last<'a> {
    summary: &'a Summary,
}

/// Shows reports as they come.
pub(crate) struct Screen {
    form: Form,
    failures: u64,
}

enum Form {
    Json,
    /// A line for each, as it comes.
    Lines,
    /// A row for each, at the end.
    Table(Vec<TaskReport>),
    /// Only how far it is.
    Bar(ProgressBar),
}

impl Screen {
    pub(crate) fn new(options: &Options) -> Self {
        let form = match options.count {
            _ if options.json => Form::Json,
            None => Form::Table(Vec::new()),
            Some(count) => Form::Bar(bar(count)),
        };
        Self { form, failures: 0 }
    }

    pub(crate) fn lines(options: &Options) -> Self {
        let form = if options.json {
            Form::Json
        } else {
            Form::Lines
        };
        Self { form, failures: 0 }
    }

    pub(crate) fn tell(&mut self, report: TaskReport) -> anyhow::Result<()> {
        match &mut self.form {
            Form::Json => writeln!(stdout(), "{}", serde_json::to_string(&report)?)?,
            Form::Lines => writeln!(stdout(), "{}", line(&report))?,
            Form::Table(reports) => reports.push(report),
            Form::Bar(bar) => {
                bar.inc(1);
                if !report.is_good() {
                    self.failures += 1;
                    if self.failures <= MOST_FAILURES {
                        bar.suspend(|| eprintln!("{}", line(&report)));
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn end(self, summary: &Summary) -> anyhow::Result<()> {
        let mut out = stdout().lock();
        match self.form {
            Form::Json => {
                let last = serde_json::to_string(&Last { summary })?;
                writeln!(out, "{last}")?;
                return Ok(());
            }
            Form::Lines => {}
            Form::Table(reports) => writeln!(out, "{}", results(&reports))?,
            Form::Bar(bar) => {
                bar.finish_and_clear();
                if self.failures > MOST_FAILURES {
                    eprintln!("... and {} more failed", self.failures - MOST_FAILURES);
                }
            }
        }
        writeln!(out, "{}", sentence(summary))?;
        Ok(())
    }
}

fn bar(count: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} tasks  {per_sec}  {elapsed}");
    ProgressBar::new(count).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// An empty table in the style of this project's commands.
#[must_use]
pub fn table<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED.with_rounded_corners())
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head);
    table
}

/// Text of at most `most` characters, the rest told by an ellipsis.
#[must_use]
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn results(reports: &[TaskReport]) -> Table {
    let mut table = table(["task", "arguments", "result", "worker", "time"]);
    for report in reports {
        table.add_row([
            report.task.clone(),
            short(&arguments(&report.args), 40),
            short(&result(report), 60),
            report.worker.clone().unwrap_or_default(),
            format!("{:.1} ms", report.ms),
        ]);
    }
    table
}

/// `text: "ha", times: 3`
fn arguments(args: &Value) -> String {
    match args {
        Value::Object(named) => named
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}

fn result(report: &TaskReport) -> String {
    match (&report.error, &report.result) {
        (Some(error), _) => format!("{}: {error}", report.state),
        (None, Some(result)) => result.get().to_owned(),
        (None, None) => report.state.to_owned(),
    }
}

fn line(report: &TaskReport) -> String {
    let mut line = format!(
        "{}({}) = {}",
        report.task,
        short(&arguments(&report.args), 60),
        result(report)
    );
    if let Some(worker) = &report.worker {
        line.push_str(&format!("  {worker}"));
    }
    line.push_str(&format!("  {:.1} ms", report.ms));
    line
}

/// `5 of 5 tasks succeeded in 0.02 s: 3 on worker-1, 2 on worker-2`
pub(crate) fn sentence(summary: &Summary) -> String {
    let all = summary.sent.max(summary.succeeded + summary.failed);
    let seconds = summary.seconds;
    if summary.succeeded + summary.failed == 0 {
        return format!("{all} tasks sent in {seconds:.2} s");
    }
    let mut text = format!(
        "{} of {all} tasks succeeded in {seconds:.2} s",
        summary.succeeded
    );
    let workers: Vec<String> = summary
        .by_worker
        .iter()
        .map(|(worker, tasks)| format!("{tasks} on {worker}"))
        .collect();
    if !workers.is_empty() {
        text.push_str(": ");
        text.push_str(&workers.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_how_many_tasks_each_worker_ran() {
        let mut summary = Summary {
            sent: 5,
            succeeded: 5,
            seconds: 0.021,
            ..Summary::default()
        };
        summary.by_worker.insert("a".to_owned(), 3);
        summary.by_worker.insert("b".to_owned(), 2);
        assert_eq!(
            sentence(&summary),
            "5 of 5 tasks succeeded in 0.02 s: 3 on a, 2 on b"
        );
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(short("straße", 6), "straße");
        assert_eq!(short("straßen", 6), "straß…");
    }
}
