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
}

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
    /// attempt: nothing, if it is about an earlier one.
    pub(crate) fn for_base(self, base: u32) -> Self {
        if self.base == base {
            self
        } else {
            Self {
                base,
                ..Self::default()
            }
        }
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
}
