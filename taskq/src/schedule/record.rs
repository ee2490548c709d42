//! The record of a schedule, and the messages of its fires.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use taskq_syntax::{Cadence, Misfire, Overlap, Priority};

use crate::broker::Publication;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "worker")]
use crate::message::{Label, Labels};
use crate::message::{Paused, TaskId, TaskMessage, key_of, labels};
use crate::policy::{self, Calendar, Lateness, Ticks};
use crate::time::Timestamp;

/// What runs when, as it is set for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    #[serde(flatten)]
    pub(crate) spec: Spec,
    /// Who declared it.
    pub source: ScheduleSource,
    /// Who paused it, if it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Times from here on are its own, should nobody have planned them before
    /// it was changed.
    pub(crate) from: Timestamp,
    /// Its times count from here: when it was made, changed or resumed.
    pub since: Timestamp,
    /// Who set it last: an operator, or a worker whose program declares it.
    pub by: String,
}

/// Who declared a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ScheduleSource {
    /// `#[task(schedule = "..")]`, in the program of a worker.
    Code,
    /// An operator, or a program through the API.
    Operator,
}

/// What is declared: what runs, when, and what becomes of fires that meet
/// others or come late. Two schedules that are equal here fire alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) task: String,
    pub(crate) queue: String,
    #[serde(with = "text")]
    pub(crate) priority: Priority,
    /// The message of a fire, but for its id.
    pub(crate) message: Value,
    /// How long after a fire was due it may still start.
    #[serde(default, with = "length", skip_serializing_if = "Option::is_none")]
    pub(crate) deadline: Option<Duration>,
    /// When it recurs: a cron pattern, or an interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) when: Option<String>,
    /// The time zone of a cron pattern; UTC if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tz: Option<String>,
    /// The one time of what does not recur.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<Timestamp>,
    #[serde(with = "text")]
    pub(crate) overlap: Overlap,
    #[serde(with = "text")]
    pub(crate) misfire: Misfire,
    #[serde(default, with = "length", skip_serializing_if = "Option::is_none")]
    pub(crate) misfire_after: Option<Duration>,
    #[serde(default, with = "length", skip_serializing_if = "Option::is_none")]
    pub(crate) jitter: Option<Duration>,
}

/// So long after its time a fire may start and is merely late.
const LATE: Duration = Duration::from_secs(60);

/// Within so long what was set has been planned.
const LATELY_MS: i64 = 10_000;

/// The longest name of a schedule: the ids of its fires have the time, too.
pub(super) const LONGEST_NAME: usize = 90;

impl Spec {
    /// The times of the schedule.
    pub(crate) fn calendar(&self) -> Result<Calendar> {
        let ticks = match (&self.when, self.at) {
            (Some(when), None) => {
                let cadence: Cadence = when.parse()?;
                let zone = taskq_syntax::time_zone(self.tz.as_deref().unwrap_or("UTC"))?;
                Ticks::of(cadence, zone, self.start)
            }
            (None, Some(at)) => Ticks::At(at),
            (None, None) => {
                return Err(Error::invalid(
                    "a schedule has a time; say `cron`, `every` or `at`",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "a schedule recurs or comes once; say `cron`, `every` or `at`, and only one \
                     of them",
                ));
            }
        };
        Ok(Calendar {
            ticks,
            start: self.start,
            end: self.end,
        })
    }

    pub(crate) fn lateness(&self) -> Lateness {
        Lateness {
            misfire: self.misfire,
            after: self.misfire_after.unwrap_or(LATE),
            jitter: self.jitter.unwrap_or_default(),
        }
    }

