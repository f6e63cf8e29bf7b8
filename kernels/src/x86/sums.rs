//! The sums of some rows of weights with packed tokens.
//!
//! The inner dimension is cut into parts of some steps, whose rows stay in the core's first cache while they are multiplied
//! with one block of tokens after the other. Where the parts end depends on the inner dimension and the precision alone, so
//! the order of summation does too.

use std::{
    arch::x86_64::{_mm512_add_ps, _mm512_load_ps, _mm512_store_ps},
    mem,
    ops::Range,
};

use super::{
    amx::Tiles,
    avx512,
    lines::{Line, Lines},
    pack::{BLOCK, STEP, STEP_LINES, SUMS},
    rows::Panel,
    unit::Unit,
};
use crate::Values;

/// Most steps of a part: with one bfloat16 number for an element, the rows take 40 KB.
const STEPS: usize = 20;
/// The same where three numbers stand for a float. These parts are summed by themselves and added to those before: fewer
/// roundings add up than in one long sum. Where inputs are rounded that matters less than the additions cost.
const STEPS_OF_EXACT: usize = 16;
/// Most stretches that are packed at a time.
const PACKED: usize = 3;
/// Lines of tokens that are multiplied with all rows before others are: half of the second cache of most cores.
const ROOM: usize = 1 << 14;
/// Most rows of all weights that are finished together: each token gets that many outputs in a row.
const ROWS: usize = 256;

/// Some hundred packed tokens.
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'a> {
    pub(crate) lines: &'a [Line],
    pub(crate) count: usize,
    /// Elements of a token.
    pub(crate) inner: usize,
    /// Bfloat16 numbers that stand for an element.
    pub(crate) parts: usize,
}

impl Tokens<'_> {
    pub(crate) fn blocks(&self) -> usize {
        self.count.div_ceil(BLOCK)
    }

    fn steps(&self) -> usize {
        self.inner.div_ceil(STEP)
    }

    /// Steps that are summed at a time, and those that are packed at a time: as many as leave room in the cache for all of
    /// the tokens.
    fn stretches(&self) -> (usize, usize) {
        let most = match self.parts {
            3 => STEPS_OF_EXACT,
            _ => STEPS,
        };
        let steps = self.steps();
        let length = steps.div_ceil(steps.div_ceil(most));
        let room = ROOM / (self.blocks() * self.parts * STEP_LINES * length);
        (length, length * room.clamp(1, PACKED))
    }

    /// Some steps of a block.
    fn block(&self, block: usize, steps: &Range<usize>) -> &[Line] {
        let step = self.parts * STEP_LINES;
        &self.lines[(block * self.steps() + steps.start) * step..][..steps.len() * step]
    }
}

/// What is kept from call to call.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    panels: [Lines; 2],
    sums: Lines,
}

/// Rows that are multiplied with all tokens, and where the sums are.
struct Portion<'a> {
    panel: Panel<'a>,
    /// The rows that are finished together.
    group: Range<usize>,
    /// The number of these sums among those of the group: by block of rows, and within it by weight.
    at: usize,
}

/// A panel that is packed, or is being packed while another one is multiplied.
struct Packing<'a> {
    panel: Option<&'a Panel<'a>>,
    lines: Lines,
    /// Bfloat16 numbers that stand for an element.
    parts: usize,
    /// Lines that are packed.
    done: usize,
    /// Lines that are packed at a time.
    each: usize,
}

impl<'a> Packing<'a> {
    fn new(lines: Lines) -> Self {
        Self {
            panel: None,
            lines,
            parts: 1,
            done: 0,
            each: usize::MAX,
        }
    }

    /// Begins another panel, which is packed in at most so many `calls`.
    fn begin(&mut self, panel: Option<&'a Panel<'a>>, input_parts: usize, calls: usize) {
        self.panel = panel;
        self.done = 0;
        if let Some(panel) = panel {
            self.parts = panel.values.parts(input_parts);
            self.each = panel.lines().div_ceil(calls);
        }
    }

    /// Packs the next lines, or where they are only moved asks for their memory: that is done sooner in one go.
    fn some(&mut self) {
        let Some(panel) = self.panel else {
            return;
        };
        let lines = panel.lines();
        let now = self.done..lines.min(self.done + self.each);
        self.done = now.end;
        if panel.values.is_converted() {
            self.pack(now);
        } else {
            panel.fetch(now);
        }
    }

    /// Packs the rest.
    fn end(&mut self) {
        let Some(panel) = self.panel else {
            return;
        };
        let first = if panel.values.is_converted() {
            self.done
        } else {
            0
        };
        self.pack(first..panel.lines());
    }

    fn pack(&mut self, lines: Range<usize>) {
        let Some(panel) = self.panel.filter(|_| !lines.is_empty()) else {
            return;
        };
        let all = panel.lines();
        let (whole, rest) = self.lines.take(self.parts * all).split_at_mut(all);
        // SAFETY: who sums has a `Unit`, and with it AVX-512.
        unsafe { panel.pack(lines, whole, rest) };
    }

    /// The lines of some steps, once all are packed: of each part.
    fn rows(&mut self, steps: &Range<usize>) -> impl Iterator<Item = &[Line]> {
        let (all, first) = self
            .panel
            .map_or((0, 0), |panel| (panel.lines(), panel.steps.start));
        let lines = (steps.start - first) * STEP_LINES..(steps.end - first) * STEP_LINES;
        let parts = self.lines.take(self.parts * all).chunks_exact(all.max(1));
        parts.map(move |part| &part[lines.clone()])
    }
}

