//! The report for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::DEBUG_BUILD;
use crate::options::Phase;
use crate::summary::{Measured, Number, Spread, Summary, Used};

/// Above this share of the machine, what others do is in the numbers.
const LOUD: f64 = 0.10;

/// A name, the phase it is measured in, its decimals, and where it is found.
const ROWS: [(&str, Phase, usize, Number); 14] = [
    ("enqueue /s", Phase::Enqueue, 0, |m| Some(m.per_s)),
    ("end to end tasks/s", Phase::EndToEnd, 0, |m| Some(m.per_s)),
    ("latency p50, ms", Phase::Latency, 2, |m| m.p50_ms),
    ("latency p99, ms", Phase::Latency, 2, |m| m.p99_ms),
    ("worker start to first outcome, ms", Phase::Start, 1, |m| {
        Some(m.seconds * 1e3)
    }),
    ("CPU of server, µs a task", Phase::EndToEnd, 1, |m| {
        server(m).cpu_us_per_task
    }),
    ("CPU of producer, µs a task", Phase::EndToEnd, 1, |m| {
        producer(m).cpu_us_per_task
    }),
    ("CPU of worker, µs a task", Phase::EndToEnd, 1, |m| {
        worker(m).cpu_us_per_task
    }),
    ("memory of server, idle, MB", Phase::EndToEnd, 1, |m| {
        server(m).rss_idle_mb
    }),
    ("memory of server, peak, MB", Phase::EndToEnd, 1, |m| {
        server(m).rss_peak_mb
    }),
    ("memory of producer, idle, MB", Phase::EndToEnd, 1, |m| {
        producer(m).rss_idle_mb
    }),
    ("memory of producer, peak, MB", Phase::EndToEnd, 1, |m| {
        producer(m).rss_peak_mb
    }),
    ("memory of worker, idle, MB", Phase::EndToEnd, 1, |m| {
        worker(m).rss_idle_mb
    }),
    ("memory of worker, peak, MB", Phase::EndToEnd, 1, |m| {
        worker(m).rss_peak_mb
    }),
];

fn server(one: &Measured) -> Used {
    one.processes.server
}

fn producer(one: &Measured) -> Used {
    one.processes.producer
}

fn worker(one: &Measured) -> Used {
    one.processes.worker
}

/// The table, and under it what a reader must know to trust it.
pub(crate) fn render(summary: &Summary<'_>) -> String {
    let [raw, other] = summary.sides;
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["", raw, other, "ratio (min to max)"]);
    for (name, phase, decimals, number) in ROWS {
        let side = |side| cell(summary.spread(side, phase, number), decimals);
        table.add_row([
            name.to_owned(),
            side(raw),
            side(other),
            ratio_cell(summary.ratio(phase, number)),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.to_string();
    text.push_str("\nMedians of the repetitions; ratios within a repetition.");
    if let Some(share) = summary.foreign_cpu().filter(|share| *share > LOUD) {
        let percent = share * 100.0;
        text.push_str(&format!(
            "\nOther processes used up to {percent:.0} % of the machine: repeat it on a quiet one."
        ));
    }
    if let Some(warning) = DEBUG_BUILD {
        text.push_str(&format!("\nWarning: {warning}"));
    }
    text
}

fn cell(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or_else(
        || "n/a".to_owned(),
        |spread| format!("{:.decimals$}", spread.median),
    )
}

fn ratio_cell(ratio: Option<Spread>) -> String {
    let Some(Spread { median, min, max }) = ratio else {
        return "n/a".to_owned();
    };
    format!("{median:.2} ({min:.2} to {max:.2})")
}
