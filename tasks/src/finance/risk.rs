//! Prices and risks that are estimated.

use rand::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taskq::{Context, TaskError, task};

use crate::bounds::{at_most, finite, within};

/// The most paths of a simulation.
const MOST_PATHS: u32 = 50_000_000;

/// After so many paths it is looked whether the task is still wanted.
const PORTION: u32 = 1 << 16;

/// The most positions of a portfolio.
const MOST_POSITIONS: usize = 10_000;

/// What an option gives the right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptionKind {
    /// To buy at the strike price.
    Call,
    /// To sell at it.
    Put,
}

/// What an option is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OptionPrice {
    /// The estimate.
    pub price: f64,
    /// How far off it usually is: one standard deviation.
    pub standard_error: f64,
    /// How many paths were tried.
    pub paths: u32,
}

/// Estimates the price of a European option by trying paths of its
/// underlying, two and two that mirror each other.
///
/// Of the same arguments the result is the same, on every machine.
///
/// # Errors
/// A permanent one when a number is out of its bounds.
#[task]
#[expect(clippy::too_many_arguments, reason = "they are the model's")]
pub fn monte_carlo_option(
    ctx: Context,
    /// Today's price of the underlying, more than 0.
    spot: f64,
    /// The price that the option names, more than 0.
    strike: f64,
    /// The rate of interest without risk a year: 0.05 is 5 %.
    rate: f64,
    /// The volatility a year: 0.2 is 20 %.
    volatility: f64,
    /// Years until it ends, more than 0.
    years: f64,
    /// Whether to buy or to sell.
    kind: OptionKind,
    /// How many paths, 2 to 50,000,000; a million if it does not say.
    paths: Option<u32>,
    /// Where chance begins; 0 if it does not say.
    seed: Option<u64>,
) -> Result<OptionPrice, TaskError> {
    within("spot", spot, f64::MIN_POSITIVE, 1e12)?;
    within("strike", strike, f64::MIN_POSITIVE, 1e12)?;
    within("rate", rate, -1.0, 10.0)?;
    within("volatility", volatility, 0.0, 10.0)?;
    within("years", years, f64::MIN_POSITIVE, 100.0)?;
    let paths = within("paths", paths.unwrap_or(1_000_000), 2, MOST_PATHS)?;
    let pairs = paths / 2;
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed.unwrap_or(0));
    let drift = (rate - volatility * volatility / 2.0) * years;
    let spread = volatility * years.sqrt();
    let discount = (-rate * years).exp();
    let payoff = |normal: f64| {
        let end = spot * (drift + spread * normal).exp();
        match kind {
            OptionKind::Call => (end - strike).max(0.0),
            OptionKind::Put => (strike - end).max(0.0),
        }
    };
    // Welford: the mean and the squares stay exact over millions.
    let (mut mean, mut squares) = (0.0, 0.0);
    for pair in 1..=pairs {
        let normal: f64 = StandardNormal.sample(&mut chance);
        let sample = (payoff(normal) + payoff(-normal)) / 2.0;
        let off = sample - mean;
        mean += off / f64::from(pair);
        squares += off * (sample - mean);
        if pair % PORTION == 0 {
            if ctx.is_cancelled() {
                return Err(TaskError::permanent("it was told to stop"));
            }
            ctx.progress(u64::from(pair) * 2, u64::from(paths), "paths");
        }
    }
    let variance = squares / f64::from(pairs.max(2) - 1);
    Ok(OptionPrice {
        price: mean * discount,
        standard_error: (variance / f64::from(pairs)).sqrt() * discount,
        paths: pairs * 2,
    })
}

/// What is held of one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// What it is.
    pub name: String,
    /// What it is worth today; below 0 for what is owed.
    pub value: f64,
    /// What it gained each day, the oldest first: 0.01 is 1 %.
    pub returns: Vec<f64>,
}

/// What a portfolio may lose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValueAtRisk {
    /// What it is worth today.
    pub value: f64,
    /// The loss that is not exceeded, by how often it was in the past.
    pub historical: f64,
    /// The same, if returns are normal.
    pub parametric: f64,
    /// The mean loss in the cases that are worse than `historical`.
    pub expected_shortfall: f64,
    /// How many days were looked at.
    pub days: u64,
}

