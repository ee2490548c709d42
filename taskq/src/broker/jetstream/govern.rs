//! Making the server go by what is set for a queue.

use std::time::Duration;

use async_nats::{HeaderMap, header};
use futures::future::BoxFuture;
use futures::stream::TryStreamExt as _;
use serde_json::{Value, json};
use taskq_syntax::Priority;

use super::JetStream;
use super::layout::{Layout, capped};
use super::pipe::Refusal;
use crate::broker::names::{Namespace, PRIORITIES, api, untoken};
use crate::broker::{Govern, Place, SettingKind, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Label, QueueSettings, TaskId, TaskMessage, key_of, labels};
use crate::policy::Bucket;
use crate::time::Timestamp;

/// As good as for ever; the server counts in nanoseconds of 64 bits.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// A queue that is resumed is paused until so much later: at the end of a
/// pause the server wakes the requests that wait, when a pause is taken back
/// it does not.
const SOON: Duration = Duration::from_millis(50);
/// A queue that is looked through gives nothing for so long, should whoever
/// looks be gone.
const LOOK: Duration = Duration::from_secs(30);
/// How many messages are looked at, or sent on, at once.
const BATCH: usize = 256;
/// Places from here on are in the lanes, those before where messages wait for
/// the turn of their key. No stream has so many messages.
const IN_LANES: u64 = 1 << 62;
/// "stream not found", "consumer not found"
const MISSING: [u64; 2] = [10059, 10014];

impl Govern for JetStream {
    fn enforce<'a>(
        &'a self,
        queue: &'a str,
        settings: &'a QueueSettings,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.compare().await;
            let pause = match settings.paused {
                Some(_) => FOR_EVER,
                None => SOON,
            };
            self.layout
                .pause_lanes(
                    queue,
                    self.clock.now().plus(pause),
                    settings.paused.is_some(),
                )
                .await?;
            self.layout.cap(queue, settings).await
        })
    }

    fn rate_until<'a>(
        &'a self,
        queue: &'a str,
        settings: &'a QueueSettings,
    ) -> BoxFuture<'a, Result<Option<Timestamp>>> {
        Box::pin(async move {
            let Some(rate) = settings.rate else {
                return Ok(None);
            };
            let names = &self.layout.names;
            let stored = self
                .last(&names.limits_stream(), &names.rate(queue))
                .await?;
            let number = stored.and_then(|stored| {
                let text = String::from_utf8(stored.body).ok()?;
                text.parse().ok()
            });
            let bucket = Bucket::new(rate, settings.burst.unwrap_or(1));
            Ok(bucket.until(number.unwrap_or(0), self.clock.nanos()))
        })
    }

    fn hasten<'a>(&'a self, task: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.hasten_task(task))
    }

    fn halt<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.compare().await;
            let until = self.clock.now().plus(LOOK);
            self.layout.pause_lanes(queue, until, true).await
        })
    }

    fn waiting<'a>(
        &'a self,
        queue: &'a str,
        from: u64,
    ) -> BoxFuture<'a, Result<(Vec<Task>, Option<u64>)>> {
        Box::pin(self.read_waiting(queue, from))
    }
}

impl JetStream {
    /// First what waits for the turn of its key, since it goes to the lanes
    /// from there.
    async fn read_waiting(&self, queue: &str, from: u64) -> Result<(Vec<Task>, Option<u64>)> {
        if let Some(place) = from.checked_sub(IN_LANES) {
            let (tasks, next) = self.read_lanes(queue, place).await?;
            return Ok((tasks, next.map(|place| IN_LANES + place)));
        }
        if !self.has_hold(queue).await? {
            return Box::pin(self.read_waiting(queue, IN_LANES)).await;
        }
        let names = &self.layout.names;
        let query = json!({
            "seq": from.max(1), "batch": BATCH, "next_by_subj": names.hold_all(queue),
        });
        let batch = self.read_batch(&names.hold_stream(queue), &query).await?;
        let tasks = batch.messages.into_iter().filter_map(|found| {
            let id = untoken(names.parse_hold(&found.subject)?.id)?;
            Some(Task {
                id: TaskId::from(id),
                queue: queue.to_owned(),
                body: found.body.to_vec(),
                stored_at: found.time.unwrap_or_else(|| self.clock.now()),
                place: Place::Hold {
                    sequence: found.sequence,
                },
            })
        });
        Ok((tasks.collect(), Some(batch.next.unwrap_or(IN_LANES))))
    }

