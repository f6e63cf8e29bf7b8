//! The index tensors of one pack.

use std::collections::HashMap;

use super::{
    error::BatchError,
    prefix::{Shape, Sorted, common_prefix},
};

/// What the graph reads besides weights: `T` packed tokens in depth-first order
/// of the prefix trie, `B` rows of up to `S` tokens, `N` scores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackInputs {
    /// `[T]`: token ids.
    pub input_ids: Vec<i64>,
    /// `[T]`: each token's depth in the trie, which is its position in every
    /// sequence it belongs to.
    pub position_ids: Vec<i64>,
    /// `[B, S]`, flattened: the packed token that each attention cell reads.
    /// Padding cells repeat their row's last token.
    pub row_tokens: Vec<i64>,
    /// `B`.
    pub rows: usize,
    /// `S`, the length of the longest row, padded to an even number.
    pub columns: usize,
    /// `[T]`: the flattened cell `b × S + s` where each token's attention output
    /// is read back; of the rows it is in, the first.
    pub token_cells: Vec<i64>,
    /// `[N]`: the packed tokens whose hidden states are scored, each once:
    /// conversations that share a scored token have it scored once for all, so
    /// that `N` is never more than `T`.
    pub score_tokens: Vec<i64>,
    /// Which of the `N` scores belong to whom: those of the first member, in the
    /// order of its scored positions, then those of the next.
    pub member_scores: Vec<usize>,
    /// `[B]`: row length − 1.
    pub seqlens_k: Vec<i32>,
    /// `S` again, as the attention operator wants it.
    pub total_sequence_length: i32,
}

impl PackInputs {
    /// Packs `members`, positions in `sequences`; scores come in their order.
    /// `scored` gives the scored positions of a member.
    pub(super) fn new<S: AsRef<[u32]>, P: AsRef<[usize]>>(
        sequences: &[S],
        members: &[usize],
        scored: impl Fn(usize) -> P,
    ) -> Result<Self, BatchError> {
        let mut slices = Vec::with_capacity(members.len());
        for &index in members {
            let tokens = sequences
                .get(index)
                .ok_or(BatchError::UnknownMember {
                    index,
                    count: sequences.len(),
                })?
                .as_ref();
            if tokens.is_empty() {
                return Err(BatchError::EmptySequence { index });
            }
            slices.push(tokens);
        }
        let sorted = Sorted::new(&slices);
        let shape = Shape::of(sorted.sequences.iter().map(|sequence| sequence.tokens));
        // Every index and length below is under the number of cells, so fits.
        let too_large = BatchError::TooLarge {
            rows: shape.rows,
            columns: shape.columns,
        };
        let cells = (shape.rows.checked_mul(shape.columns))
            .filter(|&cells| i32::try_from(cells).is_ok())
            .ok_or(too_large)?;

        let mut inputs = Self {
            input_ids: Vec::with_capacity(shape.tokens),
            position_ids: Vec::with_capacity(shape.tokens),
            row_tokens: Vec::with_capacity(cells),
            rows: shape.rows,
            columns: shape.columns,
            token_cells: Vec::with_capacity(shape.tokens),
            score_tokens: Vec::new(),
            member_scores: Vec::new(),
            seqlens_k: Vec::with_capacity(shape.rows),
            total_sequence_length: shape.columns as i32,
        };
        // The packed tokens from the trie's root to the end of a sequence.
        let mut path: Vec<i64> = Vec::with_capacity(shape.columns);
        let mut previous: &[u32] = &[];
        let mut scored_tokens = vec![Vec::new(); members.len()];
        for sequence in &sorted.sequences {
            let shared = common_prefix(previous, sequence.tokens);
            if shared < previous.len() {
                // Nothing extends the previous sequence: it is a leaf.
                inputs.push_row(&path);
            }
            path.truncate(shared);
            for &token in &sequence.tokens[shared..] {
                inputs.position_ids.push(path.len() as i64);
                path.push(inputs.input_ids.len() as i64);
                inputs.input_ids.push(i64::from(token));
            }
            for &member in sorted.members(sequence) {
                let index = members[member];
                for &position in scored(index).as_ref() {
                    let token = path.get(position).ok_or(BatchError::NoSuchPosition {
                        index,
                        tokens: path.len(),
                        position,
                    })?;
                    scored_tokens[member].push(*token);
                }
            }
            previous = sequence.tokens;
        }
        if !previous.is_empty() {
            inputs.push_row(&path);
        }
        inputs.score_each_once(&scored_tokens.concat());
        Ok(inputs)
    }

    /// The squares of the rows' lengths, padding left out, added up: what
    /// attention has to compute is in proportion.
    #[must_use]
    pub fn row_squares(&self) -> u64 {
        let lengths = self.seqlens_k.iter().map(|last| i64::from(*last) + 1);
        lengths.map(|length| length.unsigned_abs().pow(2)).sum()
    }

    /// Sets the scored tokens from the list of all members'.
    fn score_each_once(&mut self, tokens: &[i64]) {
        let mut scores: HashMap<i64, usize> = HashMap::with_capacity(tokens.len());
        for &token in tokens {
            let score = *scores.entry(token).or_insert_with(|| {
                self.score_tokens.push(token);
                self.score_tokens.len() - 1
            });
            self.member_scores.push(score);
        }
    }

    fn push_row(&mut self, path: &[i64]) {
        let start = self.row_tokens.len();
        self.row_tokens.extend_from_slice(path);
        let last = end_of(path);
        self.row_tokens.resize(start + self.columns, last);
        // The tokens without a cell are the path's newest, in packing order.
        let new = self.input_ids.len() - self.token_cells.len();
        let cells = start + path.len() - new..start + path.len();
        self.token_cells.extend(cells.map(|cell| cell as i64));
        self.seqlens_k.push(path.len() as i32 - 1);
    }
}

fn end_of(path: &[i64]) -> i64 {
    path.last().copied().unwrap_or(0)
}
