//! Linear layers: how a product is divided among threads.
//!
//! Tokens are packed some hundreds at a time. Then each task takes a range of a weight's rows.

use std::{cell::RefCell, ops::Range};

use super::{
    finish::{Place, finish, finish_gated},
    lines::{Lines, Shared},
    pack::{BLOCK, STEP, STEP_LINES, pack_tokens},
    sums::{Buffers, Tokens, sum},
    unit::Unit,
};
use crate::{Activation, Threads, Weight};

/// Tokens that are packed at a time.
const TOKENS: usize = 512;
/// Tasks for each thread, where there are rows enough: the threads are done at about the same time.
const TASKS: usize = 4;
thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// `x . weight + bias`, of `width` outputs.
pub(crate) fn linear(
    (unit, scratch): (Unit, &mut Lines),
    threads: &dyn Threads,
    parts: usize,
    (x, inner): (&[f32], usize),
    weight: &Weight<'_>,
    (out, width): (&mut [f32], usize),
) {
    let out = Shared::new(out);
    each_tokens(scratch, threads, parts, (x, inner), |first, tokens| {
        each_rows(threads, width, |rows, buffers| {
            sum(
                unit,
                tokens,
                [&weight.values],
                &rows,
                buffers,
                |columns, block, sums| {
                    let place = Place {
                        tokens: first + block.start..first + block.end,
                        columns: columns.clone(),
                        width,
                    };
                    // SAFETY: whoever has a `Unit` has AVX-512.
                    unsafe { finish(&place, sums, weight, out) };
                },
            );
        });
    });
}

/// `activation(x . gate) * (x . up)`, of `width` outputs.
pub(crate) fn gated(
    (unit, scratch): (Unit, &mut Lines),
    threads: &dyn Threads,
    parts: usize,
    (x, inner): (&[f32], usize),
    (gate, up): (&Weight<'_>, &Weight<'_>),
    activation: Activation,
    (out, width): (&mut [f32], usize),
) {
    let out = Shared::new(out);
    each_tokens(scratch, threads, parts, (x, inner), |first, tokens| {
        each_rows(threads, width, |rows, buffers| {
            let values = [&gate.values, &up.values];
            sum(
                unit,
                tokens,
                values,
                &rows,
                buffers,
                |columns, block, sums| {
                    let place = Place {
                        tokens: first + block.start..first + block.end,
                        columns: columns.clone(),
                        width,
                    };
                    // SAFETY: whoever has a `Unit` has AVX-512.
                    unsafe { finish_gated(&place, sums, [gate, up], activation, out) };
                },
            );
        });
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
    work: impl Fn(usize, Tokens<'_>),
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
