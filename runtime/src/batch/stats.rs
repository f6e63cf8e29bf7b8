//! Counts that say how much work a plan saves and wastes.

use std::{
    iter::Sum,
    ops::{Add, AddAssign},
};

/// What a plan holds. Plans of several windows of input add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanStats {
    /// Sequences planned.
    pub conversations: usize,
    /// Packs they were put in.
    pub packs: usize,
    /// Real tokens: the lengths of all sequences together.
    pub tokens: usize,
    /// Tokens that are computed: the sum of the packs' unique tokens `T`. At
    /// most `tokens`; the difference is what prefix sharing saves.
    pub unique_tokens: usize,
    /// Attention cells `B × S` of all packs, padding included.
    pub cells: usize,
    /// Attention cells that hold padding.
    pub padded_cells: usize,
}

impl AddAssign for PlanStats {
    fn add_assign(&mut self, other: Self) {
        self.conversations += other.conversations;
        self.packs += other.packs;
        self.tokens += other.tokens;
        self.unique_tokens += other.unique_tokens;
        self.cells += other.cells;
        self.padded_cells += other.padded_cells;
    }
}

impl Add for PlanStats {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for PlanStats {
    fn sum<I: Iterator<Item = Self>>(plans: I) -> Self {
        plans.fold(Self::default(), Add::add)
    }
}
