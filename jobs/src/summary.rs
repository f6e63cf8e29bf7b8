//! Distributions of numbers, in memory that does not grow with how many there are.

use std::collections::BTreeMap;

/// Lengths: whole numbers, of which each is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    counts: BTreeMap<u64, u64>,
    number: u64,
}

impl Lengths {
    /// Adds one. Lengths over 65,536 are rounded down to three digits or so, which bounds how many there can be.
    pub fn add(&mut self, length: u64) {
        let kept = match length.checked_ilog2() {
            Some(power) if power > 16 => length >> (power - 10) << (power - 10),
            _ => length,
        };
        *self.counts.entry(kept).or_default() += 1;
        self.number += 1;
    }

    /// How many were added.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The length that a share of all do not exceed; `None` when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        quantile(&self.counts, self.number, share)
    }
}

/// Scores. The mean and the deviation are those of all; quantiles are right to about one part in two thousand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    counts: BTreeMap<i32, u64>,
    number: u64,
    mean: f64,
    /// The sum of the squares of what differs from the mean.
    squares: f64,
    range: Option<(f64, f64)>,
}

/// Bits of a float that are dropped of its fraction.
const DROPPED: u32 = 12;

impl Distribution {
    /// Adds a finite number.
    pub fn add(&mut self, value: f64) {
        self.number += 1;
        let before = value - self.mean;
        self.mean += before / self.number as f64;
        self.squares += before * (value - self.mean);
        let (least, most) = self.range.unwrap_or((value, value));
        self.range = Some((least.min(value), most.max(value)));
        *self.counts.entry(bucket(value as f32)).or_default() += 1;
    }

    /// How many were added.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Their mean; 0 of none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their standard deviation, as of a whole population.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        match self.number {
            0 => 0.0,
            number => (self.squares / number as f64).sqrt(),
        }
    }

    /// The least and the greatest.
    #[must_use]
    pub fn range(&self) -> Option<(f64, f64)> {
        self.range
    }

    /// The number that a share of all do not exceed, about; `None` when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let (least, most) = self.range?;
        let bucket = quantile(&self.counts, self.number, share)?;
        Some(middle(bucket).clamp(least, most))
    }
}

fn quantile<K: Copy>(counts: &BTreeMap<K, u64>, number: u64, share: f64) -> Option<K> {
    let wanted = (share * number as f64).ceil().max(1.0) as u64;
    let mut passed = 0;
    counts.iter().find_map(|(key, count)| {
        passed += count;
        (passed >= wanted).then_some(*key)
    })
}

/// Numbers that are alike, in the order of the numbers.
fn bucket(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    // Of negative numbers the bits run backwards.
    let ordered = if bits < 0 {
        i32::MIN.wrapping_sub(bits)
    } else {
        bits
    };
    ordered >> DROPPED
}

fn middle(bucket: i32) -> f64 {
    let ordered = (bucket << DROPPED) + (1 << (DROPPED - 1));
    let bits = if ordered < 0 {
        i32::MIN.wrapping_sub(ordered)
    } else {
        ordered
    };
    f64::from(f32::from_bits(bits as u32))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_they_are_known() {
        let mut scores = Distribution::default();
        assert_eq!((scores.quantile(0.5), scores.deviation()), (None, 0.0));
        for index in 0..1001 {
            scores.add(f64::from(index - 500) / 100.0);
        }
        assert!(scores.mean().abs() < 1e-12);
        // The deviation of 1001 numbers 0.01 apart.
        let expected = 0.01 * ((1001.0_f64.powi(2) - 1.0) / 12.0).sqrt();
        assert!((scores.deviation() - expected).abs() < 1e-9);
        assert_eq!(scores.range(), Some((-5.0, 5.0)));
        for (share, expected) in [
            (0.0, -5.0_f64),
            (0.05, -4.5),
            (0.5, 0.0),
            (0.95, 4.5),
            (1.0, 5.0),
        ] {
            let found = scores.quantile(share).unwrap();
            let off = (found - expected).abs();
            assert!(off <= 0.011 + expected.abs() / 2000.0, "{share}: {found}");
        }
        let mut one = Distribution::default();
        one.add(0.1);
        assert_eq!(one.quantile(0.5), Some(0.1));
    }

    #[test]
    fn buckets_keep_the_order() {
        let numbers = [-1e30, -5.0, -1.0, -1e-30, 0.0, 1e-30, 1.0, 5.0, 1e30_f32];
        for pair in numbers.windows(2) {
            assert!(bucket(pair[0]) <= bucket(pair[1]), "{pair:?}");
        }
        for number in numbers {
            let off = (middle(bucket(number)) - f64::from(number)).abs();
            assert!(off <= f64::from(number).abs() / 2000.0 + 1e-38, "{number}");
        }
    }

    #[test]
    fn lengths_are_exact_where_they_are_short() {
        let mut lengths = Lengths::default();
        assert_eq!(lengths.quantile(0.5), None);
        (1..=100).for_each(|length| lengths.add(length));
        let shares = [0.0, 0.5, 0.95, 1.0].map(|share| lengths.quantile(share).unwrap());
        assert_eq!(shares, [1, 50, 95, 100]);
        lengths.add(1_000_000);
        let longest = lengths.quantile(1.0).unwrap();
        assert!((999_000..=1_000_000).contains(&longest), "{longest}");
    }
}
