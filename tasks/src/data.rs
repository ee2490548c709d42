//! Tasks on series of numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taskq::{TaskError, task};

use crate::bounds::{finite, within};

/// The most outliers that are listed.
const MOST_OUTLIERS: usize = 1000;

/// The longest period that is looked for.
const LONGEST_PERIOD: usize = 1000;

/// What a series of numbers is like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Statistics {
    /// How many numbers.
    pub count: u64,
    /// Their sum, with the rounding of each addition made up for.
    pub sum: f64,
    /// The mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// A quarter of them is below.
    pub first_quartile: f64,
    /// Half of them is below.
    pub median: f64,
    /// Three quarters are below.
    pub third_quartile: f64,
    /// The variance of a sample (by `count - 1`); 0 for one number.
    pub variance: f64,
    /// Its root.
    pub standard_deviation: f64,
}

/// Tells mean, median, quartiles and spread.
///
/// # Errors
/// A permanent one for no numbers, more than
/// [`MAX_NUMBERS`](crate::bounds::MAX_NUMBERS) or one that is not finite.
#[task]
pub fn calculate_statistics(
    /// In any order.
    numbers: Vec<f64>,
) -> Result<Statistics, TaskError> {
    finite("numbers", &numbers)?;
    let mut sorted = numbers;
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let sum = sum(sorted.iter().copied());
    let mean = sum / count;
    let squares = self::sum(sorted.iter().map(|number| (number - mean).powi(2)));
    let variance = if sorted.len() > 1 {
        squares / (count - 1.0)
    } else {
        0.0
    };
    Ok(Statistics {
        count: sorted.len() as u64,
        sum,
        mean,
        min: sorted[0],
        max: sorted[sorted.len() - 1],
        first_quartile: quantile(&sorted, 0.25),
        median: quantile(&sorted, 0.5),
        third_quartile: quantile(&sorted, 0.75),
        variance,
        standard_deviation: variance.sqrt(),
    })
}

/// Where a series goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    /// By how much a number is larger than the one before, on the line that
    /// fits best.
    pub slope: f64,
    /// The line's first number.
    pub intercept: f64,
    /// How well it fits, from 0 to 1.
    pub r_squared: f64,
}

/// A number that is far from the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlier {
    /// Its place, from 0.
    pub index: u64,
    /// The number.
    pub value: f64,
}

/// What comes again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Period {
    /// After how many numbers.
    pub length: u64,
    /// How alike the rounds are, from 0 to 1.
    pub strength: f64,
}

/// What a series has in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Patterns {
    /// Where it goes.
    pub trend: Trend,
    /// What comes again, if something does.
    pub period: Option<Period>,
    /// What is more than 1.5 quartile distances outside the quartiles, by
    /// place, a thousand at most.
    pub outliers: Vec<Outlier>,
    /// How many of those there are.
    pub outlier_count: u64,
    /// The longest run of numbers that each are larger than the one before.
    pub longest_rise: u64,
    /// The longest run of numbers that each are smaller than the one before.
    pub longest_fall: u64,
}

/// Finds the trend, the period, the outliers and the longest runs of a series.
///
/// # Errors
/// A permanent one for no numbers, more than
/// [`MAX_NUMBERS`](crate::bounds::MAX_NUMBERS), one that is not finite, or a
/// period above a thousand.
#[task]
pub fn find_patterns(
    /// In the order of their time, one step apart.
    numbers: Vec<f64>,
    /// The longest period to look for; up to a thousand and a third of the
    /// series if it does not say.
    longest_period: Option<u32>,
) -> Result<Patterns, TaskError> {
    finite("numbers", &numbers)?;
    let asked = longest_period.map_or(LONGEST_PERIOD, |asked| asked as usize);
    let longest = within("longest_period", asked, 0, LONGEST_PERIOD)?.min(numbers.len() / 3);
    let trend = trend(&numbers);
    let level = |place: usize| trend.intercept + trend.slope * place as f64;
    let rest: Vec<f64> = (0..)
        .zip(&numbers)
        .map(|(at, number)| number - level(at))
        .collect();
    let mut sorted = numbers.clone();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
    let fence = 1.5 * (high - low);
    let outside = |number: f64| number < low - fence || number > high + fence;
    let outliers = (0..).zip(&numbers).filter(|(_, number)| outside(**number));
    let outlier_count = outliers.clone().count() as u64;
    let outliers = outliers.map(|(index, value)| Outlier {
        index,
        value: *value,
    });
    Ok(Patterns {
        period: period(&rest, longest),
        outliers: outliers.take(MOST_OUTLIERS).collect(),
        outlier_count,
        longest_rise: longest_run(&numbers, |before, after| after > before),
        longest_fall: longest_run(&numbers, |before, after| after < before),
        trend,
    })
}

/// Neumaier's sum: what an addition rounds off is added at the end.
fn sum(numbers: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for number in numbers {
        let next = sum + number;
        lost += if sum.abs() >= number.abs() {
            (sum - next) + number
        } else {
            (number - next) + sum
        };
        sum = next;
    }
    sum + lost
}

