//! What a million tasks leave in the streams, stored as workers, clients and
//! operators would have.

use std::collections::VecDeque;

use anyhow::Context as _;
use async_nats::jetstream;
use async_nats::jetstream::context::PublishAckFuture;
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use taskq::admin::{self, DeadFilter};
use taskq::{Client, DeadLetter, Event, Outcome, Timestamp};

use super::{APART, end, id, mixed};

/// How many records may wait for their acknowledgement.
const UNDER_WAY: usize = 2048;
/// How many of the tasks that failed operators do something about.
const OPERATED: usize = 400;
/// How many tasks of each other kind there are at the end.
const FEW: u64 = 100;

/// Stores what tasks leave behind.
#[derive(Debug)]
pub(super) struct History {
    jetstream: jetstream::Context,
    /// The first token of every subject.
    root: String,
    waiting: VecDeque<PublishAckFuture>,
    tasks: u64,
    /// When the first of them ended.
    start: i64,
    stored: u64,
}

/// What a task that has ended leaves.
struct Left {
    told: Vec<Value>,
    outcome: Value,
    letter: Option<Value>,
}

impl History {
    /// The tasks have ended one after the other, and the last just now.
    pub(super) async fn new(url: &str, client: &Client, tasks: u64) -> anyhow::Result<Self> {
        let nats = async_nats::connect(url).await?;
        let took = i64::try_from(tasks)?.saturating_mul(APART);
        Ok(Self {
            jetstream: jetstream::new(nats),
            root: client.namespace().to_owned(),
            waiting: VecDeque::new(),
            tasks,
            start: Timestamp::now().as_millis().saturating_sub(took),
            stored: 0,
        })
    }

    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// How many records were stored.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Stores what all of the tasks leave.
    pub(super) async fn tasks(&mut self) -> anyhow::Result<()> {
        for n in 1..=self.tasks {
            let left = left(n, self.start)?;
            for event in left.told {
                self.event(event).await?;
            }
            self.outcome(left.outcome).await?;
            if let Some(letter) = left.letter {
                self.letter(letter).await?;
            }
        }
        self.settle().await
    }

    /// Does with some of the dead letters what operators do, and has some more
    /// tasks begin, end and lose their lease.
    pub(super) async fn operators(&mut self, client: &Client) -> anyhow::Result<Vec<String>> {
        let late = (1..=self.tasks).rev();
        let failed = late.filter(|n| is_failed(*n)).take(OPERATED);
        let failed: Vec<u64> = failed.collect();
        let mut touched = Vec::new();
        for (place, n) in failed.into_iter().enumerate() {
            let filter = DeadFilter {
                id: Some(id(n).into()),
                ..DeadFilter::default()
            };
            let letters = admin::dead_letters(client, filter).await?;
            let letters: Vec<DeadLetter> = letters.try_collect().await?;
            let letter = letters.first().context("a dead letter that is not there")?;
            if place.is_multiple_of(4) {
                admin::discard(client, letter, "ada").await?;
            } else {
                admin::replay(client, letter, "ada").await?;
            }
            // Of those that were sent again some wait, some run, and some have ended.
            if place % 4 > 1 {
                self.event(of_task("started", &end(n, self.start), 3))
                    .await?;
            }
            if place % 4 > 2 {
                let mut again = end(n, self.start);
                again["state"] = json!("succeeded");
                again["is_err"] = json!(false);
                again["error"] = Value::Null;
                again["attempt"] = json!(3);
                again["finished_at"] = json!(Timestamp::now());
                again["start_told"] = json!(true);
                self.outcome(again).await?;
            }
            touched.push(id(n));
        }
        for n in self.tasks + 1..=self.tasks + FEW {
            let task = end(n, self.start);
            self.event(whole(of_task("started", &task, 1), &task))
                .await?;
            if n.is_multiple_of(2) {
                let error = "timeout after 30 s";
                let mut event = of_task("retrying", &task, 1);
                event["error"] = json!(error);
                self.event(event).await?;
            }
            touched.push(id(n));
        }
        // Workers that were frozen tell so when they wake up, and the task has
        // ended elsewhere. Clients whose clocks are ahead tell what they sent.
        for n in (1..=self.tasks).rev().step_by(3).take(FEW as usize) {
            let task = end(n, self.start);
            let kind = if n.is_multiple_of(2) {
                "lease_lost"
            } else {
                "enqueued"
            };
            let mut event = whole(of_task(kind, &task, 1), &task);
            let ended: Timestamp = serde_json::from_value(task["finished_at"].clone())?;
            let after = if n.is_multiple_of(2) { 60_000 } else { 2 };
            event["at"] = json!(Timestamp::from_millis(ended.as_millis() + after));
            self.event(event).await?;
            touched.push(id(n));
        }
        // A place in each source that stays.
        let mut last = self.tasks + FEW + 1;
        while !is_failed(last) {
            last += 1;
        }
        let left = left(last, self.start)?;
        for event in left.told {
            self.event(event).await?;
        }
        self.outcome(left.outcome).await?;
        self.letter(left.letter.context("of a task that failed")?)
            .await?;
        touched.push(id(last));
        self.settle().await?;
        Ok(touched)
    }