    /// What no consumer has given out yet. What was given out may be with a
    /// worker, or on its way back from one.
    async fn read_lanes(&self, queue: &str, from: u64) -> Result<(Vec<Task>, Option<u64>)> {
        let names = &self.layout.names;
        let stream = names.queue_stream(queue);
        let mut given = [0; PRIORITIES.len()];
        for (given, priority) in given.iter_mut().zip(PRIORITIES) {
            *given = self.layout.given(queue, priority).await?;
        }
        let query = json!({
            "seq": from.max(1), "batch": BATCH, "next_by_subj": names.work_all(queue),
        });
        let batch = self.read_batch(&stream, &query).await?;
        let place = |subject: &str| {
            let (_, priority) = names.parse_work(subject)?;
            PRIORITIES.iter().position(|it| it.as_str() == priority)
        };
        let mut tasks = Vec::new();
        for found in batch.messages {
            // The last token of the subject is the id.
            let id = found.subject.rsplit('.').next();
            let id = id.and_then(untoken);
            if let (Some(place), Some(id)) = (place(&found.subject), id)
                && given[place] < found.sequence
            {
                tasks.push(Task {
                    id: TaskId::from(id),
                    queue: queue.to_owned(),
                    body: found.body.to_vec(),
                    stored_at: found.time.unwrap_or_else(|| self.clock.now()),
                    place: Place::Queue {
                        sequence: found.sequence,
                    },
                });
            }
        }
        Ok((tasks, batch.next))
    }

    /// The error of a refused publication, which tells of the queue's cap
    /// where that was reached.
    pub(super) async fn refusal_of(&self, refusal: Refusal, what: &str, queue: &str) -> Error {
        let error = refusal.into_error(what);
        if error.kind() != ErrorKind::QueueFull {
            return error;
        }
        match self.layout.queue_settings(queue).await.max_backlog {
            Some(most) => Error::new(
                ErrorKind::QueueFull,
                crate::broker::full_queue(what, queue, Some(most)),
            ),
            // The limit is an operator's own.
            None => error,
        }
    }

    /// Sends what was put aside of a task type to its queue now: each plan is
    /// replaced by its message in one step, so one that fires at this moment
    /// is not sent twice.
    async fn hasten_task(&self, task: &str) -> Result<u64> {
        let names = &self.layout.names;
        let plan = names.plan_stream();
        let found = self.read_past_subjects(
            plan.clone(),
            names.plan_of_task(task),
            Timestamp::from_millis(0),
        )?;
        let what = || format!("sending on what waits of task {task}");
        let sent = found.try_filter_map(|found| {
            let message = TaskMessage::decode(&found.body).ok();
            let aside = message.as_ref().and_then(|message| {
                let priority = message.labels.get(labels::ASIDE).and_then(Label::as_str)?;
                let queue = names.parse_plan(&found.subject)?.to_owned();
                Some((
                    message.id.clone(),
                    queue,
                    priority.parse::<Priority>().ok()?,
                    key_of(&message.labels).map(str::to_owned),
                ))
            });
            std::future::ready(Ok(aside.map(|aside| (aside, found))))
        });
        let sent = sent.map_ok(|((id, queue, priority, key), found)| async move {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Scheduler", found.subject.as_str());
            headers.insert("Nats-Schedule-Next", "purge");
            headers.insert(
                header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
                found.sequence.to_string(),
            );
            headers.insert(
                "Nats-Expected-Last-Subject-Sequence-Subject",
                found.subject.as_str(),
            );
            let due = match key {
                None => names.due(&queue, priority, task, &id),
                Some(key) => names.due_hold(&queue, priority, &key, task, &id),
            };
            let sent = self.pipe.publish(due, Some(headers), found.body);
            match sent.await {
                Ok(()) => Ok(1),
                // It has just been sent on, or has fired.
                Err(refusal) if refusal.is_wrong_last_sequence() => Ok(0),
                Err(refusal) => Err(refusal.into_error(&what())),
            }
        });
        let counts = sent.try_buffer_unordered(BATCH);
        counts
            .try_fold(0, |sum, one| async move { Ok(sum + one) })
            .await
    }
}