/// Between two numbers it is in proportion, as spreadsheets have it.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let part = place - place.floor();
    sorted[below] * (1.0 - part) + sorted[above] * part
}

/// The line of least squares.
fn trend(numbers: &[f64]) -> Trend {
    let count = numbers.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, sum(numbers.iter().copied()) / count);
    let off = || {
        (0..)
            .zip(numbers)
            .map(|(at, number): (u32, _)| (f64::from(at) - middle, number - mean))
    };
    let both = sum(off().map(|(at, number)| at * number));
    let places = sum(off().map(|(at, _)| at * at));
    let squares = sum(off().map(|(_, number)| number * number));
    let slope = if places > 0.0 { both / places } else { 0.0 };
    let explained = both * slope;
    Trend {
        slope,
        intercept: mean - slope * middle,
        r_squared: if squares > 0.0 {
            (explained / squares).clamp(0.0, 1.0)
        } else {
            0.0
        },
    }
}

/// The first clear peak of the autocorrelation of what a trend leaves.
fn period(rest: &[f64], longest: usize) -> Option<Period> {
    let squares: f64 = rest.iter().map(|number| number * number).sum();
    let scale = rest.iter().map(|number| number.abs()).fold(0.0, f64::max);
    if longest < 2 || squares <= (scale * 1e-9).powi(2) {
        return None;
    }
    let alike = |lag: usize| -> f64 {
        let pairs = rest.iter().zip(&rest[lag..]);
        let both: f64 = pairs.map(|(one, other)| one * other).sum();
        // Fewer pairs are no reason to look less alike.
        both / squares * rest.len() as f64 / (rest.len() - lag) as f64
    };
    let strengths: Vec<f64> = (1..=longest + 1).map(alike).collect();
    let peaks = strengths.windows(3).zip(2_u64..);
    peaks
        .filter(|(around, _)| around[1] > around[0] && around[1] >= around[2] && around[1] > 0.3)
        .map(|(around, length)| Period {
            length,
            strength: around[1].min(1.0),
        })
        // A multiple of the period is as strong: the first is it.
        .reduce(|best, next| {
            if next.strength > best.strength * 1.1 {
                next
            } else {
                best
            }
        })
}

fn longest_run(numbers: &[f64], goes_on: impl Fn(f64, f64) -> bool) -> u64 {
    let (mut longest, mut run) = (1, 1);
    for pair in numbers.windows(2) {
        run = if goes_on(pair[0], pair[1]) {
            run + 1
        } else {
            1
        };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_exact() {
        let of = |numbers: &[f64]| calculate_statistics(numbers.to_vec()).unwrap();
        let some = of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!((some.count, some.sum, some.mean), (4, 10.0, 2.5));
        assert_eq!((some.min, some.max, some.median), (1.0, 4.0, 2.5));
        assert_eq!((some.first_quartile, some.third_quartile), (1.75, 3.25));
        assert!((some.variance - 5.0 / 3.0).abs() < 1e-12);
        let one = of(&[7.0]);
        assert_eq!((one.median, one.variance), (7.0, 0.0));
        // Plain addition would lose the ones.
        assert_eq!(of(&[1e100, 1.0, 1.0, -1e100]).sum, 2.0);
    }

    #[test]
    fn numbers_that_are_none_are_refused_for_good() {
        for numbers in [vec![], vec![1.0, f64::NAN], vec![f64::INFINITY]] {
            let error = calculate_statistics(numbers).unwrap_err();
            assert!(error.is_permanent(), "{error}");
        }
    }

    #[test]
    fn trend_period_and_outliers_are_found() {
        let wave = |at: u32| (f64::from(at) * std::f64::consts::TAU / 12.0).sin() * 3.0;
        let mut numbers: Vec<f64> = (0..240).map(|at| wave(at) + f64::from(at) * 0.05).collect();
        let found = find_patterns(numbers.clone(), None).unwrap();
        assert!((found.trend.slope - 0.05).abs() < 0.005, "{found:?}");
        assert_eq!(found.period.unwrap().length, 12);
        assert_eq!(found.outlier_count, 0);
        numbers[100] = 500.0;
        let found = find_patterns(numbers, None).unwrap();
        let outlier = Outlier {
            index: 100,
            value: 500.0,
        };
        assert_eq!(found.outliers, [outlier]);
    }

    #[test]
    fn a_straight_line_has_no_period() {
        let line: Vec<f64> = (0..100).map(f64::from).collect();
        let found = find_patterns(line, None).unwrap();
        assert_eq!((found.trend.slope, found.trend.r_squared), (1.0, 1.0));
        assert_eq!(
            (found.period, found.longest_rise, found.longest_fall),
            (None, 100, 1)
        );
        let flat = find_patterns(vec![5.0; 10], None).unwrap();
        assert_eq!((flat.trend.slope, flat.period), (0.0, None));
    }
}
