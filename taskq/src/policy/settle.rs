//! What follows an attempt.

use std::time::Duration;

use taskq_syntax::Backoff;

use super::retry_delay;
use crate::message::{DeadReason, Label, Labels, TaskDefaults, labels};
use crate::task::{BACKOFF, RETRIES, RetryAdvice, TaskError, TaskOptions};
use crate::time::Timestamp;

/// The rules of one message: what the sender set; else what the task's author
/// did; else what is set for the queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) timeout: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    /// By when the task must have ended, by the server's clock.
    pub(crate) deadline: Option<Timestamp>,
    /// How many attempts of this message have failed so far.
    pub(crate) failures: u32,
    /// The number of the attempt that a first delivery is.
    pub(crate) first_attempt: u32,
}

impl Policy {
    /// Reads the rules of a message that was stored at this time. A label
    /// that cannot be read counts as not set: a message must not be lost for
    /// one.
    pub(crate) fn of(
        options: &TaskOptions,
        defaults: &TaskDefaults,
        labels: &Labels,
        stored_at: Timestamp,
    ) -> Self {
        let mut policy = Self {
            retries: options.retries.or(defaults.retries).unwrap_or(RETRIES),
            backoff: options.backoff.or(defaults.backoff).unwrap_or(BACKOFF),
            timeout: options.timeout.or(defaults.timeout),
            ttl: options.ttl,
            // A sender that does not know the task cannot set its deadline.
            deadline: options.deadline.map(|after| stored_at.plus(after)),
            failures: 0,
            first_attempt: 1,
        };
        if labels.is_empty() {
            return policy;
        }
        let count = |name| {
            labels
                .get(name)
                .and_then(Label::as_i64)
                .and_then(|n| u32::try_from(n).ok())
        };
        let seconds = |name| {
            labels
                .get(name)
                .and_then(Label::as_f64)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .filter(|duration| !duration.is_zero())
        };
        if let Some(retries) = count(labels::MAX_RETRIES) {
            policy.retries = retries;
        }
        if let Some(backoff) = labels
            .get(labels::BACKOFF)
            .and_then(Label::as_str)
            .and_then(|text| text.parse().ok())
        {
            policy.backoff = backoff;
        }
        policy.timeout = seconds(labels::TIMEOUT).or(policy.timeout);
        policy.ttl = seconds(labels::TTL).or(policy.ttl);
        policy.deadline = labels
            .get(labels::DEADLINE)
            .and_then(Label::as_i64)
            .map(Timestamp::from_millis)
            .or(policy.deadline);
        policy.failures = count(labels::FAILURES).unwrap_or(0);
        policy.first_attempt = count(labels::ATTEMPT).unwrap_or(1).max(1);
        policy
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run the message again after this long.
    Retry(Duration),
    /// Record the failure, for this reason.
    Fail(DeadReason),
}

/// Decides what follows a failed attempt. `worth` says whether the task's own
/// predicate thinks the error worth another attempt; `now` is the server's
/// time.
pub(crate) fn settle(
    policy: &Policy,
    error: &TaskError,
    worth: bool,
    now: Timestamp,
    draw: f64,
) -> Next {
    let delay = match error.advice() {
        RetryAdvice::Never => return Next::Fail(DeadReason::Permanent),
        RetryAdvice::After(delay) => delay,
        RetryAdvice::Policy if !worth => return Next::Fail(DeadReason::Permanent),
        RetryAdvice::Policy => retry_delay(policy.backoff, policy.failures + 1, draw),
    };
    let too_late = |deadline| deadline <= now.plus(delay);
    if policy.failures >= policy.retries || policy.deadline.is_some_and(too_late) {
        return Next::Fail(DeadReason::Exhausted);
    }
    Next::Retry(delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, Label)]) -> Labels {
        let mut labels = Labels::default();
        for (name, label) in pairs {
            labels.set(*name, label.clone());
        }
        labels
    }

    #[test]
    fn labels_take_the_place_of_the_tasks_defaults() {
        let options = TaskOptions::new()
            .retries(1)
            .timeout(Duration::from_secs(9));
        let policy = Policy::of(
            &options,
            &NONE,
            &labels(&[
                (labels::MAX_RETRIES, 7.into()),
                (labels::TIMEOUT, 0.3.into()),
                (labels::BACKOFF, "constant(2s)".into()),
                (labels::ATTEMPT, 4.into()),
            ]),
            START,
        );
        assert_eq!(policy.retries, 7);
        assert_eq!(policy.timeout, Some(Duration::from_millis(300)));
        assert_eq!(policy.backoff, Backoff::constant(Duration::from_secs(2)));
        assert_eq!(policy.first_attempt, 4);
    }

    #[test]
    fn a_label_that_cannot_be_read_counts_as_not_set() {
        let options = TaskOptions::new()
            .retries(1)
            .timeout(Duration::from_secs(9));
        let policy = Policy::of(
            &options,
            &NONE,
            &labels(&[
                (labels::MAX_RETRIES, "many".into()),
                (labels::TIMEOUT, (-3.0).into()),
                (labels::TTL, f64::NAN.into()),
                (labels::BACKOFF, "sometimes".into()),
                (labels::ATTEMPT, (-1).into()),
                (labels::DEADLINE, "soon".into()),
            ]),
            START,
        );
        assert_eq!(
            policy,
            Policy::of(&options, &NONE, &Labels::default(), START)
        );
    }

    const NONE: TaskDefaults = TaskDefaults {
        retries: None,
        backoff: None,
        timeout: None,
    };

    #[test]
    fn what_is_set_for_the_queue_counts_where_neither_call_nor_task_say() {
        let defaults = TaskDefaults {
            retries: Some(5),
            backoff: Some(Backoff::constant(Duration::from_secs(3))),
            timeout: Some(Duration::from_secs(30)),
        };
        let of =
            |options: &TaskOptions, labels: &Labels| Policy::of(options, &defaults, labels, START);
        let silent = of(&TaskOptions::new(), &Labels::default());
        assert_eq!((silent.retries, silent.timeout), (5, defaults.timeout));
        assert_eq!(silent.backoff, Backoff::constant(Duration::from_secs(3)));
        // A task that says 0 means it.
        let told = TaskOptions::new()
            .retries(0)
            .timeout(Duration::from_secs(9));
        let told = of(&told, &Labels::default());
        assert_eq!(
            (told.retries, told.timeout),
            (0, Some(Duration::from_secs(9)))
        );
        let sent = labels(&[(labels::MAX_RETRIES, 1.into())]);
        assert_eq!(of(&TaskOptions::new(), &sent).retries, 1);
    }

    /// When the messages of these tests were stored, and failed.
    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn next(policy: &Policy, error: &TaskError) -> Next {
        settle(policy, error, true, START, 0.5)
    }

    #[test]
    fn an_error_that_its_predicate_thinks_hopeless_is_not_retried() {
        let policy = Policy::of(
            &TaskOptions::new().retries(2),
            &NONE,
            &Labels::default(),
            START,
        );
        let error = TaskError::from("hopeless");
        assert_eq!(
            settle(&policy, &error, false, START, 0.5),
            Next::Fail(DeadReason::Permanent)
        );
        // What the error itself asks for counts more.
        let after = Duration::from_secs(1);
        let busy = TaskError::retry_after(after, "busy");
        assert_eq!(
            settle(&policy, &busy, false, START, 0.5),
            Next::Retry(after)
        );
    }

    #[test]
    fn a_retry_that_would_come_after_the_deadline_is_not_made() {
        let options = TaskOptions::new()
            .retries(9)
            .backoff(Backoff::constant(Duration::from_secs(5)).without_jitter())
            .deadline(Duration::from_secs(12));
        let policy = Policy::of(&options, &NONE, &Labels::default(), START);
        let error = TaskError::from("again");
        let at = |seconds| {
            settle(
                &policy,
                &error,
                true,
                START.plus(Duration::from_secs(seconds)),
                0.5,
            )
        };
        assert_eq!(at(6), Next::Retry(Duration::from_secs(5)));
        assert_eq!(at(7), Next::Fail(DeadReason::Exhausted));
        // A sender's own deadline goes before the task's.
        let sent = labels(&[(labels::DEADLINE, 1_000_500.into())]);
        let policy = Policy::of(&options, &NONE, &sent, START);
        assert_eq!(policy.deadline, Some(Timestamp::from_millis(1_000_500)));
    }

    #[test]
    fn an_error_steers_its_retry() {
        let policy = Policy::of(
            &TaskOptions::new().retries(2),
            &NONE,
            &Labels::default(),
            START,
        );
        let after = Duration::from_secs(42);
        let busy = TaskError::retry_after(after, "busy");
        assert_eq!(next(&policy, &busy), Next::Retry(after));
        let wrong = TaskError::permanent("wrong");
        assert_eq!(next(&policy, &wrong), Next::Fail(DeadReason::Permanent));
        let arguments = TaskError::of_kind(FailureKind::Arguments, String::new());
        assert_eq!(next(&policy, &arguments), Next::Fail(DeadReason::Permanent));
    }

    proptest! {
        #[test]
        fn a_message_is_retried_exactly_as_often_as_its_policy_says(retries in 0u32..50) {
            let mut policy = Policy::of(&TaskOptions::new().retries(retries), &NONE, &Labels::default(), START);
            let mut attempts = 1;
            while let Next::Retry(_) = next(&policy, &TaskError::from("again")) {
                policy.failures += 1;
                attempts += 1;
                prop_assert!(attempts <= retries + 1);
            }
            prop_assert_eq!(attempts, retries + 1);
        }

        /// No attempt is planned for a time when it could not run, and none
        /// is given up that could be made.
        #[test]
        fn a_retry_is_made_if_and_only_if_it_comes_in_time(
            failures in 0u32..6, retries in 0u32..6, seconds in 0u64..100,
            deadline in prop::option::of(0u64..200), passed in 0u64..200,
            asked in prop::option::of(0u64..100), worth: bool, draw in 0.0f64..=1.0,
        ) {
            let wait = Duration::from_secs(seconds);
            let policy = Policy {
                failures,
                deadline: deadline.map(|after| START.plus(Duration::from_secs(after))),
                ..Policy::of(
                    &TaskOptions::new()
                        .retries(retries)
                        .backoff(Backoff::constant(wait).without_jitter()),
                    &NONE,
                    &Labels::default(),
                    START,
                )
            };
            let error = match asked {
                Some(after) => TaskError::retry_after(Duration::from_secs(after), "busy"),
                None => TaskError::from("again"),
            };
            let delay = asked.map_or(wait, Duration::from_secs);
            let now = START.plus(Duration::from_secs(passed));
            let in_time = policy.deadline.is_none_or(|deadline| now.plus(delay) < deadline);
            let expected = if asked.is_none() && !worth {
                Next::Fail(DeadReason::Permanent)
            } else if failures < retries && in_time {
                Next::Retry(delay)
            } else {
                Next::Fail(DeadReason::Exhausted)
            };
            prop_assert_eq!(settle(&policy, &error, worth, now, draw), expected);
        }
    }
}
