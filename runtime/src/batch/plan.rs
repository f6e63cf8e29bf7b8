//! The plan: which sequences go together.

use super::{
    cut::cut,
    error::BatchError,
    options::Budget,
    order::sharing_order,
    pack::PackInputs,
    prefix::{Shape, Sorted},
    stats::PlanStats,
};

/// Packs that hold every sequence exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The packs, in an order where neighbours are alike; about the longest
    /// sequences first.
    pub packs: Vec<Pack>,
    /// What the plan comes to.
    pub stats: PlanStats,
}

/// Sequences that are computed together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pack {
    /// Positions of the pack's sequences in the planned input, ascending: the
    /// order of [`PackInputs::member_scores`].
    pub members: Vec<usize>,
    /// Unique packed tokens `T`.
    pub tokens: usize,
    /// Attention rows `B`.
    pub rows: usize,
    /// Length of the longest row, padded to an even number: `S`.
    pub columns: usize,
    filled_cells: usize,
}

impl Pack {
    /// What the pack comes to, of the sequences it was planned for.
    #[must_use]
    pub fn stats<S: AsRef<[u32]>>(&self, sequences: &[S]) -> PlanStats {
        let lengths = self.members.iter().map(|&index| sequences.get(index));
        let cells = self.rows * self.columns;
        PlanStats {
            conversations: self.members.len(),
            packs: 1,
            tokens: lengths.flatten().map(|tokens| tokens.as_ref().len()).sum(),
            unique_tokens: self.tokens,
            cells,
            padded_cells: cells - self.filled_cells,
        }
    }

    /// The index tensors of this pack, from the sequences it was planned for.
    /// Each sequence is scored at its last token.
    ///
    /// # Errors
    ///
    /// When `sequences` is not what the plan was made for and lacks a member
    /// or holds it without tokens, and when a length exceeds 32 bits.
    pub fn inputs<S: AsRef<[u32]>>(&self, sequences: &[S]) -> Result<PackInputs, BatchError> {
        PackInputs::new(sequences, &self.members, |index| {
            [sequences[index].as_ref().len().saturating_sub(1)]
        })
    }

    /// As [`inputs`](Self::inputs), with each sequence scored at the positions
    /// that `scored` has for it.
    ///
    /// # Errors
    ///
    /// As [`inputs`](Self::inputs), and for a position that the sequence does
    /// not have. A sequence without positions in `scored` has no scores.
    pub fn inputs_scored_at<S: AsRef<[u32]>, P: AsRef<[usize]>>(
        &self,
        sequences: &[S],
        scored: &[P],
    ) -> Result<PackInputs, BatchError> {
        PackInputs::new(sequences, &self.members, |index| {
            scored.get(index).map_or(&[][..], AsRef::as_ref)
        })
    }
}

/// Groups sequences into packs under a budget.
///
/// Attention is causal: what follows the last scored token of a sequence has no
/// say in its scores, so cut sequences there first. Sequences that share long prefixes go together as the budget
/// permits; otherwise similar lengths do, to keep attention padding low. Packs
/// are chosen for the least work: unique tokens count most, attention cells
/// second, and each pack costs a little by itself.
///
/// The same input gives the same plan. Time is about linear in the tokens;
/// ten thousand sequences of a thousand tokens take tens of milliseconds.
///
/// # Errors
///
/// [`BatchError::EmptySequence`] when a sequence has no token.
pub fn plan<S: AsRef<[u32]>>(sequences: &[S], budget: &Budget) -> Result<Plan, BatchError> {
    let slices: Vec<&[u32]> = sequences.iter().map(AsRef::as_ref).collect();
    if let Some(index) = slices.iter().position(|tokens| tokens.is_empty()) {
        return Err(BatchError::EmptySequence { index });
    }
    let sorted = Sorted::new(&slices);
    let order = sharing_order(&sorted.sequences, budget.max_tokens);

    let mut packs: Vec<Pack> = Vec::new();
    for run in cut(&sorted.sequences, &order, budget) {
        // Back to lexicographic order, where the trie can be read off.
        let mut chosen = order[run].to_vec();
        chosen.sort_unstable();
        let chosen = || chosen.iter().map(|&index| &sorted.sequences[index]);

        let shape = Shape::of(chosen().map(|sequence| sequence.tokens));
        let mut members: Vec<usize> = chosen()
            .flat_map(|sequence| sorted.members(sequence))
            .copied()
            .collect();
        members.sort_unstable();

        packs.push(Pack {
            members,
            tokens: shape.tokens,
            rows: shape.rows,
            columns: shape.columns,
            filled_cells: shape.filled_cells,
        });
    }
    let stats = packs.iter().map(|pack| pack.stats(&slices)).sum();
    Ok(Plan { packs, stats })
}
