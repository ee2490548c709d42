//! How many workers a pool is to have. No clock and no I/O of its own.
//!
//! Up at once, when something waits and it is not a matter of a moment. Down
//! when fewer would have been enough for all of a settled time: of what each
//! look in it recommends, the most counts.

use std::collections::VecDeque;
use std::time::Duration;

/// What a pool goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The fewest workers.
    pub(crate) min: usize,
    /// The most; no less than the fewest.
    pub(crate) max: usize,
    /// The slots of each; at least one.
    pub(crate) slots: usize,
    /// Nothing should wait for so long.
    pub(crate) max_wait: Duration,
    /// For how long fewer must have been enough.
    pub(crate) settle: Duration,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// How many tasks wait for a worker.
    pub(crate) waiting: u64,
    /// How long the first of them has waited.
    pub(crate) oldest: Duration,
    /// How many slots are taken.
    pub(crate) busy: u64,
    /// How many slots there are, of workers that take tasks.
    pub(crate) slots: u64,
    /// How many workers are on their way to taking tasks.
    pub(crate) starting: usize,
}

impl Load {
    /// Why there are more workers from now on, or fewer, in words.
    pub(crate) fn why(&self, more: bool) -> String {
        let slots = format!("{} of {} slots were taken", self.busy, self.slots);
        match more {
            true => format!(
                "{} waited, the first for {}, and {slots}",
                self.waiting,
                rough(self.oldest)
            ),
            false => format!("fewer have been enough for a while: {slots}"),
        }
    }
}

/// Of so many taken slots one more is to be free.
const HEADROOM: u64 = 4;

/// Decides how many workers there are to be.
#[derive(Debug)]
pub(crate) struct Scaler {
    wanted: usize,
    /// What looks recommended and when, the oldest first. Each holds until the
    /// next: of what was not looked at nothing better is known.
    looks: VecDeque<(Duration, usize)>,
}

impl Scaler {
    /// Begins at some time with some workers.
    pub(crate) fn new(now: Duration, wanted: usize) -> Self {
        Self {
            wanted,
            looks: VecDeque::from([(now, wanted)]),
        }
    }

    /// How many workers there are to be, by the last look.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    /// How many workers there are to be from now on. Times never go back.
    pub(crate) fn decide(&mut self, now: Duration, load: &Load, rules: &Rules) -> usize {
        let recommended = recommend(self.wanted, load, rules);
        self.looks.push_back((now, recommended));
        let settled = now.saturating_sub(rules.settle);
        while self.looks.get(1).is_some_and(|(next, _)| *next <= settled) {
            self.looks.pop_front();
        }
        let most = self.looks.iter().map(|(_, number)| *number).max();
        let most = most.unwrap_or(recommended).min(self.wanted);
        self.wanted = most.max(recommended).clamp(rules.min, rules.max);
        self.wanted
    }
}

/// How many workers a load asks for, where there are to be so many.
fn recommend(wanted: usize, load: &Load, rules: &Rules) -> usize {
    let slots = count(rules.slots).max(1);
    // Enough to leave some slots free.
    let enough = (load.busy + load.busy / HEADROOM).div_ceil(slots);
    let enough = usize::try_from(enough).unwrap_or(usize::MAX);
    let recommended = if load.waiting == 0 {
        // What is busy and lets nothing wait is as it should be.
        enough.min(wanted)
    } else {
        // More than these would have nothing to do.
        let all = load.busy.saturating_add(load.waiting).div_ceil(slots);
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        let pressed = load.oldest >= rules.max_wait || load.busy >= load.slots;
        let most = match pressed && load.starting == 0 {
            true => wanted.saturating_mul(2).max(1),
            // A matter of a moment, or of those that are on their way.
            false => wanted.max(1),
        };
        all.min(most).max(enough.min(most))
    };
    recommended.clamp(rules.min, rules.max)
}

