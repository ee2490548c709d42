//! What was told already, where reading is taken up again.

use std::collections::VecDeque;

use taskq::{Event, Timestamp};

/// Reading is taken up so far before the latest event: those who tell have
/// clocks of their own, and what they tell is nearly in order.
const OVERLAP_MS: i64 = 10_000;

/// The events of the last moments.
#[derive(Debug, Default)]
pub(super) struct Seen {
    latest: Option<Timestamp>,
    recent: VecDeque<Event>,
}

impl Seen {
    /// Whether an event was not seen yet; from now on it was.
    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        if self.recent.contains(event) {
            return false;
        }
        self.latest = self.latest.max(Some(event.at));
        self.recent.push_back(event.clone());
        let from = self.resume();
        while self.recent.front().is_some_and(|old| Some(old.at) < from) {
            self.recent.pop_front();
        }
        true
    }

    /// From when on to read again; none if nothing was seen.
    pub(super) fn resume(&self) -> Option<Timestamp> {
        let latest = self.latest?.as_millis();
        Some(Timestamp::from_millis(latest.saturating_sub(OVERLAP_MS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64, id: &str) -> Event {
        let at = Timestamp::from_millis(at);
        let json = serde_json::json!({ "event": "started", "at": at, "task_id": id });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_is_read_again_is_not_new_and_what_is_long_past_is_forgotten() {
        let mut seen = Seen::default();
        assert_eq!(seen.resume(), None);
        assert!(seen.is_new(&event(20_000, "a")));
        assert!(seen.is_new(&event(20_000, "b")));
        assert!(!seen.is_new(&event(20_000, "a")));
        assert!(seen.is_new(&event(19_000, "c")));
        assert_eq!(seen.resume(), Some(Timestamp::from_millis(10_000)));
        for n in 0..1000 {
            assert!(seen.is_new(&event(31_000 + n, "d")));
        }
        assert_eq!(seen.recent.len(), 1000);
    }
}
