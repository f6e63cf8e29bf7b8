//! Statistics of two series of scores. Pure functions.
//!
//! The tests compare them with `scipy`, see `tests/fixtures/drift/make_statistics.py`.

use std::{cmp::Ordering, ops::AddAssign};

/// How far the numbers of one series are from those of another.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Differences {
    /// Numbers in each series.
    pub n: usize,
    /// Mean of the differences: whether one series is higher throughout.
    pub mean: f64,
    /// Mean of their absolute values.
    pub mean_abs: f64,
    /// The largest absolute value.
    pub max_abs: f64,
    /// Root of the mean square.
    pub rms: f64,
}

/// The differences `a - b`, number by number. `None` for empty series.
#[must_use]
pub fn differences(a: &[f64], b: &[f64]) -> Option<Differences> {
    let n = a.len().min(b.len());
    if n == 0 {
        return None;
    }
    let mut sum = Differences {
        n,
        mean: 0.0,
        mean_abs: 0.0,
        max_abs: 0.0,
        rms: 0.0,
    };
    for (a, b) in a.iter().zip(b) {
        let difference = a - b;
        sum.mean += difference;
        sum.mean_abs += difference.abs();
        sum.max_abs = sum.max_abs.max(difference.abs());
        sum.rms += difference * difference;
    }
    #[allow(clippy::cast_precision_loss)]
    let n = n as f64;
    Some(Differences {
        mean: sum.mean / n,
        mean_abs: sum.mean_abs / n,
        rms: (sum.rms / n).sqrt(),
        ..sum
    })
}

/// Pearson's correlation of two series. `None` when one of them is constant, or has fewer than two numbers.
#[must_use]
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len().min(b.len());
    if n < 2 || is_constant(&a[..n]) || is_constant(&b[..n]) {
        return None;
    }
    #[allow(clippy::cast_precision_loss)]
    let mean = |series: &[f64]| series[..n].iter().sum::<f64>() / n as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        aa += a * a;
        bb += b * b;
        ab += a * b;
    }
    // In this form it is exactly 1 of a series and itself. Rounding may carry others a little past the bounds.
    Some((ab / aa * (aa / bb).sqrt()).clamp(-1.0, 1.0)).filter(|r| r.is_finite())
}

/// Spearman's rank correlation: Pearson's of the ranks, where equal numbers share the mean of theirs. `None`
/// as for [`pearson`].
#[must_use]
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len().min(b.len());
    pearson(&ranks(&a[..n]), &ranks(&b[..n]))
}

/// Ranks from 1; equal numbers share the mean of theirs.
fn ranks(series: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by(|&i, &j| series[i].total_cmp(&series[j]));
    let mut ranks = vec![0.0; series.len()];
    let mut first = 0;
    for run in order.chunk_by(|&i, &j| same(series[i], series[j])) {
        #[allow(clippy::cast_precision_loss)]
        let rank = first as f64 + (run.len() + 1) as f64 / 2.0;
        for &place in run {
            ranks[place] = rank;
        }
        first += run.len();
    }
    ranks
}

/// Which pairs of numbers stand in the same order in two series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Concordance {
    /// Pairs of places: `n * (n - 1) / 2`.
    pub pairs: u64,
    /// Pairs in the same order in both series.
    pub concordant: u64,
    /// Pairs in opposite orders.
    pub discordant: u64,
    /// Pairs that are equal in the first series.
    pub tied_a: u64,
    /// Pairs that are equal in the second series.
    pub tied_b: u64,
}

impl Concordance {
    /// Counts pairs by sorting (Knight, 1966): time is `n log n`.
    #[must_use]
    pub fn of(a: &[f64], b: &[f64]) -> Self {
        let n = a.len().min(b.len());
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| compare(a[i], a[j]).then(compare(b[i], b[j])));
        let tied_a = tied(&order, |i, j| same(a[i], a[j]));
        let tied_both = tied(&order, |i, j| same(a[i], a[j]) && same(b[i], b[j]));
        let mut by_b: Vec<f64> = order.iter().map(|&i| b[i]).collect();
        let discordant = inversions(&mut by_b);
        let tied_b = tied(&by_b, same);
        let pairs = choose_two(n);
        Self {
            pairs,
            concordant: pairs + tied_both - tied_a - tied_b - discordant,
            discordant,
            tied_a,
            tied_b,
        }
    }

    /// Kendall's rank correlation, tau-b, which allows for ties. `None` when a series is constant.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn tau_b(&self) -> Option<f64> {
        let free_a = self.pairs - self.tied_a;
        let free_b = self.pairs - self.tied_b;
        if free_a == 0 || free_b == 0 {
            return None;
        }
        let agreement = self.concordant as f64 - self.discordant as f64;
        let tau = agreement / (free_a as f64).sqrt() / (free_b as f64).sqrt();
        Some(tau.clamp(-1.0, 1.0))
    }
}

impl AddAssign for Concordance {
    fn add_assign(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.concordant += other.concordant;
        self.discordant += other.discordant;
        self.tied_a += other.tied_a;
        self.tied_b += other.tied_b;
    }
}

fn choose_two(n: usize) -> u64 {
    let n = n as u64;
    n * n.saturating_sub(1) / 2
}

/// Pairs within runs of neighbours that are the same.
fn tied<T: Copy>(sorted: &[T], same: impl Fn(T, T) -> bool) -> u64 {
    sorted
        .chunk_by(|&one, &other| same(one, other))
        .map(|run| choose_two(run.len()))
        .sum()
}

