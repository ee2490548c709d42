//! Setting a schedule.

use std::time::Duration;

use serde_json::{Value, json};
use taskq_syntax::{Misfire, Overlap};

use super::record::Spec;
use super::{Schedule, ScheduleSource, State, clear, plan, state};
use crate::broker::{Broker, SettingKind, act, act_if_acting};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, EventKind, TaskMessage, labels};
use crate::task::{Call, CallParts, When};
use crate::time::Timestamp;

/// A schedule that is not set yet: say when, then [`save`](Self::save).
///
/// ```no_run
/// use taskq::prelude::*;
/// use taskq::{Misfire, Overlap};
/// # #[task] async fn report(kind: String) {}
/// # async fn f(client: Client) -> taskq::Result<()> {
/// client
///     .schedule("daily-report", report::call("sales").retries(3))
///     .cron("0 9 * * MON-FRI")
///     .tz("Europe/Berlin")
///     .overlap(Overlap::Skip)
///     .misfire(Misfire::All(2.hours()))
///     .jitter(30.seconds())
///     .save()
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "a schedule is not set until `.save().await`"]
#[derive(Debug)]
pub struct NewSchedule<'a> {
    client: &'a Client,
    name: String,
    spec: Result<Spec>,
    by: Option<String>,
    /// What it may take the place of; of anything if there is none.
    seen: Option<Option<Schedule>>,
}

impl Client {
    /// A schedule that runs this call, to be set under this name. It lives in
    /// the server: what it plans ahead fires whether this program goes on or
    /// not, and any worker plans further.
    ///
    /// The call's task, queue, priority, arguments, deadline, labels and what
    /// else is said of its attempts are kept. It can have no id, delay or
    /// uniqueness of its own: the schedule says when, and
    /// [`overlap`](NewSchedule::overlap) what becomes of two at once.
    pub fn schedule<T>(&self, name: impl Into<String>, call: Call<T>) -> NewSchedule<'_> {
        NewSchedule {
            client: self,
            name: name.into(),
            spec: call.parts.and_then(|parts| spec(*parts)),
            by: None,
            seen: None,
        }
    }
}

/// What is kept of a call.
fn spec(parts: CallParts) -> Result<Spec> {
    let odd = if parts.id.is_some() {
        Some("an id of its own; each fire gets one")
    } else if parts.when != When::Now {
        Some("a delay of its own; the schedule says when")
    } else if parts.unique.is_some() {
        Some("uniqueness; say by `overlap` what becomes of two at once")
    } else {
        None
    };
    if let Some(odd) = odd {
        return Err(Error::invalid(format!(
            "a call that a schedule runs cannot have {odd}"
        )));
    }
    let mut message = TaskMessage {
        id: "".into(),
        task: parts.task.into_owned(),
        labels: parts.labels,
        arguments: parts.arguments,
    };
    if let Some(key) = parts.key.key(&message.task, &message.arguments, &[]) {
        message.labels.set(labels::KEY, key);
    }
    Ok(Spec {
        message: template(&message)?,
        task: message.task,
        queue: parts.queue.into_owned(),
        priority: parts.priority,
        deadline: parts.deadline,
        when: None,
        tz: None,
        at: None,
        start: None,
        end: None,
        overlap: Overlap::default(),
        misfire: Misfire::default(),
        misfire_after: None,
        jitter: None,
    })
}

/// The message of a fire as it is kept.
pub(super) fn template(message: &TaskMessage) -> Result<Value> {
    serde_json::from_slice(&message.encode())
        .map_err(|error| Error::invalid(format!("the call has no JSON form: {error}")))
}

