//! What a task computes, and the blocks of keys that it goes through.

use std::ops::Range;

use crate::{Attention, Mask};

/// Keys of a block: two steps. Blocks begin at the row's beginning, so that a query's sums do not depend on the others.
pub(super) const KEYS: usize = 64;

/// Some queries of a row, of the heads that share one of keys and values.
pub(super) struct Task<'a> {
    pub(super) attention: &'a Attention<'a>,
    pub(super) row: usize,
    /// The head of keys and values.
    pub(super) head: usize,
    /// The cells of the queries, by column, and where their outputs stand.
    pub(super) queries: &'a [(usize, usize)],
}

/// Some keys of a row.
pub(super) struct Block {
    /// The column of the first one.
    pub(super) start: usize,
    pub(super) keys: usize,
    /// Where their elements begin among those of keys, and of values. Behind the last key it is repeated.
    pub(super) places: [usize; KEYS],
}

impl Task<'_> {
    pub(super) fn size(&self) -> usize {
        self.attention.size
    }

    /// Heads that share one of keys and values.
    pub(super) fn group(&self) -> usize {
        self.attention.heads / self.attention.key_value_heads
    }

    /// Queries of all heads: those of a token stand together.
    pub(super) fn rows(&self) -> usize {
        self.queries.len() * self.group()
    }

    /// The column of a row's query.
    pub(super) fn column(&self, row: usize) -> usize {
        self.queries[row / self.group()].0 % self.attention.columns
    }

    /// The elements of a row's query, where there is one.
    pub(super) fn query(&self, row: usize) -> Option<&[f32]> {
        let &(cell, _) = self.queries.get(row / self.group())?;
        let from = self.token(cell) * self.width() + self.place(row);
        Some(&self.attention.query[from..from + self.size()])
    }

    /// Where the output of a row begins.
    pub(super) fn out(&self, row: usize) -> usize {
        let (_, at) = self.queries[row / self.group()];
        at * self.width() + self.place(row)
    }

    /// The blocks of keys that any query sees, from the row's beginning on.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> {
        let end = self.column(self.rows() - 1) + 1;
        let begin = self.attention.mask.first_key(self.column(0)) / KEYS * KEYS;
        (begin..end).step_by(KEYS).map(move |start| {
            let keys = KEYS.min(end - start);
            let place = |key: usize| {
                let cell = self.row * self.attention.columns + start + key.min(keys - 1);
                (self.token(cell) * self.attention.key_value_heads + self.head) * self.size()
            };
            Block {
                start,
                keys,
                places: std::array::from_fn(place),
            }
        })
    }

    fn token(&self, cell: usize) -> usize {
        usize::try_from(self.attention.row_tokens[cell]).unwrap_or_default()
    }

    fn width(&self) -> usize {
        self.attention.heads * self.size()
    }

    /// Where a row's head begins among a token's elements.
    fn place(&self, row: usize) -> usize {
        (self.head * self.group() + row % self.group()) * self.size()
    }
}

impl Block {
    /// The keys of some columns, as numbers in the block.
    pub(super) fn within(&self, columns: &Range<usize>) -> Range<usize> {
        let number = |column: usize| column.saturating_sub(self.start).min(self.keys);
        number(columns.start)..number(columns.end)
    }
}

impl Mask {
    /// The first key that a query in `column` sees.
    pub(super) fn first_key(&self, column: usize) -> usize {
        self.window
            .map_or(0, |window| (column + 1).saturating_sub(window))
    }
}
