//! Which fires of a schedule are planned, and which are made up for.

use std::time::Duration;

use taskq_syntax::Misfire;

use super::Calendar;
use crate::time::Timestamp;

/// Fires are planned for so long ahead: a scheduler that dies delays none of
/// them, and there is this long to find another.
const AHEAD: Duration = Duration::from_secs(60);
/// However far off they are, so many are planned.
const LEAST: usize = 2;
/// However close they are, no more are planned at once.
const MOST: usize = 90;
/// However many were missed, no more are made up for.
pub(crate) const MOST_MADE_UP: usize = 1000;
/// So many missed ones are counted.
const MOST_COUNTED: usize = 10_000;

/// When a fire counts as missed, and what becomes of it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lateness {
    pub(crate) misfire: Misfire,
    /// So long after its time a fire may start and is merely late.
    pub(crate) after: Duration,
    /// Fires come up to so long after their nominal time.
    pub(crate) jitter: Duration,
}

/// What to plan next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The nominal times of the fires, in order.
    pub(crate) fires: Vec<Timestamp>,
    /// All nominal times up to this one are dealt with.
    pub(crate) through: Option<Timestamp>,
    /// Those that were missed and will not be made up for.
    pub(crate) missed: Option<Missed>,
}

/// Nominal times that passed without a fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    /// How many; or, if there are more, so many.
    pub(crate) count: usize,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

/// When a fire is to come: at its nominal time, or up to `jitter` later. The
/// same for whoever computes it, so that a fire which is planned twice is
/// planned for the same moment.
pub(crate) fn due(name: &str, nominal: Timestamp, jitter: Duration) -> Timestamp {
    let most = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
    if most == 0 {
        return nominal;
    }
    // FNV-1a: spread is all that is asked of it.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes().chain(nominal.as_millis().to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    nominal.plus(Duration::from_millis(hash % most.saturating_add(1)))
}

/// Whether the fire of a nominal time is to start now, late or not.
pub(crate) fn may_start(
    calendar: &Calendar,
    lateness: Lateness,
    nominal: Timestamp,
    due: Timestamp,
    now: Timestamp,
) -> bool {
    if now.since(due) <= lateness.after {
        return true;
    }
    match lateness.misfire {
        Misfire::Skip => false,
        // The latest that has passed stands for all.
        Misfire::Once => calendar.next(nominal).is_none_or(|next| now < next),
        Misfire::All(window) => now.since(due) <= window,
    }
}

/// Whether there is something to plan: fires ahead run short.
pub(crate) fn is_short(
    calendar: &Calendar,
    through: Timestamp,
    planned: &[Timestamp],
    now: Timestamp,
) -> bool {
    let ahead = planned.iter().filter(|time| now < **time).count();
    let next = calendar.next(through);
    match next {
        None => false,
        Some(next) => ahead < LEAST || (ahead < MOST / 2 && next <= now.plus(AHEAD / 2)),
    }
}

/// Decides what to plan: what was missed since `through`, as the policy says,
/// and what comes. `ahead` fires that are still to come are planned already.
pub(crate) fn plan(
    calendar: &Calendar,
    lateness: Lateness,
    through: Timestamp,
    ahead: usize,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    if let Some(first) = calendar.next(through).filter(|first| *first <= now) {
        make_up(calendar, lateness, first, now, &mut plan);
    }
    let from = through.max(now);
    for (count, time) in (ahead..).zip(calendar.after(from)) {
        let near = time <= now.plus(AHEAD) && count < MOST;
        if !near && count >= LEAST {
            break;
        }
        plan.fires.push(time);
        plan.through = Some(time);
    }
    plan
}

