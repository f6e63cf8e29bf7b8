//! Attention over packed tokens against its definition in double precision.

#![allow(clippy::unwrap_used)]

mod case;
#[path = "../support/mod.rs"]
mod support;

use fastrand::Rng;
use worldpm_ort_kernels::{Attention, Kernels, Mask, OneThread, Precision};

use case::{Case, Shares};

fn has_kernels() -> bool {
    Kernels::detect().is_some()
}

/// Heads of queries, heads of keys, width.
const HEADS: [(usize, usize, usize); 10] = [
    (1, 1, 16),
    (3, 1, 32),
    (5, 5, 48),
    (4, 2, 64),
    (14, 2, 64),
    (9, 3, 64),
    (6, 6, 80),
    (2, 1, 96),
    (8, 1, 128),
    (2, 2, 256),
];

/// Tokens of a shared prompt, and of each answer: around the borders of blocks and steps.
const ROWS: [(usize, &[usize]); 7] = [
    (0, &[1]),
    (5, &[3, 70, 1]),
    (130, &[10, 64]),
    (63, &[1, 2]),
    (31, &[1, 33, 2]),
    (0, &[200]),
    (64, &[64, 65]),
];

/// Each unit with each precision.
fn all() -> impl Iterator<Item = (Kernels, Precision)> {
    Precision::ALL.into_iter().flat_map(|precision| {
        Kernels::all()
            .into_iter()
            .map(move |kernels| (kernels, precision))
    })
}

/// What a unit's results are held to: vectors multiply floats.
fn held_to(kernels: &Kernels, precision: Precision) -> Precision {
    match kernels.unit() {
        "amx_bf16" => precision,
        _ => Precision::Highest,
    }
}

#[test]
fn attention_is_as_defined() {
    if !has_kernels() {
        return;
    }
    let mut rng = Rng::with_seed(1);
    for heads in HEADS {
        for (shared, lengths) in ROWS {
            for (softcap, window) in [
                (None, None),
                (Some(2.0), None),
                (None, Some(20)),
                (Some(3.0), Some(100)),
                (None, Some(1)),
            ] {
                let mut case = Case::new(&mut rng, heads, shared, lengths);
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

#[test]
fn attention_is_as_exact_as_its_precision() {
    let mut rng = Rng::with_seed(5);
    for heads in HEADS {
        for (shared, lengths) in ROWS {
            let mut case = Case::new(&mut rng, heads, shared, lengths);
            case.mask = Mask {
                scale: 2.0 / (case.size as f32).sqrt(),
                softcap: rng.bool().then_some(3.0),
                window: rng.bool().then(|| rng.usize(1..150)),
            };
            let bounded = Precision::ALL.map(|precision| {
                let shares = Shares::of(precision, case.size, case.columns);
                (precision, case.bounded(&shares))
            });
            for (kernels, precision) in all() {
                let out = case.run_on(&kernels, precision, 1);
                let held_to = held_to(&kernels, precision);
                let bounded = bounded.iter().find(|(of, _)| *of == held_to).unwrap();
                for (at, (out, (exact, most))) in out.iter().zip(&bounded.1).enumerate() {
                    let off = (f64::from(*out) - exact).abs();
                    assert!(
                        off <= *most,
                        "{} {precision} {heads:?}, {shared} and {lengths:?}, {:?} at {at}: {out} for {exact}, off by {off:e}, not {most:e}",
                        kernels.unit(),
                        case.mask
                    );
                }
            }
        }
    }
}

/// A precision reaches the tiles, and does nothing to vectors.
#[test]
fn precisions_differ_on_tiles_alone() {
    let case = Case::new(&mut Rng::with_seed(6), (4, 2, 64), 3, &[90, 2]);
    for kernels in Kernels::all() {
        let [highest, high, medium] =
            Precision::ALL.map(|precision| case.run_on(&kernels, precision, 1));
        let tiles = kernels.unit() == "amx_bf16";
        assert_eq!(tiles, highest != high);
        assert_eq!(tiles, high != medium);
    }
}

/// A prompt that answers share, each answer alone, and the threads change no bit.
#[test]
fn a_token_has_the_same_bits_in_any_batch() {
    let mut rng = Rng::with_seed(2);
    for (kernels, precision) in (0..20).flat_map(|_| all()) {
        let heads = rng.choice(HEADS).unwrap();
        let shared = rng.usize(0..150);
        let lengths: Vec<usize> = (0..rng.usize(1..5)).map(|_| rng.usize(1..150)).collect();
        let mut case = Case::new(&mut rng, heads, shared, &lengths);
        case.mask.window = rng.bool().then(|| rng.usize(1..100));
        case.mask.softcap = rng.bool().then_some(2.0);
        let whole = case.run_on(&kernels, precision, 1);
        assert_eq!(whole, case.run_on(&kernels, precision, rng.usize(2..5)));
        let width = case.heads * case.size;
        // One row alone, all of whose tokens attend.
        let row = rng.usize(0..lengths.len());
        let mut alone = case.clone();
        alone.row_tokens = case.row_tokens[row * case.columns..][..shared + lengths[row]].to_vec();
        alone.columns = alone.row_tokens.len();
        alone.cells = (0..alone.columns as i64).collect();
        let out = alone.run_on(&kernels, precision, 2);
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

/// A bad key or value reaches those that see it and nobody else, bit for bit: neither before it, nor where the window
/// has passed it.
#[test]
fn a_bad_token_reaches_those_that_see_it() {
    let mut rng = Rng::with_seed(7);
    for (kernels, precision) in (0..20).flat_map(|_| all()) {
        let heads = rng.choice(HEADS).unwrap();
        let length = rng.usize(1..260);
        let mut case = Case::new(&mut rng, heads, 0, &[length]);
        let window = rng.bool().then(|| rng.usize(1..150));
        case.mask.window = window;
        let right = case.run_on(&kernels, precision, 1);
        let mut bad = case.clone();
        let token = rng.usize(0..length);
        let narrow = case.key_value_heads * case.size;
        let kind = rng.choice([f32::NAN, f32::INFINITY, f32::MAX]).unwrap();
        let values = match rng.bool() {
            true => &mut bad.value,
            false => &mut bad.key,
        };
        values[token * narrow..(token + 1) * narrow].fill(kind);
        let out = bad.run_on(&kernels, precision, 1);
        let width = case.heads * case.size;
        for (column, (out, right)) in out.chunks(width).zip(right.chunks(width)).enumerate() {
            let sees = token <= column && window.is_none_or(|window| column < token + window);
            if !sees {
                assert_eq!(
                    out,
                    right,
                    "{} {column} of {length}, {token} bad",
                    kernels.unit()
                );
            } else if kind != f32::MAX {
                assert!(
                    out.iter().all(|x| !x.is_finite()),
                    "{column}, {token} is {kind}"
                );
            }
        }
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