/// Tells what a portfolio may lose in a time with a given confidence.
///
/// Days of all positions are the same days, so what rises and falls together is
/// in it. Longer times are by the square root of time.
///
/// # Errors
/// A permanent one when positions have no days, or not the same number of them,
/// or a number is out of its bounds.
#[task]
pub fn portfolio_value_at_risk(
    /// What is held.
    positions: Vec<Position>,
    /// How sure, between 0.5 and 1: 0.99 if it does not say.
    confidence: Option<f64>,
    /// Over how many days, 1 to 365; one if it does not say.
    horizon_days: Option<u32>,
) -> Result<ValueAtRisk, TaskError> {
    at_most("positions", positions.len(), MOST_POSITIONS, "positions")?;
    let Some(first) = positions.first() else {
        return Err(TaskError::permanent(
            "positions is empty; send at least one",
        ));
    };
    let confidence = within("confidence", confidence.unwrap_or(0.99), 0.5, 0.999_999)?;
    let horizon = f64::from(within("horizon_days", horizon_days.unwrap_or(1), 1, 365)?).sqrt();
    let days = first.returns.len();
    let mut gains = vec![0.0; days];
    for position in &positions {
        let name = &position.name;
        finite(&format!("returns of {name}"), &position.returns)?;
        within(&format!("value of {name}"), position.value, -1e15, 1e15)?;
        if position.returns.len() != days {
            return Err(TaskError::permanent(format!(
                "{name} has {} days and {} has {days}; they must be the same days",
                position.returns.len(),
                first.name
            )));
        }
        for (gain, of_one) in gains.iter_mut().zip(&position.returns) {
            *gain += of_one * position.value;
        }
    }
    gains.sort_by(f64::total_cmp);
    // The days that are worse than the confidence allows; at least the worst.
    // A hundredth of a hundred is one, whatever the rounding of 0.99 makes of it.
    let share = days as f64 * (1.0 - confidence);
    let worse = ((share - 1e-9).ceil() as usize).clamp(1, days);
    let quantile = gains[worse - 1];
    let tail: f64 = gains[..worse].iter().sum::<f64>() / worse as f64;
    let mean = gains.iter().sum::<f64>() / days as f64;
    let squares: f64 = gains.iter().map(|gain| (gain - mean).powi(2)).sum();
    let deviation = (squares / (days.max(2) - 1) as f64).sqrt();
    let normal = normal_quantile(confidence);
    let loss = |gain: f64| (-gain).max(0.0) * horizon;
    Ok(ValueAtRisk {
        value: positions.iter().map(|position| position.value).sum(),
        historical: loss(quantile),
        parametric: (deviation * normal * horizon - mean * horizon * horizon).max(0.0),
        expected_shortfall: loss(tail),
        days: days as u64,
    })
}

/// The standard normal distribution's quantile, for what is above 0.5, by
/// Abramowitz and Stegun 26.2.23: off by less than 4.5e-4.
fn normal_quantile(share: f64) -> f64 {
    let t = (-2.0 * (1.0 - share).ln()).sqrt();
    let above = 2.515_517 + 0.802_853 * t + 0.010_328 * t * t;
    let below = 1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t;
    t - above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(kind: OptionKind, paths: u32, seed: u64) -> OptionPrice {
        let (ctx, paths, seed) = (Context::test(), Some(paths), Some(seed));
        monte_carlo_option(ctx, 100.0, 105.0, 0.05, 0.2, 1.0, kind, paths, seed).unwrap()
    }

    /// Black and Scholes, of a spot of 100, a strike of 105, 5 %, 20 %, 1 year.
    const CALL: f64 = 8.021_352;
    const PUT: f64 = 7.900_442;

    #[test]
    fn the_price_is_that_of_black_and_scholes() {
        for (kind, exact) in [(OptionKind::Call, CALL), (OptionKind::Put, PUT)] {
            let estimate = price(kind, 400_000, 7);
            let off = (estimate.price - exact).abs();
            assert!(off < 4.0 * estimate.standard_error, "{off} {estimate:?}");
            assert!(estimate.standard_error < 0.03, "{estimate:?}");
        }
    }

    #[test]
    fn of_the_same_seed_the_price_is_the_same() {
        let one = price(OptionKind::Call, 10_000, 1);
        assert_eq!(one, price(OptionKind::Call, 10_000, 1));
        assert_ne!(one, price(OptionKind::Call, 10_000, 2));
    }

    fn position(name: &str, value: f64, returns: &[f64]) -> Position {
        Position {
            name: name.into(),
            value,
            returns: returns.into(),
        }
    }

    #[test]
    fn what_may_be_lost_is_told() {
        let days: Vec<f64> = (0..100).map(|day| f64::from(day - 50) / 1000.0).collect();
        let held = vec![position("index", 1000.0, &days)];
        let risk = portfolio_value_at_risk(held, Some(0.95), None).unwrap();
        assert!((risk.historical - 46.0).abs() < 1e-9, "{risk:?}");
        assert!((risk.expected_shortfall - 48.0).abs() < 1e-9, "{risk:?}");
        // A deviation of 29.01, 1.645 times, and a mean of -0.5.
        assert!((risk.parametric - 48.22).abs() < 0.1, "{risk:?}");
        // What is owed of the same takes the risk away.
        let hedged = vec![
            position("index", 1000.0, &days),
            position("short", -1000.0, &days),
        ];
        let risk = portfolio_value_at_risk(hedged, Some(0.95), Some(10)).unwrap();
        assert_eq!((risk.historical, risk.value), (0.0, 0.0));
    }

    #[test]
    fn days_that_do_not_match_are_refused_for_good() {
        let held = vec![position("a", 1.0, &[0.1, 0.2]), position("b", 1.0, &[0.1])];
        let error = portfolio_value_at_risk(held, None, None).unwrap_err();
        assert!(
            error.is_permanent() && error.to_string().contains("b has 1 days"),
            "{error}"
        );
        assert!(portfolio_value_at_risk(Vec::new(), None, None).is_err());
    }
}
