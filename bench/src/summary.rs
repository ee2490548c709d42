//! What was measured, and what it comes to.

use std::fmt;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::DEBUG_BUILD;
use crate::options::Phase;
use crate::part::Report;

/// A side's way through one phase.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    pub(crate) rep: u32,
    pub(crate) side: &'static str,
    pub(crate) phase: Phase,
    pub(crate) tasks: u64,
    pub(crate) seconds: f64,
    pub(crate) per_s: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) processes: Usage,
    /// The share of the machine's CPU that other processes used.
    pub(crate) foreign_cpu: Option<f64>,
}

/// What the processes of a side used in a phase.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Usage {
    pub(crate) server: Used,
    pub(crate) producer: Used,
    pub(crate) worker: Used,
}

/// What a process used. None where the system does not tell.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Used {
    pub(crate) cpu_us_per_task: Option<f64>,
    /// Connected, with nothing to do yet.
    pub(crate) rss_idle_mb: Option<f64>,
    /// Looked at every 50 ms.
    pub(crate) rss_peak_mb: Option<f64>,
}

impl Used {
    /// From bytes.
    pub(crate) fn new(cpu_us_per_task: Option<f64>, idle: Option<u64>, peak: Option<u64>) -> Self {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        Self {
            cpu_us_per_task,
            rss_idle_mb: idle.map(mb),
            rss_peak_mb: peak.map(mb),
        }
    }
}

impl Measured {
    pub(crate) fn new(
        rep: u32,
        side: &'static str,
        phase: Phase,
        report: &Report,
        processes: Usage,
        foreign_cpu: Option<f64>,
    ) -> Self {
        Self {
            rep,
            side,
            phase,
            tasks: report.tasks,
            seconds: report.seconds,
            per_s: report.tasks as f64 / report.seconds,
            p50_ms: report.p50_ms,
            p99_ms: report.p99_ms,
            processes,
            foreign_cpu,
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rep, side, phase, ..
        } = self;
        write!(f, "{rep} {side} {}: ", phase.name())?;
        match (self.p50_ms, self.p99_ms) {
            (Some(p50), Some(p99)) => write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms"),
            _ if self.phase == Phase::Start => write!(f, "{:.1} ms", self.seconds * 1e3),
            _ => write!(f, "{:.0}/s", self.per_s),
        }
    }
}

/// A number of a side in one repetition. None where it is not told.
pub(crate) type Number = fn(&Measured) -> Option<f64>;

/// The phase and the number that each key of a side stands for.
const KEYS: [(&str, Phase, Number); 11] = [
    ("enqueue_per_s", Phase::Enqueue, |m| Some(m.per_s)),
    ("tasks_per_s", Phase::EndToEnd, |m| Some(m.per_s)),
    ("p50_ms", Phase::Latency, |m| m.p50_ms),
    ("p99_ms", Phase::Latency, |m| m.p99_ms),
    ("rss_mb", Phase::EndToEnd, |m| {
        let Usage {
            producer, worker, ..
        } = m.processes;
        Some(producer.rss_peak_mb? + worker.rss_peak_mb?)
    }),
    ("cpu_us_per_task", Phase::EndToEnd, |m| {
        let Usage {
            server,
            producer,
            worker,
        } = m.processes;
        Some(server.cpu_us_per_task? + producer.cpu_us_per_task? + worker.cpu_us_per_task?)
    }),
    ("server_cpu_us_per_task", Phase::EndToEnd, |m| {
        m.processes.server.cpu_us_per_task
    }),
    ("producer_cpu_us_per_task", Phase::EndToEnd, |m| {
        m.processes.producer.cpu_us_per_task
    }),
    ("worker_cpu_us_per_task", Phase::EndToEnd, |m| {
        m.processes.worker.cpu_us_per_task
    }),
    ("worker_idle_rss_mb", Phase::EndToEnd, |m| {
        m.processes.worker.rss_idle_mb
    }),
    ("worker_start_ms", Phase::Start, |m| Some(m.seconds * 1e3)),
];

/// The keys of the ratios, and of which numbers they are.
const RATIOS: [(&str, &str); 3] = [
    ("enqueue", "enqueue_per_s"),
    ("end_to_end", "tasks_per_s"),
    ("p99", "p99_ms"),
];

