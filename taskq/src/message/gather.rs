//! Bursts of calls that become one task: the last of them, or all of their
//! items together. Decisions only.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{Arguments, Label, TaskMessage, labels};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// How calls of one key become one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gather {
    /// The last one counts, this long after it was sent; after the longest
    /// wait for any of them, if there is one.
    Debounce {
        wait: Duration,
        max_wait: Option<Duration>,
    },
    /// The items of all, when there are so many, or this long after the
    /// first.
    Batch { max: usize, within: Duration },
}

impl Gather {
    /// So long before it is due a burst takes no more calls: longer than one is
    /// on its way to the server, and a small part of what the burst waits.
    pub(crate) fn margin(&self) -> Duration {
        let (Self::Debounce { wait, .. } | Self::Batch { within: wait, .. }) = self;
        (*wait / 8).min(MARGIN)
    }
}

/// The most that a burst takes no more calls before it is due.
const MARGIN: Duration = Duration::from_millis(50);

/// A burst as it waits.
#[derive(Clone, Debug)]
pub(crate) struct Burst {
    pub(crate) message: TaskMessage,
    pub(crate) due: Timestamp,
}

/// What a call makes of the burst of its key.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// It waits until then.
    Wait(Burst),
    /// It is a task now, in the place of the burst that waits.
    Release(Burst),
    /// The burst that waits has no room for it: it is a task as it is, and
    /// the call begins another.
    Full(Burst),
    /// The call is a task by itself.
    Alone(TaskMessage),
}

/// So near to the longest wait, a call is the last of its burst: whatever is
/// planned anew takes the server's timer 250 ms.
const NEAR: Duration = Duration::from_millis(300);

impl Gather {
    /// What a call, sent now, makes of the burst that waits. `largest` is the
    /// most bytes that a message may have.
    ///
    /// # Errors
    /// When the call cannot be gathered with the burst.
    pub(crate) fn add(
        self,
        burst: Option<Burst>,
        call: TaskMessage,
        now: Timestamp,
        largest: usize,
    ) -> Result<Gathered> {
        match self {
            Self::Debounce { wait, max_wait } => {
                Ok(debounce(burst.as_ref(), call, now, wait, max_wait))
            }
            Self::Batch { max, within } => batch(burst, call, now, max, within, largest),
        }
    }
}

fn number(message: &TaskMessage, name: &str) -> Option<i64> {
    message.labels.get(name).and_then(Label::as_i64)
}

/// Puts the times of a burst on a message that stands for it.
fn burst(mut message: TaskMessage, since: Timestamp, due: Timestamp, calls: i64) -> Burst {
    // It counts from the due time.
    if let (Some(deadline), Some(was)) = (
        number(&message, labels::DEADLINE),
        message.labels.due().map(Timestamp::as_millis),
    ) {
        let deadline = deadline.saturating_add(due.as_millis().saturating_sub(was));
        message.labels.set(labels::DEADLINE, deadline);
    }
    message.labels.set(labels::ENQUEUED_AT, since.as_millis());
    message.labels.set(labels::DUE, due.as_millis());
    message.labels.set(labels::CALLS, calls);
    Burst { message, due }
}

/// When the first call of a burst was sent.
fn since(of: Option<&Burst>, now: Timestamp) -> Timestamp {
    let first = of.and_then(|of| number(&of.message, labels::ENQUEUED_AT));
    first.map_or(now, Timestamp::from_millis)
}

/// How many calls a burst has with one more.
fn calls(of: Option<&Burst>) -> i64 {
    let before = of.map_or(0, |of| number(&of.message, labels::CALLS).unwrap_or(1));
    before.saturating_add(1)
}

fn debounce(
    of: Option<&Burst>,
    mut call: TaskMessage,
    now: Timestamp,
    wait: Duration,
    max_wait: Option<Duration>,
) -> Gathered {
    let since = since(of, now);
    if let Some(of) = of {
        call.id.clone_from(&of.message.id);
    }
    let due = now.plus(wait);
    let last = max_wait.map(|max_wait| since.plus(max_wait));
    match last {
        Some(last) if of.is_some() && last <= due && last.since(now) < NEAR => {
            Gathered::Release(burst(call, since, last, calls(of)))
        }
        last => {
            let due = last.map_or(due, |last| due.min(last));
            Gathered::Wait(burst(call, since, due, calls(of)))
        }
    }
}