impl NewSchedule<'_> {
    fn with(mut self, set: impl FnOnce(&mut Spec)) -> Self {
        if let Ok(spec) = &mut self.spec {
            set(spec);
        }
        self
    }

    /// When it recurs: a cron pattern of five fields (minute, hour, day of
    /// the month, month, day of the week) or of six (seconds first), one of
    /// `@hourly @daily @midnight @weekly @monthly @yearly @annually`, or an
    /// interval such as `every 15m`.
    pub fn cron(self, pattern: impl Into<String>) -> Self {
        self.with(|spec| spec.when = Some(pattern.into()))
    }

    /// The time zone of the pattern, such as `Europe/Berlin`; UTC unless set.
    pub fn tz(self, zone: impl Into<String>) -> Self {
        self.with(|spec| spec.tz = Some(zone.into()))
    }

    /// Recurs at this distance, one second or more: counted from
    /// [`start`](Self::start) if there is one, else from 1970, so that it does
    /// not depend on when it was set.
    pub fn every(self, period: Duration) -> Self {
        let text = format!("every {}", taskq_syntax::format_duration(period));
        self.with(|spec| spec.when = Some(text))
    }

    /// Fires once, at this moment.
    pub fn at(self, moment: impl Into<Timestamp>) -> Self {
        self.with(|spec| spec.at = Some(moment.into()))
    }

    /// No time before this moment.
    pub fn start(self, moment: impl Into<Timestamp>) -> Self {
        self.with(|spec| spec.start = Some(moment.into()))
    }

    /// No time after this moment.
    pub fn end(self, moment: impl Into<Timestamp>) -> Self {
        self.with(|spec| spec.end = Some(moment.into()))
    }

    /// What becomes of a fire while the one before has not ended:
    /// [`Overlap::Allow`] unless set.
    pub fn overlap(self, overlap: Overlap) -> Self {
        self.with(|spec| spec.overlap = overlap)
    }

    /// What becomes of a fire that could not start near its time, and of
    /// times that passed with nobody to plan them: [`Misfire::Once`] unless
    /// set.
    pub fn misfire(self, misfire: Misfire) -> Self {
        self.with(|spec| spec.misfire = misfire)
    }

    /// So long after its time a fire may start and is merely late, not
    /// missed: one minute unless set.
    pub fn misfire_after(self, after: Duration) -> Self {
        self.with(|spec| spec.misfire_after = Some(after))
    }

    /// Spreads the fires: each comes up to so long after its time, so that
    /// many schedules of one time do not all come at once. The same time
    /// always comes as much later.
    pub fn jitter(self, jitter: Duration) -> Self {
        self.with(|spec| spec.jitter = Some(jitter))
    }

    /// Who sets it, for the record: the name of the client's connection
    /// unless set.
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = Some(who.into());
        self
    }

    /// Sets it only in the place of this one, as it was seen, or only where
    /// there is none: what somebody else has set since is not lost.
    ///
    /// ```no_run
    /// # use taskq::prelude::*;
    /// use taskq::admin::schedules;
    /// # #[task] async fn report() {}
    /// # async fn f(client: Client) -> taskq::Result<()> {
    /// let seen = schedules::get(&client, "daily-report").await?.schedule;
    /// client
    ///     .schedule("daily-report", report::call())
    ///     .cron("0 10 * * *")
    ///     .replaces(Some(&seen))
    ///     .save()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn replaces(mut self, seen: Option<&Schedule>) -> Self {
        self.seen = Some(seen.cloned());
        self
    }

    /// Sets the schedule, in the place of one of the same name, and plans its
    /// first fires. From now on its times count; one that is set as it is
    /// stays as it is. One that was paused stays paused.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a pattern, a zone or a name that is none,
    /// for a time that has passed, and for a call that cannot recur;
    /// [`ErrorKind::Conflict`] when it [`replaces`](Self::replaces) another
    /// than there is; [`ErrorKind::TooLarge`] for a call above the broker's limit;
    /// [`ErrorKind::Unsupported`] in core mode;
    /// [`ErrorKind::Unavailable`] when NATS does not answer.
    pub async fn save(self) -> Result<Schedule> {
        let broker = &self.client.0.broker;
        let spec = self.spec?;
        let calendar = spec.check(&self.name)?;
        let size = spec.message.to_string().len();
        // The labels of a fire come on top.
        if size + 1024 > broker.max_message() {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the call of schedule {} is {size} bytes long, and a schedule's must fit a \
                     message of {}; send a reference to the data instead",
                    self.name,
                    broker.max_message()
                ),
            ));
        }
        broker.compare_clocks().await;
        if calendar.next(broker.now()).is_none() {
            return Err(Error::invalid(format!(
                "schedule {} would never fire: its only time, or its end, has passed",
                self.name
            )));
        }
        let by = self.by.unwrap_or_else(|| self.client.0.name.clone());
        let (before, _) = state(&**broker, &self.name).await?;
        let mut same = None;
        let set = store(&**broker, &self.name, &by, |now, found| {
            if let Some(seen) = &self.seen
                && seen.as_ref() != found
            {
                return Err(conflict(&self.name, found));
            }
            if let Some(found) = found
                && found.spec == spec
                && found.source == ScheduleSource::Operator
            {
                same = Some(found.clone());
                return Ok(Change::None);
            }
            Ok(Change::Set(Box::new(Schedule {
                name: self.name.clone(),
                spec: spec.clone(),
                source: ScheduleSource::Operator,
                paused: found.and_then(|found| found.paused.clone()),
                from: Schedule::from(found, now),
                since: now,
                by: by.clone(),
            })))
        });
        let set = set.await?;
        let schedule = set.or(same).ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "the schedule was not set; try again",
            )
        })?;
        if schedule.paused.is_none() {
            plan(&**broker, &schedule).await?;
            tidy(&**broker, before, &schedule).await?;
        }
        Ok(schedule)
    }
}

