//! Attention over packed tokens against its definition in double precision.

#![allow(clippy::unwrap_used)]

mod support;

use fastrand::Rng;
use support::{Several, floats};
use worldpm_ort_kernels::{Attention, Kernels, Mask, OneThread, Precision};

/// Operands of attention, owned.
#[derive(Clone)]
struct Case {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    heads: usize,
    key_value_heads: usize,
    size: usize,
    row_tokens: Vec<i64>,
    columns: usize,
    cells: Vec<i64>,
    mask: Mask,
}

impl Case {
    /// Rows that share a prompt of `shared` tokens, of `lengths` tokens each after it. Every token attends, in the row
    /// where it is first.
    fn new(
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

    fn run(&self, threads: usize) -> Vec<f32> {
        let kernels = Kernels::detect().unwrap();
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
            .attention(&Several(threads), Precision::Highest, &attention, &mut out)
            .unwrap();
        out
    }

    fn exact(&self) -> Vec<f64> {
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
                let scores: Vec<f64> = (first..=column)
                    .map(|key| {
                        let products = query.iter().zip(&self.key[place(key)..]);
                        let sum: f64 = products.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                        let score = sum * f64::from(self.mask.scale);
                        match self.mask.softcap {
                            Some(cap) => f64::from(cap) * (score / f64::from(cap)).tanh(),
                            None => score,
                        }
                    })
                    .collect();
                let most = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let total: f64 = weights.iter().sum();
                out.extend((0..size).map(|at| {
                    let terms = weights.iter().zip(first..);
                    terms
                        .map(|(weight, key)| weight * f64::from(self.value[place(key) + at]))
                        .sum::<f64>()
                        / total
                }));
            }
        }
        out
    }
}

fn has_kernels() -> bool {
    Kernels::detect().is_some()
}

/// Heads of queries, heads of keys, width.
const HEADS: [(usize, usize, usize); 6] = [
    (1, 1, 16),
    (4, 2, 64),
    (14, 2, 64),
    (9, 3, 64),
    (8, 1, 128),
    (6, 6, 80),
];

#[test]
fn attention_is_as_defined() {
    if !has_kernels() {
        return;
    }
    let mut rng = Rng::with_seed(1);
    for heads in HEADS {
        for (shared, lengths) in [
            (0, vec![1]),
            (5, vec![3, 70, 1]),
            (130, vec![10, 64]),
            (63, vec![1, 2]),
            (0, vec![200]),
        ] {
            for (softcap, window) in [
                (None, None),
                (Some(2.0), None),
                (None, Some(20)),
                (Some(3.0), Some(100)),
                (None, Some(1)),
            ] {
                let mut case = Case::new(&mut rng, heads, shared, &lengths);
                case.mask = Mask {
                    scale: 0.7,
                    softcap,
                    window,
                };
                let largest = case
                    .run(2)
                    .iter()
                    .zip(case.exact())
                    .map(|(out, right)| (f64::from(*out) - right).abs())
                    .fold(0.0, |most: f64, off| match off.is_nan() {
                        true => f64::INFINITY,
                        false => most.max(off),
                    });
                // Values are between -1 and 1, and scores are rounded in proportion to their size.
                assert!(
                    largest < 4e-6,
                    "{heads:?}, {shared} and {lengths:?}, {softcap:?}, {window:?}: {largest:e}"
                );
            }
        }
    }
}

/// A prompt that answers share, each answer alone, and the threads change no bit.
#[test]
fn a_token_has_the_same_bits_in_any_batch() {
    if !has_kernels() {
        return;
    }
    let mut rng = Rng::with_seed(2);
    for _ in 0..60 {
        let heads = rng.choice(HEADS).unwrap();
        let shared = rng.usize(0..150);
        let lengths: Vec<usize> = (0..rng.usize(1..5)).map(|_| rng.usize(1..150)).collect();
        let mut case = Case::new(&mut rng, heads, shared, &lengths);
        case.mask.window = rng.bool().then(|| rng.usize(1..100));
        let whole = case.run(1);
        assert_eq!(whole, case.run(rng.usize(2..5)));
        let width = case.heads * case.size;
        // One row alone, all of whose tokens attend.
        let row = rng.usize(0..lengths.len());
        let mut alone = case.clone();
        alone.row_tokens = case.row_tokens[row * case.columns..][..shared + lengths[row]].to_vec();
        alone.columns = alone.row_tokens.len();
        alone.cells = (0..alone.columns as i64).collect();
        let out = alone.run(2);
        for (column, token) in alone.row_tokens.iter().enumerate() {
            let token = *token as usize;
            assert_eq!(
                out[column * width..][..width],
                whole[token * width..][..width]
            );
        }
    }
}

/// What stands behind a query in its row, however bad, does not reach it.
#[test]
fn later_tokens_do_not_reach_earlier_ones() {
    if !has_kernels() {
        return;
    }
    let mut rng = Rng::with_seed(3);
    let case = Case::new(&mut rng, (4, 2, 64), 20, &[30, 9]);
    let width = case.heads * case.size;
    let right = case.run(1);
    let mut bad = case.clone();
    for kind in [f32::NAN, f32::INFINITY] {
        // The first answer's tokens.
        bad.value[20 * 128..50 * 128].fill(kind);
        bad.key[20 * 128..50 * 128].fill(kind);
        let out = bad.run(1);
        assert_eq!(out[..20 * width], right[..20 * width]);
        assert!(out[20 * width..50 * width].iter().all(|x| x.is_nan()));
        assert_eq!(out[50 * width..], right[50 * width..]);
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let Some(kernels) = Kernels::detect() else {
        return;
    };
    let case = Case::new(&mut Rng::with_seed(4), (4, 2, 64), 3, &[2]);
    let problem = |row_tokens: &[i64], cells: &[i64], columns: usize| {
        let attention = Attention {
            query: &case.query,
            key: &case.key,
            value: &case.value,
            heads: 4,
            key_value_heads: 2,
            size: 64,
            row_tokens,
            columns,
            cells,
            mask: case.mask,
        };
        let mut out = vec![0.0; cells.len() * 256];
        let error = kernels.attention(&OneThread, Precision::Highest, &attention, &mut out);
        error.unwrap_err().problem
    };
    assert_eq!(problem(&[0, 1, 5], &[0], 3), "token 5 of 5");
    assert_eq!(problem(&[0, 1, -1], &[0], 3), "token -1 of 5");
    assert_eq!(problem(&[0, 1, 2], &[3], 3), "cell 3 of 3");
    assert!(problem(&[0, 1, 2], &[0], 2).contains("3 cells in rows of 2"));
}
