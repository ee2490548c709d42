//! How long to wait before a retry.

use std::time::Duration;

use taskq_syntax::{Backoff, BackoffKind};

/// The wait after the `failures`-th failed attempt (from 1). With jitter it
/// is spread evenly from nothing to the whole wait ("full jitter"), by `draw`
/// in 0..=1.
pub(crate) fn retry_delay(backoff: Backoff, failures: u32, draw: f64) -> Duration {
    let step = failures.max(1);
    let base = backoff.base();
    let factor = match backoff.kind() {
        BackoffKind::Constant => 1.0,
        BackoffKind::Linear => f64::from(step),
        BackoffKind::Exponential => 2f64.powi(i32::try_from(step - 1).unwrap_or(i32::MAX)),
    };
    let limit = backoff.max_delay().unwrap_or(LONGEST).min(LONGEST);
    let seconds = (base.as_secs_f64() * factor).min(limit.as_secs_f64());
    let share = if backoff.has_jitter() {
        draw.clamp(0.0, 1.0)
    } else {
        1.0
    };
    Duration::from_secs_f64(seconds * share)
}

/// Without a cap of its own a backoff stops growing here.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn each_growth_has_its_steps() {
        let steps = |backoff: Backoff| {
            (1..=4)
                .map(|n| retry_delay(backoff.without_jitter(), n, 0.0).as_secs())
                .collect::<Vec<_>>()
        };
        assert_eq!(steps(Backoff::constant(seconds(3))), [3, 3, 3, 3]);
        assert_eq!(steps(Backoff::linear(seconds(3))), [3, 6, 9, 12]);
        assert_eq!(steps(Backoff::exponential(seconds(3))), [3, 6, 12, 24]);
        let capped = Backoff::exponential(seconds(3)).max(seconds(10));
        assert_eq!(steps(capped), [3, 6, 10, 10]);
    }

    proptest! {
        #[test]
        fn a_delay_never_exceeds_its_cap_nor_overflows(
            base in 1u64..1_000_000, cap in 1u64..1_000_000, failures: u32, draw in 0.0f64..=1.0
        ) {
            for backoff in [
                Backoff::constant(seconds(base)),
                Backoff::linear(seconds(base)),
                Backoff::exponential(seconds(base)),
            ] {
                let delay = retry_delay(backoff.max(seconds(cap)), failures, draw);
                prop_assert!(delay <= seconds(cap));
                prop_assert!(retry_delay(backoff, failures, draw) <= LONGEST);
            }
        }

        #[test]
        fn without_jitter_a_delay_does_not_shrink(base in 1u64..1000, failures in 1u32..1000) {
            let backoff = Backoff::exponential(seconds(base)).without_jitter();
            prop_assert!(
                retry_delay(backoff, failures, 0.0) <= retry_delay(backoff, failures + 1, 0.0)
            );
        }
    }
}