/// Takes what was planned before out of the plan, once there is something
/// in its place. A worker that was first to plan may have no right to.
async fn tidy(broker: &dyn Broker, before: Option<State>, schedule: &Schedule) -> Result<()> {
    let epoch = schedule.epoch();
    if let Some(before) = before.filter(|before| before.epoch != epoch)
        && let (Some(now), _) = state(broker, &schedule.name).await?
        && now.epoch == epoch
    {
        clear(broker, &schedule.name, &before).await;
    }
    Ok(())
}

fn conflict(name: &str, found: Option<&Schedule>) -> Error {
    let text = match found {
        Some(found) => format!(
            "schedule {name} is not as it was seen: {} has set it; look at it again",
            found.by
        ),
        None => format!("there is no schedule {name} any more"),
    };
    Error::new(ErrorKind::Conflict, text)
}

/// What becomes of a record.
pub(crate) enum Change {
    None,
    Set(Box<Schedule>),
    Remove,
}

/// How often a change that was not the first is tried again.
const TRIES: usize = 16;

/// Changes a record by compare-and-set; gives what was set. `change` is told
/// from when the times of what it sets may count, and what is set now.
pub(crate) async fn store(
    broker: &dyn Broker,
    name: &str,
    by: &str,
    mut change: impl FnMut(Timestamp, Option<&Schedule>) -> Result<Change>,
) -> Result<Option<Schedule>> {
    for _ in 0..TRIES {
        let setting = broker.setting(SettingKind::Schedule, name).await?;
        let found = setting.body.as_ref();
        let found = found.map(|body| Schedule::decode(name, body)).transpose()?;
        let mut now = broker.now();
        if let Some(found) = &found {
            // No two epochs are the same.
            now = now.max(found.since.plus(Duration::from_millis(1)));
        }
        let next = match change(now, found.as_ref())? {
            Change::None => return Ok(None),
            Change::Set(schedule) => Some(*schedule),
            Change::Remove => None,
        };
        let body = next.as_ref().map(Schedule::encode).transpose()?;
        let body = body.map(Into::into);
        let kind = SettingKind::Schedule;
        if broker.set(kind, name, body, setting.revision).await? {
            tell(broker, by, found.as_ref(), next.as_ref()).await;
            return Ok(next);
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("schedule {name} is changed by others all the time; try again"),
    ))
}

/// Tells of a change.
async fn tell(broker: &dyn Broker, by: &str, before: Option<&Schedule>, after: Option<&Schedule>) {
    let paused = |schedule: Option<&Schedule>| schedule.is_some_and(|it| it.paused.is_some());
    let kind = match (before, after) {
        (_, None) => EventKind::ScheduleRemoved,
        (Some(one), Some(other)) if one.spec == other.spec && paused(after) && !paused(before) => {
            EventKind::SchedulePaused
        }
        (Some(one), Some(other)) if one.spec == other.spec && paused(before) && !paused(after) => {
            EventKind::ScheduleResumed
        }
        _ => EventKind::ScheduleSet,
    };
    let Some(schedule) = after.or(before) else {
        return;
    };
    let event = Event {
        task: Some(schedule.task().to_owned()),
        queue: Some(schedule.queue().to_owned()),
        ..Event::new(kind, broker.now())
    };
    let event = event
        .with("schedule", schedule.name.as_str())
        .with("when", schedule.when());
    let set = |schedule: Option<&Schedule>| {
        schedule.map(|it| json!({"when": it.when(), "paused": it.paused.is_some()}))
    };
    let event = event
        .with("by", by)
        .with("before", set(before))
        .with("after", set(after));
    // A worker sets what its program declares, and is no operator.
    let declared = kind == EventKind::ScheduleSet && schedule.source == ScheduleSource::Code;
    if declared {
        act_if_acting(broker, event).await;
    } else {
        act(broker, event).await;
    }
}
