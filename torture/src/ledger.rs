//! What was sent and what became of it, and whether all of that may be.
//!
//! | invariant | what is checked |
//! |---|---|
//! | I1 | every accepted task has an outcome |
//! | I2 | it has one, which may be, with the right value; it is what its waiter was told, and stays as it was |
//!
//! besides: cancelled is only what somebody wished to cancel, and a canceller
//! was told what came of it; what failed was tried as often as its policy
//! says; a call that was merged into another never ran; no two tasks of one
//! key lived at a time; nothing was started past its deadline.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;
use taskq::{Cancellation, DeadReason, FailureKind, Outcome, OutcomeState, TaskId};

use crate::notes::{Note, What};
use crate::tasks::{HOPELESS_RETRIES, Kind};

/// How much two times that the servers took may differ from their order.
const CLOCK_SLACK: i64 = 5;
/// How long after the look at its deadline a task may note its start, in
/// microseconds: on a busy machine the two are apart.
const START_SLACK: u64 = 1_000_000;
/// How many violations are told one by one.
const MOST_TOLD: usize = 50;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    /// What is broken.
    pub(crate) what: &'static str,
    /// The id of the task; empty where it is about none.
    pub(crate) id: String,
    /// What was found.
    pub(crate) detail: String,
}

/// What the sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// Nothing yet.
    Unknown,
    Accepted,
    /// Refused, or not answered in time: it may have been stored.
    Refused,
    /// It is another task already.
    Merged,
}

/// What a canceller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    Sent,
    Told(Cancellation),
}

/// A task, in few bytes: a run has millions.
#[derive(Debug)]
struct Entry {
    /// The UUID, or 0 for a task of a name that follows from its number.
    id: u128,
    digest: u64,
    told: u64,
    kind: Kind,
    sent: Sent,
    wish: Wish,
    state: Option<OutcomeState>,
    dead: Option<DeadReason>,
    starts: u16,
    finishes: u16,
    failures: u16,
}

/// When a task of a key lived, in milliseconds by the server's clock.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: i64,
    to: i64,
    n: u32,
}

/// All tasks of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    /// Accepted and without an outcome.
    pending: usize,
    refusals: BTreeMap<String, u64>,
    lives: HashMap<u32, Vec<Life>>,
    /// The last start of tasks that have a deadline.
    last_starts: HashMap<u32, u64>,
    /// The deadlines of those that expired, in milliseconds.
    expired: HashMap<u32, i64>,
    violations: Vec<Violation>,
    count_violations: u64,
}

/// What was counted in a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) accepted: u64,
    pub(crate) merged: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    /// Refused, and stored all the same: the answer was lost.
    pub(crate) refused_but_stored: u64,
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    pub(crate) lost: u64,
    pub(crate) dead_letters: u64,
    pub(crate) told_to_waiters: u64,
    pub(crate) attempts: u64,
    /// Tasks with more starts than failures and an end ask for.
    pub(crate) started_again: u64,
    /// Tasks that had their effect more than once.
    pub(crate) finished_again: u64,
    pub(crate) cancels_wished: u64,
}

/// What an outcome says, in one number.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    // 0 stands for none.
    hasher.finish().max(1)
}

/// The name of a task that is sent by its name.
pub(crate) fn name(n: u32) -> String {
    format!("torture-{n}")
}