/// Sums a range of the rows of each of some weights with all tokens. `done` gets some of the rows, a block of tokens and
/// their sums: by block of rows, and within it by weight.
pub(crate) fn sum<const WEIGHTS: usize>(
    unit: Unit,
    tokens: Tokens<'_>,
    weights: [&Values<'_>; WEIGHTS],
    range: &Range<usize>,
    buffers: &mut Buffers,
    done: impl Fn(&Range<usize>, Range<usize>, &[Line]),
) {
    let (length, at_once) = tokens.stretches();
    let order = portions(tokens, weights, range, at_once);
    let [ready, next] = &mut buffers.panels;
    let mut ready = Packing::new(mem::take(ready));
    let mut next = Packing::new(mem::take(next));
    ready.begin(order.first().map(|portion| &portion.panel), tokens.parts, 1);
    ready.end();
    let tiles = Tiles::configure(unit);
    let mut more = [Line([0; 16]); SUMS];
    for (index, Portion { panel, group, at }) in order.iter().enumerate() {
        let then = order.get(index + 1);
        let calls = tokens.blocks() * panel.steps.len() * ready.parts;
        next.begin(then.map(|portion| &portion.panel), tokens.parts, calls);
        let of_block = group.len().div_ceil(BLOCK) * WEIGHTS * SUMS;
        let sums = buffers.sums.take(tokens.blocks() * of_block);
        for from in panel.steps.clone().step_by(length) {
            let steps = from..panel.steps.end.min(from + length);
            for (block, sums) in sums.chunks_exact_mut(of_block).enumerate() {
                let to = &mut sums[at * SUMS..][..SUMS];
                for (part, rows) in ready.rows(&steps).enumerate() {
                    let with = (tokens.block(block, &steps), tokens.parts, part);
                    let begin = from == 0 && part == 0;
                    let to = (&mut *to, &mut more[..]);
                    add(tiles.as_ref(), rows, with, begin, to, &mut next);
                }
            }
        }
        next.end();
        mem::swap(&mut ready, &mut next);
        if then.is_none_or(|then| then.group != *group) {
            for (block, sums) in sums.chunks_exact(of_block).enumerate() {
                let block = block * BLOCK..tokens.count.min((block + 1) * BLOCK);
                done(group, block, sums);
            }
        }
    }
    buffers.panels = [ready.lines, next.lines];
}

/// What is multiplied one after the other: groups of rows, for each as many steps as are packed at a time, for each of these
/// the blocks of rows, for each of these the weights.
fn portions<'a, const WEIGHTS: usize>(
    tokens: Tokens<'_>,
    weights: [&'a Values<'a>; WEIGHTS],
    range: &Range<usize>,
    at_once: usize,
) -> Vec<Portion<'a>> {
    let mut order = Vec::new();
    let rows = ROWS / WEIGHTS;
    for start in range.clone().step_by(rows) {
        let group = start..range.end.min(start + rows);
        for first in (0..tokens.steps()).step_by(at_once) {
            for (block, start) in group.clone().step_by(BLOCK).enumerate() {
                for (number, values) in weights.into_iter().enumerate() {
                    order.push(Portion {
                        panel: Panel {
                            values,
                            rows: start..group.end.min(start + BLOCK),
                            inner: tokens.inner,
                            steps: first..tokens.steps().min(first + at_once),
                        },
                        group: group.clone(),
                        at: block * WEIGHTS + number,
                    });
                }
            }
        }
    }
    order
}

/// Adds the products of a part of a block of rows with a block of tokens, of so many parts, to the sums, or begins them.
fn add(
    tiles: Option<&Tiles>,
    rows: &[Line],
    (tokens, parts, part): (&[Line], usize, usize),
    begin: bool,
    (sums, more): (&mut [Line], &mut [Line]),
    next: &mut Packing<'_>,
) {
    // The product of both last parts is below what the parts leave out.
    let used = parts.saturating_sub(part).max(1);
    if begin || parts < 3 {
        product(tiles, rows, (tokens, parts, used), begin, sums, next);
    } else {
        product(tiles, rows, (tokens, parts, used), true, more, next);
        // SAFETY: whoever has a `Unit` has AVX-512.
        unsafe { add_lines(sums, more) };
    }
}

/// Sums the products of a block of rows with the first `used` of the `parts` of one of tokens, from zero or from what there
/// is.
fn product(
    tiles: Option<&Tiles>,
    rows: &[Line],
    (tokens, parts, used): (&[Line], usize, usize),
    begin: bool,
    sums: &mut [Line],
    next: &mut Packing<'_>,
) {
    let meanwhile = || next.some();
    match (tiles, used, parts) {
        // SAFETY: whoever has a `Unit` has AVX-512.
        (None, ..) => unsafe { avx512::product((used, parts), rows, tokens, begin, sums) },
        (Some(tiles), 1, 1) => tiles.product::<1, 1>(rows, tokens, begin, sums, meanwhile),
        (Some(tiles), 1, 2) => tiles.product::<1, 2>(rows, tokens, begin, sums, meanwhile),
        (Some(tiles), 2, 2) => tiles.product::<2, 2>(rows, tokens, begin, sums, meanwhile),
        (Some(tiles), 2, _) => tiles.product::<2, 3>(rows, tokens, begin, sums, meanwhile),
        (Some(tiles), ..) => tiles.product::<3, 3>(rows, tokens, begin, sums, meanwhile),
    }
}

/// Adds sums to sums.
#[target_feature(enable = "avx512f")]
fn add_lines(sums: &mut [Line], more: &[Line]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        // SAFETY: a line is aligned and of the vector's size.
        unsafe {
            let added = _mm512_add_ps(
                _mm512_load_ps(sum.0.as_ptr().cast()),
                _mm512_load_ps(more.0.as_ptr().cast()),
            );
            _mm512_store_ps(sum.0.as_mut_ptr().cast(), added);
        }
    }
}
