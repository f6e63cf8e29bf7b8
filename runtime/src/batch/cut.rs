//! Where an ordered list of sequences is cut into packs.

use std::ops::Range;

use super::{
    options::Budget,
    prefix::{Distinct, columns, common_prefix},
};

/// How many attention cells, times the row length they attend over, cost as
/// much as one token in the linear layers.
///
/// A cell costs `4 × hidden × length` operations a layer and a token about
/// `26 × hidden²`, so the ratio is 6.5 times the hidden size: 5800 at the 0.5B
/// shape, 53000 at 72B. This value lies between: on mixes of best-of-8, pairs and
/// single conversations, unique tokens change by under 1% over that range.
pub(super) const CELLS_PER_TOKEN: f64 = 16384.0;

/// What running one more pack costs, in tokens: weights are read once a pack,
/// and small packs use the hardware badly.
const PACK_TOKENS: f64 = 64.0;

/// The most distinct sequences in a pack. Keeps planning linear in the number
/// of sequences whatever the budget.
const MAX_SEQUENCES: usize = 1024;

/// Cuts the sequences, in the given order, into the packs that cost least
/// together. Gives ranges of `order`.
///
/// A pack is a run of neighbours. Counting what each shares with its left
/// neighbour never undercounts a pack's tokens or rows, so the budget holds.
pub(super) fn cut(
    sequences: &[Distinct<'_>],
    order: &[usize],
    budget: &Budget,
) -> Vec<Range<usize>> {
    let runs = Runs::new(sequences, order);
    // For each end: the least cost of the sequences before it, and where its
    // last pack starts.
    let mut best: Vec<(f64, usize)> = Vec::with_capacity(order.len() + 1);
    best.push((0.0, 0));
    for end in 1..=order.len() {
        let mut choice = (f64::INFINITY, end - 1);
        let mut longest = 0;
        for start in (end.saturating_sub(MAX_SEQUENCES)..end).rev() {
            longest = longest.max(runs.lengths[start]);
            let tokens = runs.tokens(start, end);
            let rows = runs.rows(start, end);
            let cells = rows.saturating_mul(columns(longest));
            // One row cannot be split, and what lies on it comes for free.
            let over =
                tokens > budget.max_tokens || cells > budget.max_cells || rows > budget.max_rows;
            if rows > 1 && over {
                break;
            }
            let attention = cells as f64 * longest as f64 / CELLS_PER_TOKEN;
            let cost = best[start].0 + tokens as f64 + attention + PACK_TOKENS;
            if cost < choice.0 {
                choice = (cost, start);
            }
        }
        best.push(choice);
    }

    let mut packs = Vec::new();
    let mut end = order.len();
    while end > 0 {
        let start = best[end].1;
        packs.push(start..end);
        end = start;
    }
    packs.reverse();
    packs
}

/// The tokens and rows of any run of neighbours, in constant time.
struct Runs {
    lengths: Vec<usize>,
    /// At `i`: what the sequences before `i` add to their left neighbours.
    tokens_before: Vec<usize>,
    rows_before: Vec<usize>,
}

impl Runs {
    fn new(sequences: &[Distinct<'_>], order: &[usize]) -> Self {
        let mut runs = Self {
            lengths: Vec::with_capacity(order.len()),
            tokens_before: Vec::with_capacity(order.len() + 1),
            rows_before: Vec::with_capacity(order.len() + 1),
        };
        let (mut all_tokens, mut all_rows) = (0, 0);
        let mut previous: &[u32] = &[];
        for &index in order {
            let tokens = sequences[index].tokens;
            let shared = common_prefix(previous, tokens);
            runs.lengths.push(tokens.len());
            runs.tokens_before.push(all_tokens);
            runs.rows_before.push(all_rows);
            all_tokens += tokens.len() - shared;
            all_rows += usize::from(shared < tokens.len());
            previous = tokens;
        }
        runs.tokens_before.push(all_tokens);
        runs.rows_before.push(all_rows);
        runs
    }

    fn tokens(&self, start: usize, end: usize) -> usize {
        self.lengths[start] + self.tokens_before[end] - self.tokens_before[start + 1]
    }

    fn rows(&self, start: usize, end: usize) -> usize {
        1 + self.rows_before[end] - self.rows_before[start + 1]
    }
}