impl Ledger {
    /// A task that is about to be sent. Its number.
    pub(crate) fn begin(&mut self, kind: Kind) -> u32 {
        // So many do not fit in memory.
        let n = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry {
            id: 0,
            digest: 0,
            told: 0,
            kind,
            sent: Sent::Unknown,
            wish: Wish::None,
            state: None,
            dead: None,
            starts: 0,
            finishes: 0,
            failures: 0,
        });
        n
    }

    fn entry(&mut self, n: u32) -> Option<&mut Entry> {
        self.entries.get_mut(n as usize)
    }

    /// The broker has it.
    pub(crate) fn accepted(&mut self, n: u32, id: &TaskId) {
        let Some(entry) = self.entry(n) else { return };
        entry.sent = Sent::Accepted;
        let digits: String = id.as_str().chars().filter(|c| *c != '-').collect();
        if id.as_str() != name(n) {
            entry.id = u128::from_str_radix(&digits, 16).unwrap_or(0);
        }
        if entry.state.is_none() {
            self.pending += 1;
        }
    }

    /// The sender got the handle of another task.
    pub(crate) fn merged(&mut self, n: u32) {
        if let Some(entry) = self.entry(n) {
            entry.sent = Sent::Merged;
        }
    }

    /// The sender was told that it may not be there.
    pub(crate) fn refused(&mut self, n: u32, reason: String) {
        if let Some(entry) = self.entry(n) {
            entry.sent = Sent::Refused;
        }
        *self.refusals.entry(reason).or_default() += 1;
    }

    /// Somebody is about to ask that it should not go on.
    pub(crate) fn wishes(&mut self, n: u32) {
        if let Some(entry) = self.entry(n) {
            entry.wish = Wish::Sent;
        }
    }

    /// What the canceller was told.
    pub(crate) fn cancelled(&mut self, n: u32, told: Cancellation) {
        if let Some(entry) = self.entry(n) {
            entry.wish = Wish::Told(told);
        }
    }

    /// What a waiter was told.
    pub(crate) fn told(&mut self, n: u32, outcome: &Outcome) {
        if let Some(entry) = self.entry(n) {
            entry.told = digest(&outcome.encode());
        }
    }

    /// Accepted tasks that have not ended.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has an outcome.
    pub(crate) fn has_ended(&self, n: u32) -> bool {
        let entry = self.entries.get(n as usize);
        entry.is_some_and(|entry| entry.state.is_some())
    }

    pub(crate) fn is_blameless(&self) -> bool {
        self.count_violations == 0
    }

    pub(crate) fn violate(&mut self, what: &'static str, id: String, detail: String) {
        self.count_violations += 1;
        if self.violations.len() < MOST_TOLD {
            self.violations.push(Violation { what, id, detail });
        }
    }

    /// The id of a task.
    pub(crate) fn id(&self, n: u32) -> String {
        let id = self.entries.get(n as usize).map_or(0, |entry| entry.id);
        if id == 0 {
            return name(n);
        }
        let hex = format!("{id:032x}");
        let groups = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        groups.join("-")
    }

    /// What a task noted.
    pub(crate) fn noted(&mut self, note: Note) {
        let n = note.n;
        let Some(entry) = self.entry(n) else {
            self.violate("a task that nobody sent ran", name(n), format!("{note:?}"));
            return;
        };
        let count = match note.what {
            What::Start => &mut entry.starts,
            What::Finish => &mut entry.finishes,
            What::Failure => &mut entry.failures,
            What::Refused => return,
        };
        *count = count.saturating_add(1);
        if note.what == What::Start && entry.kind == Kind::Deadline {
            let last = self.last_starts.entry(n).or_default();
            *last = (*last).max(note.at);
        }
    }

    /// An outcome that the server has stored at this time, in microseconds.
    pub(crate) fn recorded(&mut self, n: u32, outcome: &Outcome, at: u64) {
        let Some(entry) = self.entry(n) else {
            let id = outcome.id.to_string();
            return self.violate(
                "an outcome of a task that nobody sent",
                id,
                format!("{outcome:?}"),
            );
        };
        let new = digest(&outcome.encode());
        let (kind, wish) = (entry.kind, entry.wish);
        if entry.state.is_some() {
            return self.violate(
                "a second outcome",
                outcome.id.to_string(),
                format!("{outcome:?}"),
            );
        }
        entry.state = Some(outcome.state);
        entry.dead = outcome.dead;
        entry.digest = new;
        if entry.sent == Sent::Accepted {
            self.pending -= 1;
        }
        if let Err(what) = may_be(kind, n, wish, outcome) {
            self.violate(what, outcome.id.to_string(), format!("{outcome:?}"));
        }
        let label = |name: &str| outcome.labels.get(name);
        if let Some(key) = label(KEY).and_then(as_i64)
            && let Ok(key) = u32::try_from(key)
        {
            let from = outcome.enqueued_at.as_millis();
            let to = i64::try_from(at / 1000).unwrap_or(i64::MAX);
            self.lives
                .entry(key)
                .or_default()
                .push(Life { from, to, n });
        }
        if outcome.state == OutcomeState::Expired
            && let Some(deadline) = label(DEADLINE).and_then(as_i64)
        {
            self.expired.insert(n, deadline);
        }
    }

    /// Looks at the whole, when nothing more is to come. `letters` are the
    /// dead letters that there are, by the number of their task.
    pub(crate) fn close(&mut self, letters: &HashMap<u32, DeadReason>) {
        let mut found = Vec::new();
        for (n, entry) in (0..).zip(&self.entries) {
            let mut add = |what, detail: String| found.push((what, n, detail));
            match (entry.sent, entry.state) {
                (Sent::Accepted, None) => add(
                    "a lost task",
                    format!(
                        "{:?}, {} starts, {} finishes",
                        entry.kind, entry.starts, entry.finishes
                    ),
                ),
                (Sent::Merged, Some(_)) => {
                    add(
                        "a call that is another task already has an outcome",
                        String::new(),
                    );
                }
                (Sent::Merged, None) if entry.starts > 0 => {
                    add("a call that is another task already ran", String::new());
                }
                _ => {}
            }
            let Some(state) = entry.state else { continue };
            if entry.told != 0 && entry.told != entry.digest {
                add(
                    "a waiter was told another outcome than is recorded",
                    String::new(),
                );
            }
            match entry.wish {
                Wish::Told(Cancellation::Cancelled) if state != OutcomeState::Cancelled => {
                    add(
                        "a canceller was told that it is cancelled",
                        format!("it {state}"),
                    );
                }
                Wish::Told(Cancellation::TooLate(told)) if state != told => {
                    add(
                        "a canceller was told another end",
                        format!("{told}, and it {state}"),
                    );
                }
                _ => {}
            }
            if entry.starts == 0 && state == OutcomeState::Succeeded {
                add("it succeeded and never ran", String::new());
            }
            if state == OutcomeState::Succeeded && entry.finishes == 0 {
                add("it succeeded and never finished", String::new());
            }
            if entry.kind == Kind::Hopeless
                && state == OutcomeState::Failed
                && u32::from(entry.failures) < HOPELESS_RETRIES + 1
            {
                add(
                    "it was given up too soon",
                    format!("{} failures", entry.failures),
                );
            }
            match (entry.dead, letters.get(&n)) {
                (Some(reason), Some(letter)) if reason == *letter => {}
                (None, None) => {}
                (dead, letter) => add(
                    "its dead letter",
                    format!("{dead:?} is recorded, {letter:?} is there"),
                ),
            }
        }
        for lives in self.lives.values_mut() {
            lives.sort_unstable_by_key(|life| life.from);
            // What has lived the longest so far, as one may outlive the next.
            let mut longest: Option<Life> = None;
            for life in lives {
                if let Some(other) = longest
                    && other.to > life.from + CLOCK_SLACK
                {
                    let detail = format!(
                        "{} lived from {} to {}, this from {}",
                        other.n, other.from, other.to, life.from
                    );
                    found.push(("two tasks of one key at a time", life.n, detail));
                }
                if longest.is_none_or(|other| other.to < life.to) {
                    longest = Some(*life);
                }
            }
        }
        for (n, deadline) in &self.expired {
            let limit = u64::try_from(deadline * 1000).unwrap_or(0) + START_SLACK;
            if let Some(start) = self.last_starts.get(n).filter(|start| **start > limit) {
                let detail = format!("its deadline was {deadline}, it started at {start} µs");
                found.push(("an expired task ran", *n, detail));
            }
        }
        for (what, n, detail) in found {
            self.violate(what, self.id(n), detail);
        }
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts {
            sent: self.entries.len() as u64,
            refused: self.refusals.clone(),
            ..Counts::default()
        };
        for entry in &self.entries {
            let has_ended = entry.state.is_some();
            match entry.sent {
                Sent::Accepted => {
                    counts.accepted += 1;
                    counts.lost += u64::from(!has_ended);
                }
                Sent::Merged => counts.merged += 1,
                Sent::Refused | Sent::Unknown => {
                    counts.refused_but_stored += u64::from(has_ended);
                }
            }
            if let Some(state) = entry.state {
                *counts.outcomes.entry(state.as_str()).or_default() += 1;
            }
            counts.dead_letters += u64::from(entry.dead.is_some());
            counts.told_to_waiters += u64::from(entry.told != 0);
            counts.cancels_wished += u64::from(entry.wish != Wish::None);
            counts.attempts += u64::from(entry.starts);
            counts.finished_again += u64::from(entry.finishes > 1);
            counts.started_again += u64::from(entry.starts > entry.failures.saturating_add(1));
        }
        counts
    }

    /// The first violations, and how many there are.
    pub(crate) fn violations(&self) -> (&[Violation], u64) {
        (&self.violations, self.count_violations)
    }
}