    /// Checks all of it, and the name with it.
    pub(crate) fn check(&self, name: &str) -> Result<Calendar> {
        taskq_syntax::check_task_name(name)
            .map_err(|error| Error::invalid(format!("the name of a schedule: {error}")))?;
        if name.len() > LONGEST_NAME {
            return Err(Error::invalid(format!(
                "`{name}` is too long for the name of a schedule; shorten it to {LONGEST_NAME} \
                 characters"
            )));
        }
        taskq_syntax::check_task_name(&self.task)?;
        taskq_syntax::check_queue_name(&self.queue)?;
        if self.tz.is_some() && !matches!(self.cadence(), Some(Cadence::Cron(_))) {
            return Err(Error::invalid(
                "only a cron pattern has a time zone; an interval is as long everywhere",
            ));
        }
        if let (Some(start), Some(end)) = (self.start, self.end)
            && end < start
        {
            return Err(Error::invalid(format!(
                "the schedule would end at {end}, before it starts at {start}"
            )));
        }
        self.calendar()
    }

    fn cadence(&self) -> Option<Cadence> {
        self.when.as_deref()?.parse().ok()
    }
}

impl Schedule {
    /// The task that it runs.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.spec.task
    }

    /// The queue that its fires go to.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.spec.queue
    }

    /// When, as it was written: a cron pattern with its time zone, an
    /// interval, or a moment.
    #[must_use]
    pub fn when(&self) -> String {
        match (&self.spec.when, &self.spec.tz, self.spec.at) {
            (Some(when), Some(tz), _) => format!("{when} {tz}"),
            (Some(when), None, _) => when.clone(),
            (None, _, Some(at)) => format!("at {at}"),
            (None, _, None) => String::new(),
        }
    }

    /// When, in words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let words = match (self.spec.cadence(), self.spec.at) {
            (Some(cadence @ Cadence::Cron(_)), _) => {
                let tz = self.spec.tz.as_deref().unwrap_or("UTC");
                format!("{}, {tz}", cadence.describe())
            }
            (Some(cadence), _) => cadence.describe(),
            (None, Some(at)) => format!("Once, at {at}"),
            (None, None) => String::new(),
        };
        let mut words = words;
        if let Some(start) = self.spec.start {
            words.push_str(&format!(", from {start}"));
        }
        if let Some(end) = self.spec.end {
            words.push_str(&format!(", until {end}"));
        }
        words
    }

    /// The arguments of its call: `{"args": [..], "kwargs": {..}}`.
    #[must_use]
    pub fn arguments(&self) -> Value {
        let part = |name| self.spec.message.get(name).cloned().unwrap_or_default();
        serde_json::json!({ "args": part("args"), "kwargs": part("kwargs") })
    }

    /// A moment as the clocks of its time zone show it: `2026-11-27 09:00:00
    /// CET`.
    #[must_use]
    pub fn clock(&self, moment: Timestamp) -> String {
        let zone = taskq_syntax::time_zone(self.spec.tz.as_deref().unwrap_or("UTC"));
        let time = jiff::Timestamp::from_millisecond(moment.as_millis());
        match (time, zone) {
            (Ok(time), Ok(zone)) => {
                let time = time.to_zoned(zone);
                time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
            }
            _ => moment.to_string(),
        }
    }

    /// What becomes of a fire that meets the one before.
    #[must_use]
    pub fn overlap(&self) -> Overlap {
        self.spec.overlap
    }

    /// What becomes of a fire that was missed.
    #[must_use]
    pub fn misfire(&self) -> Misfire {
        self.spec.misfire
    }

    /// Its next `count` nominal times after a moment, whether it is paused or
    /// not. Fewer when it ends.
    #[must_use]
    pub fn next(&self, after: Timestamp, count: usize) -> Vec<Timestamp> {
        let calendar = self.spec.calendar().ok();
        let times = calendar
            .iter()
            .flat_map(|calendar| calendar.after(after).take(count));
        times.collect()
    }

    /// From when on the times of what takes the place of a schedule are its
    /// own: a planner may have had no time to plan what was set a moment ago.
    pub(super) fn from(found: Option<&Self>, now: Timestamp) -> Timestamp {
        let lately = Timestamp::from_millis(now.as_millis() - LATELY_MS);
        match found {
            Some(found) if found.paused.is_none() => found.from.max(lately).min(now),
            _ => now,
        }
    }

    /// Which of several declarations of this name a fire is of.
    pub(crate) fn epoch(&self) -> String {
        format!("{:08x}", self.since.as_millis() & 0xffff_ffff)
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::invalid(format!("schedule {} cannot be written: {error}", self.name))
        })
    }

    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::new(
                ErrorKind::Undecodable,
                format!(
                    "what is set as schedule {name} cannot be read: {error}; a newer version may \
                     have set it"
                ),
            )
            .with_source(error)
        })
    }
}

