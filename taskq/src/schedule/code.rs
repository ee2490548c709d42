//! Schedules that programs of workers declare.

use super::new::{Change, store, template};
use super::record::Spec;
use super::{Schedule, ScheduleSource};
use crate::broker::Broker;
use crate::error::Result;
use crate::message::{Arguments, Labels, TaskMessage, labels};
use crate::task::Registration;

/// Sets the schedule that a task declares, unless it is set already, or
/// an operator has set another in its place.
pub(crate) async fn declare(
    broker: &dyn Broker,
    task: &'static Registration,
    by: &str,
) -> Result<()> {
    let Some(declared) = &task.schedule else {
        return Ok(());
    };
    let mut message = TaskMessage {
        id: "".into(),
        task: task.name.to_owned(),
        labels: Labels::default(),
        arguments: Arguments::named(0),
    };
    if task.options.has_key() {
        let set = &mut message.labels;
        task.options.write_limits(set);
        let key = task.options.key_by();
        if let Some(key) = key.key(task.name, &message.arguments, &[]) {
            set.set(labels::KEY, key);
        }
    }
    let spec = Spec {
        task: task.name.to_owned(),
        queue: task.options.queue.to_owned(),
        priority: task.options.priority,
        message: template(&message)?,
        deadline: None,
        when: Some(declared.when.to_owned()),
        tz: declared.tz.map(str::to_owned),
        at: None,
        start: None,
        end: None,
        overlap: declared.overlap,
        misfire: declared.misfire,
        misfire_after: declared.misfire_after,
        jitter: declared.jitter,
    };
    spec.check(task.name)?;
    let set = store(broker, task.name, by, |now, found| match found {
        Some(found) if found.source == ScheduleSource::Operator => {
            tracing::info!(
                schedule = task.name,
                "{} has set another schedule in the place of the declared one; it stands \
                 until it is removed (taskq schedules rm {})",
                found.by,
                task.name
            );
            Ok(Change::None)
        }
        Some(found) if found.spec == spec => Ok(Change::None),
        found => Ok(Change::Set(Box::new(Schedule {
            name: task.name.to_owned(),
            spec: spec.clone(),
            source: ScheduleSource::Code,
            paused: found.and_then(|found| found.paused.clone()),
            from: Schedule::from(found, now),
            since: now,
            by: by.to_owned(),
        }))),
    });
    if let Some(set) = set.await? {
        tracing::info!(
            schedule = task.name,
            "set as the program declares it: {}",
            set.in_words()
        );
    }
    Ok(())
}
