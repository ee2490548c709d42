//! How things are written: numbers, times, states.

use std::time::Duration;

use maud::{Markup, html};
use taskq::Timestamp;

use super::icon::Icon;

/// A number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and its word: `1 task`, `2 tasks`.
pub(super) fn counted(number: u64, one: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {one}{s}", count(number))
}

/// A number in few signs: `950`, `12.3k`, `4.1M`.
pub(super) fn short(number: f64) -> String {
    let (scaled, mark) = match number {
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e4 => (n / 1e3, "k"),
        n => (n, ""),
    };
    let text = if scaled >= 100.0 || scaled.fract().abs() < 0.05 {
        format!("{scaled:.0}")
    } else if scaled >= 1.0 || !mark.is_empty() {
        format!("{scaled:.1}")
    } else {
        format!("{scaled:.2}")
    };
    format!("{text}{mark}")
}

/// An amount of memory: `18 MiB`, `1.5 GiB`.
pub(super) fn memory(bytes: u64) -> String {
    let mib = bytes as f64 / 1_048_576.0;
    if mib < 1024.0 {
        format!("{mib:.0} MiB")
    } else {
        format!("{:.1} GiB", mib / 1024.0)
    }
}

/// A length of time in few signs: `21 µs`, `4.2 ms`, `1.5 s`, `3 min 20 s`.
pub(super) fn length(seconds: f64) -> String {
    let scaled = |number: f64, unit: &str| {
        if number >= 99.5 || number.fract().abs() < 0.05 {
            format!("{number:.0} {unit}")
        } else {
            format!("{number:.1} {unit}")
        }
    };
    match seconds {
        s if s <= 0.0 => "0 ms".to_owned(),
        s if s < 1e-3 => scaled(s * 1e6, "µs"),
        s if s < 0.9995 => scaled(s * 1e3, "ms"),
        s if s < 60.0 => scaled(s, "s"),
        s => {
            let whole = s as u64;
            let (large, small, of, below) = match whole {
                w if w < 3600 => (w / 60, w % 60, "min", "s"),
                w if w < 86_400 => (w / 3600, w % 3600 / 60, "h", "min"),
                w => (w / 86_400, w % 86_400 / 3600, "d", "h"),
            };
            if small == 0 {
                format!("{large} {of}")
            } else {
                format!("{large} {of} {small} {below}")
            }
        }
    }
}

/// A length of time to the whole of its largest unit: `now`, `12 s`, `5 min`.
fn about(time: Duration) -> String {
    match time.as_secs() {
        0..1 => "now".to_owned(),
        s @ 1..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..86_400 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// How long ago, or in how long, a moment is; the moment itself on a closer
/// look.
pub(super) fn moment(now: Timestamp, at: Timestamp) -> Markup {
    let text = if at > now {
        match about(at.since(now)).as_str() {
            "now" => "now".to_owned(),
            about => format!("in {about}"),
        }
    } else {
        match about(now.since(at)).as_str() {
            "now" => "now".to_owned(),
            about => format!("{about} ago"),
        }
    };
    html! { time datetime=(at) title=(full(at)) { (text) } }
}

/// For how long something is so.
pub(super) fn since(now: Timestamp, at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(full(at)) { "for " (length(now.since(at).as_secs() as f64)) } }
}

/// A moment to the second: `2026-11-26 18:00:00 UTC`.
pub(super) fn full(at: Timestamp) -> String {
    let text = at.to_string();
    let to_the_second = text.split('.').next().unwrap_or(&text);
    format!("{} UTC", to_the_second.replace('T', " "))
}

/// A moment's time of day: `18:00`.
pub(super) fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..16).unwrap_or(&text).to_owned()
}

/// How a state, an event or a reason looks: its tone and its picture.
pub(super) fn look(word: &str) -> (&'static str, Icon) {
    match word {
        "succeeded" | "ok" | "ready" | "done" | "operation_done" | "index_rebuilt" | "replayed"
        | "queue_resumed" | "task_resumed" | "schedule_resumed" | "worker_up"
        | "consumer_mended" => ("ok", Icon::Check),
        "failed" | "dead" | "error" | "lost" | "lease_lost" => ("bad", Icon::Cross),
        "running" | "started" | "progress" | "log" => ("run", Icon::Play),
        "retrying" => ("warn", Icon::Retry),
        "handed_back" => ("idle", Icon::Retry),
        "cancelled" | "cancel_requested" | "discarded" | "queue_purged" | "schedule_removed"
        | "worker_down" => ("idle", Icon::Ban),
        "expired" | "fires_missed" => ("warn", Icon::Clock),
        "paused" | "quiet" | "draining" | "stopping" | "queue_paused" | "task_paused"
        | "schedule_paused" => ("warn", Icon::Pause),
        "automatic" => ("idle", Icon::Gauge),
        "warning" | "unknown_task" => ("warn", Icon::Alert),
        "scheduled" | "rescheduled" | "schedule_set" => ("idle", Icon::Clock),
        _ => ("idle", Icon::Dots),
    }
}

/// A state: a colour, a picture and a word.
pub(super) fn state(word: &str) -> Markup {
    let (tone, icon) = look(word);
    html! { span.state.(tone) { (icon.draw()) (word.replace('_', " ")) } }
}

/// A sentence, with what is between backticks as code.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// JSON as people read it; text that is none stays as it is.
pub(super) fn json(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| text.to_owned())
}

/// Text that can be taken along.
pub(super) fn copy(text: &str) -> Markup {
    html! { div.copy { pre { (text) } button.button type="button" data-copy { "Copy" } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_of_time_read_well() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(short(950.0), "950");
        assert_eq!(short(12_345.0), "12.3k");
        assert_eq!(short(0.25), "0.25");
        assert_eq!(length(0.000_021), "21 µs");
        assert_eq!(length(0.0042), "4.2 ms");
        assert_eq!(length(1.5), "1.5 s");
        assert_eq!(length(200.0), "3 min 20 s");
        assert_eq!(length(7200.0), "2 h");
        assert_eq!(about(Duration::from_secs(61)), "1 min");
    }
}
