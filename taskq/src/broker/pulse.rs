//! Whether messages could come: what a worker's readiness and its watchdog
//! go by.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// The signs of life of a worker's intake.
#[derive(Debug)]
pub(crate) struct Pulse(Mutex<Signs>);

#[derive(Clone, Copy, Debug)]
struct Signs {
    /// When the broker last showed that it has this worker's requests.
    heard: Instant,
    /// When a message last came.
    gave: Instant,
    /// Since when the worker has had room for messages; none while it has
    /// none.
    hungry: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Signs {
            heard: now,
            gave: now,
            hungry: None,
        }))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Signs) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The broker answered, with a message or without.
    pub(super) fn hear(&self, now: Instant, message: bool) {
        self.with(|signs| {
            signs.heard = now;
            if message {
                signs.gave = now;
            }
        });
    }

    /// The worker has room for messages, or has none.
    pub(super) fn set_hungry(&self, hungry: bool, now: Instant) {
        self.with(|signs| {
            if !hungry {
                signs.hungry = None;
            } else if signs.hungry.is_none() {
                signs.hungry = Some(now);
                // Silence counts from the first request.
                signs.heard = signs.heard.max(now);
            }
        });
    }

    /// For how long the broker has been silent although it was asked.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        self.with(|signs| match signs.hungry {
            Some(_) => now.saturating_duration_since(signs.heard),
            None => Duration::ZERO,
        })
    }

    /// For how long no message has come although there was room for one.
    pub(super) fn hunger(&self, now: Instant) -> Duration {
        self.with(|signs| match signs.hungry {
            Some(since) => now.saturating_duration_since(since.max(signs.gave)),
            None => Duration::ZERO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_hunger_count_only_while_there_is_room() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let pulse = Pulse::new(start);
        assert_eq!(pulse.silence(at(50)), Duration::ZERO);
        pulse.set_hungry(true, at(10));
        assert_eq!(pulse.silence(at(13)), Duration::from_secs(3));
        assert_eq!(pulse.hunger(at(13)), Duration::from_secs(3));
        pulse.hear(at(13), false);
        assert_eq!(pulse.silence(at(14)), Duration::from_secs(1));
        assert_eq!(pulse.hunger(at(14)), Duration::from_secs(4));
        pulse.hear(at(14), true);
        assert_eq!(pulse.hunger(at(15)), Duration::from_secs(1));
        pulse.set_hungry(false, at(16));
        assert_eq!(pulse.hunger(at(90)), Duration::ZERO);
    }
}
