//! The times of a schedule.
//!
//! A nominal time is a moment in UTC, whatever the clocks on walls show. What
//! a schedule in a time zone means when they are put forward or back is
//! decided here:
//!
//! - A pattern of every hour (`*/5 * * * *`) counts real time: none of its
//!   minutes is missing, and none doubled, whatever they are called.
//! - Any other names times of the day. One that is skipped when the clocks go
//!   forward comes at the moment of the jump; one that comes twice when they
//!   go back counts the first time.

use std::time::Duration;

use jiff::tz::{AmbiguousOffset, TimeZone};
use taskq_syntax::{Cadence, Cron};

use crate::time::Timestamp;

/// The times of a schedule.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    pub(crate) ticks: Ticks,
    /// None before this moment.
    pub(crate) start: Option<Timestamp>,
    /// None after this moment.
    pub(crate) end: Option<Timestamp>,
}

/// When a schedule recurs.
#[derive(Clone, Debug)]
pub(crate) enum Ticks {
    /// At the times of the clocks in a zone.
    Cron(Box<Cron>, TimeZone),
    /// At equal distances from a moment, before and after it.
    Every(Duration, Timestamp),
    /// Once.
    At(Timestamp),
}

impl Ticks {
    /// The ticks of a cadence in a zone. An interval counts from `anchor`.
    pub(crate) fn of(cadence: Cadence, zone: TimeZone, anchor: Option<Timestamp>) -> Self {
        match cadence {
            Cadence::Cron(cron) => Self::Cron(cron, zone),
            Cadence::Every(period) => {
                Self::Every(period, anchor.unwrap_or(Timestamp::from_millis(0)))
            }
        }
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron, zone) if cron.is_of_every_hour() => {
                next_by_real_time(cron, zone, after)
            }
            Self::Cron(cron, zone) => next_by_the_clock(cron, zone, after),
            Self::Every(period, anchor) => {
                let period = i64::try_from(period.as_millis()).ok()?.max(1);
                let since = after.as_millis().checked_sub(anchor.as_millis())?;
                let count = since.div_euclid(period).checked_add(1)?;
                let millis = count.checked_mul(period)?.checked_add(anchor.as_millis())?;
                Some(Timestamp::from_millis(millis))
            }
            Self::At(at) => (after < *at).then_some(*at),
        }
    }
}

impl Calendar {
    /// The first nominal time after this moment.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = match self.start {
            // The start itself may be one.
            Some(start) if after < start => Timestamp::from_millis(start.as_millis() - 1),
            _ => after,
        };
        let next = self.ticks.next(after)?;
        self.end.is_none_or(|end| next <= end).then_some(next)
    }

    /// The nominal times after this moment, one after the other.
    pub(crate) fn after(&self, moment: Timestamp) -> impl Iterator<Item = Timestamp> + use<'_> {
        std::iter::successors(self.next(moment), |last| self.next(*last))
    }
}

fn instant(moment: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(moment.as_millis()).ok()
}

fn moment(instant: jiff::Timestamp) -> Timestamp {
    Timestamp::from_millis(instant.as_millisecond())
}

/// The next time of a pattern that counts real time: between two changes of
/// the zone's offset the wall's clock runs as any other.
fn next_by_real_time(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut from = instant(after)?;
    let mut inclusive = false;
    loop {
        let offset = zone.to_offset(from);
        let wall = cron.next(offset.to_datetime(from), inclusive)?;
        let found = offset.to_timestamp(wall).ok()?;
        match zone.following(from).next() {
            Some(change) if change.timestamp() <= found => {
                from = change.timestamp();
                inclusive = true;
            }
            _ => return Some(moment(found)),
        }
    }
}

