//! Whether a delivery runs.

use super::Policy;
use crate::message::Journal;
use crate::time::Timestamp;

/// What is known of a delivery before it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Which delivery of the message it is, from 1.
    pub(crate) delivery: u32,
    /// What its earlier deliveries left behind.
    pub(crate) journal: &'a Journal,
    /// Whether the task has an outcome.
    pub(crate) ended: bool,
    /// Whether somebody wishes that it should not run.
    pub(crate) cancelled: bool,
    /// By when it must have ended.
    pub(crate) deadline: Option<Timestamp>,
    /// The time, by the server's clock.
    pub(crate) now: Timestamp,
    /// How many workers it may take with it; 0 for any number.
    pub(crate) max_crashes: u32,
}

/// What to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Run it, as the attempt of this number.
    Run {
        attempt: u32,
        /// Alone among its like: it may have killed the workers that ran it.
        suspect: bool,
    },
    /// Ack it: it has an outcome.
    Ended,
    /// Record that it was cancelled.
    Cancel,
    /// Record that its time was over before it started.
    Expire,
    /// Record that the workers which ran it died.
    Quarantine,
}

/// Whatever is known of the circumstances, so many times the crashes that are
/// allowed are too many.
pub(crate) const BEYOND_DOUBT: u32 = 3;

/// Whether a delivery has to be looked up before it runs: it may have ended,
/// or have been started, before. Where the next attempt of a retry is, the
/// one before may have been delivered again and ended; and a broker that
/// crashed may count a delivery as the first that is not.
pub(crate) fn may_have_a_past(delivery: u32, doubtful: bool, policy: &Policy) -> bool {
    delivery > 1 || doubtful || policy.first_attempt > 1
}

/// Decides whether a delivery runs.
///
/// A delivery whose start was written down and that neither ended nor was
/// handed back is a crash. Of the first delivery no start is written, so the
/// first crash counts when the later ones are known: a message that was
/// merely in the hands of a dying worker is not put in quarantine.
///
/// A worker that dies takes all with it that it runs, and one of them may be
/// the cause. So before its last chance a message is suspect: it runs alone
/// among its like, and what happens then is its doing.
pub(crate) fn admit(facts: &Facts<'_>) -> Admission {
    if facts.ended {
        return Admission::Ended;
    }
    if facts.cancelled {
        return Admission::Cancel;
    }
    let attempt = facts.journal.attempt(facts.delivery);
    let earlier = attempt.saturating_sub(facts.journal.base);
    let starts = &facts.journal.starts;
    let known = u32::try_from(starts.len()).unwrap_or(u32::MAX);
    let most = facts.max_crashes;
    if most > 0 && earlier >= most {
        let was_alone = most == 1 || starts.last().is_some_and(|start| start.alone);
        if (known.saturating_add(1) >= most && was_alone)
            || known >= most.saturating_mul(BEYOND_DOUBT)
        {
            return Admission::Quarantine;
        }
    }
    if facts.deadline.is_some_and(|deadline| deadline <= facts.now) {
        return Admission::Expire;
    }
    let last_chance = earlier.saturating_add(1) >= most && known.saturating_add(2) >= most;
    Admission::Run {
        attempt,
        suspect: most > 1 && earlier > 0 && last_chance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(journal: &Journal, delivery: u32) -> Facts<'_> {
        Facts {
            delivery,
            journal,
            ended: false,
            cancelled: false,
            deadline: None,
            now: Timestamp::from_millis(1000),
            max_crashes: 3,
        }
    }

    fn run(attempt: u32, suspect: bool) -> Admission {
        Admission::Run { attempt, suspect }
    }

    /// What becomes of a message whose workers die `deaths` times in a row.
    fn after_deaths(deaths: u32) -> Admission {
        let mut journal = Journal::default().for_base(1);
        for delivery in 2..=deaths {
            let alone = admit(&facts(&journal, delivery)) == run(delivery, true);
            journal.start(delivery, "w", Timestamp::from_millis(0), alone);
        }
        admit(&facts(&journal, deaths + 1))
    }

    #[test]
    fn the_third_death_puts_a_message_in_quarantine() {
        assert_eq!(after_deaths(0), run(1, false));
        assert_eq!(after_deaths(1), run(2, false));
        assert_eq!(after_deaths(2), run(3, true));
        assert_eq!(after_deaths(3), Admission::Quarantine);
    }

    #[test]
    fn a_death_in_company_is_no_proof_but_many_are() {
        let mut journal = Journal::default().for_base(1);
        let mut delivery = 1;
        loop {
            let admission = admit(&facts(&journal, delivery));
            if admission == Admission::Quarantine {
                break;
            }
            if delivery > 1 {
                journal.start(delivery, "w", Timestamp::from_millis(0), false);
            }
            delivery += 1;
        }
        assert_eq!(journal.starts.len(), 9);
    }

    #[test]
    fn a_message_that_was_only_in_hand_is_not_blamed() {
        let journal = Journal::default().for_base(1);
        assert_eq!(
            admit(&facts(&journal, 40)),
            Admission::Run {
                attempt: 40,
                suspect: false
            }
        );
    }

    #[test]
    fn an_outcome_goes_before_a_wish_and_a_wish_before_the_clock() {
        let journal = Journal::default().for_base(1);
        let late = Facts {
            deadline: Some(Timestamp::from_millis(1000)),
            ..facts(&journal, 1)
        };
        assert_eq!(admit(&late), Admission::Expire);
        let unwanted = Facts {
            cancelled: true,
            ..late
        };
        assert_eq!(admit(&unwanted), Admission::Cancel);
        let ended = Facts {
            ended: true,
            ..unwanted
        };
        assert_eq!(admit(&ended), Admission::Ended);
    }

    proptest! {
        /// However deliveries, refunds and crashes mix: no message runs more
        /// than its crashes allow, and refunds alone never condemn it.
        #[test]
        fn only_crashes_condemn(ends in prop::collection::vec(0u8..3, 0..40), most in 1u32..6) {
            let mut journal = Journal::default().for_base(1);
            let mut crashes = 0;
            for (delivery, end) in (1u32..).zip(ends) {
                let admission = admit(&Facts { max_crashes: most, ..facts(&journal, delivery) });
                if admission == Admission::Quarantine {
                    prop_assert!(crashes >= most, "{crashes} of {most}");
                    return Ok(());
                }
                prop_assert!(crashes <= most);
                if delivery > 1 {
                    let alone = matches!(admission, Admission::Run { suspect: true, .. });
                    journal.start(delivery, "w", Timestamp::from_millis(0), alone);
                }
                match end {
                    // Handed back.
                    0 => journal.refund(delivery),
                    // The worker died.
                    _ => crashes += 1,
                }
            }
        }
    }
}
