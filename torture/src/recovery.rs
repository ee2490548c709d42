//! How soon after a kill what the worker ran is under way again.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use taskq::Outcome;

use crate::notes::{Note, What};

/// How long after its end an attempt may still be the worker's: its outcome,
/// or the plan of the next attempt, has to be stored yet.
const SETTLING: u64 = 1_000_000;

/// The lease of the workers, in microseconds.
const LEASE: u64 = 6_000_000;

/// The running tasks of each worker process, and the kills.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// By the process: the tasks it has started and that have no outcome,
    /// with the time of their start, and of their end where they have one.
    running: HashMap<u32, HashMap<u32, Run>>,
    kills: Vec<Kill>,
    /// Those tasks that a kill waits for.
    waiting: HashMap<u32, Vec<usize>>,
    /// When other faults were under way.
    others: Vec<Other>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    started: u64,
    attempt: u32,
    ended: Option<u64>,
}

/// A fault that is no kill, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Other {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

#[derive(Debug)]
struct Kill {
    at: u64,
    /// How many tasks it ran.
    ran: usize,
    /// Those that are not under way again, with the attempt that died.
    waits: HashMap<u32, u32>,
    /// When the last of its tasks was under way again.
    last: u64,
    /// Which that was.
    slowest: Option<u32>,
    /// Those that another fault struck too.
    struck: Vec<Struck>,
}

/// A task that was delivered again to a worker that did not live to start it:
/// the number of its attempt counts that delivery.
#[derive(Debug)]
struct Struck {
    n: u32,
    took: u64,
    times: u64,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Measured {
    /// Kills, of which some had nothing to recover.
    pub(crate) kills: usize,
    /// Tasks that were running in killed workers.
    pub(crate) tasks: usize,
    /// The longest recovery from a kill that came with no other fault, in
    /// seconds.
    pub(crate) max: f64,
    /// The median of those.
    pub(crate) median: f64,
    /// How many those are.
    pub(crate) alone: usize,
    /// The longest of all, with other faults in the way.
    pub(crate) max_of_all: f64,
    /// Tasks whose next worker was struck too, before it had started them.
    pub(crate) struck_again: usize,
    /// The longest recovery of those.
    pub(crate) max_struck_again: f64,
}

/// A recovery that took too long.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    /// The number of the task that was last.
    pub(crate) n: u32,
    pub(crate) took: Duration,
    pub(crate) allowed: Duration,
}

/// The attempt of a delivery that ended with this outcome: one that did not
/// start is not counted by the outcome.
pub(crate) fn attempt_of(outcome: &Outcome) -> u32 {
    let was_delivered = outcome.started_at.is_none() && !outcome.worker.is_empty();
    outcome.attempt.saturating_add(u32::from(was_delivered))
}

impl Recovery {
    /// What a process has noted.
    pub(crate) fn noted(&mut self, process: u32, note: Note) {
        match note.what {
            What::Start => {
                let run = Run {
                    started: note.at,
                    attempt: note.attempt,
                    ended: None,
                };
                let running = self.running.entry(process).or_default();
                running.insert(note.n, run);
                self.resumed(note.n, note.at, note.attempt);
            }
            What::Finish | What::Failure => {
                let running = self.running.entry(process).or_default();
                if let Some(run) = running.get_mut(&note.n) {
                    run.ended = Some(note.at);
                }
            }
            What::Refused => {}
        }
    }

    /// A task has an outcome since this time, by this attempt.
    pub(crate) fn recorded(&mut self, n: u32, at: u64, attempt: u32) {
        for running in self.running.values_mut() {
            running.remove(&n);
        }
        self.resumed(n, at, attempt);
    }

