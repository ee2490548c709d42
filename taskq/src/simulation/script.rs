//! What the tasks of a run do, and what may go wrong in it.

use std::time::Duration;

use fastrand::Rng;

use crate::task::TaskOptions;

/// What may go wrong in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weather {
    /// Replies and acks are lost, steps repeated, connections cut.
    pub(super) network: bool,
    /// Workers are killed and frozen.
    pub(super) workers: bool,
    /// Workers are told to stop, and give back what they hold.
    pub(super) drains: bool,
    /// The broker restarts.
    pub(super) broker: bool,
    /// Somebody cancels.
    pub(super) wishes: bool,
}

impl Weather {
    /// Whether nothing goes wrong but what the tasks do.
    pub(super) fn is_calm(self) -> bool {
        !(self.network || self.workers || self.drains || self.broker || self.wishes)
    }

    pub(super) fn of(rng: &mut Rng) -> Self {
        let all = rng.u8(0..10);
        let mut may = |chance| all > 2 && rng.f64() < chance;
        let drawn = Self {
            network: may(0.7),
            workers: may(0.7),
            drains: may(0.5),
            broker: may(0.3),
            wishes: may(0.5),
        };
        match all {
            0 => drawn,
            1 => Self {
                drains: true,
                ..drawn
            },
            2 => Self {
                workers: true,
                ..drawn
            },
            _ => drawn,
        }
    }
}

/// What a task does.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) kind: Kind,
    pub(super) lasts: u64,
    pub(super) options: TaskOptions,
    pub(super) retry_after: Option<Duration>,
    /// Whether the workers of the last version know it only.
    pub(super) new: bool,
    /// How often it was started.
    pub(super) starts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Succeed,
    /// Fails so many times, then succeeds.
    Fail(u32),
    Permanent,
    /// Kills so many workers, then succeeds.
    Kill(u32),
    /// Fails once and kills from then on.
    FailThenKill,
}

impl Script {
    pub(super) fn of(rng: &mut Rng) -> Self {
        let kind = match rng.u8(0..12) {
            0..4 => Kind::Succeed,
            4..6 => Kind::Fail(rng.u32(1..4)),
            6 => Kind::Fail(u32::MAX),
            7 => Kind::Permanent,
            8 => Kind::Kill(rng.u32(1..3)),
            9 => Kind::Kill(u32::MAX),
            10 => Kind::FailThenKill,
            _ => Kind::Succeed,
        };
        let lasts = match rng.u8(0..4) {
            0 => rng.u64(1..20),
            1 => rng.u64(20..2000),
            2 => rng.u64(2000..7000),
            _ => rng.u64(5000..15_000),
        };
        let wait = Duration::from_millis(rng.u64(1..4000));
        let backoff = match rng.u8(0..3) {
            0 => taskq_syntax::Backoff::constant(wait),
            1 => taskq_syntax::Backoff::linear(wait),
            _ => taskq_syntax::Backoff::exponential(wait).max(Duration::from_secs(10)),
        };
        let mut options = TaskOptions::new().retries(rng.u32(0..4)).backoff(backoff);
        if rng.u8(0..8) == 0 {
            options = options.deadline(Duration::from_millis(rng.u64(1000..30_000)));
        }
        if rng.u8(0..8) == 0 {
            options = options.timeout(Duration::from_millis(rng.u64(500..8000)));
        }
        Self {
            kind,
            lasts,
            options,
            retry_after: (rng.u8(0..8) == 0).then_some(wait),
            new: rng.u8(0..10) == 0,
            starts: 0,
        }
    }
}
