//! When a worker is started in the place of a dead one. No clock of its own.

use std::time::Duration;

/// A worker that has lived for so long has got up.
pub(crate) const STEADY: Duration = Duration::from_secs(10);
/// From so many quick deaths in a row on, the workers do not get up.
pub(crate) const LOOP: u32 = 3;
/// The wait before the third try, which doubles.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The deaths of a pool, as far as they matter for the next start.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    /// How many workers in a row died soon after their start.
    quick: u32,
    /// Nothing is started before.
    not_before: Duration,
}

impl Restarts {
    /// Notes that a worker ended by itself after it had lived for so long.
    pub(crate) fn died(&mut self, now: Duration, lived: Duration) {
        self.quick = match lived >= STEADY {
            true => 0,
            false => self.quick.saturating_add(1),
        };
        self.not_before = now + self.wait();
    }

    /// Notes that a worker was started.
    pub(crate) fn started(&mut self, now: Duration) {
        // While they die there is one try at a time.
        self.not_before = self.not_before.max(now + self.wait());
    }

    /// Notes that a worker that was started after the last death has got up.
    pub(crate) fn got_up(&mut self) {
        self.quick = 0;
        self.not_before = Duration::ZERO;
    }

    /// How long it is until a worker may be started; nothing if that is now.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.not_before.saturating_sub(now)
    }

    /// How many workers in a row died soon after their start.
    pub(crate) fn quick(&self) -> u32 {
        self.quick
    }

    fn wait(&self) -> Duration {
        match self.quick {
            0 | 1 => Duration::ZERO,
            quick => FIRST
                .saturating_mul(2u32.saturating_pow(quick - 2))
                .min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_is_replaced_at_once_and_the_next_after_waits_that_double() {
        let mut restarts = Restarts::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            restarts.died(secs(100), secs(1));
            waits.push(restarts.left(secs(100)).as_secs());
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        restarts.died(secs(100), STEADY);
        assert_eq!(restarts.left(secs(100)), Duration::ZERO);
    }

    #[test]
    fn while_they_die_one_is_tried_at_a_time() {
        let mut restarts = Restarts::default();
        restarts.started(secs(0));
        assert_eq!(restarts.left(secs(0)), Duration::ZERO);
        restarts.died(secs(1), secs(1));
        restarts.died(secs(1), secs(1));
        assert_eq!(restarts.left(secs(2)), Duration::ZERO);
        restarts.started(secs(2));
        assert_eq!(restarts.left(secs(2)), secs(1));
        restarts.got_up();
        assert_eq!(restarts.left(secs(2)), Duration::ZERO);
    }
}