    fn resumed(&mut self, n: u32, at: u64, attempt: u32) {
        let Some(kills) = self.waiting.get_mut(&n) else {
            return;
        };
        kills.retain(|kill| {
            let kill = &mut self.kills[*kill];
            let Some(died) = kill.waits.remove(&n) else {
                return false;
            };
            let times = attempt.saturating_sub(died.saturating_add(1));
            if times > 0 {
                kill.struck.push(Struck {
                    n,
                    took: at.saturating_sub(kill.at),
                    times: times.into(),
                });
            } else if kill.last < at {
                (kill.last, kill.slowest) = (at, Some(n));
            }
            false
        });
        if kills.is_empty() {
            self.waiting.remove(&n);
        }
    }

    /// A process was killed at this time, and all that it noted is known.
    pub(crate) fn killed(&mut self, process: u32, at: u64, has_ended: impl Fn(u32) -> bool) {
        let ran = self.running.remove(&process).unwrap_or_default();
        let runs_elsewhere = |n: &u32, run: &Run| {
            let mut others = self.running.values().filter_map(|others| others.get(n));
            others.any(|other| other.started > run.started)
        };
        let is_over = |run: &Run| run.ended.is_some_and(|ended| ended + SETTLING < at);
        let waits: HashMap<u32, u32> = ran
            .iter()
            .filter(|(n, run)| !is_over(run) && !has_ended(**n) && !runs_elsewhere(n, run))
            .map(|(n, run)| (*n, run.attempt))
            .collect();
        for n in waits.keys() {
            self.waiting.entry(*n).or_default().push(self.kills.len());
        }
        self.kills.push(Kill {
            at,
            ran: waits.len(),
            waits,
            last: at,
            slowest: None,
            struck: Vec::new(),
        });
    }

    /// A process has ended in good order: what it did not finish it has
    /// handed back.
    pub(crate) fn ended(&mut self, process: u32) {
        self.running.remove(&process);
    }

    /// Another fault was under way.
    pub(crate) fn other(&mut self, other: Other) {
        self.others.push(other);
    }

    /// How much time a kill at this time is given, and whether it was alone.
    /// What is delivered anew may fall into the hands of a worker that is
    /// frozen or cut off, where nobody can tell, so that the time begins
    /// with the end of such a fault.
    fn allowed(&self, at: u64, bar: u64) -> (u64, bool) {
        let mut until = at + bar;
        let mut alone = true;
        // Sorted by their beginning when they are added one by one, but for
        // those that end later: look until nothing changes.
        loop {
            let touches = |other: &&Other| other.from < until && other.to + bar > until;
            let Some(other) = self.others.iter().filter(|o| o.to + bar > at).find(touches) else {
                return (until - at, alone);
            };
            alone = false;
            until = other.to + bar;
        }
    }

