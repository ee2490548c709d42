//! How tasks went over a time, as charts.

use std::sync::Arc;

use maud::{Markup, html};
use taskq::Timestamp;

use super::address;
use super::chart::{Chart, Part};
use super::frame::View;
use super::show::{clock, count, length, short};
use crate::http::{Answer, Shared};
use crate::index::{Trend, TrendQuery};

/// How many parts a time is shown in.
const PARTS: i64 = 60;

/// A length of time that charts show: its word in an address, in words, and
/// the length of a part in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    word: &'static str,
    step: i64,
}

const RANGES: [Range; 4] = [
    Range {
        word: "15m",
        step: 15_000,
    },
    Range {
        word: "1h",
        step: 60_000,
    },
    Range {
        word: "6h",
        step: 360_000,
    },
    Range {
        word: "24h",
        step: 1_440_000,
    },
];

impl Range {
    /// By its word; an hour if there is none such.
    pub(super) fn of(word: Option<&str>) -> Self {
        let found = RANGES.into_iter().find(|range| Some(range.word) == word);
        found.unwrap_or(RANGES[1])
    }

    /// Links to all of them.
    pub(super) fn choice(self, view: &View, page: &str) -> Markup {
        html! {
            div.group role="group" aria-label="Time shown" {
                @for range in RANGES {
                    a href=(view.to(&address::with(page, [("range", range.word)])))
                        aria-current=[(range == self).then_some("true")] { (range.word) }
                }
            }
        }
    }

    /// When it began.
    pub(super) fn begin(self, now: Timestamp) -> Timestamp {
        let last = now.as_millis().div_euclid(self.step) * self.step;
        Timestamp::from_millis(last - (PARTS - 1) * self.step)
    }
}

/// How tasks went.
pub(super) struct Trends {
    range: Range,
    begin: Timestamp,
    trend: Arc<Trend>,
}

/// Values that part of the tasks stay below.
pub(super) fn share_below(values: &mut [f64], share: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let place = ((values.len() - 1) as f64 * share).round() as usize;
    let (_, value, _) = values.select_nth_unstable_by(place, f64::total_cmp);
    Some(*value)
}

impl Trends {
    /// Of all tasks, or those of a name or a queue.
    pub(super) async fn read(
        shared: &Shared,
        now: Timestamp,
        range: Range,
        task: Option<&str>,
        queue: Option<&str>,
    ) -> Answer<Self> {
        let begin = range.begin(now);
        let query = TrendQuery {
            since: begin,
            step: std::time::Duration::from_millis(range.step.unsigned_abs()),
            task: task.map(str::to_owned),
            queue: queue.map(str::to_owned),
        };
        let trend = shared.pulse.trend(&shared.index, query).await?;
        Ok(Self {
            range,
            begin,
            trend,
        })
    }

    /// How many ended in a state.
    pub(super) fn ended(&self, state: &str) -> u64 {
        let parts = self.trend.ended.values();
        parts.filter_map(|part| part.get(state)).sum()
    }

    /// How many ended.
    pub(super) fn all(&self) -> u64 {
        self.trend
            .ended
            .values()
            .flat_map(|part| part.values())
            .sum()
    }

    /// How long they waited, and how long they ran.
    pub(super) fn waits_and_runs(&self) -> (Vec<f64>, Vec<f64>) {
        let timed = &self.trend.timed;
        let waits = timed.iter().map(|one| one.waited).collect();
        (waits, timed.iter().map(|one| one.ran).collect())
    }

