//! What one pack may cost.

/// The most one pack may hold.
///
/// The limits bound memory: each unique token carries the activations of the
/// linear layers, each attention cell a query, key, value and output vector. A
/// sequence that exceeds a limit by itself is still planned, in a pack with no
/// other row; refusing long sequences is the length limit's job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Unique packed tokens `T`. Default 2048: enough that the linear layers
    /// are bound by arithmetic and not by reading their weights.
    pub max_tokens: usize,
    /// Attention cells `B × S`, padding included. Default 16384, eight times
    /// `max_tokens` (see [`for_tokens`](Self::for_tokens)): a cell takes several times less memory than a token, and a
    /// tighter limit would cut best-of-N groups and compute their prompt again.
    pub max_cells: usize,
    /// Attention rows `B`. Default: no limit but `max_cells`. Engines that are
    /// built for a largest shape need one, see
    /// [`TensorRtOptions`](crate::ep::TensorRtOptions).
    pub max_rows: usize,
}

/// Attention cells for each unique token of a budget.
const CELLS_FOR_A_TOKEN: usize = 8;
/// Indices of cells have 32 bits.
const MOST_CELLS: usize = i32::MAX as usize;

impl Budget {
    /// For packs of so many unique tokens: eight times as many attention cells,
    /// and no fewer than by default.
    #[must_use]
    pub fn for_tokens(max_tokens: usize) -> Self {
        let default = Self::default();
        let cells = max_tokens.saturating_mul(CELLS_FOR_A_TOKEN);
        Self {
            max_tokens,
            max_cells: cells.clamp(default.max_cells, MOST_CELLS),
            ..default
        }
    }

    /// Sets the most unique tokens in a pack, and leaves the other limits.
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Sets the most attention cells in a pack.
    #[must_use]
    pub fn with_max_cells(mut self, max_cells: usize) -> Self {
        self.max_cells = max_cells;
        self
    }

    /// Sets the most attention rows in a pack.
    #[must_use]
    pub fn with_max_rows(mut self, max_rows: usize) -> Self {
        self.max_rows = max_rows;
        self
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            max_tokens: 2048,
            max_cells: CELLS_FOR_A_TOKEN * 2048,
            max_rows: usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_follow_the_tokens() {
        let default = Budget::default();
        assert_eq!(Budget::for_tokens(default.max_tokens), default);
        for (tokens, cells) in [
            (1, 16384),
            (2049, 16392),
            (32768, 262_144),
            (usize::MAX, MOST_CELLS),
        ] {
            let budget = Budget::for_tokens(tokens);
            assert_eq!((budget.max_tokens, budget.max_cells), (tokens, cells));
            assert_eq!(budget.max_rows, default.max_rows);
        }
    }
}
