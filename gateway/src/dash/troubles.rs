//! What is wrong, the worst first: what an operator who is woken at night is
//! to see, since when it is so, and what to do.

use std::collections::BTreeMap;
use std::time::Duration;

use taskq::admin::{Finding, Severity, WorkerInfo};
use taskq::{Paused, QueueDepth, Timestamp};

use super::address;
use super::show::{count, counted, length};
use crate::index::{Lag, TypeCount};
use crate::pulse::Sample;

/// How long the first of a queue may wait while nothing of it runs.
const STILL: Duration = Duration::from_secs(60);
/// How much longer than before a queue is that grows.
const MORE: u64 = 100;
/// Of how many ended tasks a share says something.
const ENOUGH: u64 = 5;
/// How far behind the index may be without a word.
const BEHIND: u64 = 10_000;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Whether it is an error, and not only a warning.
    pub(super) bad: bool,
    /// What, in a sentence.
    pub(super) what: String,
    /// Why, and what to do.
    pub(super) why: String,
    /// Since when.
    pub(super) since: Option<Timestamp>,
    /// Where to look: word and address.
    pub(super) look: Option<(&'static str, String)>,
    /// What mends it: word, verb and what it is done to.
    pub(super) mend: Option<(&'static str, &'static str, String)>,
}

impl Trouble {
    fn new(bad: bool, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            bad,
            what: what.into(),
            why: why.into(),
            since: None,
            look: None,
            mend: None,
        }
    }

    fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    fn look(mut self, word: &'static str, address: String) -> Self {
        self.look = Some((word, address));
        self
    }

    fn mend(mut self, word: &'static str, verb: &'static str, name: &str) -> Self {
        self.mend = Some((word, verb, name.to_owned()));
        self
    }
}

/// What is known.
pub(super) struct Facts<'a> {
    pub(super) now: Timestamp,
    /// How the whole does now.
    pub(super) sample: &'a Sample,
    /// How it did some minutes before.
    pub(super) before: Option<&'a Sample>,
    /// The living workers; none where they could not be asked.
    pub(super) workers: Option<&'a [WorkerInfo]>,
    /// What the doctor found.
    pub(super) findings: &'a [Finding],
    /// How the task types went in the last quarter of an hour.
    pub(super) types: &'a [TypeCount],
    /// The last error of those that fail.
    pub(super) errors: &'a BTreeMap<String, String>,
    /// How far behind the index is.
    pub(super) lag: &'a [Lag],
}