    fn times(&self) -> impl Iterator<Item = i64> + '_ {
        (0..PARTS).map(|part| self.begin.as_millis() + part * self.range.step)
    }

    fn ends(&self) -> (String, String) {
        (format!("{} UTC", clock(self.begin)), "now".to_owned())
    }

    /// How many ended, by how.
    pub(super) fn throughput(&self) -> Markup {
        let kinds = [
            ("succeeded", "f-ok"),
            ("failed", "f-bad"),
            ("cancelled or expired", "f-idle"),
        ];
        let parts = self.times().map(|time| {
            let part = self.trend.ended.get(&time);
            let of = |state| part.and_then(|part| part.get(state)).copied().unwrap_or(0);
            let (good, bad) = (of("succeeded"), of("failed"));
            let other = of("cancelled") + of("expired");
            let at = clock(Timestamp::from_millis(time));
            let mut title = format!("{at}: {} succeeded", count(good));
            for (number, word) in [(bad, "failed"), (other, "cancelled or expired")] {
                if number > 0 {
                    title.push_str(&format!(", {} {word}", count(number)));
                }
            }
            let values = [good, bad, other].map(|number| Some(number as f64));
            Part {
                title,
                values: values.to_vec(),
            }
        });
        let all = self.all();
        Chart {
            title: match self.range.step {
                60_000 => "Ended each minute",
                15_000 => "Ended every 15 s",
                360_000 => "Ended every 6 min",
                _ => "Ended every 24 min",
            },
            told: format!(
                "{} tasks ended in the last {}, of which {} failed",
                count(all),
                self.range.word,
                count(self.ended("failed"))
            ),
            kinds: &kinds,
            parts: parts.collect(),
            write: short,
            ends: self.ends(),
            room: 4.0,
        }
        .bars()
    }

    /// The share that failed.
    pub(super) fn failures(&self) -> Markup {
        let parts = self.times().map(|time| {
            let part = self.trend.ended.get(&time);
            let all: u64 = part.map_or(0, |part| part.values().sum());
            let bad = part
                .and_then(|part| part.get("failed"))
                .copied()
                .unwrap_or(0);
            let share = (all > 0).then(|| bad as f64 / all as f64 * 100.0);
            let at = clock(Timestamp::from_millis(time));
            let title = match share {
                Some(share) => format!("{at}: {share:.1} % of {} failed", count(all)),
                None => format!("{at}: none ended"),
            };
            Part {
                title,
                values: vec![share],
            }
        });
        let (all, bad) = (self.all(), self.ended("failed"));
        let share = if all > 0 {
            bad as f64 / all as f64 * 100.0
        } else {
            0.0
        };
        Chart {
            title: "Failed",
            told: format!(
                "{share:.1} percent of the tasks of the last {} failed",
                self.range.word
            ),
            kinds: &[("", "f-bad")],
            parts: parts.collect(),
            write: |share| format!("{} %", short(share)),
            ends: self.ends(),
            room: 4.0,
        }
        .bars()
    }

    /// How long they waited.
    pub(super) fn waits(&self) -> Markup {
        self.lengths("Wait before the start", |one| one.waited)
    }

    /// How long they ran.
    pub(super) fn runs(&self) -> Markup {
        self.lengths("Run time", |one| one.ran)
    }

    fn lengths(&self, title: &str, of: fn(&crate::index::Timed) -> f64) -> Markup {
        let mut parts: Vec<Vec<f64>> = vec![Vec::new(); PARTS as usize];
        for one in &self.trend.timed {
            let place = (one.at.as_millis() - self.begin.as_millis()).div_euclid(self.range.step);
            if let Some(part) = usize::try_from(place)
                .ok()
                .and_then(|place| parts.get_mut(place))
            {
                part.push(of(one));
            }
        }
        let mut all: Vec<f64> = self.trend.timed.iter().map(of).collect();
        let told = match (share_below(&mut all, 0.5), share_below(&mut all, 0.95)) {
            (Some(half), Some(most)) => format!(
                "{title} in the last {}: half below {}, 95 percent below {}",
                self.range.word,
                length(half),
                length(most)
            ),
            _ => format!("{title}: no task started in the last {}", self.range.word),
        };
        let parts = self.times().zip(parts).map(|(time, mut part)| {
            let half = share_below(&mut part, 0.5);
            let most = share_below(&mut part, 0.95);
            let at = clock(Timestamp::from_millis(time));
            let title = match (half, most) {
                (Some(half), Some(most)) => {
                    format!(
                        "{at}: half below {}, 95 % below {}",
                        length(half),
                        length(most)
                    )
                }
                _ => format!("{at}: none"),
            };
            Part {
                title,
                values: vec![half, most],
            }
        });
        Chart {
            title,
            told,
            kinds: &[("half below", "s-accent"), ("95 % below", "s-faint")],
            parts: parts.collect(),
            write: length,
            ends: self.ends(),
            room: 0.001,
        }
        .lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_values_is_below_its_quantile() {
        let mut values: Vec<f64> = (1..=100).map(f64::from).rev().collect();
        assert_eq!(share_below(&mut values, 0.5), Some(51.0));
        assert_eq!(share_below(&mut values, 0.95), Some(95.0));
        assert_eq!(share_below(&mut [], 0.5), None);
    }

    #[test]
    fn a_range_begins_on_the_edge_of_a_part() {
        let range = Range::of(Some("15m"));
        let begin = range.begin(Timestamp::from_millis(1_800_000_007_123));
        assert_eq!(begin.as_millis() % 15_000, 0);
        assert_eq!(Range::of(Some("forever")), Range::of(None));
    }
}