/// A length of time, without what nobody asks for.
pub(crate) fn rough(time: Duration) -> String {
    let millis = time.as_millis().min(u128::from(u64::MAX));
    let millis = u64::try_from(millis).unwrap_or(u64::MAX);
    taskq::format_duration(match millis {
        ..10_000 => Duration::from_millis(millis),
        millis => Duration::from_secs(millis / 1000),
    })
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rules() -> Rules {
        Rules {
            min: 1,
            max: 6,
            slots: 10,
            max_wait: secs(1),
            settle: secs(30),
        }
    }

    /// What a backlog looks like to so many workers.
    fn backlog(waiting: u64, workers: usize) -> Load {
        Load {
            waiting,
            oldest: secs(5),
            busy: 10 * count(workers),
            slots: 10 * count(workers),
            starting: 0,
        }
    }

    #[test]
    fn a_change_is_told_with_what_was_seen() {
        assert_eq!(
            backlog(70, 1).why(true),
            "70 waited, the first for 5s, and 10 of 10 slots were taken"
        );
        assert_eq!(
            backlog(0, 2).why(false),
            "fewer have been enough for a while: 20 of 20 slots were taken"
        );
    }

    #[test]
    fn a_backlog_doubles_the_workers_to_the_most_and_its_end_halves_nothing_at_once() {
        let mut scaler = Scaler::new(secs(0), 1);
        let mut seen = vec![1];
        for second in 1..5 {
            let load = backlog(10_000, scaler.wanted());
            seen.push(scaler.decide(secs(second), &load, &rules()));
        }
        assert_eq!(seen, [1, 2, 4, 6, 6]);
        let idle = Load {
            slots: 60,
            ..Load::default()
        };
        assert_eq!(scaler.decide(secs(10), &idle, &rules()), 6);
        assert_eq!(scaler.decide(secs(39), &idle, &rules()), 6);
        assert_eq!(scaler.decide(secs(40), &idle, &rules()), 1);
    }

    #[test]
    fn no_more_are_started_than_it_takes_and_none_while_some_are_on_their_way() {
        let mut scaler = Scaler::new(secs(0), 2);
        assert_eq!(scaler.decide(secs(1), &backlog(1, 2), &rules()), 3);
        let coming = Load {
            starting: 1,
            ..backlog(10_000, 2)
        };
        assert_eq!(scaler.decide(secs(2), &coming, &rules()), 3);
        // It has only just come, and there is room.
        let blip = Load {
            waiting: 50,
            oldest: Duration::ZERO,
            busy: 5,
            slots: 30,
            starting: 0,
        };
        assert_eq!(scaler.decide(secs(3), &blip, &rules()), 3);
    }

    #[test]
    fn a_pool_without_workers_gets_one_for_the_first_task() {
        let rules = Rules { min: 0, ..rules() };
        let mut scaler = Scaler::new(secs(0), 0);
        assert_eq!(scaler.decide(secs(1), &Load::default(), &rules), 0);
        let one = Load {
            waiting: 1,
            ..Load::default()
        };
        assert_eq!(scaler.decide(secs(2), &one, &rules), 1);
    }

    #[test]
    fn what_was_not_looked_at_is_not_taken_for_calm() {
        let mut scaler = Scaler::new(secs(0), 6);
        assert_eq!(scaler.decide(secs(1), &backlog(100, 6), &rules()), 6);
        // NATS was away for an hour.
        assert_eq!(scaler.decide(secs(3600), &Load::default(), &rules()), 6);
        assert_eq!(scaler.decide(secs(3631), &Load::default(), &rules()), 1);
    }

    fn loads() -> impl Strategy<Value = Vec<(u64, Load)>> {
        let load = (0..300u64, 0..4000u64, 0..80u64, 0..80u64, 0..3usize);
        let load = load.prop_map(|(waiting, oldest, busy, slots, starting)| Load {
            waiting: waiting.saturating_sub(150),
            oldest: Duration::from_millis(oldest),
            busy,
            slots,
            starting,
        });
        prop::collection::vec((0..20_000u64, load), 1..60)
    }

    proptest! {
        /// Whatever happens: within the limits; up at once when it must be; down
        /// only to what was enough at every look of the settled time.
        #[test]
        fn limits_hold_up_is_at_once_and_down_is_settled(
            looks in loads(), min in 0..4usize, more in 0..8usize, slots in 1..20usize,
        ) {
            let rules = Rules { min, max: min + more, slots, ..rules() };
            let mut scaler = Scaler::new(Duration::ZERO, min);
            let mut now = Duration::ZERO;
            let mut past: Vec<(Duration, usize)> = Vec::new();
            for (pause, load) in looks {
                now += Duration::from_millis(pause);
                let before = scaler.wanted();
                let asked = recommend(before, &load, &rules);
                let after = scaler.decide(now, &load, &rules);
                past.push((now, asked));
                prop_assert!((rules.min..=rules.max).contains(&after));
                prop_assert!(after >= asked, "{after} is less than {asked}");
                prop_assert!(after <= before.max(asked));
                if after < before {
                    let recent = past.iter().filter(|(at, _)| *at > now.saturating_sub(rules.settle));
                    for (at, asked) in recent {
                        prop_assert!(*asked <= after, "{asked} at {at:?}");
                    }
                }
                let pressed = load.waiting > 0 && load.oldest >= rules.max_wait;
                let all = (load.busy + load.waiting).div_ceil(count(slots));
                if pressed && load.starting == 0 && count(before) < all {
                    prop_assert!(after > before || after == rules.max);
                }
            }
        }

        /// However it was before: a lull of the settled time leaves the fewest,
        /// and a backlog that lasts has the most.
        #[test]
        fn it_ends_where_it_must(looks in loads()) {
            let rules = rules();
            let mut scaler = Scaler::new(Duration::ZERO, 1);
            let mut now = Duration::ZERO;
            for (pause, load) in looks {
                now += Duration::from_millis(pause);
                scaler.decide(now, &load, &rules);
            }
            for _ in 0..4 {
                now += secs(1);
                let load = backlog(10_000, scaler.wanted());
                scaler.decide(now, &load, &rules);
            }
            prop_assert_eq!(scaler.wanted(), rules.max);
            for _ in 0..=31 {
                now += secs(1);
                scaler.decide(now, &Load::default(), &rules);
            }
            prop_assert_eq!(scaler.wanted(), rules.min);
        }
    }
}