/// What is wrong, the worst first; and what is only worth knowing.
pub(super) fn troubles(facts: &Facts<'_>) -> (Vec<Trouble>, Vec<Trouble>) {
    let mut found = Vec::new();
    let mut advice = Vec::new();
    if let Some(why) = &facts.sample.trouble {
        let why = format!(
            "{why}. What is below may be old. See that nats-server runs and can be reached from here."
        );
        found.push(Trouble::new(true, "NATS cannot be asked", why));
    }
    for lag in facts.lag {
        found.extend(behind(lag));
    }
    for queue in &facts.sample.queues {
        found.extend(of_queue(facts, queue));
    }
    for (task, set) in &facts.sample.task_settings {
        if let Some(paused) = &set.paused {
            let what = format!("Task type {task} is paused");
            found.push(
                Trouble::new(false, what, by(paused))
                    .since(Some(paused.at))
                    .mend("Resume", "type.resume", task),
            );
        }
    }
    found.extend(facts.types.iter().filter_map(|one| failing(facts, one)));
    for finding in facts.findings {
        // Told above, with what mends it.
        let told = finding.check == "paused" || finding.found.contains("which no worker serves");
        if told || finding.severity == Severity::Ok {
            continue;
        }
        let bad = finding.severity == Severity::Error;
        let trouble = Trouble::new(bad, sentence(&finding.found), sentence(&finding.mend));
        if bad {
            found.push(trouble);
        } else if finding.check == "dead letters" {
            advice.push(trouble.look("Look", "failures".to_owned()));
        } else {
            advice.push(trouble);
        }
    }
    // As they were found where both are as bad.
    found.sort_by_key(|trouble| !trouble.bad);
    (found, advice)
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn by(paused: &Paused) -> String {
    match &paused.because {
        Some(because) => format!("By {}: {because}", paused.by),
        None => format!("By {}, who did not say why.", paused.by),
    }
}

fn behind(lag: &Lag) -> Option<Trouble> {
    let source = lag.source.replace('_', " ");
    if let Some(trouble) = &lag.trouble {
        let what = format!("Lists do not follow the {source}");
        return Some(Trouble::new(true, what, trouble.clone()));
    }
    let records = lag.records.filter(|records| *records > BEHIND)?;
    let what = format!("Lists are {} {source} behind", count(records));
    let why = "The index is being filled. What is listed and counted is not the latest.";
    Some(Trouble::new(false, what, why))
}

fn of_queue(facts: &Facts<'_>, queue: &QueueDepth) -> Option<Trouble> {
    let name = &queue.queue;
    let oldest = facts.sample.oldest.get(name).copied();
    let page = address::of("queues", name);
    let set = facts.sample.queue_settings.get(name);
    if let Some(paused) = set.and_then(|set| set.paused.as_ref()) {
        let what = format!("Queue {name} is paused");
        let mut why = end(by(paused));
        if queue.pending > 0 {
            why.push_str(&format!(" {} in it.", wait(queue.pending)));
        }
        let trouble = Trouble::new(false, what, why).since(Some(paused.at));
        return Some(
            trouble
                .look("Look", page)
                .mend("Resume", "queue.resume", name),
        );
    }
    let waiting = queue.pending.saturating_sub(queue.held);
    if waiting == 0 {
        return None;
    }
    if let Some(workers) = facts.workers
        && !workers.iter().any(|worker| worker.queues.contains(name))
    {
        let what = format!("No worker serves queue {name}");
        let why = format!("{}. Start one: worker --queues {name}", wait(waiting));
        return Some(
            Trouble::new(true, what, why)
                .since(oldest)
                .look("Look", page),
        );
    }
    let age = oldest.map_or(Duration::ZERO, |oldest| facts.now.since(oldest));
    if queue.running == 0 && age > STILL {
        let what = format!("Queue {name} stands still");
        let why = format!(
            "{}, nothing runs, and workers serve it. A task's page tells why it does not start.",
            wait(waiting)
        );
        return Some(
            Trouble::new(true, what, why)
                .since(oldest)
                .look("Look", page),
        );
    }
    let before = facts.before?;
    let was = before.queues.iter().find(|was| was.queue == *name);
    let was = was.map_or(0, |was| was.pending);
    if queue.pending > was + MORE && queue.pending > was + was / 2 && age > STILL / 2 {
        let what = format!("Queue {name} grows");
        let time = length(facts.sample.at.since(before.at).as_secs() as f64);
        let why = format!(
            "From {} to {} waiting in {time}; its first waits for {}. It takes more workers, or \
             more slots.",
            count(was),
            count(queue.pending),
            length(age.as_secs() as f64),
        );
        return Some(
            Trouble::new(false, what, why)
                .since(oldest)
                .look("Look", page),
        );
    }
    None
}

fn wait(waiting: u64) -> String {
    let s = if waiting == 1 { "s" } else { "" };
    format!("{} wait{s}", counted(waiting, "task"))
}

fn end(text: String) -> String {
    if text.ends_with(['.', '!', '?']) {
        text
    } else {
        format!("{text}.")
    }
}

fn failing(facts: &Facts<'_>, one: &TypeCount) -> Option<Trouble> {
    if one.ended < ENOUGH || one.failed * 5 < one.ended {
        return None;
    }
    let what = format!(
        "{} fails: {} of {} in the last 15 min",
        one.task,
        count(one.failed),
        count(one.ended)
    );
    let why = facts.errors.get(&one.task).cloned().unwrap_or_default();
    let tasks = [("task", one.task.as_str()), ("state", "failed")];
    let trouble = Trouble::new(one.failed * 2 >= one.ended, what, why);
    Some(trouble.look("Look", address::with("tasks", tasks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn at(seconds_ago: i64) -> Timestamp {
        Timestamp::from_millis(NOW - seconds_ago * 1000)
    }

    fn depth(queue: &str, pending: u64, running: u64) -> QueueDepth {
        QueueDepth {
            queue: queue.to_owned(),
            pending,
            running,
            ..QueueDepth::default()
        }
    }

    fn sample(ago: i64, queues: Vec<QueueDepth>) -> Sample {
        Sample {
            at: at(ago),
            queues,
            oldest: BTreeMap::new(),
            queue_settings: BTreeMap::new(),
            task_settings: BTreeMap::new(),
            whole: true,
            trouble: None,
        }
    }

    fn worker(queue: &str) -> WorkerInfo {
        serde_json::from_value(serde_json::json!({
            "worker": "w1", "namespace": "taskq", "mode": "jetstream", "queues": [queue],
            "concurrency": 4, "tasks": [],
        }))
        .unwrap()
    }

    fn seen(
        sample: &Sample,
        before: Option<&Sample>,
        workers: &[WorkerInfo],
        types: &[TypeCount],
    ) -> Vec<Trouble> {
        troubles(&Facts {
            now: at(0),
            sample,
            before,
            workers: Some(workers),
            findings: &[],
            types,
            errors: &BTreeMap::new(),
            lag: &[],
        })
        .0
    }

    #[test]
    fn a_queue_that_works_is_no_trouble() {
        let now = sample(0, vec![depth("email", 50, 4)]);
        assert_eq!(seen(&now, None, &[worker("email")], &[]), []);
    }

    #[test]
    fn a_queue_that_nobody_serves_or_that_stands_still_is_bad() {
        let mut now = sample(0, vec![depth("email", 3, 0)]);
        now.oldest.insert("email".to_owned(), at(90));
        let found = seen(&now, None, &[worker("other")], &[]);
        assert_eq!(found[0].what, "No worker serves queue email");
        assert_eq!(found[0].since, Some(at(90)));
        let found = seen(&now, None, &[worker("email")], &[]);
        assert_eq!(found[0].what, "Queue email stands still");
        assert!(found[0].bad);
    }

    #[test]
    fn a_paused_queue_is_told_with_who_paused_it_and_what_mends_it() {
        let mut now = sample(0, vec![depth("email", 3, 0)]);
        let mut set = taskq::QueueSettings::default();
        set.paused = Some(Paused {
            by: "ada".to_owned(),
            at: at(60),
            because: Some("wrong template".to_owned()),
        });
        now.queue_settings.insert("email".to_owned(), set);
        let found = seen(&now, None, &[], &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].why, "By ada: wrong template. 3 tasks wait in it.");
        assert_eq!(
            found[0].mend,
            Some(("Resume", "queue.resume", "email".to_owned()))
        );
    }

    #[test]
    fn a_queue_grows_when_it_is_longer_than_before_and_its_first_waits() {
        let before = sample(600, vec![depth("email", 100, 4)]);
        let mut now = sample(0, vec![depth("email", 900, 4)]);
        assert_eq!(seen(&now, Some(&before), &[worker("email")], &[]), []);
        now.oldest.insert("email".to_owned(), at(120));
        let found = seen(&now, Some(&before), &[worker("email")], &[]);
        assert_eq!(found[0].what, "Queue email grows");
    }

    #[test]
    fn a_type_fails_when_a_fifth_of_enough_tasks_did_and_the_worst_is_first() {
        let now = sample(0, Vec::new());
        let type_of = |task: &str, ended, failed| TypeCount {
            task: task.to_owned(),
            ended,
            failed,
        };
        let types = [
            type_of("few", 4, 4),
            type_of("good", 100, 19),
            type_of("poor", 100, 20),
            type_of("worst", 10, 5),
        ];
        let found = seen(&now, None, &[], &types);
        let names: Vec<_> = found
            .iter()
            .map(|one| one.what.split(' ').next().unwrap())
            .collect();
        assert_eq!(names, ["worst", "poor"]);
        assert!(found[0].bad && !found[1].bad);
    }
}