/// The label that has the key of a unique task.
pub(crate) const KEY: &str = "key";
/// The library's label of the deadline, in milliseconds since 1970.
const DEADLINE: &str = "taskq_deadline";

/// Labels cross the wire as text.
pub(crate) fn as_i64(label: &serde_json::Value) -> Option<i64> {
    match label {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}

/// Whether a task of this kind may end so; what is wrong, if not.
fn may_be(kind: Kind, n: u32, wish: Wish, outcome: &Outcome) -> Result<(), &'static str> {
    let failures = outcome.attempts.len();
    match outcome.state {
        OutcomeState::Succeeded => {
            if kind == Kind::Hopeless {
                return Err("it succeeded, which it cannot");
            }
            if outcome.value::<u64>().ok() != Some(kind.value(n)) {
                return Err("a wrong value");
            }
            let most = match kind {
                Kind::Flaky => Kind::failures(n) as usize,
                _ => 0,
            };
            if failures > most {
                return Err("more failures than it had");
            }
            Ok(())
        }
        OutcomeState::Failed => {
            let error = outcome.error.as_ref().map(|error| error.kind);
            match (kind, error, outcome.dead) {
                (Kind::Hopeless, Some(FailureKind::Error), Some(DeadReason::Exhausted)) => {
                    if failures != HOPELESS_RETRIES as usize {
                        return Err("other failures than its policy says");
                    }
                    Ok(())
                }
                (Kind::Deadline, Some(FailureKind::Deadline), _) => Ok(()),
                _ => Err("it failed, which it cannot"),
            }
        }
        OutcomeState::Cancelled if wish == Wish::None => Err("cancelled by nobody"),
        OutcomeState::Cancelled => Ok(()),
        OutcomeState::Expired if kind != Kind::Deadline => Err("it expired without a deadline"),
        OutcomeState::Expired => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(n: u32, state: &str, more: serde_json::Value) -> Outcome {
        let mut record = serde_json::json!({
            "task_id": name(n), "task_name": "quick", "queue": "default", "state": state,
            "is_err": state != "succeeded", "return_value": n * 7 + 1, "error": null,
            "execution_time": 0.0, "attempt": 1, "worker": "one",
            "enqueued_at": "2026-01-01T00:00:00.000Z", "started_at": null,
            "finished_at": "2026-01-01T00:00:00.000Z", "labels": {},
        });
        if let (Some(record), serde_json::Value::Object(more)) = (record.as_object_mut(), more) {
            record.extend(more);
        }
        Outcome::decode(record.to_string().as_bytes()).unwrap()
    }

    fn none() -> serde_json::Value {
        serde_json::json!({})
    }

    fn note(what: What, n: u32, at: u64) -> Note {
        let attempt = 1;
        Note {
            what,
            n,
            at,
            attempt,
        }
    }

    /// A task of this kind that was accepted and ran once.
    fn ran(ledger: &mut Ledger, kind: Kind) -> u32 {
        let n = ledger.begin(kind);
        ledger.accepted(n, &name(n).into());
        for what in [What::Start, What::Finish] {
            ledger.noted(note(what, n, 1));
        }
        n
    }

    fn found(ledger: &mut Ledger) -> Vec<&'static str> {
        ledger.close(&HashMap::new());
        ledger.violations().0.iter().map(|it| it.what).collect()
    }

    #[test]
    fn a_good_run_has_no_violation() {
        let mut ledger = Ledger::default();
        let n = ran(&mut ledger, Kind::Quick);
        assert_eq!(ledger.pending(), 1);
        let outcome = outcome(n, "succeeded", none());
        ledger.recorded(n, &outcome, 1);
        ledger.told(n, &outcome);
        assert_eq!(ledger.pending(), 0);
        assert!(found(&mut ledger).is_empty());
        let counts = ledger.counts();
        assert_eq!((counts.accepted, counts.attempts, counts.lost), (1, 1, 0));
    }

    #[test]
    fn a_lost_task_is_found_with_its_id() {
        let mut ledger = Ledger::default();
        let n = ledger.begin(Kind::Quick);
        let id = "01a20186-7b84-7592-a201-18365944935a";
        ledger.accepted(n, &id.into());
        assert_eq!(found(&mut ledger), ["a lost task"]);
        assert_eq!(ledger.violations().0[0].id, id);
        assert_eq!(ledger.counts().lost, 1);
    }

    #[test]
    fn a_refused_task_may_have_an_outcome_or_none() {
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            let n = ran(&mut ledger, Kind::Quick);
            ledger.refused(n, "unavailable".to_owned());
        }
        ledger.pending = 0;
        ledger.recorded(0, &outcome(0, "succeeded", none()), 1);
        assert!(found(&mut ledger).is_empty());
        assert_eq!(ledger.counts().refused_but_stored, 1);
    }

    #[test]
    fn a_second_outcome_is_found() {
        let mut ledger = Ledger::default();
        let n = ran(&mut ledger, Kind::Quick);
        ledger.recorded(n, &outcome(n, "succeeded", none()), 1);
        ledger.recorded(n, &outcome(n, "succeeded", none()), 2);
        assert_eq!(found(&mut ledger), ["a second outcome"]);
    }

    #[test]
    fn an_outcome_that_differs_from_what_a_waiter_was_told_is_found() {
        let mut ledger = Ledger::default();
        let n = ran(&mut ledger, Kind::Quick);
        ledger.recorded(n, &outcome(n, "succeeded", none()), 1);
        let other = serde_json::json!({ "worker": "two" });
        ledger.told(n, &outcome(n, "succeeded", other));
        assert_eq!(
            found(&mut ledger),
            ["a waiter was told another outcome than is recorded"]
        );
    }

    #[test]
    fn a_wrong_value_is_found() {
        let mut ledger = Ledger::default();
        let n = ran(&mut ledger, Kind::Quick);
        let wrong = serde_json::json!({ "return_value": 0 });
        ledger.recorded(n, &outcome(n, "succeeded", wrong), 1);
        assert_eq!(found(&mut ledger), ["a wrong value"]);
    }

    #[test]
    fn a_task_that_was_cancelled_by_nobody_is_found_and_one_that_was_not_after_all() {
        let mut ledger = Ledger::default();
        let n = ran(&mut ledger, Kind::Sleeping);
        ledger.recorded(n, &outcome(n, "cancelled", none()), 1);
        let n = ran(&mut ledger, Kind::Sleeping);
        ledger.wishes(n);
        ledger.cancelled(n, Cancellation::Cancelled);
        ledger.recorded(n, &outcome(n, "succeeded", none()), 1);
        let both = [
            "cancelled by nobody",
            "a canceller was told that it is cancelled",
        ];
        assert_eq!(found(&mut ledger), both);
    }

    #[test]
    fn a_dead_letter_that_is_not_there_is_found() {
        let mut ledger = Ledger::default();
        let n = ran(&mut ledger, Kind::Hopeless);
        for _ in 0..3 {
            ledger.noted(note(What::Failure, n, 1));
        }
        let error =
            serde_json::json!({ "exc_type": "", "exc_message": ["never"], "kind": "error" });
        let failed = serde_json::json!({
            "attempt": 1, "worker": "w", "error": error,
            "started_at": "2026-01-01T00:00:00.000Z", "finished_at": "2026-01-01T00:00:00.000Z",
        });
        let dead = serde_json::json!({
            "dead": "exhausted", "error": error, "attempts": [failed, failed],
        });
        ledger.recorded(n, &outcome(n, "failed", dead), 1);
        let letter = HashMap::from([(n, DeadReason::Exhausted)]);
        ledger.close(&letter);
        assert!(ledger.is_blameless(), "{:?}", ledger.violations());
        assert_eq!(found(&mut ledger), ["its dead letter"]);
    }

    #[test]
    fn two_tasks_of_one_key_at_a_time_are_found() {
        let mut ledger = Ledger::default();
        let key = serde_json::json!({ "labels": { "key": "3" } });
        let day = 1_767_225_600_000_000;
        // One that ended before the other began, and one that did not.
        for (seconds, ends) in [(0, 1), (2, 9), (5, 6)] {
            let n = ran(&mut ledger, Kind::Unique);
            let mut more = key.clone();
            more["enqueued_at"] = format!("2026-01-01T00:00:0{seconds}.000Z").into();
            let at = day + ends * 1_000_000;
            ledger.recorded(n, &outcome(n, "succeeded", more), at);
        }
        assert_eq!(found(&mut ledger), ["two tasks of one key at a time"]);
    }

    #[test]
    fn an_expired_task_that_ran_is_found() {
        let mut ledger = Ledger::default();
        let n = ran(&mut ledger, Kind::Deadline);
        let late = serde_json::json!({ "labels": { "taskq_deadline": "1000" } });
        ledger.recorded(n, &outcome(n, "expired", late), 1);
        ledger.noted(note(What::Start, n, 5_000_000));
        assert_eq!(found(&mut ledger), ["an expired task ran"]);
    }
}