/// The next time of a pattern that names times of the day.
fn next_by_the_clock(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let from = instant(after)?;
    let mut wall = zone.to_datetime(from);
    loop {
        wall = cron.next(wall, false)?;
        let found = match zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok()?,
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok()?,
            AmbiguousOffset::Gap { after, .. } => {
                let before = after.to_timestamp(wall).ok()?;
                zone.following(before).next()?.timestamp()
            }
        };
        // In the second hour of two that are called the same, what is named
        // has been.
        if from < found {
            return Some(moment(found));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn calendar(text: &str, zone: &str) -> Calendar {
        let zone = taskq_syntax::time_zone(zone).unwrap();
        Calendar {
            ticks: Ticks::of(text.parse().unwrap(), zone, None),
            start: None,
            end: None,
        }
    }

    pub(crate) fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The first times after a moment, as the zone's clocks show them.
    fn shown(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let calendar = calendar(text, zone);
        let zone = taskq_syntax::time_zone(zone).unwrap();
        let times = calendar.after(at(after)).take(count);
        times
            .map(|time| {
                let time = instant(time).unwrap().to_zoned(zone.clone());
                time.strftime("%d %H:%M %:z").to_string()
            })
            .collect()
    }

    #[test]
    fn fault_24_a_time_that_the_clocks_skip_comes_at_the_jump_once() {
        // 2026-03-29, 02:00 becomes 03:00.
        assert_eq!(
            shown("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["28 02:30 +01:00", "29 03:00 +02:00", "30 02:30 +02:00"]
        );
        // Four that are skipped are one.
        assert_eq!(
            shown("*/15 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
            ["29 03:00 +02:00", "30 02:00 +02:00"]
        );
        // 2026-03-08 in New York.
        assert_eq!(
            shown("15 2 8 3 *", "America/New_York", "2026-03-01T00:00:00Z", 1),
            ["08 03:00 -04:00"]
        );
        // Half an hour, on 2026-10-04.
        assert_eq!(
            shown(
                "10 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-03T00:00:00Z",
                2
            ),
            ["04 02:30 +11:00", "05 02:10 +11:00"]
        );
    }

    #[test]
    fn fault_24_a_time_that_the_clocks_show_twice_comes_the_first_time() {
        // 2026-10-25, 03:00 becomes 02:00.
        assert_eq!(
            shown("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["25 02:30 +02:00", "26 02:30 +01:00"]
        );
        // Seen from the second of the two hours, it has been.
        assert_eq!(
            shown("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
            ["26 02:30 +01:00"]
        );
        assert_eq!(
            shown("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2),
            ["01 01:30 -04:00", "02 01:30 -05:00"]
        );
        assert_eq!(
            shown(
                "45 1 * * *",
                "Australia/Lord_Howe",
                "2026-04-04T12:00:00Z",
                2
            ),
            ["05 01:45 +11:00", "06 01:45 +10:30"]
        );
    }

    #[test]
    fn fault_24_a_pattern_of_every_hour_counts_real_hours() {
        assert_eq!(
            shown("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
            ["29 01:30 +01:00", "29 03:30 +02:00", "29 04:30 +02:00"]
        );
        assert_eq!(
            shown("30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3),
            ["25 02:30 +02:00", "25 02:30 +01:00", "25 03:30 +01:00"]
        );
        assert_eq!(
            shown(
                "*/20 * * * *",
                "Australia/Lord_Howe",
                "2026-04-04T14:30:00Z",
                5
            ),
            [
                "05 01:40 +11:00",
                "05 01:40 +10:30",
                "05 02:00 +10:30",
                "05 02:20 +10:30",
                "05 02:40 +10:30",
            ]
        );
    }

    #[test]
    fn an_interval_keeps_its_grid_wherever_it_is_asked_from() {
        let calendar = calendar("every 15m", "UTC");
        let times: Vec<_> = calendar.after(at("2026-01-01T00:07:00Z")).take(3).collect();
        assert_eq!(
            times,
            ["00:15", "00:30", "00:45"].map(|time| at(&format!("2026-01-01T{time}:00Z")))
        );
        assert_eq!(
            calendar.next(at("2026-01-01T00:14:59.999Z")),
            Some(times[0])
        );
        assert_eq!(calendar.next(times[0]), Some(times[1]));
    }

    #[test]
    fn a_schedule_keeps_within_its_start_and_its_end() {
        let mut calendar = calendar("0 * * * *", "UTC");
        calendar.start = Some(at("2026-01-01T10:00:00Z"));
        calendar.end = Some(at("2026-01-01T12:00:00Z"));
        let times: Vec<_> = calendar.after(at("2020-01-01T00:00:00Z")).collect();
        assert_eq!(
            times,
            ["10:00", "11:00", "12:00"].map(|time| at(&format!("2026-01-01T{time}:00Z")))
        );
        let once = Calendar {
            ticks: Ticks::At(at("2026-01-01T10:00:00Z")),
            start: None,
            end: None,
        };
        assert_eq!(once.after(at("2020-01-01T00:00:00Z")).count(), 1);
        assert_eq!(once.next(at("2026-01-01T10:00:00Z")), None);
    }

    const ZONES: [&str; 5] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
    ];

    /// Every change of the zone's offset in these years, and some moments of
    /// no interest.
    fn moments(zone: &str) -> Vec<i64> {
        let zone = taskq_syntax::time_zone(zone).unwrap();
        let from: jiff::Timestamp = "2011-01-01T00:00:00Z".parse().unwrap();
        let changes = zone.following(from).take(32);
        let mut all: Vec<i64> = changes.map(|it| it.timestamp().as_second()).collect();
        all.push(1_767_225_600);
        all
    }

    proptest! {
        /// Each real minute once, and in order, whatever the clocks do.
        #[test]
        fn fault_24_every_minute_comes_once_around_every_change_of_the_clocks(
            zone in 0..ZONES.len(), change in 0usize..33, before in 0i64..7200
        ) {
            let moments = moments(ZONES[zone]);
            let from = moments[change % moments.len()] - before;
            let calendar = calendar("* * * * *", ZONES[zone]);
            let mut last = (from.div_euclid(60)) * 60_000;
            for time in calendar.after(Timestamp::from_millis(from * 1000)).take(240) {
                prop_assert_eq!(time.as_millis(), last + 60_000);
                last = time.as_millis();
            }
        }

        /// A time of the day comes once a day, and always later than before;
        /// where it comes does not depend on where it is looked for from.
        #[test]
        fn fault_24_a_time_of_the_day_comes_once_a_day_around_every_change(
            zone in 0..ZONES.len(), change in 0usize..33, hour in 0u32..24, minute in 0u32..60,
            step in 1i64..5000,
        ) {
            let moments = moments(ZONES[zone]);
            let middle = moments[change % moments.len()];
            let calendar = calendar(&format!("{minute} {hour} * * *"), ZONES[zone]);
            let tz = taskq_syntax::time_zone(ZONES[zone]).unwrap();
            let (from, until) = (middle - 3 * 86_400, middle + 3 * 86_400);
            let times: Vec<Timestamp> = calendar
                .after(Timestamp::from_millis(from * 1000))
                .take_while(|time| time.as_millis() < until * 1000)
                .collect();
            for pair in times.windows(2) {
                prop_assert!(pair[0] < pair[1]);
            }
            // Apia went without 30 December 2011, and what was named on that
            // day comes at the jump.
            if ZONES[zone] != "Pacific/Apia" {
                let day = |time: &Timestamp| tz.to_datetime(instant(*time).unwrap()).date();
                for pair in times.windows(2) {
                    let apart = (day(&pair[1]) - day(&pair[0])).get_days();
                    prop_assert_eq!(apart, 1, "{:?}", times);
                }
            }
            let mut look = from;
            while look < until {
                let next = calendar.next(Timestamp::from_millis(look * 1000)).unwrap();
                let expected = times.iter().find(|time| time.as_millis() > look * 1000);
                if let Some(expected) = expected {
                    prop_assert_eq!(next, *expected);
                }
                look += step * 60;
            }
        }
    }
}
