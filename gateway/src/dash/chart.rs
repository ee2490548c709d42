//! Charts, drawn here as SVG: they need no script, and who cannot see them is
//! told what they show.

use maud::{Markup, html};

/// A part of the time that a chart shows.
pub(super) struct Part {
    /// What a closer look tells of it.
    pub(super) title: String,
    /// One value for each of the chart's kinds; none where there is none.
    pub(super) values: Vec<Option<f64>>,
}

/// What a chart shows.
pub(super) struct Chart<'a> {
    /// What it is of, and its unit.
    pub(super) title: &'a str,
    /// In a sentence, for who cannot see it.
    pub(super) told: String,
    /// The kinds of values: word and class.
    pub(super) kinds: &'a [(&'a str, &'a str)],
    /// The parts, the oldest first.
    pub(super) parts: Vec<Part>,
    /// How a value is written.
    pub(super) write: fn(f64) -> String,
    /// What is below its left end, and its right.
    pub(super) ends: (String, String),
    /// The greatest value that is sure to have room.
    pub(super) room: f64,
}

impl Chart<'_> {
    /// Values upon each other.
    pub(super) fn bars(&self) -> Markup {
        let sum = |part: &Part| part.values.iter().flatten().sum::<f64>();
        let top = nice(self.parts.iter().map(sum).fold(self.room, f64::max));
        self.draw(top, |place, part| {
            let mut y = 100.0;
            html! {
                @for (value, (_, class)) in part.values.iter().zip(self.kinds) {
                    @if let Some(value) = value.filter(|value| *value > 0.0) {
                        // What is there is seen, however little it is.
                        @let height = (value / top * 100.0).max(1.0);
                        ({ y -= height; html! {} })
                        rect.(class) x=(place as f64 + 0.1) width="0.8" y=(two(y)) height=(two(height)) {}
                    }
                }
            }
        })
    }

    /// Values beside each other, each kind a line.
    pub(super) fn lines(&self) -> Markup {
        let most = |part: &Part| part.values.iter().flatten().copied().fold(0.0, f64::max);
        let top = nice(self.parts.iter().map(most).fold(self.room, f64::max));
        let lines: Vec<(String, &str)> = self
            .kinds
            .iter()
            .enumerate()
            .map(|(kind, (_, class))| (self.line(kind, top), *class))
            .collect();
        html! {
            (self.draw_with(top, |_, _| html! {}, &html! {
                @for (line, class) in lines.iter().rev() { path.(class) d=(line) stroke-linecap="round" {} }
            }))
        }
    }

    fn line(&self, kind: usize, top: f64) -> String {
        let mut path = String::new();
        let value = |place: usize| self.parts.get(place)?.values.get(kind).copied().flatten();
        for place in 0..self.parts.len() {
            let Some(now) = value(place) else { continue };
            let (x, y) = (place as f64 + 0.5, two(100.0 - now / top * 100.0));
            let before = place.checked_sub(1).and_then(value);
            path.push_str(&match (before, value(place + 1)) {
                // Alone, it is as wide as its part.
                (None, None) => format!("M{} {y}h.8", x - 0.4),
                (None, Some(_)) => format!("M{x} {y}"),
                (Some(_), _) => format!("L{x} {y}"),
            });
        }
        path
    }

    fn draw(&self, top: f64, part: impl FnMut(usize, &Part) -> Markup) -> Markup {
        self.draw_with(top, part, &html! {})
    }

    fn draw_with(
        &self,
        top: f64,
        mut part: impl FnMut(usize, &Part) -> Markup,
        over: &Markup,
    ) -> Markup {
        let width = self.parts.len().max(1);
        html! {
            figure.panel {
                header {
                    h2 { (self.title) }
                    div.end.key {
                        @for (word, class) in self.kinds {
                            @if !word.is_empty() {
                                span {
                                    svg viewBox="0 0 10 10" aria-hidden="true" {
                                        @if class.starts_with("s-") { path.(class) d="M0 5h10" {} }
                                        @else { rect.(class) width="10" height="10" rx="2" {} }
                                    }
                                    (word)
                                }
                            }
                        }
                    }
                }
                div.chart {
                    div.plot {
                        div.ys aria-hidden="true" {
                            span { ((self.write)(top)) } span { ((self.write)(top / 2.0)) } span { "0" }
                        }
                        svg role="img" aria-label=(self.told) viewBox=(format!("0 0 {width} 100"))
                            preserveAspectRatio="none" {
                            @for y in [0, 50, 100] { line.rule x1="0" x2=(width) y1=(y) y2=(y) {} }
                            @for (place, one) in self.parts.iter().enumerate() {
                                g.part {
                                    rect.veil x=(place) y="0" width="1" height="100" { title { (one.title) } }
                                    (part(place, one))
                                }
                            }
                            (over)
                        }
                        div.xs aria-hidden="true" { span { (self.ends.0) } span { (self.ends.1) } }
                    }
                }
            }
        }
    }
}

/// How much of a whole something is, as a small bar.
pub(super) fn share(part: f64, whole: f64, class: &str) -> Markup {
    let width = if whole > 0.0 {
        (part / whole * 100.0).clamp(0.0, 100.0)
    } else {
        0.0
    };
    html! {
        svg.bar viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
            rect.back width="100" height="6" {}
            rect.(class) width=(two(width)) height="6" {}
        }
    }
}

fn two(number: f64) -> String {
    format!("{number:.2}")
}

/// The next number that reads well: 1, 2, 4, 5, 10, 20, ..
fn nice(number: f64) -> f64 {
    if number <= 0.0 {
        return 1.0;
    }
    let ten = 10f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 10.0];
    let found = steps
        .into_iter()
        .find(|step| number <= step * ten * 1.000_001);
    found.unwrap_or(10.0) * ten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_number_that_reads_well() {
        for (number, end) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (3.0, 4.0),
            (41.0, 50.0),
            (0.012, 0.02),
        ] {
            assert!((nice(number) - end).abs() < 1e-9, "{number}");
        }
    }
}
