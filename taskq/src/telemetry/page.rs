//! Prometheus' [text format].
//!
//! [text format]: https://prometheus.io/docs/instrumenting/exposition_formats/

use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;

use super::process::Process;
use crate::client::Client;

/// A page of metrics, in the text format that Prometheus and others read.
#[derive(Clone, Debug, Default)]
pub struct Page(String);

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many there were of each size.
    Histogram,
}

impl Kind {
    /// The kind in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric whose values are being written.
#[derive(Debug)]
pub struct Family<'a> {
    name: &'a str,
    text: &'a mut String,
}

impl Page {
    /// What HTTP calls the format.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// A page with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    /// Begins a metric. All its values follow, before the next begins.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = kind.as_str();
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            name,
            text: &mut self.0,
        }
    }

    /// A metric of one value.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) -> &mut Self {
        self.family(name, kind, help).value(&[], value);
        self
    }

    /// What a client has sent, and how its connection is.
    pub fn client(&mut self, client: &Client) -> &mut Self {
        let mut sent = self.family(
            "taskq_tasks_enqueued_total",
            Kind::Counter,
            "Calls of this process that were accepted as new tasks.",
        );
        for (task, count) in client.0.sent.counts() {
            sent.value(&[("task", task)], count);
        }
        let Some(nats) = client.0.broker.nats() else {
            return self;
        };
        let counts = nats.statistics();
        let up = nats.connection_state() == async_nats::connection::State::Connected;
        self.one(
            "taskq_nats_connected",
            Kind::Gauge,
            "Whether this process has a connection to NATS: 1 or 0.",
            u8::from(up),
        )
        .one(
            "taskq_nats_connects_total",
            Kind::Counter,
            "Connections that this process has made to NATS; more than one tells of interruptions.",
            counts.connects.load(Ordering::Relaxed),
        )
        .one(
            "taskq_nats_received_bytes_total",
            Kind::Counter,
            "Bytes that came from NATS.",
            counts.in_bytes.load(Ordering::Relaxed),
        )
        .one(
            "taskq_nats_sent_bytes_total",
            Kind::Counter,
            "Bytes that went to NATS.",
            counts.out_bytes.load(Ordering::Relaxed),
        )
    }

    /// What this process uses, and the version of taskq in it. On other
    /// systems than Linux only the latter.
    pub fn process(&mut self) -> &mut Self {
        if let Some(process) = Process::this() {
            self.one(
                "process_cpu_seconds_total",
                Kind::Counter,
                "User and system CPU time.",
                process.cpu.as_secs_f64(),
            )
            .one(
                "process_start_time_seconds",
                Kind::Gauge,
                "When the process was started, in seconds since 1970.",
                process.started.as_secs_f64(),
            )
            .one(
                "process_resident_memory_bytes",
                Kind::Gauge,
                "Physical memory.",
                process.resident,
            )
            .one(
                "process_virtual_memory_bytes",
                Kind::Gauge,
                "Address space.",
                process.virtual_memory,
            )
            .one("process_threads", Kind::Gauge, "Threads.", process.threads);
            for (name, help, count) in [
                (
                    "process_open_fds",
                    "Open files and sockets.",
                    process.open_files,
                ),
                (
                    "process_max_fds",
                    "How many files and sockets may be open.",
                    process.most_files,
                ),
            ] {
                if let Some(count) = count {
                    self.one(name, Kind::Gauge, help, count);
                }
            }
        }
        let mut version = self.family(
            "taskq_build_info",
            Kind::Gauge,
            "Always 1; the version that runs is its label.",
        );
        version.value(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self
    }
}

impl Family<'_> {
    /// A value, by its labels.
    pub fn value(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line("", labels, &value);
        self
    }

    /// The values of a histogram: how many there were up to each bound, the
    /// lesser ones included; how many in all; and what they make together.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        buckets: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) -> &mut Self {
        let mut bucket = |bound: &str, count: u64| {
            let mut labels = labels.to_vec();
            labels.push(("le", bound));
            self.line("_bucket", &labels, &count);
        };
        for (bound, count) in buckets {
            bucket(&bound.to_string(), count);
        }
        bucket("+Inf", count);
        self.line("_sum", labels, &sum);
        self.line("_count", labels, &count);
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: &dyn Display) {
        let text = &mut *self.text;
        let _ = write!(text, "{}{suffix}", self.name);
        for (place, (name, value)) in labels.iter().enumerate() {
            let _ = write!(text, "{}{name}=\"", if place == 0 { '{' } else { ',' });
            for letter in value.chars() {
                match letter {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(text, "{end} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_hold_anything() {
        let mut page = Page::new();
        page.family("a", Kind::Gauge, "Help.")
            .value(&[("x", "a\"b\\c\nd"), ("y", "ü")], 1.5);
        assert_eq!(
            page.into_text(),
            "# HELP a Help.\n# TYPE a gauge\na{x=\"a\\\"b\\\\c\\nd\",y=\"ü\"} 1.5\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_all() {
        let mut page = Page::new();
        page.family("a", Kind::Histogram, "Help.").histogram(
            &[("x", "y")],
            [(0.5, 1), (1.0, 3)],
            4,
            9.5,
        );
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "a_bucket{x=\"y\",le=\"0.5\"} 1",
                "a_bucket{x=\"y\",le=\"1\"} 3",
                "a_bucket{x=\"y\",le=\"+Inf\"} 4",
                "a_sum{x=\"y\"} 9.5",
                "a_count{x=\"y\"} 4",
            ]
        );
    }
}
