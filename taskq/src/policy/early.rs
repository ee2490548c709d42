//! Whether a delivery came before its time.

use std::time::Duration;

use crate::time::Timestamp;

/// A delivery that would have to wait for longer is not early: no sender puts
/// such a message in its queue, so some clock is wrong, and the queue's word
/// counts.
const LONGEST: Duration = Duration::from_secs(2);

/// How long a delivery has to wait for its time; none if it is due.
///
/// What is put off by a moment only is in its queue at once, since the
/// server's timer is too coarse for it. What the server itself held back was
/// stored in its queue when it was due, by the server's clock, and does not
/// wait again, whatever the clock here says.
pub(crate) fn early(due: Timestamp, stored_at: Timestamp, now: Timestamp) -> Option<Duration> {
    let wait = due.since(now).min(due.since(stored_at));
    (!wait.is_zero() && wait <= LONGEST).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Nothing starts before its time by both clocks, and nothing that
        /// the server held back waits twice, nor anything for long.
        #[test]
        fn a_delivery_waits_until_it_is_due_and_not_longer(
            due in 0i64..10_000, stored in 0i64..10_000, now in 0i64..10_000,
        ) {
            let at = Timestamp::from_millis;
            let wait = early(at(due), at(stored), at(now));
            if due <= stored || due <= now {
                prop_assert_eq!(wait, None);
            } else if due - now.max(stored) <= 2_000 {
                let millis = u64::try_from(due - now.max(stored)).unwrap();
                prop_assert_eq!(wait, Some(Duration::from_millis(millis)));
            } else {
                prop_assert_eq!(wait, None);
            }
        }
    }
}