/// Decides about the nominal times from `first` to `now`.
fn make_up(
    calendar: &Calendar,
    lateness: Lateness,
    first: Timestamp,
    now: Timestamp,
    plan: &mut Plan,
) {
    let before = |span: Duration| {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(now.as_millis().saturating_sub(millis))
    };
    let just_before = |time: Timestamp| Timestamp::from_millis(time.as_millis() - 1);
    let passed = |from: Timestamp| {
        let from = from.max(just_before(first));
        calendar.after(from).take_while(|time| *time <= now)
    };
    // Those that can start, and a look further back for the latest: dense
    // ones are found near, and sparse ones are few.
    let window = match lateness.misfire {
        Misfire::All(window) => window.max(lateness.after),
        Misfire::Skip | Misfire::Once => lateness.after,
    };
    let mut window = window + lateness.jitter;
    let mut fires: Vec<Timestamp> = loop {
        let found: Vec<Timestamp> = passed(before(window)).collect();
        let enough = lateness.misfire != Misfire::Once || !found.is_empty();
        if enough || before(window) < first {
            break found;
        }
        window = (window * 4).max(Duration::from_secs(60));
    };
    if lateness.misfire == Misfire::Once
        && let Some(latest) = fires.last().copied()
    {
        let late = before(lateness.after + lateness.jitter);
        fires.retain(|time| *time > late || *time == latest);
    }
    let surplus = fires.len().saturating_sub(MOST_MADE_UP);
    fires.drain(..surplus);
    plan.through = Some(now);
    let until = fires.first().copied();
    let skipped = calendar
        .after(just_before(first))
        .take_while(|time| *time <= now && until.is_none_or(|until| *time < until));
    let mut last = first;
    let count = skipped
        .take(MOST_COUNTED)
        .inspect(|time| last = *time)
        .count();
    if count > 0 {
        let last = if count < MOST_COUNTED {
            last
        } else {
            until.unwrap_or(now)
        };
        plan.missed = Some(Missed { count, first, last });
    }
    plan.fires = fires;
}

#[cfg(test)]
mod tests {
    use super::super::calendar::tests::{at, calendar};
    use super::*;
    use proptest::prelude::*;

    fn late(misfire: Misfire, after: u64) -> Lateness {
        Lateness {
            misfire,
            after: Duration::from_secs(after),
            jitter: Duration::ZERO,
        }
    }

    const NOW: &str = "2026-01-01T12:00:30Z";

    fn planned(text: &str, lateness: Lateness, through: &str) -> Plan {
        plan(&calendar(text, "UTC"), lateness, at(through), 0, at(NOW))
    }

    fn times(plan: &Plan) -> Vec<String> {
        let short = |time: &Timestamp| time.to_string()[8..19].replace('T', " ");
        plan.fires.iter().map(short).collect()
    }

    #[test]
    fn what_comes_is_planned_for_a_while_and_at_least_two() {
        let plan = planned("0 9 * * *", late(Misfire::Once, 60), NOW);
        assert_eq!(times(&plan), ["02 09:00:00", "03 09:00:00"]);
        assert_eq!(plan.through, plan.fires.last().copied());
        let dense = planned("* * * * * *", late(Misfire::Once, 60), NOW);
        assert_eq!(dense.fires.len(), 60);
        assert_eq!(dense.through, Some(at("2026-01-01T12:01:30Z")));
    }

    #[test]
    fn missed_fires_are_made_up_for_as_the_policy_says() {
        let through = "2026-01-01T08:00:00Z";
        let made_up = |misfire| {
            let plan = planned("0 * * * *", late(misfire, 10), through);
            let missed = plan.missed.map_or(0, |missed| missed.count);
            let mut times = times(&plan);
            times.truncate(times.len() - LEAST);
            (times, missed)
        };
        assert_eq!(made_up(Misfire::Skip), (vec![], 4));
        assert_eq!(made_up(Misfire::Once), (vec!["01 12:00:00".to_owned()], 3));
        let all = Misfire::All(Duration::from_secs(2 * 3600));
        let two = vec!["01 11:00:00".to_owned(), "01 12:00:00".to_owned()];
        assert_eq!(made_up(all), (two, 2));
        // What is merely late is not missed.
        let plan = planned("0 * * * *", late(Misfire::Skip, 60), "2026-01-01T11:00:00Z");
        assert_eq!(
            (times(&plan)[0].as_str(), plan.missed),
            ("01 12:00:00", None)
        );
    }