/// Sorts `series` and counts the pairs that stood in descending order.
fn inversions(series: &mut [f64]) -> u64 {
    if series.len() < 2 {
        return 0;
    }
    let (left, right) = series.split_at_mut(series.len() / 2);
    let mut count = inversions(left) + inversions(right);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        if compare(left[i], right[j]).is_le() {
            merged.push(left[i]);
            i += 1;
        } else {
            // It was behind all that is left of the left half.
            count += (left.len() - i) as u64;
            merged.push(right[j]);
            j += 1;
        }
    }
    merged.extend_from_slice(&left[i..]);
    merged.extend_from_slice(&right[j..]);
    series.copy_from_slice(&merged);
    count
}

/// Orders finite numbers; 0 and -0 are equal, as they are in comparisons.
fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

fn same(a: f64, b: f64) -> bool {
    compare(a, b).is_eq()
}

fn is_constant(series: &[f64]) -> bool {
    series.windows(2).all(|pair| same(pair[0], pair[1]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Goldens {
        series: Vec<Golden>,
    }

    #[derive(Deserialize)]
    struct Golden {
        name: String,
        a: Vec<f64>,
        b: Vec<f64>,
        mean: f64,
        mean_abs: f64,
        max_abs: f64,
        rms: f64,
        pearson: Option<f64>,
        spearman: Option<f64>,
        kendall: Option<f64>,
    }

    fn close(what: &str, found: Option<f64>, expected: Option<f64>) {
        match (found, expected) {
            (Some(found), Some(expected)) => {
                let scale = expected.abs().max(1e-3);
                let off = (found - expected).abs() / scale;
                assert!(off < 1e-9, "{what}: {found}, and {expected} by scipy");
            }
            (found, expected) => assert_eq!(found, expected, "{what}"),
        }
    }

    #[test]
    fn as_scipy_has_them() {
        let text = include_str!("../../../../tests/fixtures/drift/statistics.json");
        let goldens: Goldens = serde_json::from_str(text).unwrap();
        assert!(goldens.series.len() > 10);
        for golden in goldens.series {
            let Golden { name, a, b, .. } = &golden;
            let found = differences(a, b).unwrap();
            assert_eq!(found.n, a.len());
            for (what, found, expected) in [
                ("mean", found.mean, golden.mean),
                ("mean_abs", found.mean_abs, golden.mean_abs),
                ("max_abs", found.max_abs, golden.max_abs),
                ("rms", found.rms, golden.rms),
            ] {
                close(&format!("{name}: {what}"), Some(found), Some(expected));
            }
            close(&format!("{name}: pearson"), pearson(a, b), golden.pearson);
            close(
                &format!("{name}: spearman"),
                spearman(a, b),
                golden.spearman,
            );
            let kendall = Concordance::of(a, b).tau_b();
            close(&format!("{name}: kendall"), kendall, golden.kendall);
        }
    }

    #[test]
    fn by_hand() {
        // Differences 1, -2, 0, 4.
        let found = differences(&[2.0, 0.0, 1.0, 5.0], &[1.0, 2.0, 1.0, 1.0]).unwrap();
        assert_eq!(
            (found.n, found.mean, found.mean_abs, found.max_abs),
            (4, 0.75, 1.75, 4.0)
        );
        assert!((found.rms - (21.0_f64 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(ranks(&[0.0, -0.0]), [1.5, 1.5]);
        let counts = Concordance::of(&[1.0, 1.0, 2.0, 3.0], &[1.0, 2.0, 0.0, 0.0]);
        // Of the six pairs (1,2) ties in a, (3,4) in b, and the other four part.
        let expected = Concordance {
            pairs: 6,
            concordant: 0,
            discordant: 4,
            tied_a: 1,
            tied_b: 1,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn nothing_to_compare() {
        assert_eq!(differences(&[], &[]), None);
        assert_eq!(pearson(&[], &[]), None);
        assert_eq!(spearman(&[1.0], &[1.0]), None);
        assert_eq!(Concordance::of(&[], &[]).tau_b(), None);
        assert_eq!(Concordance::of(&[1.0], &[1.0]).tau_b(), None);
    }

    /// Every pair of places, one by one.
    fn counted(a: &[f64], b: &[f64]) -> Concordance {
        let mut counts = Concordance::default();
        for i in 0..a.len() {
            for j in 0..i {
                counts.pairs += 1;
                let (x, y) = (compare(a[i], a[j]), compare(b[i], b[j]));
                counts.tied_a += u64::from(x.is_eq());
                counts.tied_b += u64::from(y.is_eq());
                counts.concordant += u64::from(x.is_ne() && x == y);
                counts.discordant += u64::from(x.is_ne() && y == x.reverse());
            }
        }
        counts
    }

    proptest! {
        #[test]
        fn counts_are_those_of_all_pairs(
            series in prop::collection::vec((-4_i8..4, -4_i8..4), 0..60)
        ) {
            let a: Vec<f64> = series.iter().map(|(a, _)| f64::from(*a)).collect();
            let b: Vec<f64> = series.iter().map(|(_, b)| f64::from(*b)).collect();
            prop_assert_eq!(Concordance::of(&a, &b), counted(&a, &b));
        }

        #[test]
        fn correlations_are_within_bounds(
            series in prop::collection::vec((-1e30_f32..1e30, -1.0_f32..1.0), 2..20)
        ) {
            let a: Vec<f64> = series.iter().map(|(a, _)| f64::from(*a)).collect();
            let b: Vec<f64> = series.iter().map(|(_, b)| f64::from(*b)).collect();
            let found = [pearson(&a, &b), spearman(&a, &b), Concordance::of(&a, &b).tau_b()];
            for value in found.into_iter().flatten() {
                prop_assert!((-1.0..=1.0).contains(&value), "{}", value);
            }
        }
    }
}