/// The id of the fire of a nominal time, in one epoch of a schedule.
pub(crate) fn fire_of(name: &str, epoch: &str, nominal: Timestamp) -> TaskId {
    let time = jiff::Timestamp::from_millisecond(nominal.as_millis());
    let time = time.map_or_else(|_| nominal.to_string(), |time| time.to_string());
    TaskId::from(format!("{name}@{time}.{epoch}"))
}

/// The epoch of a fire that somebody asked for.
const MANUAL: &str = "run";

/// The message of a fire that somebody asks for, at this moment.
pub(crate) fn manual_fire(schedule: &Schedule, now: Timestamp) -> Result<Publication> {
    schedule.fire(MANUAL, now, None)
}

impl Schedule {
    /// The message of the fire of a nominal time.
    pub(crate) fn planned_fire(&self, nominal: Timestamp) -> Result<Publication> {
        let due = policy::due(&self.name, nominal, self.spec.lateness().jitter);
        self.fire(&self.epoch(), nominal, Some(due))
    }

    fn fire(&self, epoch: &str, nominal: Timestamp, due: Option<Timestamp>) -> Result<Publication> {
        let spec = &self.spec;
        let id = fire_of(&self.name, epoch, nominal);
        let mut message = TaskMessage::decode(spec.message.to_string().as_bytes())?;
        message.id = id.clone();
        let set = &mut message.labels;
        set.set(labels::SCHEDULE, self.name.as_str());
        set.set(labels::NOMINAL, nominal.as_millis());
        // Should two plan the same fire, one of the two messages runs.
        set.set(labels::FIRE, format!("{epoch}.{:016x}", fastrand::u64(..)));
        if let Some(due) = due {
            set.set(labels::DUE, due.as_millis());
        }
        // It is stored once more when it falls due, and when it has its turn.
        let from = due.unwrap_or(nominal);
        set.set(labels::ENQUEUED_AT, from.as_millis());
        if let Some(deadline) = spec.deadline {
            set.set(labels::DEADLINE, from.plus(deadline).as_millis());
        }
        Ok(Publication {
            id,
            named: true,
            task: spec.task.clone(),
            queue: spec.queue.clone(),
            priority: spec.priority,
            due,
            lock: None,
            key: key_of(&message.labels).map(str::to_owned),
            body: message.encode().into(),
        })
    }
}

/// What a message says of the fire that it is.
#[cfg(feature = "worker")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FireLabels {
    pub(crate) schedule: String,
    pub(crate) nominal: Timestamp,
    /// The epoch it was planned in.
    pub(crate) epoch: String,
    /// Which of several messages of the same fire it is.
    pub(crate) nonce: String,
}

#[cfg(feature = "worker")]
impl FireLabels {
    /// None if the message is not a schedule's.
    pub(crate) fn of(set: &Labels) -> Option<Self> {
        let text = |name| set.get(name).and_then(Label::as_str);
        let (epoch, nonce) = text(labels::FIRE)?.split_once('.')?;
        Some(Self {
            schedule: text(labels::SCHEDULE)?.to_owned(),
            nominal: set
                .get(labels::NOMINAL)?
                .as_i64()
                .map(Timestamp::from_millis)?,
            epoch: epoch.to_owned(),
            nonce: nonce.to_owned(),
        })
    }

    /// Whether somebody asked for it.
    pub(crate) fn is_manual(&self) -> bool {
        self.epoch == MANUAL
    }
}