impl Layout {
    /// Lets the lanes of a queue give nothing until then. Lanes that are not
    /// there are as they should be; they are made so when they are made.
    pub(super) async fn pause_lanes(
        &self,
        queue: &str,
        until: Timestamp,
        pause: bool,
    ) -> Result<()> {
        let stream = self.names.queue_stream(queue);
        let lanes = PRIORITIES.map(|priority| {
            let stream = &stream;
            async move {
                let name = Namespace::consumer(priority);
                let what = match pause {
                    true => format!("pausing {stream}/{name}"),
                    false => format!("resuming {stream}/{name}"),
                };
                if !pause {
                    // One that is not paused needs no wait.
                    let info = self.request(&what, api::consumer_info(stream, &name), &Value::Null);
                    if info.await?["paused"] != true {
                        return Ok(());
                    }
                }
                let body = json!({ "pause_until": until.to_string() });
                let answer = self.request(&what, api::consumer_pause(stream, &name), &body);
                match answer.await?.get("error") {
                    Some(error) if !is_missing(error) => Err(refused(&what, error)),
                    _ => Ok(()),
                }
            }
        });
        futures::future::try_join_all(lanes).await.map(drop)
    }

    /// How far a lane has given out its messages.
    async fn given(&self, queue: &str, priority: Priority) -> Result<u64> {
        let stream = self.names.queue_stream(queue);
        let name = Namespace::consumer(priority);
        let what = format!("looking at {stream}/{name}");
        let subject = api::consumer_info(&stream, &name);
        let answer = self.request(&what, subject, &Value::Null).await?;
        match answer.get("error") {
            None => Ok(answer["delivered"]["stream_seq"].as_u64().unwrap_or(0)),
            Some(error) if is_missing(error) => Ok(0),
            Some(error) => Err(refused(&what, error)),
        }
    }

    /// Lets a queue take so many messages; any number if none.
    async fn cap(&self, queue: &str, settings: &QueueSettings) -> Result<()> {
        let wanted = capped(settings);
        for name in [
            self.names.queue_stream(queue),
            self.names.hold_stream(queue),
        ] {
            let found = self.find(&name, api::stream_info(&name)).await?;
            let Some(mut config) = found else {
                // Made with the cap that is set, when it is made.
                continue;
            };
            if config.get("max_msgs").and_then(Value::as_i64).unwrap_or(-1) == wanted {
                continue;
            }
            config.insert("max_msgs".to_owned(), wanted.into());
            self.change(&name, api::stream_update(&name), &config.into())
                .await?;
        }
        Ok(())
    }

    /// What is set for a queue, for what is made now. Who may not look makes
    /// it without.
    pub(super) async fn queue_settings(&self, queue: &str) -> QueueSettings {
        let read = async {
            let stream = self.names.settings_stream();
            let subject = self.names.setting(SettingKind::Queue, queue);
            let query = json!({ "last_by_subj": subject });
            let what = format!("reading what is set for queue {queue}");
            let answer = self
                .request(&what, api::message_get(&stream), &query)
                .await?;
            let body = answer["message"]["data"].as_str().unwrap_or_default();
            use base64::Engine as _;
            let body = base64::engine::general_purpose::STANDARD.decode(body);
            Ok::<_, Error>(serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default())
        };
        read.await.unwrap_or_else(|error| {
            tracing::debug!("{error}");
            QueueSettings::default()
        })
    }

    /// Pauses a lane that was made a moment ago, if its queue is paused.
    pub(super) async fn pause_if_set(&self, queue: &str) {
        if self.queue_settings(queue).await.paused.is_some()
            && let Err(error) = self
                .pause_lanes(queue, Timestamp::now().plus(FOR_EVER), true)
                .await
        {
            // Workers know too.
            tracing::debug!("{error}");
        }
    }
}

fn is_missing(error: &Value) -> bool {
    let code = error["err_code"].as_u64();
    code.is_some_and(|code| MISSING.contains(&code))
}

fn refused(what: &str, error: &Value) -> Error {
    let text = error["description"].as_str().unwrap_or_default();
    Error::new(
        ErrorKind::Unavailable,
        format!("{what} was refused: {text}"),
    )
}