/// A median and what it is the median of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// None of no values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = match values.len() % 2 {
            0 => f64::midpoint(*values.get(middle.checked_sub(1)?)?, upper),
            _ => upper,
        };
        Some(Self {
            median,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

/// All repetitions of two sides.
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    measured: &'a [Measured],
    /// The raw loop's name, and that of what is compared with it.
    pub(crate) sides: [&'static str; 2],
}

impl<'a> Summary<'a> {
    pub(crate) fn of(measured: &'a [Measured], sides: [&'static str; 2]) -> Self {
        Self { measured, sides }
    }

    /// A number of a side over the repetitions.
    pub(crate) fn spread(&self, side: &str, phase: Phase, number: Number) -> Option<Spread> {
        Spread::of(
            self.values(side, phase, number)
                .map(|(_, value)| value)
                .collect(),
        )
    }

    /// The second side's number divided by the raw loop's, in the repetitions
    /// that have both.
    pub(crate) fn ratio(&self, phase: Phase, number: Number) -> Option<Spread> {
        let [raw, other] = self.sides;
        let ratios = self
            .values(other, phase, number)
            .filter_map(|(rep, value)| {
                let mut same = self.values(raw, phase, number).filter(|(of, _)| *of == rep);
                same.next().map(|(_, base)| value / base)
            });
        Spread::of(ratios.collect())
    }

    /// A number of a side, with the repetition it is from.
    fn values(&self, side: &str, phase: Phase, number: Number) -> impl Iterator<Item = (u32, f64)> {
        self.measured
            .iter()
            .filter(move |one| one.side == side && one.phase == phase)
            .filter_map(move |one| Some((one.rep, number(one)?)))
    }

    /// The most that other processes used of the machine in a phase.
    pub(crate) fn foreign_cpu(&self) -> Option<f64> {
        let shares = self.measured.iter().filter_map(|one| one.foreign_cpu);
        shares.max_by(f64::total_cmp)
    }

    /// `{"raw":{..},"<side>":{..},"ratio":{..},"ratio_range":{..},"build":".."}`,
    /// on one line. Medians; `null` for what the system does not tell.
    pub(crate) fn json(&self) -> Result<String> {
        let mut all = Map::new();
        for side in self.sides {
            let numbers = KEYS.iter().map(|(key, phase, number)| {
                let spread = self.spread(side, *phase, *number);
                ((*key).to_owned(), json!(spread.map(|spread| spread.median)))
            });
            all.insert(side.to_owned(), Value::Object(numbers.collect()));
        }
        let ratios = || {
            RATIOS.iter().filter_map(|(name, of)| {
                let (_, phase, number) = KEYS.iter().find(|(key, ..)| key == of)?;
                Some(((*name).to_owned(), self.ratio(*phase, *number)))
            })
        };
        let medians = ratios().map(|(name, ratio)| (name, json!(ratio.map(|r| r.median))));
        let ranges = ratios().map(|(name, ratio)| (name, json!(ratio.map(|r| [r.min, r.max]))));
        all.insert("ratio".into(), Value::Object(medians.collect()));
        all.insert("ratio_range".into(), Value::Object(ranges.collect()));
        let build = DEBUG_BUILD.map_or("release", |_| "debug");
        all.insert("build".into(), build.into());
        Ok(serde_json::to_string(&all)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rep: u32, side: &'static str, phase: Phase, seconds: f64) -> Measured {
        let report = Report {
            tasks: 1_000,
            seconds,
            p50_ms: Some(seconds),
            p99_ms: Some(seconds * 2.0),
        };
        Measured::new(rep, side, phase, &report, Usage::default(), None)
    }

    #[test]
    fn ratios_are_of_one_repetition() {
        // The machine is ten times slower in the second repetition, and the
        // other side takes twice as long in each. In the third it is missing.
        let measured = [
            measured(1, "raw", Phase::EndToEnd, 1.0),
            measured(1, "taskq", Phase::EndToEnd, 2.0),
            measured(2, "taskq", Phase::EndToEnd, 20.0),
            measured(2, "raw", Phase::EndToEnd, 10.0),
            measured(3, "raw", Phase::EndToEnd, 1.0),
        ];
        let summary = Summary::of(&measured, ["raw", "taskq"]);
        let ratio = summary.ratio(Phase::EndToEnd, |m| Some(m.per_s));
        let half = Spread {
            median: 0.5,
            min: 0.5,
            max: 0.5,
        };
        assert_eq!(ratio, Some(half));
    }

    #[test]
    fn an_even_number_of_values_has_a_median_between_them() {
        let spread = Spread {
            median: 2.5,
            min: 1.0,
            max: 9.0,
        };
        assert_eq!(Spread::of(vec![9.0, 1.0, 3.0, 2.0]), Some(spread));
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn the_last_line_has_the_keys_that_scripts_read() {
        let measured = [
            measured(1, "raw", Phase::Enqueue, 1.0),
            measured(1, "taskq", Phase::Enqueue, 2.0),
            measured(1, "raw", Phase::EndToEnd, 1.0),
            measured(1, "taskq", Phase::EndToEnd, 4.0),
            measured(1, "raw", Phase::Latency, 1.0),
            measured(1, "taskq", Phase::Latency, 3.0),
            measured(1, "raw", Phase::Start, 0.01),
            measured(1, "taskq", Phase::Start, 0.02),
        ];
        let json = Summary::of(&measured, ["raw", "taskq"]).json().unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        let taskq = json!({
            "enqueue_per_s": 500.0,
            "tasks_per_s": 250.0,
            "p50_ms": 3.0,
            "p99_ms": 6.0,
            "rss_mb": null,
            "cpu_us_per_task": null,
            "server_cpu_us_per_task": null,
            "producer_cpu_us_per_task": null,
            "worker_cpu_us_per_task": null,
            "worker_idle_rss_mb": null,
            "worker_start_ms": 20.0,
        });
        assert_eq!(json["taskq"], taskq);
        assert_eq!(json["raw"]["tasks_per_s"], 1_000.0);
        let ratio = json!({"enqueue": 0.5, "end_to_end": 0.25, "p99": 3.0});
        assert_eq!(json["ratio"], ratio);
        assert_eq!(json["ratio_range"]["p99"], json!([3.0, 3.0]));
    }
}
