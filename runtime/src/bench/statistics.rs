//! The numbers that a report is made of, as pure functions.

use serde::Serialize;

/// How times, or other values, are spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Number of values.
    pub samples: usize,
    /// Their mean.
    pub mean: f64,
    /// The lowest.
    pub lowest: f64,
    /// Half of them are this or lower: see [`percentile`].
    pub p50: f64,
    /// Nine in ten are this or lower.
    pub p90: f64,
    /// Ninety-nine in a hundred are this or lower. With fewer than a hundred values it is the highest.
    pub p99: f64,
    /// The highest.
    pub highest: f64,
}

impl Summary {
    /// Of some values; `None` when there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        Some(Self {
            samples: sorted.len(),
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            lowest: *sorted.first()?,
            p50: percentile(&sorted, 50.0)?,
            p90: percentile(&sorted, 90.0)?,
            p99: percentile(&sorted, 99.0)?,
            highest: *sorted.last()?,
        })
    }
}

/// The lowest of the values that is not below `percent` of them: the *nearest rank*, which is always one of the values.
/// `sorted` must be in order, lowest first.
#[must_use]
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    // A division first would put 7% of a hundred above 7.
    let rank = (percent * sorted.len() as f64 / 100.0).ceil();
    let index = (rank as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied()
}

/// The value in the middle, or the mean of both.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let upper = sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        0 => Some(f64::midpoint(sorted[sorted.len() / 2 - 1], *upper)),
        _ => Some(*upper),
    }
}

/// So many in so many seconds; nothing where no time has passed.
#[must_use]
pub fn rate(count: f64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| count / seconds)
}

/// By how much `y` grows for one `x`: the slope of the line with the least squared distances. `None` when there are not
/// two different `x`.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let together: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    (spread > 0.0).then(|| together / spread)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        for (percent, expected) in [
            (0.0, 1.0),
            (10.0, 1.0),
            (10.1, 2.0),
            (50.0, 5.0),
            (90.0, 9.0),
            (99.0, 10.0),
            (100.0, 10.0),
        ] {
            assert_eq!(percentile(&ten, percent), Some(expected), "{percent}");
        }
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for percent in 1..=100 {
            let percent = f64::from(percent);
            assert_eq!(percentile(&hundred, percent), Some(percent));
        }
        assert_eq!(percentile(&[7.0], 1.0), Some(7.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn summaries_do_not_mind_the_order() {
        let summary = Summary::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!(summary.samples, 3);
        assert_eq!(
            (summary.lowest, summary.p50, summary.highest),
            (1.0, 2.0, 3.0)
        );
        assert_eq!(summary.mean, 2.0);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn rates() {
        assert_eq!(rate(10.0, 4.0), Some(2.5));
        assert_eq!(rate(10.0, 0.0), None);
    }

    #[test]
    fn slopes() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Some(2.0));
        // Noise that is the same on both sides.
        assert_eq!(
            slope(&[(0.0, 1.0), (0.0, 3.0), (2.0, 5.0), (2.0, 3.0)]),
            Some(1.0)
        );
        assert_eq!(slope(&[(1.0, 1.0)]), None);
        assert_eq!(slope(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(slope(&[]), None);
    }

    proptest! {
        #[test]
        fn a_percentile_divides_the_values(
            values in prop::collection::vec(-1e6..1e6, 1..200), percent in 0.1..100.0,
        ) {
            let values = sorted(&values);
            let found = percentile(&values, percent).unwrap();
            let share = |count: usize| 100.0 * count as f64 / values.len() as f64;
            let not_above = values.iter().filter(|value| **value <= found).count();
            let below = values.iter().filter(|value| **value < found).count();
            prop_assert!(share(not_above) >= percent - 1e-9);
            prop_assert!(share(below) < percent);
        }
    }
}
