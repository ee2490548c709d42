//! What is known of a message's earlier deliveries.
//!
//! A first delivery leaves no trace but its outcome. From the second on the
//! worker writes down that it starts before it does, so that a worker which
//! does not survive is known to have died of, or during, this message.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The deliveries of one message since its last attempt that ended by
/// itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The number of the attempt that the first of these deliveries was. A
    /// message that is sent again for a retry begins anew.
    pub(crate) base: u32,
    /// How many of the deliveries were no attempts: handed back unfinished,
    /// or not for this worker.
    #[serde(default)]
    pub(crate) refunds: u32,
    /// The deliveries that were started and neither ended nor were handed
    /// back.
    #[serde(default)]
    pub(crate) starts: Vec<Start>,
    /// The same of other attempts of the task. When the ack of a failed
    /// attempt is lost, its message comes again beside the one of the retry,
    /// and neither may wipe out what is known of the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Journal>,
}

/// So many other attempts are remembered, the latest.
const MOST_OTHERS: usize = 4;

/// A start that was written down before it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Which delivery of the message.
    pub(crate) delivery: u32,
    pub(crate) worker: String,
    pub(crate) at: Timestamp,
    /// Whether no other message ran there that was under suspicion, so that
    /// a crash is this one's.
    #[serde(default)]
    pub(crate) alone: bool,
}

impl Journal {
    /// What this journal says of a message whose first delivery is this
    /// attempt; what it says of others is kept.
    pub(crate) fn for_base(mut self, base: u32) -> Self {
        if self.base == base {
            return self;
        }
        let mut others = std::mem::take(&mut self.others);
        let place = others.iter().position(|other| other.base == base);
        let found = place.map(|place| others.remove(place));
        if self.refunds > 0 || !self.starts.is_empty() {
            others.push(self);
        }
        if others.len() > MOST_OTHERS {
            others.remove(0);
        }
        let journal = found.unwrap_or(Self {
            base,
            ..Self::default()
        });
        Self { others, ..journal }
    }

    /// The number of the attempt that a delivery is.
    pub(crate) fn attempt(&self, delivery: u32) -> u32 {
        let earlier = delivery.saturating_sub(1).saturating_sub(self.refunds);
        self.base.saturating_add(earlier)
    }

    /// Notes that a delivery is about to start.
    pub(crate) fn start(&mut self, delivery: u32, worker: &str, at: Timestamp, alone: bool) {
        self.starts.push(Start {
            delivery,
            worker: worker.to_owned(),
            at,
            alone,
        });
    }

    /// Notes that another message under suspicion runs beside the last start.
    pub(crate) fn join(&mut self) {
        if let Some(start) = self.starts.last_mut() {
            start.alone = false;
        }
    }

    /// Forgets the start of a delivery, if it is the last; whether it was.
    pub(crate) fn take_back(&mut self, delivery: u32) -> bool {
        let is_last = self
            .starts
            .last()
            .is_some_and(|start| start.delivery == delivery);
        if is_last {
            self.starts.pop();
        }
        is_last
    }

    /// Notes that a delivery was no attempt.
    pub(crate) fn refund(&mut self, delivery: u32) {
        self.refunds += 1;
        self.starts.retain(|start| start.delivery != delivery);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Numbers, texts and times only: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a journal; one that cannot be read counts as empty.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn deliveries_that_were_no_attempts_do_not_count() {
        let mut journal = Journal::default().for_base(3);
        assert_eq!(journal.attempt(1), 3);
        assert_eq!(journal.attempt(2), 4);
        journal.start(2, "w", Timestamp::from_millis(0), false);
        journal.refund(2);
        assert_eq!(journal.attempt(3), 4);
        assert!(journal.starts.is_empty());
        assert_eq!(Journal::decode(&journal.encode()), journal);
        assert_eq!(journal.for_base(4).refunds, 0);
    }

    #[test]
    fn two_attempts_of_a_task_do_not_wipe_out_each_others_crashes() {
        let now = Timestamp::from_millis(0);
        let mut stored = Journal::default();
        for delivery in 2..5 {
            for base in [1, 2] {
                let mut journal = Journal::decode(&stored.encode()).for_base(base);
                assert_eq!(journal.starts.len(), delivery as usize - 2);
                journal.start(delivery, "w", now, true);
                stored = journal;
            }
        }
    }

    proptest! {
        /// However deliveries end: a number is never below the first, none
        /// is that of two deliveries of which the earlier was an attempt,
        /// and what was handed back is no crash.
        #[test]
        fn attempts_count_up_and_only_by_attempts(
            base in 1u32..100, ends in prop::collection::vec(any::<bool>(), 0..50)
        ) {
            let mut journal = Journal::default().for_base(base);
            let (mut attempts, mut crashes) = (0, 0);
            for (delivery, attempted) in (1u32..).zip(ends) {
                prop_assert_eq!(journal.attempt(delivery), base + attempts);
                journal.start(delivery, "w", Timestamp::from_millis(1), false);
                if attempted {
                    attempts += 1;
                    crashes += 1;
                } else {
                    journal.refund(delivery);
                }
                prop_assert_eq!(journal.starts.len(), crashes);
                journal = Journal::decode(&journal.encode());
            }
            // What is written of another attempt keeps it.
            let mut other = journal.clone().for_base(base + 1);
            prop_assert_eq!(other.attempt(1), base + 1);
            prop_assert!(other.starts.is_empty());
            other.start(1, "w", Timestamp::from_millis(1), false);
            prop_assert_eq!(other.for_base(base).starts, journal.starts);
        }

        #[test]
        fn what_is_no_journal_counts_as_empty(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Journal::decode(&bytes);
        }
    }
}