fn batch(
    of: Option<Burst>,
    call: TaskMessage,
    now: Timestamp,
    max: usize,
    within: Duration,
    largest: usize,
) -> Result<Gathered> {
    let Some(of) = of else {
        let count = items(&call)?.len();
        return Ok(if count >= max {
            Gathered::Alone(call)
        } else {
            Gathered::Wait(burst(call, now, now.plus(within), 1))
        });
    };
    let (there, more) = (items(&of.message)?.len(), items(&call)?.len());
    let (since, calls) = (since(Some(&of), now), calls(Some(&of)));
    if there + more > max {
        return Ok(Gathered::Full(released(of, now)));
    }
    let due = of.due.min(now.plus(within));
    let mut all = of.clone();
    append(&mut all.message, &call)?;
    if all.message.encode().len() > largest {
        return Ok(Gathered::Full(released(of, now)));
    }
    Ok(if there + more == max {
        Gathered::Release(burst(all.message, since, due.min(now), calls))
    } else {
        Gathered::Wait(burst(all.message, since, due, calls))
    })
}

/// A burst as it is when it has to start now.
fn released(of: Burst, now: Timestamp) -> Burst {
    let calls = number(&of.message, labels::CALLS).unwrap_or(1);
    let first = since(Some(&of), now);
    burst(of.message, first, of.due.min(now), calls)
}

/// The one argument of a call of a batch: its name, if it has one, and its
/// items.
fn items(message: &TaskMessage) -> Result<Vec<&RawValue>> {
    let list = list(&message.arguments).and_then(|list| {
        let items: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
        (!items.is_empty()).then_some(items)
    });
    list.ok_or_else(|| {
        Error::invalid(format!(
            "task {} ({}) cannot be sent as a part of a batch: its one argument must be a list \
             of at least one item, and be given in the same way in every call of the batch",
            message.id, message.task
        ))
    })
}

fn list(arguments: &Arguments) -> Option<&RawValue> {
    match (arguments.positional.as_slice(), arguments.named.as_slice()) {
        ([list], []) => Some(list),
        ([], [(_, list)]) => Some(list),
        _ => None,
    }
}

