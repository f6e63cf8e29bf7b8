//! A rotation that is fast to apply.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// An orthogonal matrix `R` of any size: signs, then a Hadamard matrix of the largest power of two that divides the size,
/// and a discrete cosine transform of the rest. Each of its columns takes something from every row, about as much from each.
#[derive(Debug)]
pub(super) struct Rotation {
    signs: Vec<f32>,
    /// Size of the Hadamard matrix.
    power: usize,
    /// `[rest, rest]`, orthogonal.
    cosines: Vec<f32>,
}

impl Rotation {
    pub(super) fn new(size: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let signs = (0..size).map(|_| {
            if random.next_u32() & 1 == 0 {
                1.0
            } else {
                -1.0
            }
        });
        let signs = signs.collect();
        let power = 1 << size.trailing_zeros();
        let rest = size / power;
        let angle = std::f64::consts::PI / rest as f64;
        let cosine = |at: usize| {
            let (row, column) = ((at / rest) as f64, (at % rest) as f64);
            let scale = if row == 0.0 { 1.0 } else { 2.0 };
            let value = (angle * (column + 0.5) * row).cos() * (scale / rest as f64).sqrt();
            value as f32
        };
        Self {
            signs,
            power,
            cosines: (0..rest * rest).map(cosine).collect(),
        }
    }

    /// Multiplies each vector of the matrix's size in `row` with the matrix: `x R`.
    pub(super) fn apply(&self, row: &mut [f32]) {
        let mut mixed = vec![0.0; self.signs.len()];
        for x in row.chunks_exact_mut(self.signs.len()) {
            for (x, sign) in x.iter_mut().zip(&self.signs) {
                *x *= sign;
            }
            x.chunks_exact_mut(self.power).for_each(hadamard);
            self.mix(x, &mut mixed);
            x.copy_from_slice(&mixed);
        }
    }

    /// The cosine transform across the parts of a vector.
    fn mix(&self, x: &[f32], mixed: &mut [f32]) {
        let rest = self.signs.len() / self.power;
        for (to, mixed) in mixed.chunks_exact_mut(self.power).enumerate() {
            mixed.fill(0.0);
            for (from, part) in x.chunks_exact(self.power).enumerate() {
                let cosine = self.cosines[from * rest + to];
                for (sum, value) in mixed.iter_mut().zip(part) {
                    *sum += cosine * value;
                }
            }
        }
    }
}

/// Multiplies a vector of a power of two with the Hadamard matrix of that size, over the square root of the size.
fn hadamard(x: &mut [f32]) {
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (x.len() as f32).sqrt();
    x.iter_mut().for_each(|x| *x *= scale);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The rows of the matrix are at right angles, of length 1, and not the same as those they stand for.
    #[test]
    fn it_is_orthogonal_and_spreads() {
        for size in [1, 2, 3, 8, 12, 96, 128, 576, 896] {
            let rotation = Rotation::new(size, 3);
            let rows: Vec<Vec<f32>> = (0..size)
                .map(|row| {
                    let mut x = vec![0.0; size];
                    x[row] = 1.0;
                    rotation.apply(&mut x);
                    x
                })
                .collect();
            let product = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
            };
            for (i, a) in rows.iter().enumerate() {
                for (j, b) in rows.iter().enumerate() {
                    let wanted = if i == j { 1.0 } else { 0.0 };
                    assert!((product(a, b) - wanted).abs() < 1e-5, "{size}: {i}, {j}");
                }
                // A cosine may be up to sqrt(2) times as large as an equal share.
                let most = a.iter().map(|x| x.abs()).fold(0.0, f32::max);
                assert!(most <= 1.42 / (size as f32).sqrt(), "{size}: {most}");
            }
        }
    }

    #[test]
    fn each_part_of_a_row_is_rotated() {
        let rotation = Rotation::new(12, 5);
        let row: Vec<f32> = (0..36).map(|x| (x * x % 7) as f32).collect();
        let mut whole = row.clone();
        rotation.apply(&mut whole);
        for (part, whole) in row.chunks(12).zip(whole.chunks(12)) {
            let mut part = part.to_vec();
            rotation.apply(&mut part);
            assert_eq!(part, whole);
        }
    }
}
