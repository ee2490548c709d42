//! What a run has shown.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::ledger::{Counts, Violation};
use crate::recovery::Measured;

/// How many violations are printed as text.
const MOST_PRINTED: usize = 10;

/// All that is told at the end.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) passed: bool,
    pub(crate) seed: u64,
    /// How long faults were injected.
    pub(crate) seconds: f64,
    /// How long the rest took.
    pub(crate) drain_seconds: f64,
    pub(crate) server: String,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Outcomes that are on the server.
    pub(crate) records: usize,
    pub(crate) refused_outcomes: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) recovery: Measured,
    /// How workers ended that nobody had told to.
    pub(crate) worker_exits: Vec<String>,
    pub(crate) memory: Memory,
    /// How many accepted tasks had not ended: the median.
    pub(crate) backlog: usize,
    pub(crate) count_violations: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) logs: Option<PathBuf>,
}

/// Physical memory of all servers, and of all workers, in bytes.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) at_start: Option<(u64, u64)>,
    pub(crate) at_end: Option<(u64, u64)>,
}

/// How many accepted tasks had not ended, at several times.
#[derive(Debug, Default)]
pub(crate) struct Backlog(Vec<usize>);

impl Backlog {
    pub(crate) fn see(&mut self, pending: usize) {
        self.0.push(pending);
    }

    pub(crate) fn median(mut self) -> usize {
        self.0.sort_unstable();
        self.0.get(self.0.len() / 2).copied().unwrap_or(0)
    }
}

impl Verdict {
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            writeln!(out, "{}", serde_json::to_string(self)?)?;
        } else {
            out.write_all(self.text().as_bytes())?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let counts = &self.counts;
        let mut lines = vec![format!(
            "seed {}, {:.0} s of faults, then {:.1} s for the rest; nats-server {}",
            self.seed, self.seconds, self.drain_seconds, self.server
        )];
        let rate = counts.accepted as f64 / self.seconds.max(1.0);
        let mut line = |name: &str, text: String| lines.push(format!("{name:<11}{text}"));
        line(
            "sent",
            format!(
                "{}: {} accepted ({rate:.0} a second, {} of them under way at a time), {} of a key \
                 that lives, {} refused",
                counts.sent,
                counts.accepted,
                self.backlog,
                counts.merged,
                counts.refused.values().sum::<u64>()
            ),
        );
        for (reason, count) in &counts.refused {
            line("", format!("{count} refused: {reason}"));
        }
        if counts.refused_but_stored > 0 {
            line(
                "",
                format!("{} of the refused were stored", counts.refused_but_stored),
            );
        }
        line(
            "outcomes",
            format!(
                "{}; {} dead letters, {} told to a waiter, {} cancels asked for",
                join(&counts.outcomes),
                counts.dead_letters,
                counts.told_to_waiters,
                counts.cancels_wished
            ),
        );
        line(
            "attempts",
            format!(
                "{}; {} tasks were started again, {} finished again; {} later outcomes refused",
                counts.attempts, counts.started_again, counts.finished_again, self.refused_outcomes
            ),
        );
        line("faults", join(&self.faults));
        let recovery = &self.recovery;
        line(
            "recovery",
            format!(
                "from {} kills with {} running tasks: at most {} s, median {} s ({} kills without \
                 other faults); {} s with other faults in the way; {} tasks were struck again \
                 before they started, at most {} s",
                recovery.kills,
                recovery.tasks,
                recovery.max,
                recovery.median,
                recovery.alone,
                recovery.max_of_all,
                recovery.struck_again,
                recovery.max_struck_again
            ),
        );
        if let (Some(start), Some(end)) = (self.memory.at_start, self.memory.at_end) {
            let mb = |bytes: u64| bytes / (1 << 20);
            line(
                "memory",
                format!(
                    "servers {} MiB at the start and {} MiB at the end, workers {} and {} MiB",
                    mb(start.0),
                    mb(end.0),
                    mb(start.1),
                    mb(end.1)
                ),
            );
        }
        for exit in &self.worker_exits {
            line("exit", exit.clone());
        }
        for violation in self.violations.iter().take(MOST_PRINTED) {
            let Violation { what, id, detail } = violation;
            line("violation", format!("{what}: {id} {detail}"));
        }
        if let Some(logs) = &self.logs {
            line("logs", logs.display().to_string());
        }
        lines.push(if self.passed {
            format!(
                "PASS: {} lost, every outcome recorded once, every kill got over in time",
                counts.lost
            )
        } else {
            let first = self.violations.first().map_or("", |first| first.what);
            format!(
                "FAIL: {} violations, the first: {first}",
                self.count_violations
            )
        });
        lines.push(String::new());
        lines.join("\n")
    }
}

fn join(counts: &BTreeMap<&'static str, u64>) -> String {
    let counts = counts.iter().map(|(name, count)| format!("{count} {name}"));
    counts.collect::<Vec<_>>().join(", ")
}