/// A value by its text.
mod text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A length of time by its text, `0s` and all.
mod length {
    use std::borrow::Cow;
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde asks for this shape")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(length) => to.collect_str(&taskq_syntax::format_duration(*length)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D>(from: D) -> Result<Option<Duration>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let text = Option::<Cow<'de, str>>::deserialize(from)?;
        let length = text.map(|text| match text.as_ref() {
            "0s" => Ok(Duration::ZERO),
            other => taskq_syntax::parse_duration(other).map_err(D::Error::custom),
        });
        length.transpose()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn schedule(when: &str, tz: Option<&str>) -> Schedule {
        Schedule {
            name: "report".to_owned(),
            spec: Spec {
                task: "report".to_owned(),
                queue: "default".to_owned(),
                priority: Priority::Normal,
                message: serde_json::json!({
                    "task_id": "", "task_name": "report", "labels": {}, "args": [], "kwargs": {}
                }),
                deadline: Some(Duration::from_secs(5)),
                when: Some(when.to_owned()),
                tz: tz.map(str::to_owned),
                at: None,
                start: None,
                end: None,
                overlap: Overlap::QueueOne,
                misfire: Misfire::All(Duration::from_secs(600)),
                misfire_after: Some(Duration::ZERO),
                jitter: None,
            },
            source: ScheduleSource::Code,
            paused: None,
            from: Timestamp::from_millis(1_700_000_000_123),
            since: Timestamp::from_millis(1_700_000_000_123),
            by: "w1".to_owned(),
        }
    }

    #[test]
    fn a_record_is_flat_json_of_the_texts_that_are_typed_and_comes_back() {
        let schedule = schedule("0 9 * * MON-FRI", Some("Europe/Berlin"));
        let json: Value = serde_json::from_slice(&schedule.encode().unwrap()).unwrap();
        assert_eq!(json["when"], "0 9 * * MON-FRI");
        assert_eq!(json["overlap"], "queue one");
        assert_eq!(json["misfire"], "all(10m)");
        assert_eq!(json["misfire_after"], "0s");
        assert_eq!(json["source"], "code");
        let back = Schedule::decode("report", &schedule.encode().unwrap());
        assert_eq!(back.unwrap(), schedule);
    }

    #[cfg(feature = "worker")]
    #[test]
    fn a_fire_is_a_message_of_its_nominal_time_whose_id_tells_which() {
        let schedule = schedule("0 9 * * *", None);
        let nominal: Timestamp = "2026-11-27T09:00:00Z".parse().unwrap();
        let fire = schedule.planned_fire(nominal).unwrap();
        let id = format!("report@2026-11-27T09:00:00Z.{}", schedule.epoch());
        assert_eq!(fire.id.as_str(), id);
        assert_eq!(fire.due, Some(nominal));
        let message = TaskMessage::decode(&fire.body).unwrap();
        let told = FireLabels::of(&message.labels).unwrap();
        assert_eq!((told.nominal, told.epoch), (nominal, schedule.epoch()));
        let deadline = message.labels.get(labels::DEADLINE).unwrap().as_i64();
        assert_eq!(deadline, Some(nominal.as_millis() + 5000));
        let longest = "x".repeat(LONGEST_NAME);
        let longest = fire_of(
            &longest,
            "12345678",
            Timestamp::from_millis(1_700_000_000_123),
        );
        assert!(longest.as_str().len() <= 128);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut bad = schedule("every 15m", Some("Europe/Berlin")).spec;
        let told = |spec: &Spec, name: &str| spec.check(name).unwrap_err().to_string();
        assert!(told(&bad, "a").contains("only a cron pattern has a time zone"));
        bad.tz = None;
        assert!(bad.check("a").is_ok());
        assert!(told(&bad, "a b").contains("name of a schedule"));
        assert!(told(&bad, &"a".repeat(100)).contains("too long"));
        bad.at = Some(Timestamp::from_millis(0));
        assert!(told(&bad, "a").contains("only one of them"));
        bad.when = None;
        bad.start = Some(Timestamp::from_millis(5));
        bad.end = Some(Timestamp::from_millis(4));
        assert!(told(&bad, "a").contains("before it starts"));
    }
}
