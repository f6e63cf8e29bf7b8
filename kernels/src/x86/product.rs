//! Linear layers: how a product is divided among threads.
//!
//! Tokens are packed some hundreds at a time. Then each task takes a range of a weight's rows.

use std::{cell::RefCell, ops::Range};

use super::{
    finish::{Place, finish, finish_gated, finish_packed},
    lines::{Lines, Shared},
    pack::{BLOCK, STEP, STEP_LINES, SUMS, pack_tokens},
    sums::{Buffers, Tokens, sum},
    unit::Unit,
};
use crate::{Activation, Threads, Weight};

/// Tokens that are packed at a time.
const TOKENS: usize = 512;
/// Tasks for each thread, where there are rows enough: the threads are done at about the same time.
const TASKS: usize = 4;

/// Packed tokens, kept from call to call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    tokens: Lines,
    /// Of a gated layer's outputs.
    gated: Lines,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// `x . weight + bias`, of `width` outputs.
pub(crate) fn linear(
    (unit, scratch): (Unit, &mut Scratch),
    threads: &dyn Threads,
    parts: usize,
    (x, inner): (&[f32], usize),
    weight: &Weight<'_>,
    (out, width): (&mut [f32], usize),
) {
    let out = Shared::new(out);
    each_tokens(
        &mut scratch.tokens,
        threads,
        parts,
        (x, inner),
        |first, tokens| {
            multiply(unit, threads, (first, tokens), weight, (out, width));
        },
    );
}

/// `activation(x . gate) * (x . up)`, of `width` outputs.
pub(crate) fn gated(
    (unit, scratch): (Unit, &mut Scratch),
    threads: &dyn Threads,
    parts: usize,
    (x, inner): (&[f32], usize),
    (gate, up): (&Weight<'_>, &Weight<'_>),
    activation: Activation,
    (out, width): (&mut [f32], usize),
) {
    let out = Shared::new(out);
    each_tokens(
        &mut scratch.tokens,
        threads,
        parts,
        (x, inner),
        |first, tokens| {
            each_rows(threads, width, |rows, buffers| {
                let values = [&gate.values, &up.values];
                sum(
                    unit,
                    tokens,
                    values,
                    &rows,
                    buffers,
                    |columns, block, sums| {
                        let place = Place::new(first, &block, columns, width);
                        // SAFETY: whoever has a `Unit` has AVX-512.
                        unsafe { finish_gated(&place, sums, [gate, up], activation, out) };
                    },
                );
            });
        },
    );
}

/// `(activation(x . gate) * (x . up)) . down`, of `width` outputs. What comes out of the gated layer is packed for the next
/// one at once, and never stored as floats.
pub(crate) fn mlp(
    (unit, scratch): (Unit, &mut Scratch),
    threads: &dyn Threads,
    parts: usize,
    (x, inner): (&[f32], usize),
    ([gate, up], down): ([&Weight<'_>; 2], &Weight<'_>),
    (activation, intermediate): (Activation, usize),
    (out, width): (&mut [f32], usize),
) {
    const { assert!(BLOCK == STEP) };
    let out = Shared::new(out);
    let Scratch { tokens, gated } = scratch;
    let steps = intermediate.div_ceil(STEP);
    let step_lines = parts * STEP_LINES;
    each_tokens(tokens, threads, parts, (x, inner), |first, tokens| {
        let lines = gated.take(tokens.blocks() * steps * step_lines);
        let shared = Shared::new(lines);
        each_rows(threads, intermediate, |rows, buffers| {
            let values = [&gate.values, &up.values];
            sum(
                unit,
                tokens,
                values,
                &rows,
                buffers,
                |columns, block, sums| {
                    let blocks = columns
                        .clone()
                        .step_by(BLOCK)
                        .zip(sums.chunks_exact(2 * SUMS));
                    for (column, sums) in blocks {
                        let step = block.start / BLOCK * steps + column / STEP;
                        // SAFETY: a task writes the steps of its own columns.
                        let lines = unsafe { shared.slice(step * step_lines, step_lines) };
                        let (gates, ups) = sums.split_at(SUMS);
                        let columns = column..columns.end.min(column + STEP);
                        let (sums, weights) = ([gates, ups], [gate, up]);
                        // SAFETY: whoever has a `Unit` has AVX-512.
                        unsafe { finish_packed(columns, sums, weights, activation, parts, lines) };
                    }
                },
            );
        });
        let gated = Tokens {
            lines,
            inner: intermediate,
            ..tokens
        };
        multiply(unit, threads, (first, gated), down, (out, width));
    });
}

/// The products of some hundred tokens, of which the first has that number, with a weight.
fn multiply(
    unit: Unit,
    threads: &dyn Threads,
    (first, tokens): (usize, Tokens<'_>),
    weight: &Weight<'_>,
    (out, width): (Shared<f32>, usize),
) {
    each_rows(threads, width, |rows, buffers| {
        let values = [&weight.values];
        sum(
            unit,
            tokens,
            values,
            &rows,
            buffers,
            |columns, block, sums| {
                let place = Place::new(first, &block, columns, width);
                // SAFETY: whoever has a `Unit` has AVX-512.
                unsafe { finish(&place, sums, weight, out) };
            },
        );
    });
}

/// Divides the rows of a weight among the threads.
fn each_rows(
    threads: &dyn Threads,
    width: usize,
    work: impl Fn(Range<usize>, &mut Buffers) + Sync + Send,
) {
    let wanted = width.div_ceil(threads.count().max(1) * TASKS);
    let rows = wanted.next_multiple_of(BLOCK);
    threads.run(width.div_ceil(rows), &|task| {
        let range = task * rows..width.min((task + 1) * rows);
        BUFFERS.with_borrow_mut(|buffers| work(range, buffers));
    });
}

/// Packs some hundred rows of `x` at a time, on all threads, for `work`, which also gets the number of the first one.
fn each_tokens(
    scratch: &mut Lines,
    threads: &dyn Threads,
    parts: usize,
    (x, inner): (&[f32], usize),
    mut work: impl FnMut(usize, Tokens<'_>),
) {
    let block_lines = inner.div_ceil(STEP) * parts * STEP_LINES;
    for (index, x) in x.chunks(TOKENS * inner).enumerate() {
        let count = x.len() / inner;
        let blocks = count.div_ceil(BLOCK);
        let lines = scratch.take(blocks * block_lines);
        let shared = Shared::new(lines);
        threads.run(blocks, &|block| {
            let first = block * BLOCK * inner;
            let rows = &x[first..x.len().min(first + BLOCK * inner)];
            // SAFETY: each task has a block of its own.
            let lines = unsafe { shared.slice(block * block_lines, block_lines) };
            // SAFETY: whoever has a `Unit`, as the callers do, has AVX-512.
            unsafe { pack_tokens(rows, inner, parts, lines) };
        });
        let tokens = Tokens {
            lines,
            count,
            inner,
            parts,
        };
        work(index * TOKENS, tokens);
    }
}