    /// The figures, and the recoveries that took longer than the bar.
    pub(crate) fn measured(&self, bar: Duration) -> (Measured, Vec<Late>) {
        let bar = u64::try_from(bar.as_micros()).unwrap_or(u64::MAX);
        let seconds = |micros: u64| (micros as f64 / 1e4).round() / 100.0;
        let (mut alone_took, mut late) = (Vec::new(), Vec::new());
        let mut measured = Measured {
            kills: self.kills.len(),
            ..Measured::default()
        };
        for kill in &self.kills {
            let took = kill.last - kill.at;
            measured.tasks += kill.ran;
            measured.max_of_all = measured.max_of_all.max(seconds(took));
            let (allowed, alone) = self.allowed(kill.at, bar);
            if alone && kill.ran > 0 {
                alone_took.push(took);
            }
            let slowest = kill.waits.keys().next().copied().or(kill.slowest);
            if let Some(n) = slowest
                && (took > allowed || !kill.waits.is_empty())
            {
                late.push(Late {
                    n,
                    took: Duration::from_micros(took),
                    allowed: Duration::from_micros(allowed),
                });
            }
            for struck in &kill.struck {
                measured.struck_again += 1;
                measured.max_struck_again = measured.max_struck_again.max(seconds(struck.took));
                // A lease more for each worker that had it.
                let allowed = allowed + struck.times * LEASE;
                if struck.took > allowed {
                    late.push(Late {
                        n: struck.n,
                        took: Duration::from_micros(struck.took),
                        allowed: Duration::from_micros(allowed),
                    });
                }
            }
        }
        alone_took.sort_unstable();
        measured.alone = alone_took.len();
        measured.max = alone_took.last().map_or(0.0, |took| seconds(*took));
        let median = alone_took.get(alone_took.len() / 2);
        measured.median = median.map_or(0.0, |took| seconds(*took));
        (measured, late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const BAR: Duration = Duration::from_secs(10);

    fn start(n: u32, second: u64) -> Note {
        let (what, at) = (What::Start, second * SECOND);
        let attempt = 1 + u32::from(second > 10);
        Note {
            what,
            n,
            at,
            attempt,
        }
    }

    /// A process that is killed at 10 s, with tasks 1 and 2.
    fn killed() -> Recovery {
        let mut recovery = Recovery::default();
        recovery.noted(1, start(1, 9));
        recovery.noted(1, start(2, 9));
        recovery.noted(1, start(3, 9));
        recovery.recorded(3, 9 * SECOND, 2);
        recovery.killed(1, 10 * SECOND, |_| false);
        recovery
    }

    #[test]
    fn a_kill_is_got_over_when_the_last_task_started_again_or_ended() {
        let mut recovery = killed();
        recovery.noted(2, start(1, 15));
        recovery.recorded(2, 17 * SECOND, 2);
        // Later ends are no part of it.
        recovery.recorded(1, 99 * SECOND, 2);
        let (measured, late) = recovery.measured(BAR);
        assert_eq!((measured.kills, measured.tasks), (1, 2));
        assert_eq!((measured.max, measured.median), (7.0, 7.0));
        assert!(late.is_empty());
    }

    #[test]
    fn one_that_takes_too_long_or_never_comes_is_found() {
        let mut recovery = killed();
        recovery.noted(2, start(1, 21));
        recovery.noted(2, start(2, 19));
        let (_, late) = recovery.measured(BAR);
        assert_eq!((late.len(), late[0].n, late[0].took.as_secs()), (1, 1, 11));

        let mut recovery = killed();
        recovery.noted(2, start(1, 12));
        assert_eq!(recovery.measured(BAR).1[0].n, 2);
    }

    #[test]
    fn another_fault_gives_it_time_from_its_end_on() {
        let mut recovery = killed();
        let (from, to) = (8 * SECOND, 14 * SECOND);
        recovery.other(Other { from, to });
        recovery.noted(2, start(1, 23));
        recovery.noted(2, start(2, 23));
        let (measured, late) = recovery.measured(BAR);
        assert_eq!((measured.max, measured.max_of_all), (0.0, 13.0));
        assert!(late.is_empty());
    }

    #[test]
    fn a_task_whose_next_worker_died_before_it_began_has_a_lease_more() {
        for (second, is_late) in [(25, false), (27, true)] {
            let mut recovery = killed();
            recovery.noted(2, start(2, 16));
            let attempt = 3;
            recovery.noted(
                3,
                Note {
                    attempt,
                    ..start(1, second)
                },
            );
            let (measured, late) = recovery.measured(BAR);
            assert_eq!((measured.max, measured.struck_again), (6.0, 1));
            assert_eq!(!late.is_empty(), is_late, "{late:?}");
        }
    }

    #[test]
    fn an_attempt_that_ended_before_the_kill_is_not_waited_for() {
        let mut recovery = Recovery::default();
        recovery.noted(1, start(1, 1));
        let what = What::Failure;
        recovery.noted(
            1,
            Note {
                what,
                ..start(1, 1)
            },
        );
        recovery.killed(1, 10 * SECOND, |_| false);
        assert_eq!(recovery.measured(BAR).0.tasks, 0);
    }
}
