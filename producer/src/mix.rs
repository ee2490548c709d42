//! A realistic mix of the catalogue's tasks.

use serde_json::{Value, json};
use taskq::{Call, Untyped};

use crate::sample::Sample;

/// A red pixel, as PNG.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

/// `solar `, as base64.
const SOLAR: &str = "c29sYXIg";

/// Sentences for texts.
const SENTENCES: [&str; 6] = [
    "The parcel came a day early and everything was in perfect condition.",
    "I waited an hour, nobody answered, and the food was terrible.",
    "The train leaves at nine from platform two.",
    "Solar panels turn light into power, and solar power is cheap.",
    "Das Wetter in Köln ist heute wunderbar.",
    "Please send the invoice to the address below.",
];

/// What is sent, of a hundred: many that are short, some that calculate, a few
/// that take their time.
const SHARES: [(u32, Kind); 12] = [
    (40, Kind::Strings),
    (12, Kind::WordCount),
    (8, Kind::Sentiment),
    (5, Kind::Summary),
    (8, Kind::Interest),
    (5, Kind::Loan),
    (4, Kind::Option),
    (4, Kind::Risk),
    (5, Kind::Statistics),
    (3, Kind::Patterns),
    (4, Kind::Compress),
    (2, Kind::Picture),
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Strings,
    WordCount,
    Sentiment,
    Summary,
    Interest,
    Loan,
    Option,
    Risk,
    Statistics,
    Patterns,
    Compress,
    Picture,
}

/// A call, and what it must return, where that is known.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) task: &'static str,
    pub(crate) args: Value,
    pub(crate) expected: Option<Value>,
}

impl Order {
    pub(crate) fn call(&self) -> Call<Untyped> {
        let call = Call::named(self.task);
        let Value::Object(args) = &self.args else {
            return call;
        };
        args.iter()
            .fold(call, |call, (name, value)| call.arg(name, value))
    }
}

/// The `number`th order; the same for the same number.
pub(crate) async fn order(number: u64) -> Order {
    let mut chance = fastrand::Rng::with_seed(number);
    let mut share = chance.u32(0..SHARES.iter().map(|(share, _)| share).sum());
    let mut kind = Kind::Strings;
    for (of, one) in SHARES {
        if share < of {
            kind = one;
            break;
        }
        share -= of;
    }
    let of = |task, args| Order {
        task,
        args,
        expected: None,
    };
    match kind {
        Kind::Strings => {
            let sample = Sample::of(number);
            Order {
                task: sample.task(),
                args: sample.args(),
                expected: sample.expected().await.ok(),
            }
        }
        Kind::WordCount => of("word_count", json!({ "text": text(&mut chance, 50) })),
        Kind::Sentiment => of(
            "sentiment_analysis",
            json!({ "text": text(&mut chance, 5) }),
        ),
        Kind::Summary => of(
            "text_summarization",
            json!({ "text": text(&mut chance, 40), "sentences": 3 }),
        ),
        Kind::Interest => of(
            "compound_interest",
            json!({
                "principal": chance.u32(100..100_000).to_string(),
                "annual_rate_percent": format!("{}.{}", chance.u32(0..12), chance.u32(0..10)),
                "years": chance.u32(1..40),
                "compounds_per_year": 12,
            }),
        ),
        Kind::Loan => of(
            "loan_amortization",
            json!({
                "principal": chance.u32(1_000..900_000).to_string(),
                "annual_rate_percent": format!("{}.{}", chance.u32(0..12), chance.u32(0..10)),
                "months": chance.u32(1..360),
            }),
        ),
        Kind::Option => of(
            "monte_carlo_option",
            json!({
                "spot": 100.0, "strike": chance.u32(80..120), "rate": 0.03, "volatility": 0.2,
                "years": 1.0, "kind": "call", "paths": 20_000, "seed": number,
            }),
        ),
        Kind::Risk => {
            let returns = numbers(&mut chance, 250, 0.02);
            let position = json!({ "name": "index", "value": 1_000_000.0, "returns": returns });
            of(
                "portfolio_value_at_risk",
                json!({ "positions": [position], "confidence": 0.95 }),
            )
        }
        Kind::Statistics => of(
            "calculate_statistics",
            json!({ "numbers": numbers(&mut chance, 500, 100.0) }),
        ),
        Kind::Patterns => of(
            "find_patterns",
            json!({ "numbers": numbers(&mut chance, 300, 10.0), "longest_period": 50 }),
        ),
        Kind::Compress => of(
            "compress",
            json!({ "data": SOLAR.repeat(500), "algorithm": "zstd" }),
        ),
        Kind::Picture => of(
            "image_resize",
            json!({ "data": PIXEL, "width": chance.u32(16..256), "height": 64, "fit": "fill" }),
        ),
    }
}

fn text(chance: &mut fastrand::Rng, sentences: usize) -> String {
    let parts = (0..sentences).map(|_| SENTENCES[chance.usize(0..SENTENCES.len())]);
    parts.collect::<Vec<_>>().join(" ")
}

fn numbers(chance: &mut fastrand::Rng, count: usize, most: f64) -> Vec<f64> {
    (0..count)
        .map(|_| (chance.f64() * 2.0 - 1.0) * most)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[tokio::test]
    async fn the_mix_has_all_of_it_and_is_the_same_each_time() {
        let mut tasks = HashSet::new();
        for number in 0..2000 {
            let order = order(number).await;
            tasks.insert(order.task);
            assert_eq!(self::order(number).await.args, order.args);
        }
        assert_eq!(tasks.len(), 5 + SHARES.len() - 1);
        let all: u32 = SHARES.iter().map(|(share, _)| share).sum();
        assert_eq!(all, 100);
    }
}