    async fn outcome(&mut self, outcome: Value) -> anyhow::Result<()> {
        let outcome: Outcome = serde_json::from_value(outcome)?;
        let subject = format!("{}.done.{}.{}", self.root, outcome.id.origin(), outcome.id);
        self.store(subject, outcome.encode()).await
    }

    async fn event(&mut self, event: Value) -> anyhow::Result<()> {
        let event: Event = serde_json::from_value(event)?;
        let of = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
        let id = event.id.as_ref().map(|id| id.as_str().to_owned());
        let (queue, task, id) = (of(&event.queue), of(&event.task), of(&id));
        let subject = format!("{}.event.{}.{queue}.{task}.{id}", self.root, event.kind);
        self.store(subject, serde_json::to_vec(&event)?).await
    }

    async fn letter(&mut self, letter: Value) -> anyhow::Result<()> {
        let letter: DeadLetter = serde_json::from_value(letter)?;
        let (queue, task, id) = (&letter.queue, &letter.task, &letter.id);
        let subject = format!("{}.dead.{queue}.{task}.{id}", self.root);
        self.store(subject, serde_json::to_vec(&letter)?).await
    }

    async fn store(&mut self, subject: String, body: Vec<u8>) -> anyhow::Result<()> {
        self.stored += 1;
        let sent = self.jetstream.publish(subject, body.into()).await?;
        self.waiting.push_back(sent);
        while self.waiting.len() > UNDER_WAY {
            self.acknowledged().await?;
        }
        Ok(())
    }

    async fn acknowledged(&mut self) -> anyhow::Result<()> {
        if let Some(sent) = self.waiting.pop_front() {
            sent.await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        while !self.waiting.is_empty() {
            self.acknowledged().await?;
        }
        Ok(())
    }
}

fn is_failed(n: u64) -> bool {
    mixed(n).is_multiple_of(10)
}

/// What a task leaves: of those that failed a dead letter, which has the
/// arguments then; of some an attempt that failed before, or the start of a long
/// one; some were cancelled, and some expired.
fn left(n: u64, start: i64) -> anyhow::Result<Left> {
    let mixed = mixed(n);
    let mut outcome = end(n, start);
    let mut told = Vec::new();
    if mixed % 8 == 1 {
        told.push(whole(of_task("started", &outcome, 1), &outcome));
        outcome["start_told"] = json!(true);
    }
    if is_failed(n) || mixed % 50 == 3 {
        let error = json!({
            "exc_type": "TimeoutError", "exc_module": "mail",
            "exc_message": [format!("timeout at host {}", mixed % 30)],
        });
        let mut event = of_task("retrying", &outcome, 1);
        event["error"] = error["exc_message"][0].clone();
        told.push(event);
        outcome["attempts"] = json!([{
            "attempt": 1, "worker": outcome["worker"], "started_at": outcome["started_at"],
            "finished_at": outcome["started_at"], "error": error,
        }]);
        outcome["attempt"] = json!(2);
    }
    let mut reason = is_failed(n).then_some("exhausted");
    match mixed % 200 {
        7 => {
            outcome["state"] = json!("cancelled");
            outcome["cancelled_by"] = json!("ada");
            outcome["message"] = message(&outcome);
        }
        11 => {
            outcome["state"] = json!("expired");
            outcome["attempt"] = json!(0);
            outcome["worker"] = json!("");
            outcome["started_at"] = Value::Null;
            reason = Some("expired");
        }
        _ => {}
    }
    if outcome["state"] != "succeeded" {
        outcome["is_err"] = json!(true);
    }
    let letter = reason.map(|reason| {
        outcome["dead"] = json!(reason);
        json!({
            "task_id": outcome["task_id"], "task_name": outcome["task_name"],
            "queue": outcome["queue"], "priority": "normal", "reason": reason,
            "error": outcome["error"]["exc_message"][0].as_str().unwrap_or("expired"),
            "attempts": outcome.get("attempts").unwrap_or(&json!([])),
            "worker": outcome["worker"], "enqueued_at": outcome["enqueued_at"],
            "dead_at": outcome["finished_at"], "message": message(&outcome),
        })
    });
    if outcome["is_err"] == true
        && let Some(outcome) = outcome.as_object_mut()
    {
        outcome.remove("kwargs");
    }
    Ok(Left {
        told,
        outcome,
        letter,
    })
}

/// The message of a task, of which there is an outcome.
fn message(outcome: &Value) -> Value {
    let labels = &outcome["labels"];
    json!({
        "task_id": outcome["task_id"], "task_name": outcome["task_name"],
        "labels": {"tenant": labels["tenant"], "env": labels["env"]}, "labels_types": {},
        "args": [], "kwargs": outcome["kwargs"],
    })
}

/// An event of a task, told when its last attempt started.
fn of_task(kind: &str, outcome: &Value, attempt: u32) -> Value {
    json!({
        "event": kind, "at": outcome["started_at"], "task_id": outcome["task_id"],
        "task_name": outcome["task_name"], "queue": outcome["queue"],
        "worker": outcome["worker"], "attempt": attempt,
    })
}

/// The same, with what the task is found by until it ends.
fn whole(mut event: Value, outcome: &Value) -> Value {
    event["labels"] = outcome["labels"].clone();
    event["kwargs"] = outcome["kwargs"].clone();
    event
}