    #[test]
    fn after_a_long_time_the_latest_is_found_however_rare_it_is() {
        let plan = planned("0 0 1 1 *", late(Misfire::Once, 60), "1990-06-01T00:00:00Z");
        assert_eq!(times(&plan)[0], "01 00:00:00");
        assert_eq!(plan.missed.map(|missed| missed.count), Some(35));
        // And a dense one does not take for ever.
        let plan = planned(
            "* * * * * *",
            late(Misfire::Once, 5),
            "1990-06-01T00:00:00Z",
        );
        assert_eq!(plan.missed.map(|missed| missed.count), Some(MOST_COUNTED));
        assert_eq!(plan.fires[0], at("2026-01-01T12:00:26Z"));
    }

    #[test]
    fn a_fire_starts_late_as_the_policy_says() {
        let calendar = calendar("0 * * * *", "UTC");
        let nominal = at("2026-01-01T12:00:00Z");
        let starts =
            |misfire, now| may_start(&calendar, late(misfire, 60), nominal, nominal, at(now));
        let all = Misfire::All(Duration::from_secs(5400));
        for misfire in [Misfire::Skip, Misfire::Once, all] {
            assert!(starts(misfire, "2026-01-01T12:01:00Z"), "{misfire}");
        }
        for (misfire, at_half_past, an_hour_later, two_hours_later) in [
            (Misfire::Skip, false, false, false),
            (Misfire::Once, true, false, false),
            (all, true, true, false),
        ] {
            assert_eq!(starts(misfire, "2026-01-01T12:30:00Z"), at_half_past);
            assert_eq!(starts(misfire, "2026-01-01T13:00:00Z"), an_hour_later);
            assert_eq!(starts(misfire, "2026-01-01T14:00:00Z"), two_hours_later);
        }
    }

    #[test]
    fn jitter_is_the_same_for_all_and_stays_within_its_bound() {
        let jitter = Duration::from_secs(30);
        let mut spread = std::collections::HashSet::new();
        for second in 0..100 {
            let nominal = Timestamp::from_millis(second * 1000);
            let due_at = due("report", nominal, jitter);
            assert_eq!(due_at, due("report", nominal, jitter));
            assert!(nominal <= due_at && due_at.since(nominal) <= jitter);
            spread.insert(due_at.since(nominal).as_secs());
        }
        assert!(spread.len() > 20, "{}", spread.len());
        let nominal = Timestamp::from_millis(5);
        assert_eq!(due("report", nominal, Duration::ZERO), nominal);
    }

    proptest! {
        /// However often and late schedulers look, every nominal time is
        /// planned once or told as missed, in order.
        #[test]
        fn every_nominal_time_is_planned_once_or_missed(
            period in 1u64..200, looks in prop::collection::vec(0u64..400, 1..20), policy in 0usize..3
        ) {
            let misfire = [Misfire::Skip, Misfire::Once, Misfire::All(Duration::from_secs(100))][policy];
            let calendar = calendar(&format!("every {period}s"), "UTC");
            let start = Timestamp::from_millis(1_000_000_000_000);
            let (mut through, mut now) = (start, start);
            let (mut fires, mut missed) = (Vec::new(), 0);
            for wait in looks {
                now = now.plus(Duration::from_secs(wait));
                let ahead = fires.iter().filter(|time| now < **time).count();
                if !is_short(&calendar, through, &fires, now) {
                    continue;
                }
                let plan = plan(&calendar, late(misfire, 30), through, ahead, now);
                missed += plan.missed.map_or(0, |missed| missed.count);
                fires.extend(plan.fires);
                if let Some(planned) = plan.through {
                    prop_assert!(through <= planned);
                    through = planned;
                }
            }
            for pair in fires.windows(2) {
                prop_assert!(pair[0] < pair[1]);
            }
            let all = calendar.after(start).take_while(|time| *time <= through).count();
            prop_assert_eq!(fires.len() + missed, all);
        }
    }
}