/// Adds the items of a call to those of a burst.
fn append(to: &mut TaskMessage, call: &TaskMessage) -> Result<()> {
    let named = |message: &TaskMessage| {
        let named = &message.arguments.named;
        named.first().map(|(name, _)| name.clone())
    };
    if named(to) != named(call) {
        return Err(Error::invalid(format!(
            "task {} ({}) names its argument otherwise than the batch that it is for; give it in \
             the same way in every call",
            call.id, call.task
        )));
    }
    let all: Vec<&RawValue> = items(to)?.into_iter().chain(items(call)?).collect();
    let all = super::to_raw(&all).map_err(|error| {
        Error::invalid(format!("the items of a batch have no JSON form: {error}"))
    })?;
    let arguments = &mut to.arguments;
    match arguments.named.first_mut() {
        Some((_, list)) => *list = all,
        None => arguments.positional = vec![all],
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Labels;
    use proptest::prelude::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(i64::try_from(millis).unwrap())
    }

    fn call(n: usize, items: &[usize]) -> TaskMessage {
        let mut arguments = Arguments::default();
        arguments.push("items", items).unwrap();
        TaskMessage {
            id: format!("{n}").as_str().into(),
            task: "t".to_owned(),
            labels: Labels::default(),
            arguments,
        }
    }

    fn numbers(message: &TaskMessage) -> Vec<usize> {
        let list = list(&message.arguments).unwrap();
        serde_json::from_str(list.get()).unwrap()
    }

    /// What waits at the server, and what it has made tasks of: a model.
    #[derive(Default)]
    struct Server {
        waits: Option<Burst>,
        tasks: Vec<(Timestamp, TaskMessage)>,
    }

    impl Server {
        fn fire(&mut self, now: Timestamp) {
            if let Some(burst) = self.waits.take_if(|burst| burst.due <= now) {
                self.tasks.push((burst.due, burst.message));
            }
        }

        fn send(&mut self, gather: Gather, call: &TaskMessage, now: Timestamp) {
            self.fire(now);
            loop {
                let waits = self.waits.clone();
                match gather.add(waits, call.clone(), now, 1 << 20).unwrap() {
                    Gathered::Wait(burst) => {
                        self.waits = Some(burst);
                        return;
                    }
                    Gathered::Release(burst) => {
                        self.waits = None;
                        return self.tasks.push((burst.due, burst.message));
                    }
                    Gathered::Alone(message) => return self.tasks.push((now, message)),
                    Gathered::Full(burst) => {
                        self.waits = None;
                        self.tasks.push((burst.due, burst.message));
                    }
                }
            }
        }
    }

    proptest! {
        /// However calls come, each item is in exactly one task, in order; no
        /// task has more than its most (but for a call that has more itself),
        /// and none waits longer than it may.
        #[test]
        fn every_item_is_in_exactly_one_batch_and_in_time(
            sent in prop::collection::vec((1usize..6, 0u64..400), 1..60),
            max in 1usize..9, within in 1u64..1_000,
        ) {
            let gather = Gather::Batch { max, within: Duration::from_millis(within) };
            let mut server = Server::default();
            let (mut now, mut next) = (0, 0);
            let mut sent_at = Vec::new();
            for (n, (count, pause)) in sent.iter().enumerate() {
                now += pause;
                let items: Vec<usize> = (next..next + count).collect();
                next += count;
                sent_at.extend(items.iter().map(|_| now));
                server.send(gather, &call(n, &items), at(now));
            }
            server.fire(at(u64::from(u32::MAX)));
            let all: Vec<usize> = server.tasks.iter().flat_map(|(_, task)| numbers(task)).collect();
            prop_assert_eq!(all, (0..next).collect::<Vec<_>>());
            for (due, task) in &server.tasks {
                let items = numbers(task);
                prop_assert!(items.len() <= max || number(task, labels::CALLS).is_none());
                for item in items {
                    prop_assert!(*due <= at(sent_at[item] + within));
                }
            }
        }

        /// However calls come, the last of every burst counts; it starts this
        /// long after it, and no call waits longer than the longest wait.
        #[test]
        fn the_last_call_of_a_burst_counts_and_none_waits_too_long(
            pauses in prop::collection::vec(0u64..700, 1..60),
            wait in 1u64..600, max_wait in prop::option::of(600u64..2_000),
        ) {
            let gather = Gather::Debounce {
                wait: Duration::from_millis(wait),
                max_wait: max_wait.map(Duration::from_millis),
            };
            let mut server = Server::default();
            let mut now = 0;
            let mut sent_at = Vec::new();
            for (n, pause) in pauses.iter().enumerate() {
                now += pause;
                sent_at.push(now);
                server.send(gather, &call(n, &[n]), at(now));
            }
            server.fire(at(u64::from(u32::MAX)));
            let mut first = 0;
            let mut calls = 0;
            for (due, task) in &server.tasks {
                let last = numbers(task)[0];
                // All between belong to this burst, and to no other.
                calls += number(task, labels::CALLS).unwrap();
                prop_assert_eq!(calls, i64::try_from(last).unwrap() + 1);
                prop_assert_eq!(task.id.as_str(), first.to_string());
                match max_wait {
                    Some(most) => prop_assert!(*due <= at(sent_at[first] + most.max(wait))),
                    None => prop_assert_eq!(*due, at(sent_at[last] + wait)),
                }
                first = last + 1;
            }
            prop_assert_eq!(first, pauses.len());
        }
    }

    #[test]
    fn what_is_no_list_is_no_part_of_a_batch() {
        let gather = Gather::Batch {
            max: 3,
            within: Duration::from_secs(1),
        };
        let mut two = call(1, &[1]);
        two.arguments.push("more", &2).unwrap();
        let mut positional = call(2, &[]);
        positional.arguments = Arguments::default();
        positional.arguments.push_positional(&[1]).unwrap();
        for wrong in [call(0, &[]), two] {
            let added = gather.add(None, wrong, at(0), 1000);
            assert!(added.unwrap_err().to_string().contains("a list"));
        }
        let burst = burst(call(3, &[1]), at(0), at(9), 1);
        let added = gather.add(Some(burst), positional, at(0), 1000);
        assert!(added.unwrap_err().to_string().contains("otherwise"));
    }

    #[test]
    fn a_batch_that_would_be_too_large_for_a_message_is_sent_before() {
        let gather = Gather::Batch {
            max: 1000,
            within: Duration::from_secs(1),
        };
        let waits = burst(call(0, &[1, 2, 3]), at(0), at(9), 1);
        let largest = waits.message.encode().len() + 3;
        let added = gather.add(Some(waits), call(1, &[4444, 5555]), at(1), largest);
        match added.unwrap() {
            Gathered::Full(burst) => assert_eq!(numbers(&burst.message), [1, 2, 3]),
            other => panic!("{other:?}"),
        }
    }
}
