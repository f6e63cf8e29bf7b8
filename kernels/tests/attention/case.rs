//! A case of attention, and its definition in double precision.

use fastrand::Rng;
use worldpm_ort_kernels::{Attention, Kernels, Mask, Precision};

use crate::support::{Several, floats};

/// Operands of attention, owned.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) query: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
    pub(crate) heads: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) size: usize,
    pub(crate) row_tokens: Vec<i64>,
    pub(crate) columns: usize,
    pub(crate) cells: Vec<i64>,
    pub(crate) mask: Mask,
}

impl Case {
    /// Rows that share a prompt of `shared` tokens, of `lengths` tokens each after it. Every token attends, in the row
    /// where it is first.
    pub(crate) fn new(
        rng: &mut Rng,
        (heads, key_value_heads, size): (usize, usize, usize),
        shared: usize,
        lengths: &[usize],
    ) -> Self {
        let tokens = shared + lengths.iter().sum::<usize>();
        let columns = shared + lengths.iter().max().unwrap();
        let mut row_tokens = vec![0; columns * lengths.len()];
        let mut cells: Vec<i64> = (0..shared as i64).collect();
        let mut next = shared as i64;
        for (row, &length) in lengths.iter().enumerate() {
            for column in 0..shared + length {
                let cell = row * columns + column;
                row_tokens[cell] = column as i64;
                if column >= shared {
                    row_tokens[cell] = next;
                    cells.push(cell as i64);
                    next += 1;
                }
            }
        }
        Self {
            query: floats(rng, tokens * heads * size),
            key: floats(rng, tokens * key_value_heads * size),
            value: floats(rng, tokens * key_value_heads * size),
            heads,
            key_value_heads,
            size,
            row_tokens,
            columns,
            cells,
            mask: Mask {
                scale: 1.0,
                softcap: None,
                window: None,
            },
        }
    }

    pub(crate) fn run(&self, threads: usize) -> Vec<f32> {
        self.run_on(&Kernels::detect().unwrap(), Precision::Highest, threads)
    }

    pub(crate) fn run_on(
        &self,
        kernels: &Kernels,
        precision: Precision,
        threads: usize,
    ) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.cells.len() * self.heads * self.size];
        let attention = Attention {
            query: &self.query,
            key: &self.key,
            value: &self.value,
            heads: self.heads,
            key_value_heads: self.key_value_heads,
            size: self.size,
            row_tokens: &self.row_tokens,
            columns: self.columns,
            cells: &self.cells,
            mask: self.mask,
        };
        kernels
            .attention(&Several(threads), precision, &attention, &mut out)
            .unwrap();
        out
    }

    pub(crate) fn exact(&self) -> Vec<f64> {
        self.bounded(&Shares::NONE)
            .into_iter()
            .map(|(exact, _)| exact)
            .collect()
    }

    /// The outputs, and the most that each may be off.
    pub(crate) fn bounded(&self, shares: &Shares) -> Vec<(f64, f64)> {
        let (size, width) = (self.size, self.heads * self.size);
        let narrow = self.key_value_heads * size;
        let mut out = Vec::new();
        for &cell in &self.cells {
            let (row, column) = (cell as usize / self.columns, cell as usize % self.columns);
            let first = self
                .mask
                .window
                .map_or(0, |window| (column + 1).saturating_sub(window));
            for head in 0..self.heads {
                let query = &self.query
                    [self.row_tokens[cell as usize] as usize * width + head * size..][..size];
                let shared = head / (self.heads / self.key_value_heads);
                let place = |key: usize| {
                    self.row_tokens[row * self.columns + key] as usize * narrow + shared * size
                };
                // Scores, and how much each may be off.
                let scores: Vec<(f64, f64)> = (first..=column)
                    .map(|key| {
                        let products = query.iter().zip(&self.key[place(key)..]);
                        let products = products.map(|(q, k)| f64::from(*q) * f64::from(*k));
                        let scale = f64::from(self.mask.scale);
                        let (sum, all) = products.fold((0.0, 0.0), |(sum, all), product| {
                            (sum + product, all + product.abs())
                        });
                        let score = sum * scale;
                        let off = (all * scale).abs() * shares.scores;
                        match self.mask.softcap {
                            Some(cap) => {
                                let cap = f64::from(cap);
                                // A unit in the last place of 1 by the tangent itself.
                                let off = off + cap * shares.floats * 2.0;
                                (cap * (score / cap).tanh(), off)
                            }
                            None => (score, off),
                        }
                    })
                    .collect();
                let most = scores
                    .iter()
                    .fold(f64::MIN, |most, (score, _)| most.max(*score));
                let total: f64 = scores.iter().map(|(score, _)| (score - most).exp()).sum();
                // Weights, and by what share each may be off. The difference from the largest score is rounded too.
                let weights: Vec<(f64, f64)> = scores
                    .iter()
                    .map(|(score, off)| {
                        let off = off + shares.floats * (score.abs() + most.abs());
                        (
                            (score - most).exp() / total,
                            (off + shares.weights).exp_m1(),
                        )
                    })
                    .collect();
                for at in 0..size {
                    let value = |key: usize| f64::from(self.value[place(key) + at]);
                    let exact: f64 = weights
                        .iter()
                        .zip(first..)
                        .map(|((weight, _), key)| weight * value(key))
                        .sum();
                    let off: f64 = weights
                        .iter()
                        .zip(first..)
                        .map(|((weight, off), key)| {
                            let value = value(key).abs();
                            weight * (off * (value + exact.abs()) + shares.sums * value)
                        })
                        .sum();
                    out.push((exact, off));
                }
            }
        }
        out
    }
}

/// How much may be lost, as a share of what is summed.
pub(crate) struct Shares {
    /// Of the products of queries and keys.
    scores: f64,
    /// Of a weight, by the function.
    weights: f64,
    /// Of the products of weights and values.
    sums: f64,
    /// The last bit of a float.
    floats: f64,
}

impl Shares {
    const NONE: Self = Self {
        scores: 0.0,
        weights: 0.0,
        sums: 0.0,
        floats: 0.0,
    };

    /// A part has 8 bits: when it is rounded, at most 2^-8 is left, and at most 2^-7 when it is cut off.
    /// - Of queries and keys, the products of parts whose numbers are together as large as the number of parts are left
    ///   out, and what the parts do not have.
    /// - So too of weights, whose parts are cut off, and values.
    ///
    /// Summing loses as much as for products of matrices. Three parts of a weight have all of its bits.
    pub(crate) fn of(precision: Precision, size: usize, keys: usize) -> Self {
        let floats = 2f64.powi(-24);
        let sum = |terms: usize| floats * ((terms * precision.parts()) as f64).sqrt().max(4.0);
        let (scores, weights, sums) = match precision {
            Precision::Medium => (2.1 * 2f64.powi(-8), 2f64.powi(-13), 2.1 * 2f64.powi(-8)),
            Precision::High => (3.1 * 2f64.powi(-16), 2f64.powi(-18), 5.1 * 2f64.powi(-16)),
            Precision::Highest => (4.1 * floats, 4.0 * floats, 7.1 * floats),
        };
        Self {
            scores: scores + sum(size),
            weights: weights + sum(keys),
            sums: sums + sum(keys),
            floats: 2.0 * floats,
        }
    }
}
