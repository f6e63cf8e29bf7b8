//! Token sequences in lexicographic order, where a prefix trie is a walk over
//! neighbours: what a sequence shares with all before it, it shares with the
//! one just before it.

use std::cmp::Ordering;

/// A sequence, and the range of [`Sorted::members`] that are copies of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distinct<'a> {
    pub(super) tokens: &'a [u32],
    members_from: usize,
    members_to: usize,
}

/// Distinct sequences in lexicographic order.
#[derive(Debug)]
pub(super) struct Sorted<'a> {
    pub(super) sequences: Vec<Distinct<'a>>,
    members: Vec<usize>,
}

impl<'a> Sorted<'a> {
    pub(super) fn new(sequences: &[&'a [u32]]) -> Self {
        // Compared once here instead of at every step of the sort: a system
        // prompt that all share may be most of the tokens.
        let shared_by_all = sequences
            .iter()
            .map(|tokens| common_prefix(sequences[0], tokens))
            .min()
            .unwrap_or(0);
        let mut members: Vec<usize> = (0..sequences.len()).collect();
        members.sort_by(|&a, &b| {
            compare(
                &sequences[a][shared_by_all..],
                &sequences[b][shared_by_all..],
            )
        });

        let mut distinct: Vec<Distinct<'a>> = Vec::new();
        for (position, &member) in members.iter().enumerate() {
            let tokens = sequences[member];
            match distinct.last_mut() {
                Some(last) if last.tokens == tokens => last.members_to = position + 1,
                _ => distinct.push(Distinct {
                    tokens,
                    members_from: position,
                    members_to: position + 1,
                }),
            }
        }
        Self {
            sequences: distinct,
            members,
        }
    }

    /// The input positions of a distinct sequence, ascending.
    pub(super) fn members(&self, sequence: &Distinct<'_>) -> &[usize] {
        &self.members[sequence.members_from..sequence.members_to]
    }
}

/// Rows of attention are padded to a multiple of this.
///
/// ONNX Runtime's attention on the CPU works through a row in blocks of queries, and a matrix
/// product of a single row takes another kernel, which rounds differently. With an even number of
/// queries no block is left with one, so a score does not depend on the lengths it is computed
/// beside.
pub(super) const ROW_ALIGNMENT: usize = 2;

/// Columns of attention rows of which the longest has `longest` tokens.
pub(super) fn columns(longest: usize) -> usize {
    longest.next_multiple_of(ROW_ALIGNMENT)
}

/// The size of the tensors that a set of sequences needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Trie nodes.
    pub(super) tokens: usize,
    /// Trie leaves.
    pub(super) rows: usize,
    /// The longest row, padded to [`ROW_ALIGNMENT`].
    pub(super) columns: usize,
    /// The rows' lengths together: the attention cells that are not padding.
    pub(super) filled_cells: usize,
}

impl Shape {
    /// The shape of distinct sequences given in lexicographic order.
    pub(super) fn of<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut shape = Self::default();
        let mut previous: &[u32] = &[];
        for tokens in sequences {
            let shared = common_prefix(previous, tokens);
            shape.tokens += tokens.len() - shared;
            shape.columns = shape.columns.max(columns(tokens.len()));
            // One that extends its predecessor takes over that one's row.
            if shared == previous.len() && !previous.is_empty() {
                shape.filled_cells += tokens.len() - previous.len();
            } else {
                shape.rows += 1;
                shape.filled_cells += tokens.len();
            }
            previous = tokens;
        }
        shape
    }
}

/// How many leading tokens two sequences have in common.
pub(super) fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    // Whole blocks first: they compare many times faster than single tokens.
    const BLOCK: usize = 32;
    let blocks = a
        .chunks_exact(BLOCK)
        .zip(b.chunks_exact(BLOCK))
        .take_while(|(a, b)| a == b)
        .count();
    let equal = blocks * BLOCK;
    equal
        + a[equal..]
            .iter()
            .zip(&b[equal..])
            .take_while(|(a, b)| a == b)
            .count()
}

fn compare(a: &[u32], b: &[u32]) -> Ordering {
    let shared = common_prefix(a, b);
    a[shared..].cmp(&b[shared..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_prefix_at_block_edges() {
        let base: Vec<u32> = (0..100).collect();
        for differs_at in [0, 1, 31, 32, 33, 63, 64, 65, 99] {
            let mut other = base.clone();
            other[differs_at] = 1000;
            assert_eq!(common_prefix(&base, &other), differs_at, "at {differs_at}");
            assert_eq!(common_prefix(&base, &base[..differs_at]), differs_at);
            assert_eq!(compare(&base, &other), base.cmp(&other));
            assert_eq!(compare(&base[..differs_at], &base), Ordering::Less);
        }
        assert_eq!(common_prefix(&base, &base), 100);
    }

    #[test]
    fn shape_counts_trie_nodes_and_leaves() {
        let shape = |sequences: &[&[u32]]| {
            let sorted = Sorted::new(sequences);
            let shape = Shape::of(sorted.sequences.iter().map(|sequence| sequence.tokens));
            (shape.tokens, shape.rows, shape.columns, shape.filled_cells)
        };
        assert_eq!(shape(&[]), (0, 0, 0, 0));
        assert_eq!(shape(&[&[5]]), (1, 1, 2, 1));
        assert_eq!(shape(&[&[1, 2, 3], &[1, 2, 4]]), (4, 2, 4, 6));
        assert_eq!(shape(&[&[1, 2, 3], &[1, 2, 3]]), (3, 1, 4, 3), "duplicate");
        assert_eq!(
            shape(&[&[1], &[1, 2], &[1, 2, 3]]),
            (3, 1, 4, 3),
            "prefixes"
        );
        assert_eq!(shape(&[&[9, 1, 2], &[1], &[9, 1, 3], &[9]]), (5, 3, 4, 7));
    }
}
